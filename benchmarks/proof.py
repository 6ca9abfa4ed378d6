"""The arms of ``ranoscope benchmark proof`` as far as they have been run: table, paired differences, learning curve.

Calls of finished arms are kept in ``docs/proof``, a table per arm with every seed that was run, so that arms which take
hours can be run on different days and every figure of docs/change-aware.md can be worked out again. All are of one
synthetic cohort (``phantom --patients 160 --seed 11 --difficulty hard --voxel-mm 3``), whose cases are ``cases.csv``.

Run: ``python benchmarks/proof.py`` prints the table and draws docs/images/learning-curve.svg;
``python benchmarks/proof.py keep RUN ARM`` first keeps the calls of a run that ``ranoscope crossval proof/ARM``
finished. An arm trained with half of its recipe's samples is kept as ARM-half: the learning curve is of those.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from ranoscope import runs
from ranoscope.benchmarking.contrasts import contrast
from ranoscope.config import EvaluationSettings
from ranoscope.domain import RESPONSES, Case, Response, Visit
from ranoscope.drawing import STYLE, svg_bytes
from ranoscope.evaluation.intervals import estimate
from ranoscope.evaluation.predictions import PROBABILITY_COLUMNS, Predictions, read_predictions
from ranoscope.evaluation.scores import BALANCED_ACCURACY, FIRST_PROGRESSION_AUC, PD_AUC, score
from ranoscope.evaluation.weighting import patient_resamples, whole_sample

DOCS = Path(__file__).parents[1] / "docs"
KEPT, FIGURE = DOCS / "proof", DOCS / "images" / "learning-curve.svg"
CASES = "cases.csv"
CASE_COLUMNS = ("patient", "prior", "current", "response", "weeks_between", "prior_rating", "first_progression")
CALL_COLUMNS = ("seed", "fold", *PROBABILITY_COLUMNS, "call")
SETTINGS = EvaluationSettings()
SCORES = (BALANCED_ACCURACY, PD_AUC, FIRST_PROGRESSION_AUC)
REFERENCE = "paper"
HALF = "-half"
Scored = tuple[float, float, float]
"""Estimate and both ends of its interval."""
_KEEP = "python benchmarks/proof.py keep"


def keep(run: Path, arm: str) -> None:
    """Add the calls of a finished run to those kept of its arm; of a seed that is there already, today's count."""
    found = read_predictions(run)
    KEPT.mkdir(exist_ok=True)
    cases = pd.DataFrame([[getattr(case, column) for column in CASE_COLUMNS] for case in found.cases], dtype=str)
    cases.columns = list(CASE_COLUMNS)
    if (KEPT / CASES).is_file() and read_cases() != found.cases:
        raise SystemExit(f"{run} is of other cases than {KEPT / CASES}.")
    runs.write_csv(KEPT / CASES, cases)
    tables = [pd.DataFrame(
        {"seed": seed, "fold": found.folds[place],
         **{name: found.probabilities[place, :, at].round(4) for at, name in enumerate(PROBABILITY_COLUMNS)},
         "call": [RESPONSES[call] for call in found.calls[place]]}
    ) for place, seed in enumerate(found.seeds)]  # fmt: skip
    path = path_of(arm)
    if path.is_file():
        known = runs.read_csv(path, _KEEP, CALL_COLUMNS)
        tables.append(known[~known["seed"].astype(int).isin(found.seeds)])
    kept = pd.concat(tables).sort_values("seed", key=lambda seeds: seeds.astype(int), kind="stable")
    runs.write_csv(path, kept)


def path_of(arm: str) -> Path:
    """Of the table of an arm, as ``300-cases/paper``."""
    return KEPT / f"{arm.replace('/', '_')}.csv"


def read_cases() -> tuple[Case, ...]:
    """The cases that all arms share."""
    rows = runs.read_csv(KEPT / CASES, _KEEP, CASE_COLUMNS).to_dict("records")
    return tuple(
        Case(
            patient=row["patient"],
            prior=_visit(row["prior"]),
            current=_visit(row["current"]),
            response=Response(row["response"]),
            weeks_between=int(row["weeks_between"]),
            prior_rating=row["prior_rating"],
            first_progression=row["first_progression"] == "True",
        )
        for row in rows
    )


def _visit(name: str) -> Visit:
    visit = Visit.parse(name)
    assert visit is not None, name
    return visit


def read_arms() -> dict[str, Predictions]:
    """Every arm that was kept, fewest training cases first."""
    cases = read_cases()
    arms = {}
    for path in sorted(KEPT.glob("*-cases_*.csv")):
        table = runs.read_csv(path, _KEEP, CALL_COLUMNS)
        seeds = tuple(int(seed) for seed in table["seed"].unique())
        shape = (len(seeds), len(cases))
        probabilities = table[list(PROBABILITY_COLUMNS)].to_numpy(np.float64).reshape(*shape, len(RESPONSES))
        calls = np.array([Response(call).class_index for call in table["call"]]).reshape(shape)
        folds = table["fold"].to_numpy(np.int64).reshape(shape)
        arms[path.stem.replace("_", "/")] = Predictions(cases, seeds, folds, probabilities, calls)
    return arms


