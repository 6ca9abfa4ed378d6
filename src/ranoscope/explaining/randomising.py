"""Do a case's maps change when its network is randomised, or learnt other labels (Adebayo 2018)?"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from ranoscope.config import MethodName
from ranoscope.explaining.maps import FloatVolume, over_sequences
from ranoscope.explaining.methods import compute_maps, methods_for
from ranoscope.explaining.opened import Images, OpenCase
from ranoscope.explaining.scores.sanity import Similarity, cascade, similarity
from ranoscope.explaining.subject import CaseNetwork

RANDOMISED_COLUMNS = ("patient", "current", "method", "step", "layer", "spearman", "ssim", "reason")
COMPARED_COLUMNS = ("patient", "current", "method", "spearman", "ssim", "reason")
# Thousands of passes per map and step: what it would show, the gradients' methods show as well.
_LEFT_OUT = (MethodName.OCCLUSION,)


def randomise_case(case: OpenCase, steps: int) -> list[dict[str, Any]]:
    """Similarity of the called class's maps to those of networks with ever more layers randomised.

    Returns:
        Per method and step, 1 = only the layers next to the output: ``layer``, the last one randomised, and the mean
        over the studies of both similarities, NaN where ``reason`` says why.
    """
    subject, rows = case.question.network, []
    original = _maps_by(case, subject, _quick(case.methods))
    for step, (layer, changed) in enumerate(cascade(case.trained.network, case.settings.seed, steps), start=1):
        forgetful = CaseNetwork(changed, subject.facts, case.trained.recipe.target, subject.history).eval()
        for found in _compare(case, original, forgetful):
            rows.append({**found, "step": step, "layer": layer})
    return rows


def compare_case(case: OpenCase, other: CaseNetwork) -> list[dict[str, Any]]:
    """Similarity of the called class's maps to those of a network from another training.

    Args:
        case: the case and its own network.
        other: bound to the same case; on the same grid and device.

    Returns:
        Per method that both networks have a layer for: the mean over the studies of both similarities, NaN where
        ``reason`` says why.
    """
    methods = methods_for(other, _quick(case.methods))
    return _compare(case, _maps_by(case, case.question.network, methods), other)


def _quick(methods: tuple[MethodName, ...]) -> tuple[MethodName, ...]:
    return tuple(method for method in methods if method not in _LEFT_OUT)


def _compare(case: OpenCase, original: dict[MethodName, FloatVolume], other: CaseNetwork) -> list[dict[str, Any]]:
    """A row per method: how alike the original maps and the other network's are."""
    rows = []
    for method, maps in _maps_by(case, other, tuple(original)).items():
        found = _alike(original[method], maps, case.images)
        row = {"method": str(method), "spearman": found.spearman, "ssim": found.ssim}
        rows.append({**row, "reason": found.reason or ""})
    return rows


def _maps_by(case: OpenCase, subject: CaseNetwork, methods: tuple[MethodName, ...]) -> dict[MethodName, FloatVolume]:
    """Each method's map (study, i, j, k) of the called class by this network."""
    question = replace(case.question, network=subject, classes=(case.called.call,))
    maps = compute_maps(question, methods)
    return {method: over_sequences(method, maps[method, case.called.call].numpy()) for method in methods}


def _alike(first: FloatVolume, second: FloatVolume, images: Images) -> Similarity:
    """Mean over the studies, each inside its brain; a map of both together inside either."""
    places = images.brains if len(first) > 1 else images.either_brain[None]
    found = [similarity(*parts) for parts in zip(first, second, places, strict=True)]
    reason = next((part.reason for part in found if part.reason), None)
    if reason is not None:
        return Similarity(np.nan, np.nan, reason)
    return Similarity(float(np.mean([part.spearman for part in found])), float(np.mean([part.ssim for part in found])))
