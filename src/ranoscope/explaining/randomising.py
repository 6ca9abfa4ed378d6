"""Randomise a case's network step by step and see whether its maps change (Adebayo 2018)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from ranoscope.config import MethodName
from ranoscope.explaining.maps import FloatVolume, over_sequences
from ranoscope.explaining.methods import compute_maps
from ranoscope.explaining.opened import Images, OpenCase
from ranoscope.explaining.scores.sanity import Similarity, cascade, similarity
from ranoscope.explaining.subject import CaseNetwork
from ranoscope.learning.networks import PairNetwork

RANDOMISED_COLUMNS = ("patient", "current", "method", "step", "layer", "spearman", "ssim", "reason")
# Thousands of passes per map and step: what it would show, the gradients' methods show as well.
_LEFT_OUT = (MethodName.OCCLUSION,)


def randomise_case(case: OpenCase, steps: int) -> list[dict[str, Any]]:
    """Similarity of the called class's maps to those of networks with ever more layers randomised.

    Returns:
        Per method and step, 1 = only the layers next to the output: ``layer``, the last one randomised, and the mean
        over the studies of both similarities, NaN where ``reason`` says why.
    """
    methods = tuple(method for method in case.methods if method not in _LEFT_OUT)
    original = _maps_by(case, case.trained.network, methods)
    rows = []
    for step, (layer, changed) in enumerate(cascade(case.trained.network, case.settings.seed, steps), start=1):
        for method, maps in _maps_by(case, changed, methods).items():
            found = _alike(original[method], maps, case.images)
            row = {"method": str(method), "step": step, "layer": layer, "spearman": found.spearman, "ssim": found.ssim}
            rows.append({**row, "reason": found.reason or ""})
    return rows


def _maps_by(case: OpenCase, network: PairNetwork, methods: tuple[MethodName, ...]) -> dict[MethodName, FloatVolume]:
    """Each method's map (study, i, j, k) of the called class by this network."""
    subject = CaseNetwork(network, case.question.network.facts, case.trained.recipe.target).eval()
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
