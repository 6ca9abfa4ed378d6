"""Several processes judge the inner set as one would: no case counts twice because shares must be equal."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import recall_score
from torch.utils.data import DistributedSampler

from ranoscope import runs
from ranoscope.learning.checkpoints import fold_folder, load_fold
from ranoscope.learning.crossval import prepare_experiment
from ranoscope.learning.data import PADDING, EqualShares, SampleDataset, case_tensor
from ranoscope.learning.targets import class_of

PROCESSES = 3


class Numbered(SampleDataset):
    """Sample n is the number n."""

    def __getitem__(self, index):
        return torch.tensor(float(index)), torch.zeros(0), self.classes[index]


@given(count=st.integers(1, 20), processes=st.integers(1, 7))
def test_every_sample_is_judged_once_however_many_processes_share_them(count, processes):
    shares = EqualShares(Numbered(list(range(count)), None), processes)
    dealt = [list(DistributedSampler(shares, processes, rank, shuffle=False)) for rank in range(processes)]
    assert len({len(places) for places in dealt}) == 1
    samples = [shares[place] for places in dealt for place in places]
    assert len(samples) - count < processes
    judged = [(int(number), one) for number, _, one in samples if one != PADDING]
    assert sorted(judged) == [(number, number) for number in range(count)]


@pytest.fixture(scope="module")
def dealt(trained, tiny, tmp_path_factory):
    """A run of three processes, two inner cases to a fold: one of the processes has nothing to judge."""
    recipe = tiny(epochs=1, strategy="ddp", devices=PROCESSES)
    out = tmp_path_factory.mktemp("dealt")
    script = Path(__file__).with_name("several_processes.py")
    command = [
        sys.executable,
        "-W",
        "ignore",
        str(script),
        str(trained / "run"),
        str(out),
        json.dumps(recipe.model_dump(mode="json")),
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "LOKY_MAX_CPU_COUNT": "1"}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240, check=False)
    assert ended.returncode == 0, ended.stderr
    return prepare_experiment(recipe, trained / "run", out, lambda *_: None)


def test_the_inner_score_of_several_processes_is_that_of_its_cases(dealt):
    recipe, store = dealt.recipe, dealt.material.store
    for cell in dealt.cells:
        sides = cell.sides(recipe)
        assert len(sides.inner) % PROCESSES
        network = load_fold(dealt.out, cell.seed, cell.fold)
        with torch.inference_mode():
            pairs = torch.stack([case_tensor(store, case, recipe) for case in sides.inner])
            chances = network(pairs).softmax(dim=1).double().numpy()
        classes = [class_of(case.response, recipe.target) for case in sides.inner]
        learnt = [class_of(case.response, recipe.target) for case in sides.training]
        weights = np.array([1 / learnt.count(one) if one in learnt else 0 for one in range(4)])
        weights = np.where(weights > 0, weights * len(learnt) / (weights > 0).sum(), 1)
        losses = -np.log(chances[range(len(classes)), classes])
        expected = np.average(losses, weights=weights[classes])
        (noted,) = json.loads((fold_folder(dealt.out, cell.seed, cell.fold) / "fold.json").read_text())["history"]
        assert noted["inner_loss"] == pytest.approx(expected, rel=1e-5)
        recall = recall_score(classes, chances.argmax(axis=1), labels=sorted(set(classes)), average="macro")
        assert noted["inner_balanced_accuracy"] == pytest.approx(recall)
        # Were a case to count twice, the loss would be another one.
        for place in range(len(classes)):
            assert (
                abs(np.average([*losses, losses[place]], weights=weights[[*classes, classes[place]]]) - expected) > 1e-4
            )
    assert (dealt.out / runs.CALLS).is_file()
