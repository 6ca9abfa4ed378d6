"""What can go wrong ends in a clear message: memory, classes that are absent, two runs in one folder."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import weakref
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
import torch

from ranoscope import runs
from ranoscope.config import MedicalNetPretraining, Target
from ranoscope.domain import Case, Response, Visit
from ranoscope.errors import RunError
from ranoscope.learning import fitting
from ranoscope.learning.crossval import collect_calls, cross_validate, prepare_experiment, run_cell
from ranoscope.learning.fitting import Sides, absent_classes
from ranoscope.learning.memory import naming_memory
from ranoscope.learning.module import ResponseModule


def silent(*_):
    pass


SAID = [
    MemoryError(),
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has a total capacity of 10 GiB"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:121] data. DefaultCPUAllocator: can't allocate memory: you tried to"),
    RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 40000 bytes."),
    RuntimeError("DataLoader worker (pid 77) is killed by signal: Killed. "),
    RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
]


@pytest.mark.parametrize("error", SAID, ids=lambda error: f"{type(error).__name__} {error}"[:40])
def test_memory_that_ran_out_names_the_cell_and_what_to_lower(tiny, error):
    words = (
        r"Expected enough memory, got .*, in seed 0, fold 1, recipe tiny; lower training.batch_size \(now 4\), raise"
    )
    with pytest.raises(RunError, match=words) as caught, naming_memory(tiny(), "seed 0, fold 1"):
        raise error
    assert ("full GPU" in str(caught.value)) == isinstance(error, torch.OutOfMemoryError)


@pytest.mark.parametrize("error", [RuntimeError("shapes do not match"), ValueError("memory"), KeyError("x")])
def test_other_errors_stay_what_they_are(tiny, error):
    with pytest.raises(type(error)) as caught, naming_memory(tiny(), "here"):
        raise error
    assert caught.value is error


FAULTS = """
import resource, sys, torch
from torch import nn
from ranoscope.learning.memory import keep_freed_memory

torch.set_num_threads(1)
layers = nn.Sequential(nn.Conv3d(4, 16, 3), nn.InstanceNorm3d(16), nn.ReLU(), nn.Conv3d(16, 16, 3), nn.ReLU())
volumes = torch.rand(2, 4, 40, 40, 40)

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(3):
        layers(volumes).sum().backward()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

faults()
by_default = faults()
if not keep_freed_memory():
    sys.exit("no glibc")
