"""Calls and probabilities of one model for every case and seed, and calls.csv, in which they are kept.

What a run's calls must satisfy is checked here once, so that no score is ever taken over a part of the cohort.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from ranoscope import runs
from ranoscope.cohort.files import read_cases
from ranoscope.cohort.folds import PROTOCOL_COLUMN, read_folds
from ranoscope.config import FoldProtocol, Target
from ranoscope.domain import RESPONSES, Case, Response
from ranoscope.errors import RanoscopeError, RunError, TableError, problem

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

PROBABILITY_COLUMNS = tuple(f"p_{response}" for response in RESPONSES)
REST = "rest"
# calls.csv carries six decimals; anything above rounding is a mistake of whoever wrote it.
_SUM_TOLERANCE = 1e-3
_COMMAND = "ranoscope crossval"


@dataclass(frozen=True)
class Predictions:
    """One model's out-of-fold answers. Class index = position in ``classes``.

    ``cases``: n cases. ``seeds``: s seeds of the folds. ``folds``: fold of each case, shape (s, n). ``probabilities``:
    shape (s, n, c), each row summing to 1. ``calls``: class index, shape (s, n); a model may call another class than
    its most probable one. ``target``: c = 4 responses, or c = 2, PD and the rest.
    """

    cases: tuple[Case, ...]
    seeds: tuple[int, ...]
    folds: IntArray
    probabilities: FloatArray
    calls: IntArray
    target: Target = Target.FOUR_CLASSES

    def __post_init__(self) -> None:
        """Refuse arrays that do not belong together."""
        shape = (len(self.seeds), len(self.cases))
        shapes = (self.folds.shape, self.calls.shape, self.probabilities.shape)
        if shapes != (shape, shape, (*shape, len(self.classes))):
            raise ValueError(f"Expected arrays over {shape[0]} seeds and {shape[1]} cases, got {shapes}.")

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, PD first."""
        return tuple(RESPONSES) if self.target is Target.FOUR_CLASSES else (str(Response.PD), REST)

    @property
    def truth(self) -> IntArray:
        """The expert's class index per case, shape (n,)."""
        last = len(self.classes) - 1
        return np.array([min(case.response.class_index, last) for case in self.cases], np.int64)

    @property
    def first_progression(self) -> BoolArray:
        """Whether no earlier visit was rated PD, shape (n,)."""
        return np.array([case.first_progression for case in self.cases], bool)

    @property
    def patients(self) -> tuple[str, ...]:
        """The patient of each case."""
        return tuple(case.patient for case in self.cases)

    @property
    def are_hard(self) -> bool:
        """Whether every probability is 0 or 1, so that ranking and calibration measure bare calls."""
        return bool(np.isin(self.probabilities, (0.0, 1.0)).all())


def against_the_rest(predictions: Predictions) -> Predictions:
    """The same answers of PD against the rest: what is not PD is put together."""
    progressive = predictions.probabilities[:, :, :1]
    two = np.concatenate([progressive, 1 - progressive], axis=2)
    calls = np.minimum(predictions.calls, 1)
    return replace(predictions, probabilities=two, calls=calls, target=Target.PD_VERSUS_REST)


def read_predictions(run: Path, protocol: FoldProtocol = FoldProtocol.PATIENT) -> Predictions:
    """calls.csv, checked against cohort.csv and folds.csv. Cases are in the cohort's order, classes are the responses.

    Without a ``seed`` column, calls belong to the only seed of folds.csv.

    Args:
        run: the run folder.
        protocol: of the run's folds; under another than by patient, a patient may be in several.

    Raises:
        TableError: an unknown class, or probabilities outside 0 to 1 or not summing to 1 (patient and visit named).
        RunError: a file is absent; a kept case is not called exactly once per seed; a call of another cohort or
            protocol; a patient in two folds of one seed, or in another than folds.csv says.
    """
    cases = read_cases(run)
    if not cases:
        raise RunError(problem("at least one kept case", "none", str(run), "read flow.json for the exclusions"))
    folds = read_folds(run, protocol)
    table = runs.read_csv(run / runs.CALLS, _COMMAND, runs.CALL_COLUMNS)
    marks = table.get(PROTOCOL_COLUMN, pd.Series("", table.index)).replace("", str(FoldProtocol.PATIENT))
    marked = table.assign(**{PROTOCOL_COLUMN: marks})
    _refuse(marked[marks != str(protocol)], f"calls of the protocol {protocol}", (PROTOCOL_COLUMN,), RunError)
    if "seed" not in table:
        table = table.assign(seed=str(folds["seed"].min()))
    table = _parse(table)
    seeds = tuple(sorted(int(seed) for seed in folds["seed"].unique()))
    _check_coverage(table, cases, seeds)
    if protocol is FoldProtocol.PATIENT:
        several = table.groupby(["seed", "patient"])["fold"].transform("nunique") > 1
        _refuse(table[several], "each patient in one fold per seed", ("seed", "fold"), RunError)
    _check_folds(table, folds)
    return _assemble(table, cases, seeds)


