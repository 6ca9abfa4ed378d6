"""How much of what a network looked at lies in a region of one's own choice, such as a planted mark's place."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ranoscope.config import ExplanationSettings
from ranoscope.explaining.cases import CalledCase, draw_cases, read_called
from ranoscope.explaining.maps import over_sequences
from ranoscope.explaining.methods import compute_maps
from ranoscope.explaining.opened import BOTH, Images, OpenCase, open_case
from ranoscope.explaining.scores.localisation import NAMES, localise
from ranoscope.explaining.scores.pooling import COLUMNS, Pooled, pool
from ranoscope.explaining.scoring import CALLED, TOLERANCE_MM
from ranoscope.explaining.trained import load_trained
from ranoscope.learning.checkpoints import load_run_recipe
from ranoscope.learning.studies import open_run_store

# A case's images → its voxels of the region, bool (i, j, k).
Region = Callable[[Images], NDArray[np.bool_]]


def score_regions(run: Path, settings: ExplanationSettings, regions: Mapping[str, Region]) -> list[Pooled]:
    """Score the called class's maps, of both studies together, against regions, as ``explain`` does against tumours.

    Nothing is written. The cases are those that ``explain`` draws with the same settings.

    Args:
        run: a folder that ``ranoscope crossval`` finished.
        settings: which cases and methods, and how maps are computed.
        regions: name → region; the names stand as the masks of the scores.

    Returns:
        Means over the cases, intervals over patients; ceilings are not worked out (NaN).

    Raises:
        RunError: no calls, no checkpoints or no store, or they are not of one training.
    """
    recipe = load_run_recipe(run)
    store = open_run_store(run, recipe)
    chosen, _ = draw_cases(read_called(run), settings.cases_per_class, settings.seed)
    rows: list[dict[str, Any]] = []
    for fold, entries in groupby(sorted(chosen, key=_fold), key=_fold):
        trained = load_trained(run, recipe.folds.seeds[0], fold)
        for entry in entries:
            names = {"patient": entry.case.patient, "current": str(entry.case.current)}
            case = open_case(entry, trained, store, settings)
            rows += [{**names, "response": str(entry.case.response), **row} for row in _rows(case, regions)]
    return pool(pd.DataFrame(rows, columns=list(COLUMNS)), recipe.evaluation)


def _fold(entry: CalledCase) -> int:
    return entry.fold


def _rows(case: OpenCase, regions: Mapping[str, Region]) -> Iterator[dict[str, Any]]:
    masks = {name: region(case.images) for name, region in regions.items()}
    for (method, response), values in compute_maps(case.question, case.methods).items():
        if response is not case.called.call:
            continue
        relevance = np.clip(over_sequences(method, values.numpy()), 0, None).sum(axis=0)
        for name, mask in masks.items():
            found = localise(relevance, mask, case.images.either_brain, TOLERANCE_MM / case.question.voxel_mm)
            for score in NAMES:
                yield {
                    "method": str(method), "explained": CALLED, "view": BOTH, "mask": name, "score": score,
                    "value": getattr(found, score), "chance": found.chance[score], "ceiling": np.nan,
                    "reason": found.reason or "",
                }  # fmt: skip