def scored(predictions: Predictions) -> dict[str, Scored]:
    """Estimate and interval over patients of every score, averaged over the seeds."""
    weights = patient_resamples(predictions.patients, SETTINGS.bootstrap, SETTINGS.seed)
    once, drawn = (score(predictions, sample) for sample in (whole_sample(len(predictions.cases)), weights))
    found = {name: estimate(float(once[name][0]), drawn[name], SETTINGS.coverage, "no such class") for name in SCORES}
    return {name: (one.estimate, one.low, one.high) for name, one in found.items()}


def seed_by_seed(predictions: Predictions) -> list[float]:
    """Balanced accuracy of every seed by itself."""
    alone = whole_sample(len(predictions.cases))
    return [
        float(score(_of_seed(predictions, place), alone)[BALANCED_ACCURACY][0])
        for place in range(len(predictions.seeds))
    ]


def _of_seed(predictions: Predictions, place: int) -> Predictions:
    part = slice(place, place + 1)
    return replace(
        predictions,
        seeds=predictions.seeds[part],
        folds=predictions.folds[part],
        probabilities=predictions.probabilities[part],
        calls=predictions.calls[part],
    )


def print_tables(arms: dict[str, Predictions], console: Console) -> None:
    """Scores of every arm and, paired, what it is better than the paper's recipe with as many cases."""
    table = Table("arm", "seeds", "BA", "by seed", "PD AUC", "first-progression AUC", "BA minus the paper's")
    for arm, predictions in arms.items():
        scores = scored(predictions)
        reference = arms.get(_reference(arm))
        difference = ""
        if reference is not None and reference is not predictions:
            found = contrast(predictions, reference, SETTINGS)[BALANCED_ACCURACY]
            difference = _interval(found["estimate"], found["low"], found["high"])
        table.add_row(
            arm, ", ".join(map(str, predictions.seeds)), _interval(*scores[BALANCED_ACCURACY]),
            ", ".join(f"{100 * one:.1f}" for one in seed_by_seed(predictions)),
            _interval(*scores[PD_AUC]), _interval(*scores[FIRST_PROGRESSION_AUC]), difference,
        )  # fmt: skip
    console.print(table)


def _reference(arm: str) -> str:
    """The paper's recipe with as many cases and as many samples."""
    return f"{arm.split('/')[0]}/{REFERENCE}{HALF if arm.endswith(HALF) else ''}"


def _interval(value: float, low: float, high: float) -> str:
    return f"{100 * value:.1f} ({100 * low:.1f} to {100 * high:.1f})"


def draw_curve(arms: dict[str, Predictions]) -> bytes:
    """Balanced accuracy over the number of training cases: a line per network, hollow with all of its samples."""
    lines: dict[str, list[tuple[int, Scored]]] = {}
    for arm, predictions in arms.items():
        cases, network = arm.split("/")
        lines.setdefault(network, []).append((int(cases.split("-")[0]), scored(predictions)[BALANCED_ACCURACY]))
    curves = {network.removesuffix(HALF): points for network, points in lines.items() if network.endswith(HALF)}
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(7, 4.2), layout="constrained")
        axes = figure.subplots()
        for place, (network, points) in enumerate(curves.items()):
            filled = _draw(axes, points, place, {"label": f"{network}, half of the samples"})
            if network in lines:
                hollow = {"color": filled, "markerfacecolor": "white", "linestyle": "none"}
                _draw(axes, lines[network], place, {"label": f"{network}, all samples", **hollow})
        axes.axhline(100 / len(RESPONSES), color="#777777", linewidth=1, linestyle="dotted")
        axes.set(xlabel="training cases", ylabel="balanced accuracy, % (95 % over patients)", ylim=(15, 65))
        axes.set_title("Hard synthetic cohort: no patient is in it")
        axes.grid(axis="y")
        figure.legend(loc="outside lower center", ncols=2, frameon=False)
        return svg_bytes(figure)


def _draw(axes: Axes, points: Sequence[tuple[int, Scored]], place: int, style: dict[str, Any]) -> Any:
    """Points with intervals; returns their colour. ``place``: of the network, so that intervals do not hide others."""
    at = np.array([cases for cases, _ in points]) + 4.0 * place
    middle, low, high = 100 * np.array([found for _, found in points]).T
    return axes.errorbar(at, middle, (middle - low, high - middle), marker="o", capsize=3, **style)[0].get_color()


def main() -> None:
    """Keep calls if asked to; print and draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command")
    kept = commands.add_parser("keep", help="keep the calls of a finished run")
    kept.add_argument("run", type=Path)
    kept.add_argument("arm", help="name below recipes/proof, as 300-cases/paper")
    asked = parser.parse_args()
    if asked.command == "keep":
        keep(asked.run, asked.arm)
    arms = read_arms()
    print_tables(arms, Console())
    if any(arm.endswith(HALF) for arm in arms):
        runs.write_bytes(FIGURE, draw_curve(arms))


if __name__ == "__main__":
    main()
