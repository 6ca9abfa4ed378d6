"""Every score of one case: each method's map against both masks and along paths, and what each volume is worth."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ranoscope.config import MethodName
from ranoscope.domain import Response
from ranoscope.explaining.cases import STUDIES
from ranoscope.explaining.cells import CellPlaces, layer_cells
from ranoscope.explaining.maps import FloatVolume, over_sequences
from ranoscope.explaining.methods import METHODS, compute_maps, logits_of, volume_drops
from ranoscope.explaining.opened import BOTH, MASKS, OpenCase
from ranoscope.explaining.scores.ceilings import Shape, ceilings
from ranoscope.explaining.scores.localisation import NAMES, ZERO_MAP, localise
from ranoscope.explaining.scores.perturbation import CONSTANT, Perturbation

PATHS = ("deletion", "insertion")
CALLED, TRUE = "called", "true"
# What whole volumes are worth stands in the same table, under these names.
VOLUMES, DROP, EVERY = "volumes", "drop", "all"
# The highest voxel may miss the tumour by this much, mm: a lesion's border is not surer than that.
TOLERANCE_MM = 2.0
Row = dict[str, Any]


def score_case(case: OpenCase) -> list[Row]:
    """Score every method's map of the called and of the true class, and what each volume is worth to them.

    Where the call is right both are the same class, and its scores stand under both names.

    Returns:
        Rows of ``pooling.COLUMNS``, without the columns that name the case.
    """
    roles = ((CALLED, case.called.call), (TRUE, case.called.expert))
    judge = _Judge(case)
    found: dict[tuple[str, Response], list[Row]] = {}
    for (method, response), values in compute_maps(case.question, case.methods).items():
        found[method, response] = judge.rows(method, response, over_sequences(method, values.numpy()))
    sequences = tuple(map(str, case.trained.recipe.sequences))
    for response, drops in volume_drops(case.question).items():
        found[VOLUMES, response] = list(_drop_rows(drops, sequences))
    return [
        {"method": str(method), "explained": role, **row}
        for (method, response), rows in found.items()
        for role, of_role in roles
        if of_role is response
        for row in rows
    ]


def _drop_rows(drops: Tensor, sequences: tuple[str, ...]) -> Iterator[Row]:
    for view, row in zip((*STUDIES, BOTH), drops.tolist(), strict=True):
        for sequence, value in zip((*sequences, EVERY), row, strict=True):
            yield _row(view, sequence, DROP, value, 0.0, np.nan, None)


class _Judge:
    """Scores maps of one case; what does not depend on the map is worked out once."""

    def __init__(self, case: OpenCase) -> None:
        self.question = question = case.question
        self.views = {(view, mask): case.images.view(view, mask) for view in (*STUDIES, BOTH) for mask in MASKS}
        self.tolerance = TOLERANCE_MM / question.voxel_mm
        self.paths = Perturbation(
            predict=self._predict,
            pair=question.pair,
            fill=question.fill,
            brains=question.brains,
            settings=case.settings.perturbation,
            seed=question.seed,
        )
        self.ceilings: dict[tuple[str, str, str], dict[str, float]] = {}
        self.cells: dict[str, tuple[CellPlaces, Shape]] = {}

    def rows(self, method: MethodName, response: Response, values: FloatVolume) -> list[Row]:
        """Rows of one map: ``values`` (study, i, j, k), study axis 1 long where it cannot tell them apart."""
        return [*self._places(method, values), *self._along_paths(response, values)]

    def _places(self, method: MethodName, values: FloatVolume) -> Iterator[Row]:
        positive = np.clip(values, 0, None)
        for (view, mask), (tissue, brain) in self.views.items():
            own = positive[[STUDIES.index(view)]] if view != BOTH and len(positive) > 1 else positive
            found = localise(own.sum(axis=0), tissue, brain, self.tolerance)
            ceiling = self._ceiling(method, view, mask)
            for name in NAMES:
                yield _row(view, mask, name, getattr(found, name), found.chance[name], ceiling[name], found.reason)

    def _along_paths(self, response: Response, values: FloatVolume) -> Iterator[Row]:
        column = response.class_index
        areas = self.paths.curves(values).areas(column) if (values > 0).any() else (np.nan, np.nan)
        chances = self.paths.by_chance(len(values)).areas(column)
        for name, area, chance in zip(PATHS, areas, chances, strict=True):
            reason = None if area == area else (CONSTANT if (values > 0).any() else ZERO_MAP)
            yield _row(BOTH, "", name, area, chance, np.nan, reason)

    def _ceiling(self, method: MethodName, view: str, mask: str) -> dict[str, float]:
        """Of a layer's cells; 1 for maps by voxel."""
        layer = METHODS[method].layer
        if layer is None:
            return dict.fromkeys(NAMES, 1.0)
        if layer not in self.cells:
            name = self.question.network.saliency_layers[layer]
            self.cells[layer] = layer_cells(self.question.network, name, self.question.pair)
        if (layer, view, mask) not in self.ceilings:
            self.ceilings[layer, view, mask] = ceilings(*self.views[view, mask], *self.cells[layer], self.tolerance)
        return self.ceilings[layer, view, mask]

    def _predict(self, pairs: Iterator[Tensor]) -> NDArray[np.float64]:
        logits = logits_of(self.question, pairs)
        return self.question.network.probabilities(logits).double().numpy()


def _row(view: str, mask: str, score: str, value: float, chance: float, ceiling: float, reason: str | None) -> Row:
    return {
        "view": view, "mask": mask, "score": score, "value": value, "chance": chance,
        "ceiling": ceiling if value == value else np.nan, "reason": reason or "",
    }  # fmt: skip
