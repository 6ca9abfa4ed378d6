"""What a grid will cost before any of it is run: memory and time per cell, pretraining and reading included.

A made-up patient is read and sampled as real ones are (``rehearsal``), one step of every training is played without
contents (``footprint``), and what arithmetic, bytes and operations take is measured here or, of a machine that is not
at hand, taken from its published figures (``machines``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from ranoscope.benchmarking.arms import Arm
from ranoscope.benchmarking.footprint import Footprint, pretraining_footprint, training_footprint
from ranoscope.benchmarking.machines import Machine, this_machine
from ranoscope.benchmarking.rehearsal import Rehearsal
from ranoscope.config import ChangePretraining, FoldProtocol, Recipe, RotationPretraining
from ranoscope.errors import RanoscopeError
from ranoscope.imaging.store import settings_key
from ranoscope.learning.crossval import require_ready
from ranoscope.learning.data import uses_cuda
from ranoscope.learning.pretraining.rotations import TURNS

# A forward pass is a third of a training step.
_FORWARD = 1 / 3
_COARSER_MM = (1.5, 2.0, 3.0, 4.0)
# Of a training, what its step depends on; pretraining has its own.
_STEP_SETTINGS = ("network", "sequences", "grid", "clinical", "target", "missing_sequences", "training", "pretraining")


@dataclass(frozen=True)
class Cohort:
    """How much there is to learn from: cases, and the studies they are made of."""

    cases: int
    studies: int


@dataclass(frozen=True)
class Work:
    """A step's footprint, and the seconds that one of its samples takes on one core."""

    step: Footprint
    sample_seconds: float


@dataclass(frozen=True)
class CellCost:
    """Estimates for each cell of one distinct training. ``pretraining_seconds`` are part of ``seconds``.

    ``advice``: what to set where the machine's memory is too small; empty where it is not.
    """

    arms: tuple[str, ...]
    cells: int
    parameters: int
    memory_bytes: int
    seconds: float
    pretraining_seconds: float
    advice: str


@dataclass(frozen=True)
class GridCost:
    """Of a whole grid: its trainings, why some cannot begin (by their first arm's name), and the seconds that reading
    all studies takes, once per grid of voxels.
    """

    machine: Machine
    cells: list[CellCost]
    refused: dict[str, str]
    reading_seconds: float

    @property
    def seconds(self) -> float:
        """Reading, and all cells one after another."""
        return self.reading_seconds + sum(cost.cells * cost.seconds for cost in self.cells)


def estimate_grid(
    groups: Iterable[tuple[Arm, ...]],
    cohort: Cohort,
    progress: Callable[[int, int, str], None],
    machine: Machine | None = None,
) -> GridCost:
    """The cost of each distinct training's cells, and of reading the images.

    Args:
        groups: arms that share a training.
        cohort: how much there is to learn from.
        progress: told (done, total, what) after each.
        machine: to estimate for; None: this one.
    """
    trainings, costs, refused = list(groups), [], {}
    reading: dict[str, float] = {}
    known: dict[str, tuple[Work, Work | None]] = {}
    where = machine
    with Rehearsal() as rehearsal:
        for place, arms in enumerate(trainings):
            recipe = arms[0].recipe
            progress(place, len(trainings), recipe.name)
            where = machine or this_machine(uses_cuda(recipe))
            try:
                require_ready(recipe)
                same = recipe.fingerprint(*_STEP_SETTINGS)
                known[same] = known.get(same) or (training_work(recipe, rehearsal), pretraining_work(recipe, rehearsal))
                reading[settings_key(recipe.grid)] = rehearsal.study_seconds(recipe)
            except RanoscopeError as error:
                refused[recipe.name] = str(error)
                continue
            costs.append(_cost(arms, known[same], cohort, where, rehearsal))
    progress(len(trainings), len(trainings), "done")
    where = where or this_machine(False)
    return GridCost(where, costs, refused, cohort.studies * sum(reading.values()) / min(where.cores, 8))


def training_work(recipe: Recipe, rehearsal: Rehearsal) -> Work:
    """A step of its training."""
    sampled = rehearsal.training(recipe)
    return Work(training_footprint(recipe, sampled.batch), sampled.seconds)


def pretraining_work(recipe: Recipe, rehearsal: Rehearsal) -> Work | None:
    """A step of what is learnt before in each fold; None where nothing is."""
    sampled = rehearsal.pretraining(recipe)
    return None if sampled is None else Work(pretraining_footprint(recipe, sampled.batch), sampled.seconds)


