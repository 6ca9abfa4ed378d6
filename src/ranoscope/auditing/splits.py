"""Anybody's folds, read and tied to a cohort: every kept case exactly once per seed, or a clear refusal."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from ranoscope import runs
from ranoscope.cohort.files import read_cases
from ranoscope.cohort.folds import PROTOCOL_COLUMN
from ranoscope.config import FoldProtocol
from ranoscope.domain import Case, Visit
from ranoscope.errors import RanoscopeError, RunError, TableError, problem
from ranoscope.evaluation.predictions import IntArray

# What a visit is called in the folds of others, and in ours.
VISIT_COLUMNS = ("visit", "current")
_COMMAND = "ranoscope folds"
_KEY = ["seed", "patient", "current"]


@dataclass(frozen=True)
class Split:
    """Folds of a cohort. A visit is named by its case: the labelled, current study.

    ``cases``: n cases in the cohort's order. ``seeds``: s repetitions. ``labels``: the folds' names as written.
    ``folds``: place in ``labels`` of each case, shape (s, n). ``protocol``: as marked in the table, None unmarked.
    """

    cases: tuple[Case, ...]
    seeds: tuple[int, ...]
    labels: tuple[str, ...]
    folds: IntArray
    protocol: str | None = None

    @property
    def truth(self) -> IntArray:
        """The expert's class index per case, shape (n,)."""
        return np.array([case.response.class_index for case in self.cases], np.int64)

    @property
    def warning(self) -> str | None:
        """What the split's mark warns of."""
        known = {str(protocol): protocol.warning for protocol in FoldProtocol}
        return known.get(self.protocol or str(FoldProtocol.PATIENT))


def read_split(folds: Path, cohort_run: Path) -> Split:
    """A table of folds, checked against a cohort; tables alone will do, no image is read.

    Args:
        folds: a CSV file with ``patient``, ``visit`` (or ``current``), ``fold``, and if there ``seed``, ``response``
            and ``protocol``; or a run folder that holds folds.csv. A fold's name may be any text.
        cohort_run: folder that ``ranoscope cohort`` wrote.

    Raises:
        RunError: no such file, no cohort, or folds of other cases than the cohort keeps.
        TableError: a column is missing, a cell cannot be read, or a visit is listed twice under one seed.
    """
    path = folds / runs.FOLDS if folds.is_dir() else folds
    cases = read_cases(cohort_run)
    if not cases:
        raise RunError(problem("at least one kept case", "none", str(cohort_run), "read flow.json for the exclusions"))
    table = _read_table(path)
    _check_cases(table, cases, cohort_run, path.name)
    labels = tuple(sorted(table["fold"].unique(), key=lambda name: (not name.isdecimal(), name.zfill(9), name)))
    seeds = tuple(sorted(int(seed) for seed in table["seed"].unique()))
    place = table.set_index(_KEY)["fold"].map({label: number for number, label in enumerate(labels)})
    order = pd.MultiIndex.from_tuples([(seed, case.patient, str(case.current)) for seed in seeds for case in cases])
    found = place.loc[order].to_numpy(np.int64).reshape(len(seeds), len(cases))
    alone = [seed for seed, of_seed in zip(seeds, found, strict=True) if len(np.unique(of_seed)) < 2]
    if alone:
        raise TableError(
            problem("at least 2 folds per seed", f"1 under seed {alone[0]}", path.name, "give the whole split")
        )
    return Split(tuple(cases), seeds, labels, found, _protocol(table, path.name))