faults()
print(by_default, faults())
"""


def test_what_is_freed_is_kept_for_the_next_step():
    """Counted in pages that the system clears during three steps of a small network."""
    done = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, text=True, check=False)
    if done.stderr.strip() == "no glibc":
        pytest.skip("the C library is not glibc")
    by_default, kept = map(int, done.stdout.split())
    assert kept < by_default / 4


def test_a_real_allocation_that_cannot_be_met_is_named(tiny):
    with pytest.raises(RunError, match="Expected enough memory"), naming_memory(tiny(workers=2), "here"):
        torch.empty(1 << 60)


def test_what_filled_the_memory_is_given_back(tiny):
    kept = []

    def fill():
        tensor = torch.zeros(8)
        kept.append(weakref.ref(tensor))
        raise MemoryError

    with pytest.raises(RunError) as caught, naming_memory(tiny(), "here"):
        fill()
    assert kept[0]() is None
    assert isinstance(caught.value.__cause__, MemoryError)


def test_a_cell_out_of_memory_says_so_and_can_be_resumed(trained, home, tiny, monkeypatch):
    """The second epoch finds no memory; with it back, the same command ends as if nothing had happened."""
    honest = ResponseModule.training_step

    def hungry(self, batch, index):
        if self.current_epoch == 1:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return honest(self, batch, index)

    run = home / "run"
    with monkeypatch.context() as patch:
        patch.setattr(ResponseModule, "training_step", hungry)
        with pytest.raises(RunError, match=r"seed 0, fold 1, .*seed-0_fold-0, recipe tiny; lower training.batch_size"):
            cross_validate(tiny(), run, run, silent)
    assert not list(run.rglob(".lock"))
    cross_validate(tiny(), run, run, silent)
    assert (run / runs.CALLS).read_bytes() == (trained / "run" / runs.CALLS).read_bytes()


def cases(*responses: str) -> list[Case]:
    return [
        Case(f"P{n}", Visit(0), Visit(9), Response(name), 9, Response.SD, False) for n, name in enumerate(responses)
    ]


def test_classes_that_a_side_lacks_are_said_with_what_follows():
    sides = Sides(cases("PD", "SD"), cases("PD", "CR", "PR"))
    training = "among the training cases: the network cannot learn it, and its weight in the loss is 1"
    inner = "among the inner cases: it has no say in which epoch is kept"
    assert absent_classes(sides, Target.FOUR_CLASSES) == (
        f"no case of PR {training}", f"no case of CR {training}", f"no case of SD {inner}",
    )  # fmt: skip
    assert absent_classes(sides, Target.PD_VERSUS_REST) == ()
    assert absent_classes(Sides(cases("SD"), cases("PD")), Target.PD_VERSUS_REST) == (
        f"no case of PD {training}", f"no case of rest {inner}",
    )  # fmt: skip


@pytest.mark.parametrize("imbalance", ["sampler", "both"])
def test_a_fold_without_a_class_is_trained_called_and_says_what_it_lacked(home, tiny, imbalance):
    table = pd.read_csv(home / "run" / runs.COHORT, dtype=str, keep_default_na=False)
    table.loc[table["response"] == "CR", "response"] = "PD"
    table.to_csv(home / "run" / runs.COHORT, index=False)
    told = []
    calls = cross_validate(
        tiny(epochs=1, imbalance=imbalance), home / "run", home / "run", lambda *what: told.append(what[2])
    )
    assert len(calls) == 16
    assert any("fold 2 of 2, epoch 0: no case of CR among the training cases" in what for what in told)
    for path in (home / "run").rglob("fold.json"):
        assert any(
            remark.startswith("no case of CR among the training") for remark in json.loads(path.read_text())["remarks"]
        )


HOLDER = """
import sys, time
from pathlib import Path
from ranoscope import runs
with runs.exclusive(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def other(home):
    """Another process that has the run folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(home / "run")], stdout=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL
    )
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_two_runs_in_one_folder_name_each_other_and_a_killed_one_lets_go(home, tiny, other):
    run = home / "run"
    with pytest.raises(RunError, match=rf"no other run writes to, got process {other.pid}, .*choose another --out"):
        cross_validate(tiny(epochs=1), run, run, silent)
    assert not (run / runs.CHECKPOINTS).exists()
    assert not (run / "store").exists()
    other.send_signal(signal.SIGKILL)
    other.wait()
    assert (run / ".lock").exists()
    cross_validate(tiny(epochs=1), run, run, silent)
    assert not list(run.rglob(".lock"))


def test_a_cell_is_trained_by_one_process_at_a_time(home, tiny):
    """As side by side in a grid: the folder is free, the cells are not."""
    run = home / "run"
    experiment = prepare_experiment(tiny(epochs=1), run, run, silent)
    cell = experiment.cells[0]
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(cell.folder)], stdout=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL
    )
    try:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(RunError, match=f"process {holder.pid}"):
            run_cell(experiment, cell, silent)
        run_cell(experiment, experiment.cells[1], silent)
    finally:
        holder.kill()
        holder.wait()
        holder.stdout.close()
    run_cell(experiment, cell, silent)
    assert len(collect_calls(experiment)) == 16


def refused_in_a_forked_process(folder) -> bool:
    child = os.fork()
    if child == 0:
        try:
            with runs.exclusive(folder):
                os._exit(0)
        except RunError:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1


def test_a_lock_is_kept_by_nested_blocks_and_not_by_forked_processes(tmp_path):
    with runs.exclusive(tmp_path):
        with runs.exclusive(tmp_path / "." / ""):
            assert refused_in_a_forked_process(tmp_path)
        assert refused_in_a_forked_process(tmp_path)
        assert (tmp_path / ".lock").exists()
    assert not (tmp_path / ".lock").exists()
    assert not refused_in_a_forked_process(tmp_path)
    with pytest.raises(ValueError, match="inside"), runs.exclusive(tmp_path):
        raise ValueError("inside")
    assert not (tmp_path / ".lock").exists()


def test_a_file_of_pretrained_weights_that_is_not_there_is_named_before_any_image_is_read(home, tiny):
    recipe = tiny().model_copy(update={"pretraining": MedicalNetPretraining(weights="nowhere/weights.pth")})
    with pytest.raises(RunError, match=r"the file of pretrained weights, got none, in nowhere/weights.pth"):
        cross_validate(recipe, home / "run", home / "run", silent)
    assert not (home / "run" / "store").exists()


@pytest.mark.parametrize(
    ("settings", "cuda", "expected"),
    [
        ({"compile": True}, False, True),
        ({"compile": False}, False, False),
        ({"compile": True, "accelerator": "auto"}, False, False),
        ({"compile": True, "accelerator": "auto"}, True, True),
    ],
)
def test_networks_are_compiled_on_cuda_or_where_the_cpu_is_named(tiny, monkeypatch, settings, cuda, expected):
    compiled = []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self: compiled.append(self))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(fitting, "CaseDataset", lambda *_: SimpleNamespace(classes=[0, 1], epoch=torch.zeros(1)))

    def train(module, *_):
        raise KeyboardInterrupt

    monkeypatch.setattr(fitting, "train", train)
    sides = Sides(cases("PD", "SD"), cases("PD", "SD"))
    material = SimpleNamespace(store=None, patients=pd.DataFrame(columns=["patient"]))
    with pytest.raises(KeyboardInterrupt):
        fitting.fit_fold(tiny(**settings), material, sides, Path("nowhere"), 0, silent)
    assert bool(compiled) == expected
