"""Every rival and every measured-change model on the same cases, folds and resamples of patients."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from ranoscope import provenance, runs
from ranoscope.cohort.files import read_is_synthetic
from ranoscope.cohort.folds import assign_folds, fold_warnings, write_folds
from ranoscope.config import CohortSettings, EvaluationSettings, FoldSettings
from ranoscope.domain import InformationLevel
from ranoscope.evaluation.predictions import write_predictions
from ranoscope.evaluation.rivals import FURTHER_RIVALS, RIVALS, Evidence, Rival, Unavailable, predict
from ranoscope.evaluation.scorecard import Contender, assemble
from ranoscope.evaluation.tables import scoreboard_table
from ranoscope.scoreboard.criteria import criteria_rivals, engine_calls
from ranoscope.scoreboard.disagreements import CHOSEN, DISAGREEMENTS, list_disagreements, summarise
from ranoscope.scoreboard.entrants import Entry, gather
from ranoscope.scoreboard.features import feature_table
from ranoscope.scoreboard.models import MODELS, Model
from ranoscope.scoreboard.page import draw_figures, is_to_beat, render_page
from ranoscope.scoreboard.protocol import Exam, Progress, examine, fold_matrix
from ranoscope.scoreboard.rationale import (
    EXPERT_LESIONS,
    RATIONALE_SIZES,
    compare_with_lesions,
    compare_with_volumes,
    join_lesions,
    rationale_table,
    read_lesions,
    stated_burdens,
)

SCOREBOARD = "scoreboard.json"
PAGE = "scoreboard.html"
_TABLE = "scoreboard.csv"


def make_scoreboard(
    tables: Path, volumes: Path | None, run: Path, folds: FoldSettings, evaluation: EvaluationSettings,
    progress: Progress, models: tuple[Model, ...] | None = None, lesions: Path | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Examine everybody and write the scoreboard; finished parts of an earlier attempt are kept.

    Writes the cohort's files, ``folds.csv``, ``calls_<name>.csv``, ``disagreements.csv``, ``rationale_sizes.csv``,
    with ``lesions`` ``expert_lesions.csv``, ``scoreboard.csv``, ``figures/*.svg``, ``scoreboard.html`` and, last,
    ``scoreboard.json``.

    Args:
        tables: folder with LUMIERE's rating and demographics tables, or a whole download.
        volumes: a table of volumes in mm³, or None where the download holds volumes.
        run: the folder to write.
        folds: number of folds, and one set of folds per seed.
        evaluation: bootstrap and coverage.
        progress: told (done, total, what) after every step.
        models: whom to examine besides the rivals; ``MODELS`` where None.
        lesions: folder with what ``ranoscope measure`` wrote, to hold against the expert's own diameters.

    Returns:
        The content of scoreboard.json.

    Raises:
        TableError: a table is missing or faulty (every offending line is listed).
        RunError: no volumes or no cases.
        RanoscopeError: fewer patients than folds.
        StorageError: the disk is full or not writable; finished parts are kept.
    """
    settings = CohortSettings()
    measured = None if lesions is None else read_lesions(lesions)
    entry = gather(tables, volumes, run, settings)
    drawn = assign_folds(list(entry.cases), folds)
    write_folds(run, drawn)
    exam = make_exam(entry, *fold_matrix(entry.cases, drawn))
    contenders = examine_models(MODELS if models is None else models, exam, run, progress)
    rivals, unavailable = examine_rivals(exam, entry)
    further = {
        "synthetic": read_is_synthetic(run),
        "rivals_not_shown": unavailable,
        "coverage": entry.coverage,
        "notes": [*fold_warnings(list(entry.cases), folds), *entry.notes],
        **_beside_the_expert(entry, run, evaluation, measured),
    }
    scoreboard = write_board(run, [*contenders, *rivals], further, evaluation, progress)
    chosen = {"cohort": settings, "folds": folds, "evaluation": evaluation}
    inputs = {name: provenance.file_hash(run / name) for name in (runs.COHORT, runs.STUDIES, runs.FOLDS)}
    if volumes is not None:
        inputs[volumes.name] = provenance.file_hash(volumes)
    recorded = {name: one.model_dump(mode="json") for name, one in chosen.items()}
    provenance.record(run, "scoreboard", recorded, inputs, evaluation.seed)
    runs.write_json(run / SCOREBOARD, scoreboard)
    return scoreboard


def at_own_level(scoreboard: dict[str, Any]) -> dict[str, Any]:
    """The scoreboard with each model compared with the rivals to beat alone: short enough to print."""
    return {**scoreboard, "comparisons": [one for one in scoreboard["comparisons"] if is_to_beat(one)]}


