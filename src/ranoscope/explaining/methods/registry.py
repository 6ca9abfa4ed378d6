"""The one list of explanation methods, and computing their maps with no pass more than they need."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from ranoscope.config import MethodName
from ranoscope.domain import Response
from ranoscope.explaining.methods.gradients import (
    gradcam,
    input_x_gradient,
    integrated_gradients,
    run_pass,
    saliency,
    smoothgrad,
)
from ranoscope.explaining.methods.occlusion import occlusion
from ranoscope.explaining.methods.question import Question
from ranoscope.learning.networks import PairNetwork


@dataclass(frozen=True)
class Method:
    """What a method is called, the unit of its values, and how its maps are to be read.

    ``signed``: whether values below 0, against the class, occur; scores use what speaks for it. ``over_sequences``: how
    the sequences' maps become one: values that add up are summed, of absolute gradients the largest is taken.
    ``layer``: which of the network's ``saliency_layers`` it reads, None for input voxels or whole passes.
    ``reading``: one sentence for pages.
    """

    title: str
    unit: str
    reading: str
    signed: bool = False
    over_sequences: Literal["max", "sum"] = "sum"
    layer: Literal["coarse", "finer"] | None = None


METHODS: dict[str, Method] = {
    MethodName.SALIENCY: Method(
        "Saliency",
        "logit per SD",
        "how strongly the class's output reacts to each voxel, whichever way; of the sequences the largest value",
        over_sequences="max",
    ),
    MethodName.INPUT_X_GRADIENT: Method(
        "Input × gradient",
        "logit",
        "what each voxel adds to the class's output against the brain's mean, to first order; summed over sequences",
        signed=True,
    ),
    MethodName.INTEGRATED_GRADIENTS: Method(
        "Integrated gradients",
        "logit",
        "what each voxel adds to the class's output, along a straight path from an empty brain; summed over sequences",
        signed=True,
    ),
    MethodName.SMOOTHGRAD: Method(
        "SmoothGrad",
        "logit per SD",
        "Saliency averaged over noisy copies of the images; of the sequences the largest value",
        over_sequences="max",
    ),
    MethodName.GRADCAM: Method(
        "Grad-CAM, coarse",
        "weighted activation",
        "where the feature maps of the network's last scale speak for the class",
        layer="coarse",
    ),
    MethodName.GRADCAM_FINER: Method(
        "Grad-CAM, finer",
        "weighted activation",
        "the same one scale before, with smaller cells",
        layer="finer",
    ),
    MethodName.OCCLUSION: Method(
        "Occlusion",
        "logit",
        "what the class's output loses when a cube of one study is covered",
        signed=True,
    ),
}


def methods_for(network: PairNetwork, wanted: tuple[MethodName, ...]) -> tuple[MethodName, ...]:
    """Those of the methods that the network has a layer for, in the list's order."""
    return tuple(
        name for name in MethodName if name in wanted and METHODS[name].layer in (None, *network.saliency_layers)
    )


def compute_maps(question: Question, methods: tuple[MethodName, ...]) -> dict[tuple[MethodName, Response], Tensor]:
    """Every method's map for every class of the question.

    Args:
        question: network, case, classes and settings.
        methods: of ``methods_for`` this network.

    Returns:
        (method, class) → float32 (study, sequence, i, j, k) on the CPU, in the method's unit, never rescaled. Where a
        method cannot tell studies or sequences apart, that axis has length 1.
    """
    layers = {name: question.network.saliency_layers[layer] for name in methods if (layer := METHODS[name].layer)}
    maps: dict[tuple[MethodName, Response], Tensor] = {}
    plain = {MethodName.SALIENCY: saliency, MethodName.INPUT_X_GRADIENT: input_x_gradient}
    if layers or not plain.keys().isdisjoint(methods):
        done = run_pass(question, question.cut(question.pair)[None], tuple(dict.fromkeys(layers.values())))
        for response in question.classes:
            maps |= {(name, response): plain[name](question, done, response) for name in plain if name in methods}
            maps |= {(name, response): gradcam(question, done, response, layer) for name, layer in layers.items()}
    further = {
        MethodName.INTEGRATED_GRADIENTS: integrated_gradients,
        MethodName.SMOOTHGRAD: smoothgrad,
        MethodName.OCCLUSION: occlusion,
    }
    for name, compute in further.items():
        if name in methods:
            maps |= {(name, response): values for response, values in compute(question).items()}
    return {key: maps[key].float().cpu() for name in methods for key in maps if key[0] == name}
