"""The shortcut audit of a trained run: every held-out case, by the fold's network that never saw the patient."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ranoscope import provenance, runs
from ranoscope.cohort.folds import watermark
from ranoscope.config import EvaluationSettings, Recipe, Target, TimelineSettings
from ranoscope.domain import RESEARCH_USE_ONLY, RESPONSES, Case
from ranoscope.errors import RecipeError, RunError, problem
from ranoscope.evaluation.intervals import estimate
from ranoscope.evaluation.out_of_fold import out_of_fold_probabilities
from ranoscope.evaluation.predictions import FloatArray, Predictions
from ranoscope.evaluation.timing import timing_features, timing_model
from ranoscope.explaining.cases import CalledCase, read_called
from ranoscope.explaining.trained import load_trained
from ranoscope.learning.checkpoints import load_run_recipe
from ranoscope.learning.facts import fact_names
from ranoscope.learning.studies import open_run_store
from ranoscope.learning.targets import class_names
from ranoscope.probing.decoding import decode_weeks, recognise_patients
from ranoscope.probing.figures import draw_changes
from ranoscope.probing.passes import FoldAnswers, ask_fold, fold_key, read_answers, write_answers
from ranoscope.probing.probes import AS_IS, MARGIN_MM, Probe, probes_of
from ranoscope.probing.scoring import Sample, compare
from ranoscope.probing.sentences import identity_sentence, probe_sentence, weeks_sentence, yardstick_sentence
from ranoscope.probing.verdicts import Verdict, judge_decoded, judge_identity

SHORTCUTS = "shortcuts.json"
SHORTCUT_CALLS = "shortcuts.csv"
PARTS = "shortcuts"
FIGURE = "shortcuts.svg"
COMMAND = "ranoscope audit-shortcuts"
Progress = Callable[[int, int, str], None]
# Columns of ``timing_features``.
_WEEKS = ("interval", "week")


@dataclass(frozen=True)
class Answers:
    """All folds' answers, folds in order and cases as ``called`` has them: ``probabilities`` (probe, case, class)."""

    called: list[CalledCase]
    folds: list[FoldAnswers]

    @property
    def probabilities(self) -> FloatArray:
        """Of every probe and case."""
        return np.concatenate([fold.probabilities for fold in self.folds], axis=1)

    @property
    def features(self) -> list[FloatArray]:
        """Of the unchanged cases, per fold (case, feature)."""
        return [fold.features.astype(np.float64) for fold in self.folds]

    @property
    def members(self) -> list[list[Case]]:
        """The cases of every fold."""
        numbers = sorted({entry.fold for entry in self.called})
        return [[entry.case for entry in self.called if entry.fold == number] for number in numbers]


def audit_shortcuts(run: Path, settings: EvaluationSettings, progress: Progress) -> dict[str, Any]:
    """Probe the networks of a run's first seed and write what it says of them.

    Writes ``shortcuts.csv`` (a call per probe and case), ``figures/shortcuts.svg`` and, last, ``shortcuts.json``. The
    answers of a fold are kept in ``shortcuts/`` and not asked for again while its weights are the same.

    Args:
        run: a folder that ``ranoscope crossval`` finished.
        settings: bootstrap and coverage of the intervals.
        progress: told (done, total, what) in cases.

    Returns:
        The content of shortcuts.json; None, with a ``reason`` beside it, where a value is undefined.

    Raises:
        RecipeError: the networks see the timeline, not pairs.
        RunError: no calls, no checkpoints or no store, they are not of one training, or memory ran out.
        StorageError: the disk is full or not writable; finished folds are kept.
    """
    recipe = load_run_recipe(run)
    _require_images_alone(recipe)
    probes = (AS_IS, *probes_of(recipe))
    with runs.exclusive(run / PARTS):
        answers = _ask(run, recipe, probes, progress)
    content = _judge(answers, recipe, probes, settings)
    runs.write_csv(run / SHORTCUT_CALLS, _table(answers, recipe, probes))
    runs.write_bytes(run / runs.FIGURES / FIGURE, draw_changes(content))
    inputs = {name: provenance.file_hash(run / name) for name in (runs.CALLS, runs.FOLDS)}
    chosen = {**settings.model_dump(mode="json"), "margin_mm": MARGIN_MM, "fold_seed": recipe.folds.seeds[0]}
    provenance.record(run, "audit-shortcuts", chosen, inputs, settings.seed)
    runs.write_json(run / SHORTCUTS, content)
    return content


