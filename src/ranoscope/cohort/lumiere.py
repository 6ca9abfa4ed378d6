"""The LUMIERE tables as published: every spelling quirk of theirs lives here and only here."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ranoscope import provenance
from ranoscope.cohort import layout
from ranoscope.cohort.tables import Column, Line, bad_values, find_table, read_lines
from ranoscope.domain import SEQUENCES, Rating, Response, Segmenter, Sequence, StudyKey, Visit, VisitState
from ranoscope.errors import TableError, problem

UNKNOWN = "unknown"

_PATIENT = Column("patient", ("Patient",))
# The published tables name the week column in three ways; the paper's code asks its users to rename it by hand.
_WEEK = Column("week", ("Date", "Timepoint", "Time point"))
_RATINGS = (
    _PATIENT,
    _WEEK,
    Column("under_3_months", ("LessThan3Months",)),
    Column("rating", ("Rating (according to RANO)", "RANO"), prefix="Rating ("),
    Column("rationale", ("Rating rationale", "RatingRationale"), prefix="Rating rationale"),
)
_COMPLETENESS = (_PATIENT, _WEEK, *(Column(name, (name,)) for name in (*SEQUENCES, *Segmenter)))
_DEMOGRAPHICS = (
    _PATIENT,
    Column("survival_weeks", ("Survival time (weeks)",), prefix="Survival"),
    Column("sex", ("Sex",)),
    Column("age_years", ("Age at surgery (years)",), prefix="Age"),
    Column("idh", ("IDH (WT: wild type)", "IDH"), prefix="IDH ("),
    Column("mgmt", ("MGMT qualitative",)),
)

_MISSING = frozenset({"", "na", "n/a", "n-a", "none", "nan"})
_RATING_BY_TEXT: Mapping[str, Rating] = {str(rating).casefold(): rating for rating in (*Response, *VisitState)}

# Which words a demographics cell uses. "IDH1 neg, Sequencing required" says that the test is not finished: unknown.
_WORDS: Mapping[str, Mapping[str, str]] = {
    "sex": {"male": "male", "female": "female"},
    "idh": {"wt": "wild type", "r132h mut": "mutant", "idh1 neg, sequencing required": UNKNOWN},
    "mgmt": {"methylated": "methylated", "not methylated": "not methylated"},
}


@dataclass(frozen=True)
class RatingRow:
    """One row of the expert ratings. ``visit`` is None where ``week`` (the text of the table) is no visit."""

    line: int
    patient: str
    week: str
    visit: Visit | None
    rating: Rating
    under_3_months: bool
    rationale: str

    @property
    def rationale_says_under_3_months(self) -> bool:
        """The free text speaks of 3 months: the paper's rule (Q12), wherever in the text and in any case."""
        return re.search(r"(?<!\d)3\s*months", self.rationale, re.IGNORECASE) is not None

    @property
    def rationale_says_no_rano_timepoint(self) -> bool:
        """The free text mentions RANO, as in "Not a timepoint for RANO measurement": the paper's rule."""
        return re.search(r"\bRANO\b", self.rationale, re.IGNORECASE) is not None


@dataclass(frozen=True)
class Marks:
    """The completeness table's crosses for one visit."""

    sequences: frozenset[Sequence]
    segmenters: frozenset[Segmenter]


@dataclass(frozen=True)
class Patient:
    """Demographics and pathology. None or ``"unknown"`` where the table does not say; never a class of its own."""

    survival_weeks: float | None = None
    sex: str = UNKNOWN
    age_years: float | None = None
    idh: str = UNKNOWN
    mgmt: str = UNKNOWN


@dataclass(frozen=True)
class Tables:
    """All that the CSV files say. ``completeness`` is None where that table is absent.

    ``inputs``: file name → SHA-256 of each table read. ``rejected_weeks``: rows whose week text is no visit.
    """

    ratings: list[RatingRow]
    completeness: dict[StudyKey, Marks] | None
    patients: dict[str, Patient]
    inputs: dict[str, str]
    warnings: list[str]
    rejected_weeks: list[str]


def read_tables(root: Path) -> Tables:
    """Read the tables that lie in ``root``, beside or above its ``Imaging``.

    Raises:
        TableError: no ratings, a column missing, a value outside its vocabulary (all listed, with their lines).
    """
    if not root.exists():
        raise TableError(problem("a LUMIERE folder", "nothing", str(root), "check the path"))
    inputs: dict[str, str] = {}
    warnings: list[str] = []
    rejected: list[str] = []
    path = find_table(root, layout.RATINGS)
    if path is None:
        raise TableError(
            problem(f"the table {layout.RATINGS}", "none", str(root), "put it beside or above the Imaging folder")
        )
    ratings = _read_ratings(path, rejected)
    inputs[path.name] = provenance.file_hash(path)
    completeness = None
    path = find_table(root, layout.COMPLETENESS)
    if path is None:
        warnings.append(f"{layout.COMPLETENESS} is absent: files cannot be checked against it.")
    else:
        completeness = _read_completeness(path, rejected)
        inputs[path.name] = provenance.file_hash(path)
    patients: dict[str, Patient] = {}
    path = find_table(root, layout.DEMOGRAPHICS)
    if path is None:
        warnings.append(f"{layout.DEMOGRAPHICS} is absent: sex, age, IDH, MGMT and survival stay unknown.")
    else:
        patients = _read_demographics(path, warnings)
        inputs[path.name] = provenance.file_hash(path)
    warnings += [f"{rejection}." for rejection in rejected]
    return Tables(ratings, completeness, patients, inputs, warnings, rejected)


