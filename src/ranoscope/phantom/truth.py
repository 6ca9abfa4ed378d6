"""What a synthetic cohort's folder says that LUMIERE does not: the true responses, and how often its readers erred."""

from __future__ import annotations

from pathlib import Path

from ranoscope import runs
from ranoscope.domain import Rating, Response, StudyKey, Visit, VisitState
from ranoscope.errors import TableError, problem

ABOUT = "phantom.json"
TRUTH = "phantom_truth.csv"
_COMMAND = "ranoscope phantom"


def read_truth(folder: Path) -> dict[StudyKey, Rating]:
    """The category that follows from the true course, of every visit of the cohort.

    Args:
        folder: what ``ranoscope phantom`` filled.

    Raises:
        RunError: the file is absent.
        TableError: a column is missing, or a visit or response is none.
    """
    table = runs.read_csv(folder / TRUTH, _COMMAND, ("patient", "visit", "response"))
    truth: dict[StudyKey, Rating] = {}
    for patient, name, response in zip(table["patient"], table["visit"], table["response"], strict=True):
        visit = Visit.parse(name)
        if visit is None or response not in {*Response, *VisitState}:
            got, where = f"{name} and {response or 'nothing'}", f"{folder / TRUTH}, {patient}"
            raise TableError(problem("a visit and its response", got, where, f"run `{_COMMAND}` into a new folder"))
        truth[StudyKey(patient, visit)] = Response(response) if response in set(Response) else VisitState(response)
    return truth


def read_reader_noise(folder: Path) -> float:
    """The chance with which the cohort's readers wrote a neighbouring category.

    Raises:
        RunError: the file is absent or not JSON.
    """
    return float(runs.read_json(folder / ABOUT, _COMMAND)["reader_noise"])