def read_shortcuts(run: Path) -> dict[str, Any] | None:
    """The content of shortcuts.json; None where the run was not audited.

    Raises:
        RunError: the file is damaged.
    """
    path = run / SHORTCUTS
    return runs.read_json(path, COMMAND) if path.is_file() else None


def _require_images_alone(recipe: Recipe) -> None:
    """Raise RecipeError where verdicts would mean nothing: probes would change two of many studies, or images alone and
    not the volumes measured in them.
    """
    if isinstance(recipe.network, TimelineSettings):
        do = "audit the pair network (network: {name: change-aware}) of the same cohort and folds instead"
        raise RecipeError(problem("a network that sees pairs", recipe.network.name, f"recipe {recipe.name}", do))
    if recipe.measured_volumes:
        got, do = "one that is told measured volumes too", "audit a recipe with measured_volumes: false instead"
        raise RecipeError(problem("a network that sees images", got, f"recipe {recipe.name}", do))


def _ask(run: Path, recipe: Recipe, probes: tuple[Probe, ...], progress: Progress) -> Answers:
    called = sorted(read_called(run), key=lambda entry: (entry.fold, entry.case.patient, entry.case.current))
    if not called:
        do = "run `ranoscope crossval` first"
        raise RunError(problem("calls of the first seed", "none", str(run / runs.CALLS), do))
    store, seed, done = open_run_store(run, recipe), recipe.folds.seeds[0], 0
    folds: list[FoldAnswers] = []

    def step(cases: int) -> None:
        nonlocal done
        done += cases
        progress(done, len(called), f"fold {fold}")

    for fold in sorted({entry.fold for entry in called}):
        cases = [entry.case for entry in called if entry.fold == fold]
        key = fold_key(run, (seed, fold), cases, [probe.name for probe in probes])
        path = run / PARTS / f"seed-{seed}_fold-{fold}.npz"
        found = read_answers(path, key)
        if found is None:
            found = ask_fold(load_trained(run, seed, fold), store, cases, probes, step)
            write_answers(path, key, found)
        else:
            step(len(cases))
        folds.append(found)
    return Answers(called, folds)


def _judge(answers: Answers, recipe: Recipe, probes: tuple[Probe, ...], settings: EvaluationSettings) -> dict[str, Any]:
    sample = Sample(_predictions(answers, recipe.target), settings)
    calls = answers.probabilities.argmax(axis=2)
    lesions = np.concatenate([fold.lesions for fold in answers.folds])
    entries = [compare(sample, probe, calls[place], lesions) for place, probe in enumerate(probes) if place]
    for entry in entries:
        entry["sentence"] = probe_sentence(entry)
    same = [int(RESPONSES[call] is entry.call) for call, entry in zip(calls[0], answers.called, strict=True)]
    found: dict[str, Any] = {
        "note": RESEARCH_USE_ONLY,
        "watermark": watermark(recipe.folds.protocol, recipe.labels),
        "recipe": recipe.name,
        "target": str(recipe.target),
        "classes": list(class_names(recipe.target)),
        "chance": sample.chance,
        "coverage": settings.coverage,
        "seed": recipe.folds.seeds[0],
        "seeds": len(recipe.folds.seeds),
        "cases": len(answers.called),
        "patients": len({entry.case.patient for entry in answers.called}),
        "cases_without_tumour": int((~lesions).sum()),
        "margin_mm": MARGIN_MM,
        "agreement_with_calls": float(np.mean(same)),
        "balanced_accuracy": sample.bounded(sample.score_before).as_dict(),
        "probes": entries,
        "yardsticks": [_yardstick(sample, fact) for fact in _WEEKS],
        "weeks": [_weeks(sample, answers, recipe, fact) for fact in _WEEKS],
        "identity": _identity(sample, answers, settings.seed),
    }
    everything = [*entries, *found["yardsticks"], *found["weeks"], found["identity"]]
    found["verdicts"] = {str(one): sum(entry["verdict"] == one for entry in everything) for one in Verdict}
    return found


