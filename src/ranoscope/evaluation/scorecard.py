"""The scorecard: a model beside its rivals on the same cases, folds and resamples of patients."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ranoscope import provenance, runs
from ranoscope.cohort.files import read_studies
from ranoscope.cohort.folds import watermark
from ranoscope.config import EvaluationSettings, FoldProtocol, Labels, Target
from ranoscope.domain import RESEARCH_USE_ONLY, InformationLevel
from ranoscope.evaluation.calibration import reliability
from ranoscope.evaluation.ceiling import CEILING, CEILING_FILE, KNEW, LEVEL, LEVEL_SENTENCE, TITLE, read_ceiling
from ranoscope.evaluation.circumstances import TWO_CLASSES, describe_cohort, describe_protocol, rare_classes
from ranoscope.evaluation.design import read_design, read_model_settings
from ranoscope.evaluation.figures import FIGURES
from ranoscope.evaluation.intervals import difference, estimate
from ranoscope.evaluation.predictions import (
    FloatArray,
    Predictions,
    against_the_rest,
    read_predictions,
    write_predictions,
)
from ranoscope.evaluation.rivals import RIVALS, Evidence, Rival, Unavailable, predict
from ranoscope.evaluation.scores import (
    METRICS,
    confusion,
    headline_of,
    median_of_folds,
    metrics_of,
    score,
    why_undefined,
)
from ranoscope.evaluation.tables import scoreboard_table
from ranoscope.evaluation.weighting import patient_resamples, whole_sample

SCOREBOARD = "scoreboard.csv"
Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Contender:
    """A row of the scoreboard: what it knew, its predictions and the file of its calls.

    ``kind``: model, rival or, of a synthetic cohort, ceiling. ``level`` is None for calls whose maker did not declare
    it and for a ceiling, which has none. ``counts``: a rival's fallbacks. ``beside``: contenders, other than rivals,
    that a model is compared with as well, such as those it was made from.
    """

    name: str
    title: str
    kind: str
    level: InformationLevel | None
    knew: str
    predictions: Predictions
    calls_file: str
    counts: dict[str, int]
    beside: tuple[str, ...] = ()


def evaluate_run(run: Path, settings: EvaluationSettings, progress: Progress | None = None) -> dict[str, Any]:
    """Score a run's calls beside the rivals and write scorecard, tables, rivals' calls and figures.

    Writes ``scoreboard.csv``, ``calls_<rival>.csv``, ``figures/*.svg``, for a synthetic cohort ``ceiling.json`` and,
    last, ``scorecard.json``; same calls and settings, same bytes. A recipe that learnt PD against the rest is scored on
    that, and so are its rivals; on folds as published everything is marked so.

    Args:
        run: folder with cohort.csv, studies.csv, folds.csv and calls.csv.
        settings: bootstrap and coverage.
        progress: told (done, total, what) after every step.

    Returns:
        The content of scorecard.json; None, with a ``reason`` beside it, where a value is undefined.

    Raises:
        RunError: a file is absent, or the calls are not those of this cohort and these folds.
        TableError: a cell of calls.csv is outside its vocabulary (patient and visit named).
        StorageError: the disk is full or not writable.
    """
    design = read_design(run)
    predictions = read_predictions(run, design.protocol)
    evidence = Evidence(predictions.cases, predictions.seeds, predictions.folds, read_studies(run))
    contenders, unavailable = [_model(run, predictions)], []
    for rival in RIVALS:
        answer = predict(rival, evidence)
        if isinstance(answer, Unavailable):
            unavailable.append({"name": rival.name, "title": rival.title, "reason": answer.reason})
            (run / _calls_file(rival)).unlink(missing_ok=True)
        else:
            contenders.append(_contender(rival, *answer))
            write_predictions(run / _calls_file(rival), answer[0], design.protocol)
    ceiling = _write_ceiling(run, predictions, design.protocol)
    if isinstance(ceiling, Unavailable):
        unavailable.append({"name": CEILING, "title": TITLE, "reason": ceiling.reason})
    elif ceiling is not None:
        contenders.append(ceiling)
    if design.target is Target.PD_VERSUS_REST:
        contenders = [replace(one, predictions=against_the_rest(one.predictions)) for one in contenders]
    told = _counter(progress, len(contenders) + len(FIGURES))
    scorecard = {
        **assemble(contenders, settings, told, design.protocol, design.labels),
        "rivals_not_shown": unavailable,
    }
    runs.write_csv(run / SCOREBOARD, scoreboard_table(scorecard))
    for name, draw in FIGURES.items():
        runs.write_bytes(run / runs.FIGURES / name, draw(scorecard))
        told(f"drawn: {name}")
    scorecard["figures"] = [f"{runs.FIGURES}/{name}" for name in FIGURES]
    inputs = {name: provenance.file_hash(run / name) for name in (runs.COHORT, runs.STUDIES, runs.FOLDS, runs.CALLS)}
    provenance.record(run, "evaluate", settings.model_dump(mode="json"), inputs, settings.seed)
    runs.write_json(run / runs.SCORECARD, scorecard)
    return scorecard


def assemble(
    contenders: list[Contender],
    settings: EvaluationSettings,
    told: Callable[[str], None] | None = None,
    protocol: FoldProtocol = FoldProtocol.PATIENT,
    labels: Labels = Labels.EXPERT,
) -> dict[str, Any]:
    """Score models and rivals on one set of resamples, and every model against every rival and those ``beside`` it.

    Args:
        contenders: models and rivals over the same cases in the same order, all of one target.
        settings: bootstrap and coverage.
        told: called with a word after each contender.
        protocol: of the folds; another than by patient puts a watermark on the scorecard.
        labels: what the models learnt; others than the expert's do so, too.
    """
    cases, target = contenders[0].predictions.cases, contenders[0].predictions.target
    weights = patient_resamples(contenders[0].predictions.patients, settings.bootstrap, settings.seed)
    scored: list[_Scored] = []
    for contender in contenders:
        if contender.predictions.cases != cases or contender.predictions.target is not target:
            raise ValueError(f"Expected the same cases in the same order and target, got others for {contender.name}.")
        found = score(contender.predictions, whole_sample(len(cases)))
        values = {name: float(value[0]) for name, value in found.items()}
        scored.append(_Scored(contender, values, score(contender.predictions, weights)))
        if told is not None:
            told(f"scored: {contender.title}")
    models = [one for one in scored if one.contender.kind == "model"]
    return {
        "note": RESEARCH_USE_ONLY,
        "cohort": describe_cohort(contenders[0].predictions),
        "warnings": rare_classes(contenders[0].predictions),
        "watermark": watermark(protocol, labels),
        "target": str(target),
        "target_note": None if target is Target.FOUR_CLASSES else TWO_CLASSES,
        "headline": headline_of(target),
        "protocol": describe_protocol(settings, len(contenders[0].predictions.seeds), protocol),
        "classes": list(contenders[0].predictions.classes),
        "metrics": [
            {
                "name": metric.name,
                "title": metric.title,
                "definition": metric.definition,
                "higher_is_better": metric.higher_is_better,
                "chance": metric.chance,
            }
            for metric in metrics_of(target)
        ],
        "contenders": [_describe(one, weights, settings.coverage) for one in scored],
        "comparisons": [
            _compare(model, other, settings.coverage)
            for model in models
            for other in scored
            if other.contender.kind == "rival" or other.contender.name in model.contender.beside
        ],
    }


@dataclass(frozen=True)
class _Scored:
    contender: Contender
    values: dict[str, float]
    resampled: dict[str, FloatArray]


def _describe(one: _Scored, weights: FloatArray, coverage: float) -> dict[str, Any]:
    contender, predictions = one.contender, one.contender.predictions
    level, sentence = _level(contender)
    hard = predictions.are_hard
    once = whole_sample(len(predictions.cases))
    classes = len(predictions.classes)
    matrices = [confusion(predictions.truth, calls, once, classes)[0] for calls in predictions.calls]
    return {
        "name": contender.name,
        "title": contender.title,
        "kind": contender.kind,
        "level": level,
        "level_sentence": sentence,
        "knew": contender.knew,
        "calls": contender.calls_file,
        "counts": contender.counts,
        "probabilities": "hard calls" if hard else "probabilities",
        "probabilities_note": _HARD if hard else None,
        "metrics": {
            name: estimate(value, one.resampled[name], coverage, why_undefined(name, predictions)).as_dict()
            for name, value in one.values.items()
        },
        "median_of_folds": median_of_folds(predictions),
        "confusion": np.mean(matrices, axis=0).tolist(),
        "reliability": reliability(predictions, weights, coverage),
    }


def _level(contender: Contender) -> tuple[str | None, str]:
    """What it was allowed to know, as a word and as a sentence."""
    if contender.kind == CEILING:
        return LEVEL, LEVEL_SENTENCE
    if contender.level is None:
        return None, "What it saw was not declared."
    return str(contender.level), contender.level.sentence


_HARD = (
    "Calls without probabilities count as probabilities of 0 and 1: an AUC is then the mean of sensitivity and "
    "specificity, ECE the error rate, and the Brier score twice the error rate."
)


def _compare(model: _Scored, rival: _Scored, coverage: float) -> dict[str, Any]:
    """The paired bootstrap of one model against one rival, for every metric."""
    differences = {}
    lower = {metric.name for metric in METRICS if not metric.higher_is_better}
    for name in model.values:
        values = (model.values[name], rival.values[name])
        resampled = (model.resampled[name], rival.resampled[name])
        undefined = model if np.isnan(values[0]) else rival
        why = why_undefined(name, undefined.contender.predictions)
        differences[name] = difference(values, resampled, coverage, name not in lower, why).as_dict()
    level = rival.contender.level
    return {
        "model": model.contender.name,
        "rival": rival.contender.name,
        "rival_title": rival.contender.title,
        "rival_level": None if level is None else str(level),
        "rival_knew": rival.contender.knew,
        "same_level": level is not None and level is model.contender.level,
        "beside": rival.contender.name in model.contender.beside,
        "differences": differences,
    }


def _model(run: Path, predictions: Predictions) -> Contender:
    """The run's own model, named as its recipe, where ``ranoscope crossval`` left one."""
    recipe = read_model_settings(run)
    level = InformationLevel(recipe["level"]) if "level" in recipe else None
    return Contender(
        name="model",
        title=str(recipe.get("name", "model")),
        kind="model",
        level=level,
        knew=str(recipe.get("description", "Calls of unknown making.")),
        predictions=predictions,
        calls_file=runs.CALLS,
        counts={},
    )


def _write_ceiling(run: Path, predictions: Predictions, protocol: FoldProtocol) -> Contender | Unavailable | None:
    """The synthetic cohort's ceiling as a row beside the model's, and its files; None for a cohort of patients."""
    file = f"calls_{CEILING}.csv"
    ceiling = read_ceiling(run, predictions.cases)
    if ceiling is None or isinstance(ceiling, Unavailable):
        for name in (file, CEILING_FILE):
            (run / name).unlink(missing_ok=True)
        return ceiling
    probabilities = np.array(np.broadcast_to(ceiling.probabilities, predictions.probabilities.shape))
    answer = replace(predictions, probabilities=probabilities, calls=probabilities.argmax(axis=2))
    write_predictions(run / file, answer, protocol)
    runs.write_json(run / CEILING_FILE, ceiling.describe())
    return Contender(CEILING, TITLE, CEILING, None, KNEW, answer, file, ceiling.counts)


def _contender(rival: Rival, predictions: Predictions, counts: dict[str, int]) -> Contender:
    return Contender(rival.name, rival.title, "rival", rival.level, rival.knew, predictions, _calls_file(rival), counts)


def _calls_file(rival: Rival) -> str:
    return f"calls_{rival.name}.csv"


def _counter(progress: Progress | None, total: int) -> Callable[[str], None]:
    """Progress that counts its own steps."""
    done = 0

    def told(what: str) -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress(done, total, what)

    return told
