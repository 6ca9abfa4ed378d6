"""From scores per case to scores of a method: means over cases with patient-bootstrap intervals, chance and ceiling."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ranoscope.config import EvaluationSettings
from ranoscope.domain import RESPONSES, Response
from ranoscope.evaluation.intervals import Estimate, estimate
from ranoscope.evaluation.predictions import FloatArray
from ranoscope.evaluation.weighting import patient_resamples, ratio, whole_sample

CASE = ["patient", "current"]
GROUP = ["method", "explained", "view", "mask", "score"]
COLUMNS = (*CASE, "response", *GROUP, "value", "chance", "ceiling", "reason")
ALL = "all"
BoolArray = NDArray[np.bool_]
_NO_CASE = "undefined in every case"


@dataclass(frozen=True)
class Pooled:
    """One score of one method over the cases of one of the expert's classes, or of all.

    ``mean``: over cases in which it is defined. ``excess``: mean of value minus chance, paired by case. ``chance``,
    ``ceiling``: means over the same cases; ceiling NaN where there is none. ``undefined``: reason → number of cases.
    """

    method: str
    explained: str
    view: str
    mask: str
    score: str
    expert: str
    mean: Estimate
    excess: Estimate
    chance: float
    ceiling: float
    cases: int
    patients: int
    undefined: dict[str, int]

    def as_dict(self) -> dict[str, Any]:
        """For scores.json."""
        return {**asdict(self), "mean": self.mean.as_dict(), "excess": self.excess.as_dict()}


def pool(table: pd.DataFrame, settings: EvaluationSettings) -> list[Pooled]:
    """Pool every score of every method, over all cases and per class of the expert's.

    A resample of patients takes all of a patient's cases or none.

    Args:
        table: one row per case and score, with ``COLUMNS``; ``value`` NaN where ``reason`` says why.
        settings: of the bootstrap.
    """
    wide = _Wide(table)
    resamples = patient_resamples(wide.patients, settings.bootstrap, settings.seed)
    weights = np.vstack([whole_sample(len(wide.patients)), resamples])
    pooled: list[Pooled] = []
    for expert in (ALL, *RESPONSES):
        chosen = np.ones(len(wide.patients), bool) if expert == ALL else wide.experts == str(expert)
        if chosen.any():
            pooled += wide.pool(str(expert), chosen, weights * chosen, settings.coverage)
    return pooled


class _Wide:
    """The table with a row per case and a column per score."""

    def __init__(self, table: pd.DataFrame) -> None:
        indexed = table.set_index([*CASE, *GROUP])
        value, chance, ceiling = (indexed[name].unstack(GROUP) for name in ("value", "chance", "ceiling"))  # noqa: PD010
        self.values, self.chances, self.ceilings = (part.to_numpy(np.float64) for part in (value, chance, ceiling))
        self.groups: list[tuple[str, ...]] = [tuple(map(str, group)) for group in value.columns.to_list()]
        self.patients = tuple(map(str, value.index.get_level_values("patient")))
        self.experts = table.drop_duplicates(CASE).set_index(CASE)["response"].loc[value.index].to_numpy()
        self.undefined = {tuple(map(str, group)): rows for group, rows in table[table["reason"] != ""].groupby(GROUP)}

    def pool(self, expert: str, chosen: BoolArray, weights: FloatArray, coverage: float) -> list[Pooled]:
        """Every score over the chosen cases; ``weights``: (1 + resamples, case), the first row the sample itself."""
        means, gains = _means(weights, self.values), _means(weights, self.values - self.chances)
        pooled = []
        for place, group in enumerate(self.groups):
            defined = chosen & ~np.isnan(self.values[:, place])
            pooled.append(
                Pooled(
                    **dict(zip(GROUP, group, strict=True)),
                    expert=expert,
                    mean=estimate(float(means[0, place]), means[1:, place], coverage, _NO_CASE),
                    excess=estimate(float(gains[0, place]), gains[1:, place], coverage, _NO_CASE),
                    chance=_mean(self.chances[defined, place]),
                    ceiling=_mean(self.ceilings[defined, place]),
                    cases=int(defined.sum()),
                    patients=len({self.patients[case] for case in np.flatnonzero(defined)}),
                    undefined=self._reasons(group, expert),
                )
            )
        return pooled

    def _reasons(self, group: tuple[str, ...], expert: str) -> dict[str, int]:
        rows = self.undefined.get(group)
        if rows is None:
            return {}
        mine = rows if expert == ALL else rows[rows["response"] == expert]
        return {str(reason): int(count) for reason, count in mine["reason"].value_counts().items()}


def extremes(table: pd.DataFrame) -> dict[Response, list[tuple[str, tuple[str, str]]]]:
    """Which cases to show of each class: the best, the median and the worst explained.

    Cases are ordered by the AUC for the whole tumour in both studies, explaining the called class, averaged over the
    methods; those where that is undefined are shown only in a class without another. Of an even number the better of
    the two in the middle is the median. A class of two has a best and a worst, a class of one a best.

    Returns:
        Response → (role, (patient, current)), best first.
    """
    rows = table.query("explained == 'called' and view == 'both' and mask == 'whole tumour' and score == 'auc'")
    standing = rows.groupby([*CASE, "response"], as_index=False)["value"].mean()
    shown: dict[Response, list[tuple[str, tuple[str, str]]]] = {}
    for response in RESPONSES:
        mine = standing[standing["response"] == str(response)]
        mine = mine[mine["value"].notna() | mine["value"].isna().all()]
        mine = mine.sort_values(["value", *CASE], ascending=[False, True, True])
        names = [(str(row.patient), str(row.current)) for row in mine.itertuples()]
        places = {"best": 0, "median": (len(names) - 1) // 2, "worst": len(names) - 1}
        picked: dict[int, str] = {}
        for role, place in places.items():
            if names and place not in picked and (role != "median" or place not in (0, len(names) - 1)):
                picked[place] = role
        shown[response] = [(picked[place], names[place]) for place in sorted(picked)]
    return shown


def _means(weights: FloatArray, values: FloatArray) -> FloatArray:
    """Weighted mean over the cases that have a value: (resample, group) from (resample, case) and (case, group)."""
    defined = ~np.isnan(values)
    return ratio(weights @ np.where(defined, values, 0), weights @ defined.astype(np.float64))


def _mean(values: FloatArray) -> float:
    """Of those that are there; NaN of none."""
    there = values[~np.isnan(values)]
    return float(there.mean()) if len(there) else float("nan")
