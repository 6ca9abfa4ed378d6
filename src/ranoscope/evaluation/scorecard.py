"""The scorecard: a model beside its rivals on the same cases, folds and resamples of patients."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ranoscope import provenance, runs
from ranoscope.cohort.files import read_studies
from ranoscope.config import EvaluationSettings
from ranoscope.domain import RESEARCH_USE_ONLY, RESPONSES, InformationLevel
from ranoscope.evaluation.calibration import reliability
from ranoscope.evaluation.figures import FIGURES
from ranoscope.evaluation.intervals import difference, estimate
from ranoscope.evaluation.predictions import FloatArray, Predictions, read_predictions, write_predictions
from ranoscope.evaluation.rivals import RIVALS, Evidence, Rival, Unavailable, predict
from ranoscope.evaluation.scores import METRICS, confusion, median_of_folds, score, why_undefined
from ranoscope.evaluation.tables import scoreboard_table
from ranoscope.evaluation.weighting import patient_resamples, whole_sample

SCOREBOARD = "scoreboard.csv"
# With n patients the bootstrap's variance is too small by the factor 1 - 1/n: below five by a quarter and more.
_FEW_PATIENTS = 5
Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Contender:
    """A row of the scoreboard: a model or a rival (``kind``), what it knew, its predictions and the file of its calls.

    ``level`` is None for calls whose maker did not declare it. ``counts``: a rival's fallbacks.
    """

    name: str
    title: str
    kind: str
    level: InformationLevel | None
    knew: str
    predictions: Predictions
    calls_file: str
    counts: dict[str, int]


def evaluate_run(run: Path, settings: EvaluationSettings, progress: Progress | None = None) -> dict[str, Any]:
    """Score a run's calls beside the rivals and write scorecard, tables, rivals' calls and figures.

    Writes ``scoreboard.csv``, ``calls_<rival>.csv``, ``figures/*.svg`` and, last, ``scorecard.json``; same calls and
    settings, same bytes.

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
    predictions = read_predictions(run)
    evidence = Evidence(predictions.cases, predictions.seeds, predictions.folds, read_studies(run))
    contenders, unavailable = [_model(run, predictions)], []
    for rival in RIVALS:
        answer = predict(rival, evidence)
        if isinstance(answer, Unavailable):
            unavailable.append({"name": rival.name, "title": rival.title, "reason": answer.reason})
            (run / _calls_file(rival)).unlink(missing_ok=True)
        else:
            contenders.append(_contender(rival, *answer))
            write_predictions(run / _calls_file(rival), answer[0])
    told = _counter(progress, len(contenders) + len(FIGURES))
    scorecard = {**assemble(contenders, settings, told), "rivals_not_shown": unavailable}
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
    contenders: list[Contender], settings: EvaluationSettings, told: Callable[[str], None] | None = None
) -> dict[str, Any]:
    """Score models and rivals on one set of resamples, and every model against every rival.

    Args:
        contenders: models and rivals over the same cases in the same order.
        settings: bootstrap and coverage.
        told: called with a word after each contender.
    """
    cases = contenders[0].predictions.cases
    weights = patient_resamples(contenders[0].predictions.patients, settings.bootstrap, settings.seed)
    scored: list[_Scored] = []
    for contender in contenders:
        if contender.predictions.cases != cases:
            raise ValueError(f"Expected the same cases in the same order, got others for {contender.name}.")
        found = score(contender.predictions, whole_sample(len(cases)))
        values = {name: float(value[0]) for name, value in found.items()}
        scored.append(_Scored(contender, values, score(contender.predictions, weights)))
        if told is not None:
            told(f"scored: {contender.title}")
    models = [one for one in scored if one.contender.kind == "model"]
    rivals = [one for one in scored if one.contender.kind == "rival"]
    return {
        "note": RESEARCH_USE_ONLY,
        "cohort": _describe_cohort(contenders[0].predictions),
        "warnings": _rare_classes(contenders[0].predictions),
        "protocol": _describe_protocol(settings, len(contenders[0].predictions.seeds)),
        "classes": [str(response) for response in RESPONSES],
        "metrics": [
            {
                "name": metric.name,
                "title": metric.title,
                "definition": metric.definition,
                "higher_is_better": metric.higher_is_better,
                "chance": metric.chance,
            }
            for metric in METRICS
        ],
        "contenders": [_describe(one, weights, settings.coverage) for one in scored],
        "comparisons": [_compare(model, rival, settings.coverage) for model in models for rival in rivals],
    }


@dataclass(frozen=True)
class _Scored:
    contender: Contender
    values: dict[str, float]
    resampled: dict[str, FloatArray]


def _describe(one: _Scored, weights: FloatArray, coverage: float) -> dict[str, Any]:
    contender, predictions = one.contender, one.contender.predictions
    hard = predictions.are_hard
    once = whole_sample(len(predictions.cases))
    matrices = [confusion(predictions.truth, calls, once)[0] for calls in predictions.calls]
    return {
        "name": contender.name,
        "title": contender.title,
        "kind": contender.kind,
        "level": None if contender.level is None else str(contender.level),
        "level_sentence": "What it saw was not declared." if contender.level is None else contender.level.sentence,
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


_HARD = (
    "Calls without probabilities count as probabilities of 0 and 1: an AUC is then the mean of sensitivity and "
    "specificity, ECE the error rate, and the Brier score twice the error rate."
)


def _compare(model: _Scored, rival: _Scored, coverage: float) -> dict[str, Any]:
    """The paired bootstrap of one model against one rival, for every metric."""
    differences = {}
    for metric in METRICS:
        values = (model.values[metric.name], rival.values[metric.name])
        resampled = (model.resampled[metric.name], rival.resampled[metric.name])
        undefined = model if np.isnan(values[0]) else rival
        why = why_undefined(metric.name, undefined.contender.predictions)
        differences[metric.name] = difference(values, resampled, coverage, metric.higher_is_better, why).as_dict()
    level = rival.contender.level
    return {
        "model": model.contender.name,
        "rival": rival.contender.name,
        "rival_title": rival.contender.title,
        "rival_level": None if level is None else str(level),
        "rival_knew": rival.contender.knew,
        "same_level": level is not None and level is model.contender.level,
        "differences": differences,
    }


def _describe_cohort(predictions: Predictions) -> dict[str, Any]:
    cases = predictions.cases
    return {
        "cases": len(cases),
        "patients": len(set(predictions.patients)),
        "cases_per_response": {str(r): sum(case.response is r for case in cases) for r in RESPONSES},
        "patients_per_response": {
            str(r): len({case.patient for case in cases if case.response is r}) for r in RESPONSES
        },
        "first_progression_cases": int(predictions.first_progression.sum()),
        "prior_ratings": dict(sorted(Counter(str(case.prior_rating) for case in cases).items())),
        "seeds": list(predictions.seeds),
        "folds": [len(np.unique(folds)) for folds in predictions.folds],
    }


def _rare_classes(predictions: Predictions) -> list[str]:
    """A sentence for each class whose recall rests on so few people that resampling them says little."""
    holders = {r: {case.patient for case in predictions.cases if case.response is r} for r in RESPONSES}
    return [
        f"{response} occurs in {len(names)} patient{'' if len(names) == 1 else 's'}: the interval of its recall is too "
        "narrow, and so is that of balanced accuracy."
        for response, names in holders.items()
        if 0 < len(names) < _FEW_PATIENTS
    ]


def _describe_protocol(settings: EvaluationSettings, seeds: int) -> dict[str, Any]:
    return {
        "unit": "patient",
        "bootstrap": settings.bootstrap,
        "coverage": settings.coverage,
        "seed": settings.seed,
        "predictions": "pooled out of fold" + (f", scores averaged over {seeds} seeds" if seeds > 1 else ""),
        "intervals": "percentile intervals over resamples of patients; differences are paired on the same resamples",
        "absent_classes": (
            "A resample that lacks a class a score needs gives no value and is left out of that score's interval "
            "(counted in left_out); with fewer than half of the resamples left there is no interval."
        ),
    }


def _model(run: Path, predictions: Predictions) -> Contender:
    """The run's own model, named as its recipe, where ``ranoscope crossval`` left one."""
    path = run / runs.SETTINGS
    recipe = (runs.read_yaml(path, "ranoscope crossval") or {}).get("crossval", {}) if path.is_file() else {}
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
