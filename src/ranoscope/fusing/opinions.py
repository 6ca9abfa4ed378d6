"""What network, measured-change model and response criteria say of every case, inside and outside each outer fold.

No opinion is of a model that was fitted to the case's patient, and of a nest's training cases none is of a model that
was fitted to a patient of the outer fold.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ranoscope.domain import RESPONSES, InformationLevel
from ranoscope.evaluation.predictions import BoolArray, FloatArray, IntArray, Predictions
from ranoscope.fusing.nesting import Nest
from ranoscope.fusing.stacking import Opinions
from ranoscope.response.calls import Call, Category
from ranoscope.scoreboard.criteria import as_response, engine_calls
from ranoscope.scoreboard.disagreements import CHOSEN
from ranoscope.scoreboard.entrants import Entry
from ranoscope.scoreboard.models import Model, at_equal_frequency
from ranoscope.scoreboard.protocol import Exam, examine


@dataclass(frozen=True)
class Nested:
    """A nest's opinions at one level: of its ``training`` cases and of its ``test`` cases."""

    training: Opinions
    test: Opinions


def measured_inside(models: tuple[Model, ...], exam: Exam, nest: Nest) -> dict[str, Predictions]:
    """Answers of the models to a nest's training cases, out of its inner folds; finished parts are kept in its folder.

    Raises:
        StorageError: the disk is full or not writable; finished parts are kept.
    """
    features = {level: table.iloc[nest.training].reset_index(drop=True) for level, table in exam.features.items()}
    return examine(models, Exam(nest.cases, (nest.seed,), nest.folds[None], features), nest.folder, lambda *_: None)


def rule_calls(entry: Entry, level: InformationLevel) -> list[Call] | None:
    """The chosen criteria's call of every case, from what the level may know; None where no volume is known."""
    return engine_calls(CHOSEN, entry.cases, entry.courses, pairs_alone=level is InformationLevel.PAIR)


def one_hot(calls: list[Call] | None, count: int) -> FloatArray:
    """Calls as (n, 4): a row of zeros where the criteria cannot say, which is no category of its own."""
    rows = np.zeros((count, len(RESPONSES)))
    for place, call in enumerate(calls or ()):
        if call.category not in (None, Category.NE):
            rows[place, as_response(call)[0].class_index] = 1.0
    return rows


def are_measured(entry: Entry) -> BoolArray:
    """Whether both studies of each case have a measured volume, shape (n,)."""
    volumes = [(entry.courses[case.patient].volumes, case) for case in entry.cases]
    return np.array([bool(known.get(case.prior)) and bool(known.get(case.current)) for known, case in volumes], bool)


def at_equal_frequencies(predictions: Predictions) -> FloatArray:
    """A measured-change model's probabilities as if every class were equally frequent, shape (seeds, n, 4)."""
    answers = np.zeros_like(predictions.probabilities)
    for place, folds in enumerate(predictions.folds):
        for fold in np.unique(folds):
            test = folds == fold
            answers[place, test] = at_equal_frequency(predictions.probabilities[place, test], predictions.truth[~test])
    return answers


def gather_opinions(
    nest: Nest, network: tuple[FloatArray, FloatArray], measured: tuple[FloatArray, FloatArray], rule: FloatArray,
    known: BoolArray,
) -> Nested:  # fmt: skip
    """Put a nest's opinions together.

    Args:
        nest: the outer fold.
        network: probabilities of its training cases, in their order, and of all cases under the nest's seed.
        measured: the same of the measured-change model, as if every class were equally frequent.
        rule: one-hot calls of all cases.
        known: whether each of all cases is measured.
    """

    def side(places: IntArray, images: FloatArray, volumes: FloatArray) -> Opinions:
        return Opinions(images, volumes, rule[places], known[places])

    return Nested(
        side(nest.training, network[0], measured[0]),
        side(nest.test, network[1][nest.test], measured[1][nest.test]),
    )
