"""Whatever interrupts a training, the same call goes on from the last finished epoch and ends with the same result."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
from pydantic import ValidationError

from ranoscope import runs
from ranoscope.cohort.files import read_cases
from ranoscope.config import TrainingSettings
from ranoscope.errors import RunError, StorageError
from ranoscope.learning import checkpoints, crossval, diary
from ranoscope.learning.crossval import cross_validate
from ranoscope.learning.diary import kept_epoch
from ranoscope.learning.module import ResponseModule
from ranoscope.learning.studies import prepare_store


def silent(*_):
    pass


def results(home: Path) -> dict[str, bytes]:
    run = home / "run"
    files = [run / runs.CALLS, *sorted((run / runs.CHECKPOINTS).rglob("*"))]
    return {str(path.relative_to(run)): path.read_bytes() for path in files if path.is_file()}


def test_killed_again_and_again_it_ends_as_if_nothing_had_happened(trained, home, tiny):
    script = Path(__file__).with_name("killed.py")
    environment = {**os.environ, "LOKY_MAX_CPU_COUNT": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(script), str(home), json.dumps(tiny().model_dump(mode="json"))]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert ended.returncode == 0, ended.stderr
    assert int(ended.stdout) >= 6
    assert results(home) == results(trained)
    log = (home / "log.txt").read_text().splitlines()
    last_words = "\n".join(line for line, following in pairwise(log) if following == "killed")
    for moment in ("moving .*/store/", "moved .*/store/", "sample 0 [12]", "moving .*last.ckpt", "moved .*fold.json"):
        assert re.search(moment, last_words), last_words
    assert_nothing_finished_was_repeated(log)


def assert_nothing_finished_was_repeated(log: list[str]) -> None:
    """A study, epoch or fold whose file had been moved to its place was never made again."""
    finished: set[str] = set()
    epoch_saved = {0: -1, 1: -1}
    epoch = {0: -1, 1: -1}
    for line in log:
        what, _, rest = line.partition(" ")
        if what == "sample":
            fold, epoch_now, _ = map(int, rest.split())
            assert epoch_now > epoch_saved[fold], line
            epoch[fold] = epoch_now
        elif what == "moved" and rest.endswith("last.ckpt"):
            fold = int(re.search(r"fold-(\d)", rest)[1])
            epoch_saved[fold] = epoch[fold]
        elif what == "moved" and rest.endswith(("study.json", "fold.json")):
            assert rest not in finished, line
            finished.add(rest)
    assert epoch_saved == {0: 2, 1: 2}
    assert len(finished) == 24 + 2


class PulledPlugError(Exception):
    pass


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("epoch", [1, 2])
def test_loader_processes_do_not_change_the_result_of_a_restart(trained, home, tiny, monkeypatch, workers, epoch):
    save = checkpoints.AtomicCheckpointIO.save_checkpoint
    saved = []

    def pull(self, checkpoint, path, storage_options=None):
        save(self, checkpoint, path, storage_options)
        saved.append(path)
        if len(saved) == epoch:
            raise PulledPlugError

    monkeypatch.setattr(checkpoints.AtomicCheckpointIO, "save_checkpoint", pull)
    with pytest.raises(PulledPlugError):
        cross_validate(tiny(workers=workers), home / "run", home / "run", silent)
    cross_validate(tiny(workers=workers), home / "run", home / "run", silent)
    assert len(saved) == 6
    assert results(home) == results(trained)


def test_a_training_that_had_stopped_early_does_not_train_on_after_a_restart(home, tiny, monkeypatch):
    recipe = tiny(epochs=30, patience_epochs=1, learning_rate=0.05)
    undisturbed = Path(shutil.copytree(home, home.parent / "undisturbed"))
    cross_validate(recipe, undisturbed / "run", undisturbed / "run", silent)
    abouts = [json.loads(path.read_text()) for path in undisturbed.rglob("fold.json")]
    assert all(about["epochs"] == about["kept_epoch"] + 1 < 30 for about in abouts)

    honest = crossval.call_cases

    def fail(*_):
        raise PulledPlugError

    monkeypatch.setattr(crossval, "call_cases", fail)
    with pytest.raises(PulledPlugError):
        cross_validate(recipe, home / "run", home / "run", silent)
    monkeypatch.setattr(crossval, "call_cases", honest)
    cross_validate(recipe, home / "run", home / "run", silent)
    assert results(home) == results(undisturbed)


def test_ctrl_c_while_training_stops_it_for_the_caller_and_loses_nothing(trained, home, tiny):
    def press(done, total, what):
        if "epoch 2" in what:
            signal.raise_signal(signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        cross_validate(tiny(), home / "run", home / "run", press)
    assert signal.getsignal(signal.SIGINT) is before
    cross_validate(tiny(), home / "run", home / "run", silent)
    assert results(home) == results(trained)


def interrupted(home: Path, recipe, monkeypatch) -> Path:
    """Interrupt fold 0 after its second epoch; the folder of its restart files."""

    def stop(done, total, what):
        if "epoch 2" in what:
            raise PulledPlugError

    with pytest.raises(PulledPlugError):
        cross_validate(recipe, home / "run", home / "run", stop)
    return next((home / "run" / runs.CHECKPOINTS).glob("seed-0_fold-0/restart-*"))


@pytest.mark.parametrize("damage", ["truncated", "empty", "garbage", "lost weights"])
def test_damaged_restart_files_cost_a_fold_its_epochs_but_not_the_run(trained, home, tiny, monkeypatch, damage):
    folder = interrupted(home, tiny(), monkeypatch)
    last = folder / "last.ckpt"
    whole = last.read_bytes()
    if damage == "lost weights":
        for weights in folder.glob("kept-*"):
            weights.unlink()
    else:
        last.write_bytes({"truncated": whole[: len(whole) // 2], "empty": b"", "garbage": b"garbage" * 100}[damage])
    told = []
    cross_validate(tiny(), home / "run", home / "run", lambda *what: told.append(what[2]))
    assert [what for what in told if "damaged; it starts afresh" in what] == [
        "seed 0, fold 1 of 2, epoch 0: its restart files were damaged; it starts afresh"
    ]
    assert results(home) == results(trained)


def test_no_restart_file_brings_code_along(trained, home, tiny, monkeypatch):
    """A pickle that would run a command on loading is a damaged file, and is never run."""
    folder = interrupted(home, tiny(), monkeypatch)

    class Trap:
        def __reduce__(self):
            return (os.mkdir, (str(home / "trapped"),))

    import torch

    state = torch.load(folder / "last.ckpt", weights_only=True)
    torch.save({**state, "trap": Trap()}, folder / "last.ckpt")
    cross_validate(tiny(), home / "run", home / "run", silent)
    assert not (home / "trapped").exists()
    assert results(home) == results(trained)


def test_every_torch_load_is_weights_only_and_nothing_is_unpickled():
    sources = Path(crossval.__file__).parents[1].rglob("*.py")
    text = "\n".join(path.read_text() for path in sources)
    loads = re.findall(r"torch\.load\((?:[^()]|\([^()]*\))*\)", text)
    assert loads
    assert all("weights_only=True" in load for load in loads)
    assert text.count("torch.load(") == len(loads)
    assert not re.search(r"pickle\.loads?\(|allow_pickle=True|joblib\.load\(|read_pickle\(", text)


def test_a_full_disk_is_named_and_what_was_finished_is_kept(trained, home, tiny, monkeypatch):
    written = []
    honest = Path.write_bytes

    def full(self, payload):
        written.append(self.name)
        if sum("last.ckpt" in name for name in written) == 5:
            honest(self, payload[:1000])
            raise OSError(errno.ENOSPC, "No space left on device")
        return honest(self, payload)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        with pytest.raises(StorageError, match=r"a full disk, in .*fold-1.*last.ckpt; free space"):
            cross_validate(tiny(), home / "run", home / "run", silent)
    assert not list(home.rglob("*.part"))
    epochs = []
    cross_validate(tiny(), home / "run", home / "run", lambda *what: epochs.append(what[2]))
    trained_again = [what for what in epochs if ": inner loss" in what]
    assert [re.sub(": .*", "", what) for what in trained_again] == [
        f"seed 0, fold 2 of 2, epoch {number}" for number in (2, 3)
    ]
    assert results(home) == results(trained)


def test_a_full_disk_while_aligning_studies_keeps_the_finished_ones(home, tiny, monkeypatch):
    told = []
    with monkeypatch.context() as patch:
        move = Path.replace

        def full(self, target):
            if "week-032" in str(target) and "Patient-003" in str(target):
                raise OSError(errno.ENOSPC, "No space left on device")
            return move(self, target)

        patch.setattr(Path, "replace", full)
        with pytest.raises(StorageError, match=r"a full disk, in .*Patient-003/week-032"):
            cross_validate(tiny(), home / "run", home / "run", silent)
    prepare_store(tiny(), home / "run", read_cases(home / "run"), lambda *what: told.append(what))
    assert told[0] == (7, 24, "aligned studies")
    assert told[-1][:2] == (24, 24)


def test_a_loss_that_is_not_finite_stops_with_advice_and_keeps_the_epochs_before(home, tiny, monkeypatch):
    honest = ResponseModule.training_step

    def broken(self, batch, index):
        return honest(self, batch, index) * (float("nan") if self.current_epoch == 1 else 1)

    with monkeypatch.context() as patch:
        patch.setattr(ResponseModule, "training_step", broken)
        words = r"Expected a finite loss, got .*nan.*, in .*fold-0.*, epoch 2; lower training.learning_rate"
        with pytest.raises(RunError, match=words):
            cross_validate(tiny(), home / "run", home / "run", silent)
    told = []
    cross_validate(tiny(), home / "run", home / "run", lambda *what: told.append(what[2]))
    first_epochs = [what for what in told if re.match(r"seed 0, fold 1 of 2, epoch .: inner loss", what)]
    assert len(first_epochs) == 2
    assert first_epochs[0].startswith("seed 0, fold 1 of 2, epoch 2: inner loss")


def test_the_best_epoch_is_the_lowest_inner_loss_and_the_first_of_equals():
    history = [{"inner_loss": loss} for loss in (1.2, 0.9, 1.1, 0.9)]
    assert kept_epoch(history) == 2


def test_the_last_epoch_is_kept_where_asked_and_nothing_ends_early(home, tiny, monkeypatch):
    """Even if the inner loss never improves, which would end a training after an epoch otherwise."""
    saved = []
    save = diary.save_weights

    def spy(path, network):
        save(path, network)
        saved.append((path.name, path.read_bytes()))

    monkeypatch.setattr(diary, "save_weights", spy)
    cross_validate(tiny(keep="last", patience_epochs=1, learning_rate=1e-9), home / "run", home / "run", silent)
    assert [name for name, _ in saved] == [f"kept-{epoch}.safetensors" for epoch in (1, 2, 3)] * 2
    for fold in (0, 1):
        folder = home / "run" / runs.CHECKPOINTS / f"seed-0_fold-{fold}"
        about = json.loads((folder / "fold.json").read_text())
        assert (about["epochs"], about["kept_epoch"]) == (3, 3)
        assert about["inner_loss"] == about["history"][-1]["inner_loss"]
        assert (folder / "model.safetensors").read_bytes() == saved[3 * fold + 2][1]


def test_a_training_that_keeps_its_last_epoch_can_be_interrupted(home, tiny):
    twin = Path(shutil.copytree(home, home.parent / "twin"))
    recipe = tiny(keep="last")

    def stop(done, total, what):
        if "epoch 2:" in what:
            raise KeyboardInterrupt

    cross_validate(recipe, home / "run", home / "run", silent)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            cross_validate(recipe, twin / "run", twin / "run", stop)
    cross_validate(recipe, twin / "run", twin / "run", silent)
    assert results(home) == results(twin)


def test_going_back_to_the_best_and_keeping_the_last_do_not_go_together():
    with pytest.raises(ValidationError, match="keep: last is not for schedule: drop"):
        TrainingSettings(keep="last", schedule="drop", learning_rate_drops=1)
