"""A run's network fused with what was measured, and the scoreboard on which both stand beside their fusion."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lightning.pytorch.utilities import rank_zero_only

from ranoscope import provenance, runs
from ranoscope.cohort.files import read_is_synthetic, read_patients
from ranoscope.cohort.folds import fold_warnings, read_folds
from ranoscope.config import FoldProtocol, Labels, Recipe, Target
from ranoscope.domain import InformationLevel
from ranoscope.errors import RunError, problem
from ranoscope.evaluation.predictions import read_predictions
from ranoscope.evaluation.scorecard import Contender
from ranoscope.fusing.contenders import Ingredients, Measured, fuse_level, network_contender, rule_contender
from ranoscope.fusing.nesting import Progress, make_nests, train_nests
from ranoscope.fusing.opinions import are_measured, measured_inside
from ranoscope.fusing.request import Request
from ranoscope.learning.cells import make_cells, require_own_checkpoints
from ranoscope.learning.checkpoints import load_run_recipe
from ranoscope.learning.data import Material
from ranoscope.learning.studies import open_run_store
from ranoscope.learning.training import alone
from ranoscope.scoreboard.entrants import gather_run
from ranoscope.scoreboard.examination import (
    SCOREBOARD,
    at_own_level,
    examine_models,
    examine_rivals,
    make_exam,
    write_board,
)
from ranoscope.scoreboard.models import MODELS, Model
from ranoscope.scoreboard.protocol import Exam


def fuse_run(request: Request, progress: Progress, models: tuple[Model, ...] | None = None) -> dict[str, Any] | None:
    """Train the inner networks, weigh them with what was measured, and write the scoreboard; resumes.

    Writes ``inner/`` (a folder per outer fold), ``parts/``, ``calls_<name>.csv``, ``scoreboard.csv``,
    ``figures/*.svg``, ``scoreboard.html`` and, last, ``scoreboard.json``.

    Args:
        request: what to fuse.
        progress: told (done, total, what) after every epoch, every part and every row.
        models: measured-change models, of each level the one to fuse first; ``MODELS`` where None.

    Returns:
        The content of scoreboard.json; None in the further processes of a multi-GPU run, which write nothing.

    Raises:
        RunError: the run is not finished, its folds are as published, its network tells PD from the rest alone or
            learnt permuted labels, no volume is known, or inner networks of another recipe or of other cases are there.
        TableError: a table is missing or faulty.
        RanoscopeError: a fold has fewer training patients than inner folds.
        StorageError: the disk is full or not writable; finished parts are kept.
    """
    run, out = request.run, request.folder
    recipe = load_run_recipe(run)
    require_fusible(recipe, run)
    predictions = read_predictions(run)
    entry = gather_run(run, request.tables, request.volumes)
    material = Material(open_run_store(run, recipe), read_patients(run))
    cells = make_cells(recipe, material, list(predictions.cases), read_folds(run), run)
    require_own_checkpoints(recipe, cells, run)
    nests = make_nests(predictions, request.inner_folds, out)
    with alone(out):
        inside = train_nests(recipe, material, nests, progress)
        if getattr(rank_zero_only, "rank", 0):
            return None
        ingredients = Ingredients(recipe, entry, predictions, nests, inside)
        return _examine(request, ingredients, MODELS if models is None else models, progress)


def of_the_fused(scoreboard: dict[str, Any]) -> dict[str, Any]:
    """The scoreboard with the fused rows alone compared, with what they are to beat: short enough to print."""
    fused = {f"fused_{one['level']}" for one in scoreboard["fusion"]["levels"]}
    to_beat = at_own_level(scoreboard)["comparisons"]
    return {**scoreboard, "comparisons": [one for one in to_beat if one["model"] in fused]}


def require_fusible(recipe: Recipe, run: Path) -> None:
    """Raise RunError where the run's network cannot be weighed inside patient-level folds of the four responses."""
    asked = (
        (recipe.folds.protocol is FoldProtocol.PATIENT, "patient-level folds", "folds as published",
         "cross-validate a recipe with `folds.protocol: patient`"),
        (recipe.target is Target.FOUR_CLASSES, "a network of the four responses", "one of PD against the rest",
         "cross-validate a recipe with `target: four-classes`"),
        (recipe.labels is Labels.EXPERT, "a network that learnt the expert's ratings", "one of permuted labels",
         "cross-validate a recipe with `labels: expert`"),
    )  # fmt: skip
    for holds, expected, got, do in asked:
        if not holds:
            raise RunError(problem(expected, got, str(run), do))


def _examine(
    request: Request, ingredients: Ingredients, models: tuple[Model, ...], progress: Progress
) -> dict[str, Any]:
    entry, network, out = ingredients.entry, ingredients.network, request.folder
    exam = make_exam(entry, network.seeds, network.folds)
    examined = examine_models(models, exam, out, progress)
    fused = [fuse_level(ingredients, one) for one in _measured(ingredients, models, exam, examined, progress)]
    rivals, unavailable = examine_rivals(exam, entry)
    rule = rule_contender(entry, network)
    rows = [
        *(one.stack for one in fused),
        *(one.mean for one in fused),
        network_contender(ingredients.recipe, network),
        *examined,
        *([] if rule is None else [rule]),
        *rivals,
    ]
    further = {
        "synthetic": read_is_synthetic(request.run),
        "rivals_not_shown": unavailable,
        "coverage": entry.coverage,
        "notes": [*fold_warnings(list(entry.cases), ingredients.recipe.folds), *entry.notes],
        "fusion": {
            "network": ingredients.recipe.name,
            "inner_folds": request.inner_folds,
            "not_measured": int((~are_measured(entry)).sum()),
            "levels": [one.about for one in fused],
        },
    }
    scoreboard = write_board(out, rows, further, ingredients.recipe.evaluation, progress)
    _record(request, ingredients.recipe)
    runs.write_json(out / SCOREBOARD, scoreboard)
    return scoreboard


def _measured(
    ingredients: Ingredients, models: tuple[Model, ...], exam: Exam, examined: list[Contender], progress: Progress
) -> list[Measured]:
    """The first model of every level that knows no less than the network does, inside and outside the nests."""
    order, nests = list(InformationLevel), ingredients.nests
    first = {model.level: model for model in reversed(models)}
    used = [first[level] for level in order[order.index(ingredients.recipe.level) :] if level in first]
    outside = {one.name: one.predictions for one in examined}
    inside = []
    for done, nest in enumerate(nests, start=1):
        inside.append(measured_inside(tuple(used), exam, nest))
        progress(done, len(nests), f"measured inside: seed {nest.seed}, without fold {nest.fold + 1}")
    return [Measured(model, outside[model.name], [one[model.name] for one in inside]) for model in used]


def _record(request: Request, recipe: Recipe) -> None:
    names = (runs.COHORT, runs.STUDIES, runs.FOLDS, runs.CALLS)
    inputs = {name: provenance.file_hash(request.run / name) for name in names}
    if request.volumes is not None:
        inputs[request.volumes.name] = provenance.file_hash(request.volumes)
    settings = {"inner_folds": request.inner_folds, "crossval": recipe.model_dump(mode="json")}
    provenance.record(request.folder, "fuse", settings, inputs, recipe.evaluation.seed)
