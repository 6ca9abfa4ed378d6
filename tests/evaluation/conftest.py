"""Builders of cases, predictions and run folders, all from plain values."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ranoscope.cohort.pairing import COHORT_COLUMNS, STUDY_COLUMNS
from ranoscope.domain import Case, Response, Visit, VisitState
from ranoscope.evaluation.predictions import Predictions

NAMES = ["PD", "SD", "PR", "CR"]


def build_cases(truth, patients=None, first=None, prior_ratings=None):
    """One case per class index; visits count up within a patient."""
    patients = [f"P{place:03d}" for place in range(len(truth))] if patients is None else patients
    seen: dict[str, int] = {}
    cases = []
    for place, (label, patient) in enumerate(zip(truth, patients, strict=True)):
        number = seen[patient] = seen.get(patient, 0) + 1
        cases.append(
            Case(
                patient=patient,
                prior=Visit(12 * number),
                current=Visit(12 * number + 12),
                response=Response(NAMES[label]),
                weeks_between=12,
                prior_rating=VisitState.UNRATED if prior_ratings is None else prior_ratings[place],
                first_progression=True if first is None else bool(first[place]),
            )
        )
    return tuple(cases)


def build_predictions(cases, probabilities, calls=None, folds=None):
    """Predictions of one seed per leading entry of ``probabilities``."""
    probabilities = np.asarray(probabilities, float)
    probabilities = probabilities[None] if probabilities.ndim == 2 else probabilities
    calls = probabilities.argmax(axis=2) if calls is None else np.atleast_2d(np.asarray(calls))
    folds = np.zeros(calls.shape, np.int64) if folds is None else np.atleast_2d(np.asarray(folds))
    return Predictions(tuple(cases), tuple(range(len(calls))), folds, probabilities, calls)


def write_run(run: Path, predictions: Predictions, studies: list[dict[str, str]] | None = None) -> Path:
    """cohort.csv, studies.csv, folds.csv and calls.csv, written without the code under test."""
    run.mkdir(parents=True, exist_ok=True)
    rows = [
        {
            "patient": c.patient, "current": str(c.current), "prior": str(c.prior), "response": str(c.response),
            "weeks_between": str(c.weeks_between), "current_week": str(c.current.week),
            "prior_rating": str(c.prior_rating), "first_progression": str(c.first_progression).lower(),
        }
        for c in predictions.cases
    ]  # fmt: skip
    excluded = {"patient": "P000", "current": "week-000", "response": "Pre-Op", "excluded_because": "surgery-state"}
    pd.DataFrame([excluded, *rows], columns=list(COHORT_COLUMNS)).to_csv(run / "cohort.csv", index=False)
    pd.DataFrame(studies or [], columns=list(STUDY_COLUMNS)).to_csv(run / "studies.csv", index=False)
    calls = [
        {
            **{name: row[name] for name in ("patient", "prior", "current", "response")},
            "fold": predictions.folds[s, n],
            **{
                f"p_{name}": f"{predictions.probabilities[s, n, k]:.6f}" for k, name in reversed(list(enumerate(NAMES)))
            },
            "call": NAMES[predictions.calls[s, n]],
            "seed": seed,
        }
        for s, seed in enumerate(predictions.seeds)
        for n, row in enumerate(rows)
    ]
    table = pd.DataFrame(calls)
    table.to_csv(run / "calls.csv", index=False)
    table[["seed", "patient", "current", "response", "fold"]].to_csv(run / "folds.csv", index=False)
    return run


def build_cohort_predictions(patients=24, visits=4, folds=3, seeds=1, noise=1.0):
    """A cohort in which every class occurs in several patients, with an informative model."""
    generator = np.random.default_rng(3)
    truth = generator.choice(4, size=patients * visits, p=(0.4, 0.3, 0.15, 0.15))
    names = [f"P{place:03d}" for place in range(patients) for _ in range(visits)]
    cases = build_cases(truth, names, generator.random(len(truth)) < 0.7)
    logits = noise * generator.normal(size=(seeds, len(truth), 4))
    logits[:, np.arange(len(truth)), truth] += 1.5
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=2, keepdims=True)
    fold = np.stack([np.repeat(generator.permutation(patients) % folds, visits) for _ in range(seeds)])
    return build_predictions(cases, probabilities, folds=fold)


@pytest.fixture(scope="session")
def make_cases():
    return build_cases


@pytest.fixture(scope="session")
def make_predictions():
    return build_predictions


@pytest.fixture(scope="session")
def make_run():
    return write_run


@pytest.fixture(scope="session")
def make_cohort_predictions():
    return build_cohort_predictions
