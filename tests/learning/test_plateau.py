"""Drops of the learning rate and the end of training, against torch's and Lightning's own; and over a restart."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import lightning as L
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

from ranoscope import runs
from ranoscope.config import Recipe
from ranoscope.learning import checkpoints, fitting
from ranoscope.learning.crossval import cross_validate
from ranoscope.learning.plateau import Course, Plateau, follow

losses = st.lists(st.integers(0, 9).map(float), max_size=40)


@given(losses, st.integers(1, 4))
def test_the_rate_falls_when_torchs_scheduler_lowers_it(values, patience):
    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    # Torch acts when the bad epochs are more than its patience.
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimiser, factor=0.1, patience=patience - 1, threshold=0, eps=0
    )
    expected, rate = [], 1.0
    for epoch, loss in enumerate(values, start=1):
        scheduler.step(loss)
        before, rate = rate, optimiser.param_groups[0]["lr"]
        expected += [epoch] if rate < before else []
    assert follow(values, patience, drops=100) == Course(tuple(expected), False)


@given(losses, st.integers(1, 4))
def test_without_drops_training_ends_when_lightnings_early_stopping_says(values, patience):
    stopping = L.pytorch.callbacks.EarlyStopping("loss", patience=patience)
    stop = False
    for value in values:
        stop, _ = stopping._evaluate_stopping_criteria(torch.tensor(value))
        if stop:
            break
    assert follow(values, patience, drops=0) == Course((), stop)


@given(losses, st.integers(1, 4), st.integers(0, 3))
def test_a_course_is_only_ever_continued(values, patience, drops):
    """What was decided after some epochs stays decided: a restart, which knows the losses alone, goes the same way."""
    before = Course((), False)
    for count in range(len(values) + 1):
        course = follow(values[:count], patience, drops)
        assert course.drops[: len(before.drops)] == before.drops
        assert len(course.drops) <= drops
        assert course.ended or not before.ended
        before = course


@pytest.fixture(scope="module")
def dropping(tiny) -> Recipe:
    """A rate so high that the inner loss soon gets worse; everything random at once."""
    recipe = tiny(
        epochs=6, patience_epochs=1, learning_rate=0.2, schedule="drop", learning_rate_drops=2, imbalance="both",
        loss="focal",
    )  # fmt: skip
    content = recipe.model_dump(mode="json")
    content["clinical"] = {"age": True, "interval": True}
    content["missing_sequences"] = "zero-fill"
    content["augmentation"]["sequence_dropout"] = 0.4
    return Recipe.model_validate(content)


@pytest.fixture(scope="module")
def undisturbed(original, dropping, tmp_path_factory) -> Path:
    home = Path(shutil.copytree(original, tmp_path_factory.mktemp("undisturbed") / "home"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("joblib.cpu_count", lambda: 1)
        cross_validate(dropping, home / "run", home / "run", lambda *_: None)
    return home


def records(home: Path) -> list[dict]:
    return [json.loads(path.read_text()) for path in sorted(home.rglob("fold.json"))]


def results(home: Path) -> dict[str, bytes]:
    run = home / "run"
    files = [run / runs.CALLS, *sorted((run / runs.CHECKPOINTS).rglob("*"))]
    return {str(path.relative_to(run)): path.read_bytes() for path in files if path.is_file()}


def test_the_record_says_when_the_rate_fell(undisturbed):
    assert any(record["learning_rate_dropped_after"] for record in records(undisturbed))
    for record in records(undisturbed):
        inner = [entry["inner_loss"] for entry in record["history"]]
        course = follow(inner, 1, 2)
        assert record["learning_rate_dropped_after"] == list(course.drops)
        assert record["epochs"] == 6 or course.ended


class PulledPlugError(Exception):
    pass


def test_interrupted_after_every_epoch_it_ends_as_if_nothing_had_happened(undisturbed, home, dropping, monkeypatch):
    save, saved = checkpoints.AtomicCheckpointIO.save_checkpoint, []

    def pull(self, checkpoint, path, storage_options=None):
        save(self, checkpoint, path, storage_options)
        saved.append(path)
        raise PulledPlugError

    monkeypatch.setattr(checkpoints.AtomicCheckpointIO, "save_checkpoint", pull)
    for _ in range(20):
        try:
            cross_validate(dropping, home / "run", home / "run", lambda *_: None)
            break
        except PulledPlugError:
            continue
    assert len(saved) == sum(record["epochs"] for record in records(undisturbed))
    assert results(home) == results(undisturbed)


def test_at_a_drop_the_network_goes_back_and_the_optimiser_forgets(home, dropping, monkeypatch):
    seen = []

    class Watched(Plateau):
        def _drop(self, trainer, module):
            before = trainer.optimizers[0].param_groups[0]["lr"]
            assert trainer.optimizers[0].state
            super()._drop(trainer, module)
            best = load_file(max(self.diary.folder.glob("kept-*"), key=lambda path: int(path.stem.split("-")[1])))
            for network in (module.network, module.average.module):
                assert all(torch.equal(value, best[name]) for name, value in network.state_dict().items())
            assert module.average.n_averaged == 0
            assert not trainer.optimizers[0].state
            assert trainer.optimizers[0].param_groups[0]["lr"] == pytest.approx(before / 10)
            seen.append(before)

    monkeypatch.setattr(fitting, "Plateau", Watched)
    told = []
    cross_validate(dropping, home / "run", home / "run", lambda *what: told.append(what[2]))
    assert 0.2 in seen
    assert sum("back to the best weights with a tenth" in what for what in told) == len(seen)
