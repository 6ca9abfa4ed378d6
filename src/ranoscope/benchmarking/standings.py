"""Where every arm stands: scored with the rivals of its own ground, and compared with the reference arm.

A *ground* is what figures must share to stand beside each other: the same cases, folds, target and labels. Each has its
own rivals, as timing is fitted inside the folds and a median over folds depends on them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ranoscope.benchmarking.arms import Arm, training_key
from ranoscope.benchmarking.contrasts import contrast
from ranoscope.benchmarking.ledger import FAILED, FINISHED, Progress
from ranoscope.benchmarking.medians import DEFINITION, PAPER_METRICS, paper_figures
from ranoscope.cohort.files import read_studies
from ranoscope.cohort.folds import watermark
from ranoscope.config import FoldProtocol, Recipe, Target
from ranoscope.domain import RESEARCH_USE_ONLY
from ranoscope.evaluation.predictions import Predictions, against_the_rest
from ranoscope.evaluation.rivals import RIVALS, Evidence, Unavailable, predict
from ranoscope.evaluation.scorecard import Contender, assemble


@dataclass(frozen=True)
class Result:
    """A finished training: its recipe, its calls of the four responses, and its run folder."""

    recipe: Recipe
    calls: Predictions
    folder: Path

    @property
    def predictions(self) -> Predictions:
        """What is scored: of PD against the rest where only that was learnt."""
        return against_the_rest(self.calls) if self.recipe.target is Target.PD_VERSUS_REST else self.calls

    @property
    def ground(self) -> tuple[object, ...]:
        """What another result must share to be compared with this one."""
        folds = self.recipe.folds.model_copy(update={"training_cases": None})  # rivals learn from all there are
        return folds, self.recipe.target, self.recipe.labels, self.calls.cases


def compile_benchmark(
    arms: list[Arm], results: dict[str, Result], cells: list[dict[str, Any]], progress: Progress
) -> dict[str, Any]:
    """Score everything; returns what benchmark.json holds besides its provenance.

    Args:
        arms: all arms.
        results: the finished trainings by the name of their run folder.
        cells: the ledger's rows.
        progress: told (done, total, what) after every score.
    """
    grounds, contenders = _score_grounds(results, progress)
    reference = next((arm for arm in arms if arm.reference and arm.run in results), None)
    failures = [cell for cell in cells if cell["state"] != FINISHED]
    return {
        "note": RESEARCH_USE_ONLY,
        "paper_metrics": PAPER_METRICS,
        "paper_definition": DEFINITION,
        "approaches": list(dict.fromkeys(arm.approach for arm in arms)),
        "reference": None if reference is None else reference.name,
        "arms": [_describe(arm, results, contenders, cells, reference) for arm in arms],
        "grounds": grounds,
        "optimism": _optimism(arms, results),
        "cells": {
            "total": len(cells),
            "finished": len(cells) - len(failures),
            "seconds": sum(cell["seconds"] or 0.0 for cell in cells),
        },
        "failures": failures,
    }


def _score_grounds(
    results: dict[str, Result], progress: Progress
) -> tuple[list[dict[str, Any]], dict[str, tuple[int, dict[str, Any]]]]:
    """The grounds with their rivals, and of each training its ground's place and its scores."""
    by_ground: dict[tuple[object, ...], list[str]] = {}
    for run, result in results.items():
        by_ground.setdefault(result.ground, []).append(run)
    grounds: list[dict[str, Any]] = []
    scored: dict[str, tuple[int, dict[str, Any]]] = {}
    total, done = len(results) + len(by_ground) * len(RIVALS), 0

    def told(what: str) -> None:
        nonlocal done
        done += 1
        progress(done, total, what)

    for members in by_ground.values():
        entrants = [_model(run, results[run]) for run in members]
        rivals, unavailable = _rivals(results[members[0]])
        recipe = results[members[0]].recipe
        card = assemble([*entrants, *rivals], recipe.evaluation, told, recipe.folds.protocol, recipe.labels)
        described = [
            {**about, "paper": paper_figures(contender.predictions)}
            for about, contender in zip(card.pop("contenders"), [*entrants, *rivals], strict=True)
        ]
        scored |= {one["name"]: (len(grounds), one) for one in described if one["kind"] == "model"}
        shown = [one for one in described if one["kind"] == "rival"]
        grounds.append({**card, "rivals": shown, "rivals_not_shown": unavailable})
    return grounds, scored