def _read_ratings(path: Path, rejected: list[str]) -> list[RatingRow]:
    lines = read_lines(path, _RATINGS)
    _require_patients(path, lines)
    unknown = [line for line in lines if _rating(line.cells["rating"]) is None]
    if unknown:
        found = [f"`{line.cells['rating']}` on line {line.number}{_near(line.cells['rating'])}" for line in unknown]
        raise bad_values(path.name, f"a rating among {_vocabulary()}", found, "correct these cells")
    _require_crosses(path, lines, ("under_3_months",))
    rows = []
    for line in lines:
        rating = _rating(line.cells["rating"])
        assert rating is not None
        rows.append(
            RatingRow(
                line=line.number,
                patient=line.cells["patient"],
                week=line.cells["week"],
                visit=_visit(path, line, rejected),
                rating=rating,
                under_3_months=_crossed(line.cells["under_3_months"]),
                rationale=line.cells["rationale"],
            )
        )
    return rows


def _read_completeness(path: Path, rejected: list[str]) -> dict[StudyKey, Marks]:
    lines = read_lines(path, _COMPLETENESS)
    _require_patients(path, lines)
    _require_crosses(path, lines, (*SEQUENCES, *Segmenter))
    marks = {}
    for line in lines:
        visit = _visit(path, line, rejected)
        if visit is not None:
            marks[StudyKey(line.cells["patient"], visit)] = Marks(
                frozenset(sequence for sequence in SEQUENCES if _crossed(line.cells[sequence])),
                frozenset(tool for tool in Segmenter if _crossed(line.cells[tool])),
            )
    return marks


def _read_demographics(path: Path, warnings: list[str]) -> dict[str, Patient]:
    lines = read_lines(path, _DEMOGRAPHICS)
    _require_patients(path, lines)
    patients = {}
    for line in lines:
        place = f"{path.name}, line {line.number}, {line.cells['patient']}"
        patients[line.cells["patient"]] = Patient(
            survival_weeks=_number(line, "survival_weeks", place, warnings),
            sex=_word(line, "sex", place, warnings),
            age_years=_number(line, "age_years", place, warnings),
            idh=_word(line, "idh", place, warnings),
            mgmt=_word(line, "mgmt", place, warnings),
        )
    return patients


def _rating(text: str) -> Rating | None:
    return VisitState.UNRATED if text.casefold() in _MISSING else _RATING_BY_TEXT.get(text.casefold())


def _near(text: str) -> str:
    near = difflib.get_close_matches(text.casefold(), _RATING_BY_TEXT, n=1)
    return f" (did the expert mean `{_RATING_BY_TEXT[near[0]]}`?)" if near else ""


def _vocabulary() -> str:
    return ", ".join(str(rating) for rating in _RATING_BY_TEXT.values() if rating is not VisitState.UNRATED) + ", None"


def _visit(path: Path, line: Line, rejected: list[str]) -> Visit | None:
    visit = Visit.parse(line.cells["week"])
    if visit is None:
        place = f"{path.name}, line {line.number}, {line.cells['patient']}"
        rejected.append(f"{place}: `{line.cells['week']}` is no week-NNN or week-NNN-S")
    return visit


def _crossed(cell: str) -> bool:
    return cell.casefold() == "x"


def _require_crosses(path: Path, lines: list[Line], keys: tuple[str, ...]) -> None:
    allowed = _MISSING | {"x"}
    found = [
        f"`{line.cells[key]}` on line {line.number}"
        for line in lines
        for key in keys
        if line.cells[key].casefold() not in allowed
    ]
    if found:
        raise bad_values(path.name, "a cross `x` or an empty cell", found, "correct these cells")


def _require_patients(path: Path, lines: list[Line]) -> None:
    found = [f"an empty cell on line {line.number}" for line in lines if not line.cells["patient"]]
    if found:
        raise bad_values(path.name, "a patient on every line", found, "fill these cells")


def _number(line: Line, key: str, place: str, warnings: list[str]) -> float | None:
    text = line.cells[key]
    if text.casefold() in _MISSING:
        return None
    try:
        return float(text)
    except ValueError:
        warnings.append(f"{place}: `{text}` is no number for {key}; it stays unknown.")
        return None


def _word(line: Line, key: str, place: str, warnings: list[str]) -> str:
    text = line.cells[key]
    if text.casefold() in _MISSING:
        return UNKNOWN
    word = _WORDS[key].get(text.casefold())
    if word is None:
        warnings.append(f"{place}: `{text}` is no known word for {key}; it stays unknown.")
        return UNKNOWN
    return word
