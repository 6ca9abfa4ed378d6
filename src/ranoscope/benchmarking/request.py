"""What is asked of a benchmark. Light: the command line imports it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path


class MachineName(StrEnum):
    """Machines that a dry run can be asked about without having them; ``machines`` holds what is known of each."""

    CONSUMER_GPU = "consumer-gpu"
    H200 = "h200"
    CPU_2 = "cpu-2"


@dataclass(frozen=True)
class Request:
    """A grid of recipes on a cohort.

    ``recipes``: a folder, or the name of one that came with ranoscope. ``changes``: settings laid over every recipe.
    ``cohort_run``: the cohort's folder; None, and it is selected from ``images``, LUMIERE as published. With a cohort,
    ``images`` are where its images are now, if they have moved. ``seeds``: sets of folds. ``workers``: cells side by
    side, None for one or one per GPU. ``address``: of a Ray cluster; None for this machine.
    """

    recipes: str
    cohort_run: Path | None
    out: Path
    seeds: int = 3
    changes: tuple[str, ...] = ()
    images: Path | None = None
    workers: int | None = None
    address: str | None = None