def write_predictions(path: Path, predictions: Predictions, protocol: FoldProtocol = FoldProtocol.PATIENT) -> None:
    """Write the table of calls, the same columns as calls.csv, one row per seed and case.

    Args:
        path: the file.
        predictions: over the four responses.
        protocol: of the folds; another than by patient is marked in every row.

    Raises:
        StorageError: the disk is full or not writable.
    """
    rows = [
        {
            "patient": case.patient,
            "prior": str(case.prior),
            "current": str(case.current),
            "response": str(case.response),
            "fold": int(predictions.folds[s, n]),
            **{f"p_{name}": f"{predictions.probabilities[s, n, name.class_index]:.6f}" for name in RESPONSES},
            "call": str(RESPONSES[predictions.calls[s, n]]),
            "seed": seed,
        }
        for s, seed in enumerate(predictions.seeds)
        for n, case in enumerate(predictions.cases)
    ]
    table = pd.DataFrame(rows)[[*runs.CALL_COLUMNS, "seed"]]
    if protocol is not FoldProtocol.PATIENT:
        table = table.assign(**{PROTOCOL_COLUMN: str(protocol)})
    runs.write_csv(path, table)


def _parse(table: pd.DataFrame) -> pd.DataFrame:
    for column in ("response", "call"):
        _refuse(table[~table[column].isin(list(RESPONSES))], "CR, PR, SD or PD", (column,))
    for column in ("seed", "fold"):
        _refuse(table[~table[column].str.fullmatch(r"\d+")], "a whole number", (column,))
    values = table[list(PROBABILITY_COLUMNS)].apply(pd.to_numeric, errors="coerce")
    # NaN fails both comparisons.
    inside = ((values >= 0) & (values <= 1)).all(axis=1)
    _refuse(table[~inside], "probabilities from 0 to 1", PROBABILITY_COLUMNS)
    sums_to_1 = (values.sum(axis=1) - 1).abs() <= _SUM_TOLERANCE
    _refuse(table[~sums_to_1], "probabilities that sum to 1", PROBABILITY_COLUMNS)
    return table.assign(**values, seed=table["seed"].astype(int), fold=table["fold"].astype(int))


def _check_coverage(table: pd.DataFrame, cases: list[Case], seeds: tuple[int, ...]) -> None:
    key = ["seed", "patient", "current"]
    _refuse(table[~table["seed"].isin(seeds)], "a seed of folds.csv", ("seed",), RunError)
    _refuse(table[table.duplicated(key)], "one call per case and seed", (*key, "call"), RunError)
    rows = [(seed, c.patient, str(c.current), str(c.prior), str(c.response)) for seed in seeds for c in cases]
    expected = pd.DataFrame(rows, columns=[*key, "prior_expected", "response_expected"])
    both = table.merge(expected, on=key, how="outer", indicator=True)
    _refuse(both[both["_merge"] == "left_only"], "a kept case of cohort.csv", key, RunError)
    missing = both[both["_merge"] == "right_only"]
    _refuse(missing.assign(call="none"), "a call of every kept case for every seed", ("seed", "call"), RunError)
    for column in ("prior", "response"):
        other = both[both[column] != both[f"{column}_expected"]]
        _refuse(other, f"the {column} of cohort.csv", (column, f"{column}_expected"), RunError)


def _check_folds(table: pd.DataFrame, folds: pd.DataFrame) -> None:
    both = table.merge(folds[["seed", "patient", "current", "fold"]], on=["seed", "patient", "current"], how="left",
                       suffixes=("", "_drawn"))  # fmt: skip
    _refuse(both[both["fold"] != both["fold_drawn"]], "the fold of folds.csv", ("fold", "fold_drawn"), RunError)


def _refuse(
    bad: pd.DataFrame,
    expected: str,
    columns: tuple[str, ...] | list[str],
    kind: type[RanoscopeError] = TableError,
) -> None:
    """Raise for the first of the bad rows, if there are any, and say how many more there are."""
    if bad.empty:
        return
    row = bad.iloc[0]
    got = ", ".join(f"{column} {row[column]}" for column in columns)
    more = f" and {len(bad) - 1} more such rows" if len(bad) > 1 else ""
    where = f"{runs.CALLS}, {row['patient']}/{row['current']}"
    raise kind(problem(expected, got + more, where, f"run `{_COMMAND}` again or correct the row"))


def _assemble(table: pd.DataFrame, cases: list[Case], seeds: tuple[int, ...]) -> Predictions:
    order = pd.MultiIndex.from_tuples([(seed, c.patient, str(c.current)) for seed in seeds for c in cases])
    rows = table.set_index(["seed", "patient", "current"]).loc[order]
    shape = (len(seeds), len(cases))
    return Predictions(
        cases=tuple(cases),
        seeds=seeds,
        folds=rows["fold"].to_numpy(np.int64).reshape(shape),
        probabilities=rows[list(PROBABILITY_COLUMNS)].to_numpy(np.float64).reshape(*shape, len(RESPONSES)),
        calls=np.array([Response(call).class_index for call in rows["call"]], np.int64).reshape(shape),
    )
