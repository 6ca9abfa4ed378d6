"""A cohort whose every secret is known, and networks that read exactly one of them."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from ranoscope import runs
from ranoscope.cohort.files import PATIENTS, SOURCE
from ranoscope.cohort.folds import FOLD_COLUMNS, write_folds
from ranoscope.cohort.pairing import COHORT_COLUMNS, PATIENT_COLUMNS
from ranoscope.config import EvaluationSettings, parse_recipe
from ranoscope.domain import RESPONSES, Case, Response, Sequence, Visit
from ranoscope.explaining.trained import TrainedFold
from ranoscope.imaging.store import AlignedStudy
from ranoscope.learning.checkpoints import FOLD, WEIGHTS, fold_folder, training_fingerprint
from ranoscope.learning.facts import FactScale
from ranoscope.learning.networks import PairNetwork
from ranoscope.probing import audit, passes

SHAPE = (10, 11, 8)
SEQUENCES = (Sequence.CT1, Sequence.T1)
ROUND = ("PD", "SD", "PD", "PR", "PD", "CR")
AMOUNTS = {"PD": (6, 14), "SD": (8, 8), "PR": (14, 6), "CR": (8, 0)}
PATIENTS_COUNT, FOLDS_COUNT, SEED = 24, 2, 3


def make_recipe(**changes):
    grid = {"voxel_mm": 6.0, "box_mm": [60, 66, 48]}
    content = {
        "name": "fake", "description": "t", "sequences": [str(s) for s in SEQUENCES], "grid": grid,
        "network": {"name": "change-aware", "widths": [4, 8]}, "folds": {"count": FOLDS_COUNT, "seeds": [SEED]},
        "training": {"accelerator": "cpu", "precision": "32-true", "batch_size": 5}, "evaluation": {"bootstrap": 200},
    }  # fmt: skip
    return parse_recipe(content | changes, "test")


def make_cases(telling_interval: bool = False) -> list[Case]:
    """Two cases of each patient without a study in common."""
    cases = []
    for number in range(PATIENTS_COUNT):
        for turn in range(2):
            response = Response(ROUND[(2 * number + turn + number // 3) % len(ROUND)])
            weeks = (20 if response is Response.PD else 8) if telling_interval else 8
            prior = Visit(1 + 50 * turn)
            current = Visit(prior.week + weeks)
            cases.append(Case(f"Patient-{number:03d}", prior, current, response, weeks, Response.SD, True))
    return cases


def make_store(cases: list[Case]) -> dict:
    """Bright CT1 where there is tumour; a bright spot in T1 of PD; the patient's number in T1 beside it."""
    rng, store = np.random.default_rng(0), {}
    brain = np.zeros(SHAPE, bool)
    brain[1:9, 1:10, 1:7] = True
    for case in cases:
        for current, key in enumerate((case.prior_study, case.current_study)):
            volumes = rng.normal(0, 0.1, (2, *SHAPE)) * brain
            tumour = np.zeros(SHAPE, np.uint8)
            block = np.argwhere(np.ones((3, 3, 2), bool)) + np.array([2, 3, 3])
            places = block[: AMOUNTS[case.response][current]]
            tumour[tuple(places.T)] = 1
            volumes[0][tumour > 0] = 5
            volumes[1, 8, 9, 6] = 9 if current and case.response is Response.PD else 0
            volumes[1, 7, 9, 1] = int(case.patient[-3:]) / 10
            store[key] = AlignedStudy(
                key, SEQUENCES, volumes.astype(np.float16), brain, tumour, np.eye(4), ((0, 0, 0), SHAPE)
            )
    return store


class Fake(PairNetwork):
    """Answers by rule; ``head`` turns a one-hot answer into logits."""

    def __init__(self, extra: int = 0) -> None:
        super().__init__()
        self.head = nn.Linear(4 + extra, 4, bias=False)
        with torch.no_grad():
            self.head.weight.copy_(torch.eye(4, 4 + extra) * 20)

    def decide(self, pair, facts):
        raise NotImplementedError

    def extra(self, pair):
        return pair.new_zeros(len(pair), 0)

    def forward(self, pair, facts=None):
        answer = nn.functional.one_hot(self.decide(pair, facts), 4).to(pair.dtype)
        return self.head(torch.cat([answer, self.extra(pair)], dim=1))


class Honest(Fake):
    """Counts bright CT1 voxels of both studies, wherever they are."""

    def decide(self, pair, facts):
        before, now = (pair[:, :, 0] > 2).flatten(2).sum(dim=2).T
        answers = torch.ones_like(now)
        answers[now - before > 2] = 0
        answers[before - now > 2] = 2
        answers[(now == 0) & (before > 0)] = 3
        return answers


class ReadsMark(Fake):
    """PD where the current T1 has the spot."""

    def decide(self, pair, facts):
        return (~(pair[:, 1, 1].flatten(1).amax(dim=1) > 8)).long()


class ReadsInterval(Fake):
    def decide(self, pair, facts):
        return (facts[:, 0] <= 0).long()