def _model(run: str, result: Result) -> Contender:
    recipe = result.recipe
    return Contender(run, recipe.name, "model", recipe.level, recipe.description, result.predictions, "calls.csv", {})


def _rivals(result: Result) -> tuple[list[Contender], list[dict[str, str]]]:
    """The rivals on the cases, folds and target of a result, and those that cannot be shown."""
    calls = result.calls
    evidence = Evidence(calls.cases, calls.seeds, calls.folds, read_studies(result.folder))
    shown, unavailable = [], []
    for rival in RIVALS:
        answer = predict(rival, evidence)
        if isinstance(answer, Unavailable):
            unavailable.append({"name": rival.name, "title": rival.title, "reason": answer.reason})
            continue
        predictions, counts = answer
        if result.recipe.target is Target.PD_VERSUS_REST:
            predictions = against_the_rest(predictions)
        shown.append(Contender(rival.name, rival.title, "rival", rival.level, rival.knew, predictions, "", counts))
    return shown, unavailable


def _describe(
    arm: Arm,
    results: dict[str, Result],
    scored: dict[str, tuple[int, dict[str, Any]]],
    cells: list[dict[str, Any]],
    reference: Arm | None,
) -> dict[str, Any]:
    recipe, own = arm.recipe, [cell for cell in cells if cell["run"] == arm.run]
    ground, about = scored.get(arm.run, (None, None))
    messages = dict.fromkeys(cell["message"] for cell in own if cell["state"] == FAILED)
    beside_reference = None
    if about is not None and reference is not None and reference.run != arm.run:
        mine, theirs = results[arm.run], results[reference.run]
        beside_reference = contrast(mine.predictions, theirs.predictions, recipe.evaluation)
    return {
        "name": arm.name,
        "approach": arm.approach,
        "description": recipe.description,
        "is_reference": arm.reference,
        "run": arm.run,
        "fingerprint": recipe.fingerprint(),
        "protocol": str(recipe.folds.protocol),
        "watermark": watermark(recipe.folds.protocol, recipe.labels),
        "target": str(recipe.target),
        "settings": recipe.model_dump(mode="json"),
        "cells": {"total": len(own), "finished": sum(cell["state"] == FINISHED for cell in own)},
        "messages": list(messages),
        "ground": ground,
        "scores": about,
        "minus_reference": beside_reference,
    }


def _optimism(arms: list[Arm], results: dict[str, Result]) -> list[dict[str, Any]]:
    """What the published protocol adds: each arm under it minus the arm that differs in nothing else."""
    honest: dict[str, Arm] = {}
    for arm in arms:
        if arm.recipe.folds.protocol is FoldProtocol.PATIENT:
            honest.setdefault(arm.run, arm)
    found = []
    for arm in arms:
        folds = arm.recipe.folds
        if folds.protocol is FoldProtocol.PATIENT:
            continue
        twin = arm.recipe.model_copy(update={"folds": folds.model_copy(update={"protocol": FoldProtocol.PATIENT})})
        counterpart = honest.get(training_key(twin))
        if counterpart is None or not {arm.run, counterpart.run} <= set(results):
            continue
        published, patient = results[arm.run].predictions, results[counterpart.run].predictions
        medians = [paper_figures(one)["balanced_accuracy"]["estimate"] for one in (published, patient)]
        found.append(
            {
                "as_published": arm.name,
                "patient": counterpart.name,
                "target": str(arm.recipe.target),
                "differences": contrast(published, patient, arm.recipe.evaluation),
                "median_of_folds": {"as_published": medians[0], "patient": medians[1]},
            }
        )
    return found