def _read_table(path: Path) -> pd.DataFrame:
    """Columns seed (integer), patient, current (as ranoscope writes visits), fold and what else the file holds."""
    try:
        table = runs.read_csv(path, _COMMAND, ("patient", "fold"))
    except (UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        got = str(error).strip().splitlines()[0]
        raise TableError(problem("a CSV table in UTF-8", got, path.name, "save the folds as CSV")) from error
    named = [column for column in VISIT_COLUMNS if column in table.columns]
    if not named:
        runs.require_columns(table, VISIT_COLUMNS[:1], path.name)
    for column in table.columns:
        table[column] = table[column].str.strip()
    if table.empty:
        raise TableError(problem("at least one row", "none", path.name, "give the whole split"))
    visits = [Visit.parse(text) for text in table[named[-1]]]
    seeds = table["seed"] if "seed" in table.columns else pd.Series("0", index=table.index)
    table = table.assign(current=table[named[-1]], seed=seeds)
    _refuse(table[[visit is None for visit in visits]], "a visit written as week-NNN or week-NNN-S", path.name)
    _refuse(table[~table["seed"].str.fullmatch(r"[0-9]+")], "a whole number as seed", path.name, ("seed",))
    _refuse(table[table["fold"] == ""], "the name of a fold", path.name, ("fold",))
    table = table.assign(current=[str(visit) for visit in visits], seed=table["seed"].astype(int))
    _refuse(table[table.duplicated(_KEY, keep=False)], "each visit once per seed", path.name, ("seed", "fold"))
    return table


def _check_cases(table: pd.DataFrame, cases: list[Case], cohort_run: Path, where: str) -> None:
    """Refuse other cases than the cohort's, in the order in which a person would look for the mistake."""
    kept = {(case.patient, str(case.current)): str(case.response) for case in cases}
    if not set(table["patient"]) & {case.patient for case in cases}:
        got = f"none of its patients, but e.g. {table['patient'].iloc[0]}"
        raise RunError(problem("folds of this cohort", got, where, "give --cohort the run the folds were made for"))
    keys = [(str(patient), str(visit)) for patient, visit in zip(table["patient"], table["current"], strict=True)]
    unknown = table[[key not in kept for key in keys]]
    if len(unknown):
        why = _why_unknown(cohort_run, str(unknown["patient"].iloc[0]), str(unknown["current"].iloc[0]))
        _refuse(unknown.assign(why=why), "a case that the cohort keeps", where, ("why",), RunError)
    for seed, of_seed in table.groupby("seed"):
        listed = set(zip(of_seed["patient"], of_seed["current"], strict=True))
        missing = [key for key in kept if key not in listed]
        rows = pd.DataFrame([(*key, seed, "none") for key in missing], columns=["patient", "current", "seed", "fold"])
        _refuse(rows, "a fold for every case that the cohort keeps", where, ("seed", "fold"), RunError)
    if "response" in table.columns:
        expected = pd.Series([kept[key] for key in keys], index=table.index)
        other = table.assign(in_cohort=expected)[table["response"] != expected]
        _refuse(other, "the response of the cohort", where, ("response", "in_cohort"), RunError)


def _why_unknown(cohort_run: Path, patient: str, visit: str) -> str:
    rows = runs.read_csv(cohort_run / runs.COHORT, "ranoscope cohort", ("patient", "current", "excluded_because"))
    of_patient = rows[rows["patient"] == patient]
    of_visit = of_patient[of_patient["current"] == visit]
    if of_patient.empty:
        return "a patient the cohort does not have"
    if of_visit.empty:
        return "a visit without a row in the cohort"
    return f"a visit it excludes because of {of_visit['excluded_because'].iloc[0]}"


def _protocol(table: pd.DataFrame, where: str) -> str | None:
    marks = sorted(set(table.get(PROTOCOL_COLUMN, ())))
    if len(marks) > 1:
        got = ", ".join(mark or "none" for mark in marks)
        raise TableError(problem("one protocol", got, where, "audit each split by itself"))
    return marks[0] or None if marks else None


def _refuse(
    bad: pd.DataFrame,
    expected: str,
    where: str,
    columns: tuple[str, ...] = ("current",),
    kind: type[RanoscopeError] = TableError,
) -> None:
    """Raise for the first of the bad rows, if there are any, and say how many more there are."""
    if bad.empty:
        return
    row = bad.iloc[0]
    got = ", ".join(str(row[name]) if name == "why" else f"{name.replace('_', ' ')} {row[name]}" for name in columns)
    more = f" and {len(bad) - 1} more such rows" if len(bad) > 1 else ""
    place = f"{where}, {row['patient']}/{row['current']}"
    raise kind(problem(expected, got + more, place, "correct the folds or select the cohort they were made for"))