class Constant(Fake):
    def decide(self, pair, facts):
        return torch.zeros(len(pair), dtype=torch.int64)


class KnowsPatient(Constant):
    """Its features hold the patient's number."""

    def __init__(self):
        super().__init__(extra=1)

    def extra(self, pair):
        return pair[:, 1, 1, 7, 9, 1][:, None]


class ReadsSide(Honest):
    """Honest about what is on the right half of the grid's first axis alone."""

    def decide(self, pair, facts):
        return super().decide(pair[:, :, :, : SHAPE[0] // 2], facts)


def trained_with(network, recipe, scale=None) -> TrainedFold:
    people = pd.DataFrame({"patient": [case.patient for case in make_cases()]})
    return TrainedFold(recipe, network.eval(), torch.device("cpu"), "key", scale or FactScale({}), people)


def write_run(run: Path, recipe, cases) -> Path:
    """What ``crossval`` leaves, with the weights' bytes made up."""
    rows = [
        {
            "patient": c.patient, "prior": str(c.prior), "current": str(c.current), "response": str(c.response),
            "weeks_between": str(c.weeks_between), "prior_rating": "SD", "first_progression": "true",
        }
        for c in cases
    ]  # fmt: skip
    cohort = [dict.fromkeys(COHORT_COLUMNS, "") | row for row in rows]
    runs.write_csv(run / runs.COHORT, pd.DataFrame(cohort, columns=list(COHORT_COLUMNS)))
    people = [dict.fromkeys(PATIENT_COLUMNS, "") | {"patient": name} for name in sorted({c.patient for c in cases})]
    runs.write_csv(run / PATIENTS, pd.DataFrame(people, columns=list(PATIENT_COLUMNS)))
    fold = {name: int(name[-3:]) % FOLDS_COUNT for name in {c.patient for c in cases}}
    folds = [(SEED, c.patient, str(c.current), str(c.response), fold[c.patient]) for c in cases]
    write_folds(run, pd.DataFrame(folds, columns=list(FOLD_COLUMNS)))
    calls = [
        {**row, "fold": fold[row["patient"]], **{f"p_{n}": 0.25 for n in RESPONSES}, "call": "PD", "seed": SEED}
        for row in rows
    ]
    runs.write_csv(run / runs.CALLS, pd.DataFrame(calls)[[*runs.CALL_COLUMNS, "seed"]])
    runs.write_yaml(run / runs.SETTINGS, {"crossval": recipe.model_dump(mode="json")})
    runs.write_json(run / SOURCE, {"images": None, "store": "store"})
    for number in range(FOLDS_COUNT):
        folder = fold_folder(run, SEED, number)
        about = {"key": "k", "recipe": training_fingerprint(recipe), "recipe_name": "fake", "fact_scale": {}}
        runs.write_json(folder / FOLD, about)
        runs.write_bytes(folder / WEIGHTS, b"first")
    return run


@pytest.fixture(scope="session")
def cases():
    return make_cases()


@pytest.fixture(scope="session")
def store(cases):
    return make_store(cases)


NETWORKS = {
    "honest": Honest, "mark": ReadsMark, "interval": ReadsInterval, "constant": Constant, "patient": KnowsPatient,
    "side": ReadsSide,
}  # fmt: skip


@pytest.fixture
def lab(tmp_path, monkeypatch):
    """Audits a made-up run of a fake network; ``asked`` counts the folds whose network was asked."""
    return Lab(tmp_path / "run", monkeypatch)


class Lab:
    def __init__(self, run: Path, monkeypatch) -> None:
        self.run, self.monkeypatch, self.asked = run, monkeypatch, 0

    def prepare(self, name: str, telling_interval: bool = False, **changes) -> None:
        facts = {"clinical": {"interval": True}} if telling_interval else {}
        recipe, cases = make_recipe(**facts, **changes), make_cases(telling_interval)
        shutil.rmtree(self.run, ignore_errors=True)
        write_run(self.run, recipe, cases)
        store, scale = make_store(cases), FactScale({"interval": (14.0, 6.0)})
        self.monkeypatch.setattr(audit, "open_run_store", lambda run, recipe: store)
        self.monkeypatch.setattr(audit, "load_trained", lambda *_: trained_with(NETWORKS[name](), recipe, scale))
        ask = passes.ask_fold

        def counted(*given):
            self.asked += 1
            return ask(*given)

        self.monkeypatch.setattr(audit, "ask_fold", counted)

    def audit(self, progress=lambda *_: None) -> dict:
        return audit.audit_shortcuts(self.run, EvaluationSettings(bootstrap=200), progress)

    def audited(self, name: str, telling_interval: bool = False, **changes) -> dict:
        self.prepare(name, telling_interval, **changes)
        return self.audit()


@pytest.fixture(scope="session")
def fake():
    """Name → fake network and its fold."""
    return lambda name, recipe: trained_with(NETWORKS[name](), recipe)


@pytest.fixture(scope="session")
def recipe_with():
    return make_recipe
