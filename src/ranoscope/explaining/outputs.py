"""What an explained run leaves beside its cases: every score per case, their means over patients, and the charts.

``explanations/scores.csv``: a row per case, method, class, view, mask and score. ``randomisation.csv``: a row per
example, method and step. ``compared.csv``: a row per example and method, against another run. ``scores.json``: all of
them pooled. ``charts/*.svg``: what a report shows of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from ranoscope import runs
from ranoscope.cohort.folds import watermark
from ranoscope.config import ExplanationSettings, Recipe
from ranoscope.domain import Response
from ranoscope.explaining.charts import draw_charts
from ranoscope.explaining.record import COMMAND
from ranoscope.explaining.scores.pooling import CASE, pool

SCORES = "scores.json"
_TABLE, _RANDOMISATION, _COMPARED, _CHARTS = "scores.csv", "randomisation.csv", "compared.csv", "charts"


@dataclass(frozen=True)
class Findings:
    """Scores per case (``pooling.COLUMNS``), similarity to other networks, and the responses that no case has.

    ``randomised``: to ever more random networks. ``compared``: to those of the run that ``other`` describes.
    """

    scores: pd.DataFrame
    randomised: pd.DataFrame
    compared: pd.DataFrame
    absent: list[Response]
    other: dict[str, Any] | None = None


def write_findings(run: Path, findings: Findings, recipe: Recipe, settings: ExplanationSettings) -> dict[str, Any]:
    """Pool, draw and write; scores.json, the content that is returned, comes last.

    Raises:
        StorageError: the disk is full or not writable.
    """
    folder, table = run / runs.EXPLANATIONS, findings.scores
    content = {
        "cases": len(table.drop_duplicates(CASE)),
        "patients": int(table["patient"].nunique()),
        "cases_per_response": table.drop_duplicates(CASE)["response"].value_counts().to_dict(),
        "drawn_per_class": settings.cases_per_class,
        "classes_without_a_case": findings.absent,
        "watermark": watermark(recipe.folds.protocol, recipe.labels),
        "sequences": recipe.sequences,
        "coverage": recipe.evaluation.coverage,
        "pooled": [entry.as_dict() for entry in pool(table, recipe.evaluation)],
        "randomisation": _pool_similarity(findings.randomised, ["method", "step", "layer"]),
        "other_run": findings.other and findings.other | {"rows": _pool_similarity(findings.compared, ["method"])},
    }
    runs.write_csv(folder / _TABLE, table)
    runs.write_csv(folder / _RANDOMISATION, findings.randomised)
    runs.write_csv(folder / _COMPARED, findings.compared)
    for name, drawing in draw_charts(content, table).items():
        runs.write_bytes(folder / _CHARTS / f"{name}.svg", drawing)
    runs.write_json(folder / SCORES, content)
    return content


def read_findings(run: Path) -> dict[str, Any]:
    """Content of scores.json.

    Raises:
        RunError: the run was not explained.
    """
    content: dict[str, Any] = runs.read_json(run / runs.EXPLANATIONS / SCORES, COMMAND)
    return content


def read_charts(run: Path) -> dict[str, bytes]:
    """Name → SVG of every chart."""
    return {path.stem: path.read_bytes() for path in sorted((run / runs.EXPLANATIONS / _CHARTS).glob("*.svg"))}


def _pool_similarity(table: pd.DataFrame, names: list[str]) -> list[dict[str, Any]]:
    """Per group of these names: mean similarities over the examples where they are defined, and how many those are."""
    return [
        {
            **{name: rows[name].iloc[0].item() if name == "step" else str(rows[name].iloc[0]) for name in names},
            "spearman": float(rows["spearman"].mean()),
            "ssim": float(rows["ssim"].mean()),
            "cases": int(rows["spearman"].notna().sum()),
            "undefined": {str(k): int(v) for k, v in rows.loc[rows["reason"] != "", "reason"].value_counts().items()},
        }
        for _, rows in table.groupby(names, sort=False)
    ]