def cell_seconds(recipe: Recipe, work: Work, machine: Machine, cases: int) -> float:
    """Seconds to train a cell to its last epoch, pretraining apart: early stopping is not foreseen.

    Args:
        recipe: the arm.
        work: of a step of its training.
        machine: that trains.
        cases: of the cohort.
    """
    others = cases * (recipe.folds.count - 1) / recipe.folds.count
    if recipe.folds.training_cases is not None:
        others = min(others, recipe.folds.training_cases)
    published = recipe.folds.protocol is FoldProtocol.AS_PUBLISHED
    inner = cases / recipe.folds.count if published else others * recipe.training.inner_validation
    learnt = others if published else others - inner
    return recipe.training.epochs * _epoch_seconds(recipe, work, machine, learnt, inner, recipe.training.batch_size)


def pretraining_seconds(recipe: Recipe, work: Work, machine: Machine, studies: int) -> float:
    """Seconds of a cell's pretraining, of which masked steps count as others do.

    Args:
        recipe: the arm.
        work: of a step of its pretraining.
        machine: that trains.
        studies: of the cohort.
    """
    settings, share = recipe.pretraining, recipe.training.inner_validation
    if isinstance(settings, ChangePretraining):
        learnt, inner = float(settings.pairs_per_epoch), share * settings.pairs_per_epoch
    else:
        assert isinstance(settings, RotationPretraining)
        volumes = len(recipe.sequences) * studies * (recipe.folds.count - 1) / recipe.folds.count
        learnt, inner = (1 - share) * volumes, share * volumes * len(TURNS)
    return settings.epochs * _epoch_seconds(recipe, work, machine, learnt, inner, settings.batch_size)


def _epoch_seconds(recipe: Recipe, work: Work, machine: Machine, learnt: float, inner: float, batch_size: int) -> float:
    """Of training samples, and of inner ones, which pass forward alone; loader processes work beside the training."""
    speed = machine.speed(recipe.training.precision == "bf16-mixed")
    steps = (learnt + _FORWARD * inner) / batch_size * speed.seconds(work.step)
    workers = min(recipe.training.workers, machine.cores)
    samples = (learnt + inner) * work.sample_seconds / max(workers, 1)
    return max(steps, samples) if workers else steps + samples


def _cost(
    arms: tuple[Arm, ...], work: tuple[Work, Work | None], cohort: Cohort, machine: Machine, rehearsal: Rehearsal
) -> CellCost:
    recipe, (training, before) = arms[0].recipe, work
    needed = max(one.step.memory_bytes for one in work if one is not None) + machine.process_bytes
    first = pretraining_seconds(recipe, before, machine, cohort.studies) if before else 0.0
    return CellCost(
        arms=tuple(arm.name for arm in arms),
        cells=recipe.folds.count * len(recipe.folds.seeds),
        parameters=training.step.parameters,
        memory_bytes=needed,
        seconds=first + cell_seconds(recipe, training, machine, cohort.cases),
        pretraining_seconds=first,
        advice="" if needed <= machine.memory_bytes else _advice(recipe, work, machine, rehearsal),
    )


def _advice(recipe: Recipe, work: tuple[Work, Work | None], machine: Machine, rehearsal: Rehearsal) -> str:
    """The largest batch that fits, or else the finest grid."""
    room = machine.memory_bytes - machine.process_bytes
    training, before = work
    if training.step.memory_bytes <= room and before is not None:
        return f"its pretraining alone does not fit: lower pretraining.batch_size (now {_pretraining_batch(recipe)})"
    batch = recipe.training.batch_size // 2
    while batch >= 1:
        if _fits(recipe, {"training": recipe.training.model_copy(update={"batch_size": batch})}, room, rehearsal):
            return f"set training.batch_size={batch} (now {recipe.training.batch_size})"
        batch //= 2
    for voxel_mm in (edge for edge in _COARSER_MM if edge > recipe.grid.voxel_mm):
        if _fits(recipe, {"grid": recipe.grid.model_copy(update={"voxel_mm": voxel_mm})}, room, rehearsal):
            return f"set grid.voxel_mm={voxel_mm:g} (now {recipe.grid.voxel_mm:g}); no batch is small enough"
    return "choose a smaller network"


def _fits(recipe: Recipe, changes: dict[str, Any], room: int, rehearsal: Rehearsal) -> bool:
    changed = recipe.model_copy(update=changes)
    try:
        require_ready(changed)
        return training_work(changed, rehearsal).step.memory_bytes <= room
    except RanoscopeError:
        return False


def _pretraining_batch(recipe: Recipe) -> int:
    return int(getattr(recipe.pretraining, "batch_size", 0))
