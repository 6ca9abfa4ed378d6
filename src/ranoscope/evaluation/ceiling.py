"""The ceiling of a synthetic cohort: how a reader who knows the truth scores against the ratings of readers who err.

Where labels carry noise no model can be expected to reach every score's best value. Only a synthetic cohort keeps the
truth beside the ratings, so only there the bound is known; nothing is said of other cohorts.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ranoscope import runs
from ranoscope.cohort.files import SOURCE, read_cases, read_is_synthetic
from ranoscope.domain import RESPONSES, Case, Response
from ranoscope.evaluation.predictions import FloatArray, Predictions
from ranoscope.evaluation.rivals import Unavailable
from ranoscope.evaluation.scores import BALANCED_ACCURACY, FIRST_PROGRESSION_AUC, MACRO_F1, PD_AUC, score
from ranoscope.evaluation.weighting import whole_sample
from ranoscope.phantom.courses import reading_chances
from ranoscope.phantom.truth import ABOUT, TRUTH, read_reader_noise, read_truth

CEILING = "ceiling"
CEILING_FILE = "ceiling.json"
TITLE = "Ceiling (truth)"
KNEW = (
    "Knew the simulated truth of every visit and how often its noisy readers err. Exists for synthetic cohorts only: "
    "against these ratings no model can be expected to score higher."
)
LEVEL, LEVEL_SENTENCE = "truth", "Knew the simulated truth, which only a synthetic cohort has."
_SCORES = (BALANCED_ACCURACY, MACRO_F1, PD_AUC, FIRST_PROGRESSION_AUC)


@dataclass(frozen=True)
class Ceiling:
    """``probabilities``: of each rating given the truth, exact by the phantom's own noise model, shape (n, 4), classes
    as in ``RESPONSES``. ``reader_noise``: its chance. ``read_otherwise``: cases whose rating is not the truth.
    """

    cases: tuple[Case, ...]
    probabilities: FloatArray
    reader_noise: float
    read_otherwise: int

    @property
    def counts(self) -> dict[str, int]:
        """For a row of the scoreboard."""
        return {"rated otherwise than the truth": self.read_otherwise}

    def describe(self) -> dict[str, Any]:
        """The bound in numbers; NaN for a score for which the cases lack a class."""
        one = (1, len(self.cases))
        calls = self.probabilities.argmax(axis=1).reshape(one)
        predictions = Predictions(self.cases, (0,), np.zeros(one, np.int64), self.probabilities[None], calls)
        found = score(predictions, whole_sample(len(self.cases)))
        return {
            "note": KNEW,
            "cases": len(self.cases),
            "reader_noise": self.reader_noise,
            "rated_otherwise": self.read_otherwise,
            "scores": {name: float(found[name][0]) for name in _SCORES},
        }


def read_ceiling(run: Path, cases: tuple[Case, ...] | None = None) -> Ceiling | Unavailable | None:
    """The ceiling of a run's cases; None where the cohort is not synthetic.

    Args:
        run: folder with what ``ranoscope cohort`` wrote; source.json names the synthetic cohort's folder.
        cases: the kept cases of cohort.csv, where they have been read before.

    Raises:
        RunError: cohort.csv is absent.
        TableError: a row of cohort.csv or of phantom_truth.csv is not valid.
    """
    if not (run / SOURCE).is_file() or not read_is_synthetic(run):
        return None
    folder = _home(run)
    if folder is None:
        return Unavailable(f"{TRUTH} is not where the cohort was made from")
    cases = tuple(read_cases(run)) if cases is None else cases
    noise, truth = read_reader_noise(folder), read_truth(folder)
    true = [truth.get(case.current_study) for case in cases]
    strangers = [str(case) for case, response in zip(cases, true, strict=True) if not isinstance(response, Response)]
    if strangers:
        return Unavailable(f"{TRUTH} has no response for {strangers[0]}")
    places = [RESPONSES.index(response) for response in true if isinstance(response, Response)]
    otherwise = sum(case.response is not response for case, response in zip(cases, true, strict=True))
    return Ceiling(cases, reading_chances(noise)[places], noise, otherwise)


def _home(run: Path) -> Path | None:
    """The folder that ``ranoscope phantom`` filled, or None where it is unknown or no longer there."""
    images = runs.read_json(run / SOURCE, "ranoscope cohort").get("images")
    if images is None:
        return None
    place = (run / images).resolve()
    holding = (folder for folder in (place, place.parent) if all((folder / name).is_file() for name in (ABOUT, TRUTH)))
    return next(holding, None)