def _predictions(answers: Answers, target: Target) -> Predictions:
    """The unchanged cases' answers."""
    probabilities = answers.probabilities[:1]
    return Predictions(
        cases=tuple(entry.case for entry in answers.called),
        seeds=(answers.called[0].seed,),
        folds=np.array([[entry.fold for entry in answers.called]], np.int64),
        probabilities=probabilities,
        calls=probabilities.argmax(axis=2),
        target=target,
    )


def _yardstick(sample: Sample, fact: str) -> dict[str, Any]:
    """What a model of weeks alone scores, fitted on the same folds."""
    predictions = sample.predictions
    features = timing_features(predictions.cases)[:, [_WEEKS.index(fact)]]
    found = out_of_fold_probabilities(features, predictions.truth, predictions.folds, timing_model)
    scored = sample.score(found[0].argmax(axis=1))
    above = sample.above(scored, sample.chance)
    entry = {
        "fact": fact,
        "verdict": str(judge_decoded(above)),
        "balanced_accuracy": sample.bounded(scored).as_dict(),
        "above_chance": above.as_dict(),
        "difference": sample.fall(scored).as_dict(),
    }
    return {**entry, "sentence": yardstick_sentence(entry)}


def _weeks(sample: Sample, answers: Answers, recipe: Recipe, fact: str) -> dict[str, Any]:
    """What the features say of weeks."""
    members = answers.members
    values = [timing_features(tuple(cases))[:, _WEEKS.index(fact)] for cases in members]
    decoded = decode_weeks(answers.features, members, values)
    once, resampled = decoded.explained(sample.once), decoded.explained(sample.weights)
    why = "too few patients in every fold, or all weeks the same"
    explained = estimate(float(once[0]), resampled, sample.coverage, why)
    entry = {
        "fact": fact,
        "given": fact in fact_names(recipe),
        "verdict": str(judge_decoded(explained)),
        "explained": explained.as_dict(),
        "rank_correlation": None if np.isnan(decoded.rank_correlation) else decoded.rank_correlation,
        "cases": int(decoded.known.sum()),
    }
    return {**entry, "sentence": weeks_sentence(entry)}


def _identity(sample: Sample, answers: Answers, seed: int) -> dict[str, Any]:
    """Whether the features know the patient."""
    found = recognise_patients(answers.features, answers.members, seed)
    why = "no patient has two cases without a study in common in a fold"
    gain = sample.share(found.hits - found.chance, found.eligible, why)
    asked = bool(found.eligible.any())
    entry = {
        "verdict": str(judge_identity(gain, found.p, 1 - sample.coverage)),
        "accuracy": sample.share(found.hits, found.eligible, why).as_dict(),
        "gain": gain.as_dict(),
        "chance": float(found.chance[found.eligible].mean()) if asked else None,
        "p": found.p if asked else None,
        "cases": int(found.eligible.sum()),
    }
    return {**entry, "sentence": identity_sentence(entry)}


def _table(answers: Answers, recipe: Recipe, probes: tuple[Probe, ...]) -> pd.DataFrame:
    """Rows of shortcuts.csv: probe by probe, cases in the order of the folds."""
    names = class_names(recipe.target)
    return pd.DataFrame(
        {
            "probe": probe.name,
            "patient": entry.case.patient,
            "prior": str(entry.case.prior),
            "current": str(entry.case.current),
            "response": str(entry.case.response),
            "seed": entry.seed,
            "fold": entry.fold,
            "call": names[int(row.argmax())],
            **{f"p_{name}": f"{float(chance):.6f}" for name, chance in zip(names, row, strict=True)},
        }
        for place, probe in enumerate(probes)
        for entry, row in zip(answers.called, answers.probabilities[place], strict=True)
    )