def make_exam(entry: Entry, seeds: tuple[int, ...], folds: Any) -> Exam:
    """The exam over the entry's cases: features of every level that a model may be shown."""
    levels = (InformationLevel.PAIR, InformationLevel.TIMELINE, InformationLevel.READER)
    features = {level: feature_table(entry.cases, entry.courses, level) for level in levels}
    return Exam(entry.cases, seeds, folds, features)


def examine_models(models: tuple[Model, ...], exam: Exam, run: Path, progress: Progress) -> list[Contender]:
    """Every model's row, out of fold; finished parts under RUN/parts are read, not made again.

    Raises:
        StorageError: the disk is full or not writable; finished parts are kept.
    """
    answers = examine(models, exam, run, progress)
    return [
        Contender(
            model.name, model.title, "model", model.level, model.knew, answers[model.name], calls_file(model.name), {}
        )
        for model in models
    ]


def _beside_the_expert(
    entry: Entry, run: Path, evaluation: EvaluationSettings, lesions: pd.DataFrame | None
) -> dict[str, Any]:
    """The expert's own words beside volumes, lesions and engine: the tables written, their summaries returned."""
    stated = rationale_table(entry.ratings)
    runs.write_csv(run / RATIONALE_SIZES, stated)
    sizes = compare_with_volumes(stated_burdens(entry.ratings), entry.courses, evaluation)
    if lesions is not None:
        joined = join_lesions(lesions, stated)
        runs.write_csv(run / EXPERT_LESIONS, joined)
        sizes["lesions_measured"] = compare_with_lesions(joined, evaluation)
    calls = engine_calls(CHOSEN, entry.cases, entry.courses)
    if calls is None:
        return {"expert_sizes": sizes}
    table = list_disagreements(entry.cases, calls, entry.ratings)
    runs.write_csv(run / DISAGREEMENTS, table)
    return {"expert_sizes": sizes, "disagreements": summarise(table, entry.cases, calls, entry.ratings)}


def examine_rivals(exam: Exam, entry: Entry) -> tuple[list[Contender], list[dict[str, str]]]:
    """Every rival's row, and of those that cannot be shown the name, title and reason."""
    evidence = Evidence(exam.cases, exam.seeds, exam.folds, entry.studies)
    shown, unavailable = [], []
    for rival in (*RIVALS, *FURTHER_RIVALS, *criteria_rivals(entry.courses)):
        answer = predict(rival, evidence)
        if isinstance(answer, Unavailable):
            unavailable.append({"name": rival.name, "title": rival.title, "reason": answer.reason})
        else:
            shown.append(_contender(rival, *answer))
    return shown, unavailable


def _contender(rival: Rival, predictions: Any, counts: dict[str, int]) -> Contender:
    file = calls_file(rival.name)
    return Contender(rival.name, rival.title, "rival", rival.level, rival.knew, predictions, file, counts)


def calls_file(name: str) -> str:
    """Where a contender's calls are, in the run folder."""
    return f"calls_{name}.csv"


def write_board(
    run: Path, contenders: list[Contender], further: dict[str, Any], evaluation: EvaluationSettings, progress: Progress
) -> dict[str, Any]:
    """Score all rows and write their calls, the table, the figures and the page.

    Args:
        run: the folder to write.
        contenders: models, of each level the one to use first before the others, then rivals.
        further: what the page shows besides: ``synthetic, rivals_not_shown, coverage, notes``, and ``expert_sizes``,
            ``disagreements`` or ``fusion`` where they are part of it.
        evaluation: bootstrap and coverage.
        progress: told (done, total, what) after every row.

    Returns:
        The content of scoreboard.json, which the caller writes last.

    Raises:
        StorageError: the disk is full or not writable.
    """
    for contender in contenders:
        write_predictions(run / contender.calls_file, contender.predictions)
    told = _counter(progress, len(contenders) + 1)
    scoreboard = {**assemble(contenders, evaluation, told), **further}
    runs.write_csv(run / _TABLE, scoreboard_table(scoreboard))
    figures = draw_figures(scoreboard)
    for name, drawing in figures.items():
        runs.write_bytes(run / runs.FIGURES / name, drawing)
    runs.write_text(run / PAGE, render_page(scoreboard, figures))
    told("figures and page")
    return scoreboard


def _counter(progress: Progress, total: int) -> Callable[[str], None]:
    done = 0

    def told(what: str) -> None:
        nonlocal done
        done += 1
        progress(done, total, what)

    return told
