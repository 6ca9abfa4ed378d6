"""The rivals every table shows: what can be said without a model, each under its declared level of information.

A rival is one entry of ``RIVALS``: a name, what it knew, and a function from the evidence to its answer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from ranoscope.domain import RESPONSES, Case, InformationLevel, Response, VisitState
from ranoscope.evaluation.identity import identity_probabilities
from ranoscope.evaluation.predictions import FloatArray, IntArray, Predictions
from ranoscope.evaluation.timing import timing_probabilities
from ranoscope.evaluation.volumes import VolumeHistory, previous_scan_calls, volume_calls


@dataclass(frozen=True)
class Evidence:
    """What a rival may draw on, as far as its level allows.

    ``cases``: n cases with the expert's response; ``seeds`` and ``folds`` (seeds, n): the model's own folds, inside
    which a fitted rival is fitted. ``studies``: studies.csv, as ``read_studies`` gives it.
    """

    cases: tuple[Case, ...]
    seeds: tuple[int, ...]
    folds: IntArray
    studies: pd.DataFrame


@dataclass(frozen=True)
class Answer:
    """Probabilities of shape (n, 4), the same for every seed, or (seeds, n, 4). ``counts``: fallbacks and the like."""

    probabilities: FloatArray
    counts: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Unavailable:
    """Why a rival cannot be shown for this cohort."""

    reason: str


@dataclass(frozen=True)
class Rival:
    """A rival: its name in files, its title in tables, its level, a sentence on what it knew, and how it calls."""

    name: str
    title: str
    level: InformationLevel
    knew: str
    call: Callable[[Evidence], Answer | Unavailable]


def predict(rival: Rival, evidence: Evidence) -> tuple[Predictions, dict[str, int]] | Unavailable:
    """The rival's predictions for every case and seed, its most probable class as call, and its counts."""
    answer = rival.call(evidence)
    if isinstance(answer, Unavailable):
        return answer
    shape = (len(evidence.seeds), len(evidence.cases), len(RESPONSES))
    probabilities = np.array(np.broadcast_to(answer.probabilities, shape))
    calls = probabilities.argmax(axis=2)
    return Predictions(evidence.cases, evidence.seeds, evidence.folds, probabilities, calls), answer.counts


def hard_answer(calls: list[Response], counts: dict[str, int] | None = None) -> Answer:
    """Bare calls as probabilities of 0 and 1."""
    return Answer(np.eye(len(RESPONSES))[[call.class_index for call in calls]], counts or {})


def _always_progressive(evidence: Evidence) -> Answer:
    return hard_answer([Response.PD] * len(evidence.cases))


def _persistence(evidence: Evidence) -> Answer:
    """A visit rated Post-Op/PD counts as progression, not as surgery."""
    ratings = [case.prior_rating for case in evidence.cases]
    after_surgery = {VisitState.POST_OP: Response.SD}
    calls = [r if isinstance(r, Response) else after_surgery.get(r, Response.PD) for r in ratings]
    return hard_answer(
        calls,
        {
            "prior rated with a response": sum(isinstance(r, Response) for r in ratings),
            "prior after surgery, called SD": ratings.count(VisitState.POST_OP),
            "prior neither, called PD": sum(r not in after_surgery and not isinstance(r, Response) for r in ratings),
        },
    )


def _timing(evidence: Evidence) -> Answer:
    return Answer(timing_probabilities(evidence.cases, evidence.folds))


def _patient_week(evidence: Evidence) -> Answer:
    return Answer(identity_probabilities(evidence.cases, evidence.folds))


def _by_volume(rule: Callable[..., tuple[list[Response], dict[str, int]]], evidence: Evidence) -> Answer | Unavailable:
    history = VolumeHistory.from_studies(evidence.studies)
    if not history.is_known:
        return Unavailable("no enhancing volume is known: the cohort has no masks")
    calls, counts = rule(evidence.cases, history)
    return hard_answer(calls, counts)


def _volume_rule(evidence: Evidence) -> Answer | Unavailable:
    return _by_volume(volume_calls, evidence)


def _previous_scan_rule(evidence: Evidence) -> Answer | Unavailable:
    return _by_volume(previous_scan_calls, evidence)


RIVALS: tuple[Rival, ...] = (
    Rival(
        "always_pd",
        "Always PD",
        InformationLevel.NOTHING,
        "Knew that progression is the most frequent rating.",
        _always_progressive,
    ),
    Rival(
        "timing",
        "Timing only",
        InformationLevel.PAIR,
        "Knew the week of the current study and the weeks since the prior one; fitted on the training patients.",
        _timing,
    ),
    Rival(
        "volume_rule",
        "Volume rule",
        InformationLevel.TIMELINE,
        "Knew the enhancing volume of every study since the last operation: +40 % against the nadir is PD, −65 % "
        "against the baseline is PR, none left is CR.",
        _volume_rule,
    ),
    Rival(
        "persistence",
        "Persistence",
        InformationLevel.READER,
        "Knew the expert's rating of the prior study and repeated it; SD after an operation, otherwise PD.",
        _persistence,
    ),
)

# For the scoreboard on measured volumes, where the question is also what two studies allow and whether folds leak.
FURTHER_RIVALS: tuple[Rival, ...] = (
    Rival(
        "patient_week",
        "Patient and week",
        InformationLevel.PAIR,
        "Knew the patient's name and the week of the current study, fitted on the training cases; what it scores above "
        "timing only is a leak between the folds.",
        _patient_week,
    ),
    Rival(
        "previous_scan_rule",
        "Volume rule, two studies",
        InformationLevel.PAIR,
        "Knew the enhancing volume of the two studies: +40 % is PD, −65 % is PR, none left is CR.",
        _previous_scan_rule,
    ),
)
