"""How long the maps of one case take beside captum's, one method, class and window at a time; and that both agree.

Run alone: ``python benchmarks/explaining.py [--small] [--only gradients|occlusion]``. Two parts, each measured side by
side in this run on the machine as it is: a busy machine gives lower figures, whence the load.

- All gradient maps of a case at full size, 240 x 240 x 155 voxels, T1, T2 and FLAIR of two studies, by the network of
  ``paper-densenet264`` with random weights, with 16 and with 32 bits; ``--small`` halves the grid's sides. A brain of
  1.3 litres stands in the middle, as much of the grid as a real one takes.
  Its logits are smoother along the path of integrated gradients than those of a trained network: how far these miss
  the difference of the logits here says that the rule is right, not that as few points are enough elsewhere.
- Occlusion by the demo's network, for two classes.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from captum import attr
from torch import Tensor

from ranoscope.config import MethodName, MethodSettings, Recipe, Target, load_recipe
from ranoscope.domain import Response
from ranoscope.explaining.methods import Question, compute_maps
from ranoscope.explaining.subject import CaseNetwork
from ranoscope.learning.networks import build_network

GOAL_CPU_S, GOAL_GPU_S, GOAL_OCCLUSION = 60, 2, 5
GRADIENTS = tuple(name for name in MethodName if name is not MethodName.OCCLUSION)
ONE, TWO = (Response.PD,), (Response.PD, Response.SD)
_HALF_BRAIN_MM = (66, 82, 57)


def ask(recipe: Recipe, device: str, classes: tuple[Response, ...], **settings) -> Question:
    """A case of noise inside an ellipsoid brain."""
    torch.manual_seed(0)
    network = build_network(recipe).to(device)
    shape, mm = recipe.grid.shape, recipe.grid.voxel_mm
    axes = [(np.arange(size) - (size - 1) / 2) * mm / half for size, half in zip(shape, _HALF_BRAIN_MM, strict=True)]
    inside = sum(np.square(axis) for axis in np.meshgrid(*axes, indexing="ij")) < 1
    brains = torch.from_numpy(np.stack([inside, inside])).to(device)
    pair = torch.randn(2, len(recipe.sequences), *shape).to(device) * brains[:, None]
    subject = CaseNetwork(network, torch.empty(0, device=device), Target.FOUR_CLASSES).eval()
    return Question(subject, pair, brains, mm, classes, MethodSettings(**settings))


def timed(compute: Callable[[], object], device: str) -> tuple[float, object]:
    """Seconds, and what was computed."""
    if device == "cuda":
        torch.cuda.synchronize()
    begin = time.perf_counter()
    found = compute()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - begin, found


def captums_gradients(question: Question) -> dict[MethodName, Tensor]:
    """The same maps for one class, as captum's own documentation computes them."""
    network, settings = question.network, question.settings
    target, pair, fill = question.classes[0].class_index, question.pair[None], question.fill[None]
    path = {"n_steps": settings.steps, "method": "gausslegendre", "internal_batch_size": 1}
    noise = {"nt_type": "smoothgrad", "nt_samples": settings.samples, "nt_samples_batch_size": 1}
    maps = {
        MethodName.SALIENCY: attr.Saliency(network).attribute(pair.requires_grad_(), target),
        MethodName.INPUT_X_GRADIENT: attr.InputXGradient(network).attribute(pair, target),
        MethodName.INTEGRATED_GRADIENTS: attr.IntegratedGradients(network).attribute(pair, fill, target, **path),
        MethodName.SMOOTHGRAD: attr.NoiseTunnel(attr.Saliency(network)).attribute(
            pair, stdevs=settings.noise, target=target, **noise
        ),
    }
    for name, kind in ((MethodName.GRADCAM, "coarse"), (MethodName.GRADCAM_FINER, "finer")):
        layer = network.get_submodule(network.saliency_layers[kind])
        coarse = attr.LayerGradCam(network, layer).attribute(pair, target, relu_attributions=True)
        maps[name] = attr.LayerAttribution.interpolate(coarse, pair.shape[3:], "trilinear")
    return {name: values[0].detach().cpu() for name, values in maps.items()}


def correlation(first: Tensor, second: Tensor, inside: Tensor) -> float:
    """Pearson's, over the voxels of the brain."""
    places = inside.cpu().expand_as(first)
    return float(np.corrcoef(first[places].double().numpy(), second[places].double().numpy())[0, 1])


def gradients(recipe: Recipe, device: str) -> None:
    half = ask(recipe, device, ONE, bf16=True)
    full = replace(half, settings=MethodSettings(bf16=False))
    print(f"\nGradient maps, {recipe.name}, {' x '.join(map(str, recipe.grid.shape))}, two studies, {device}")
    compute_maps(half, (MethodName.SALIENCY,))  # libraries load and choose their kernels
    seconds, maps = {}, {}
    for bits, question in ((16, half), (32, full)):
        for classes in (ONE, TWO):
            asked = replace(question, classes=classes)
            seconds[bits, len(classes)], found = timed(lambda asked=asked: compute_maps(asked, GRADIENTS), device)
            maps[bits] = {name: values for (name, response), values in found.items() if response in ONE}
            print(f"{bits} bits, {len(classes)} class(es)   {seconds[bits, len(classes)]:7.1f} s")
    captums, theirs = timed(lambda: captums_gradients(full), device)
    print(f"captum, 32 bits, 1 class {captums:7.1f} s; every further class as much again")
    for bits in (16, 32):
        print(f"{bits} bits: {captums / seconds[bits, 1]:.1f} times captum's speed for one class, "
              f"{2 * captums / seconds[bits, 2]:.1f} for two")  # fmt: skip
    for name in GRADIENTS:
        inside = half.brains.any(dim=0) if len(maps[16][name]) == 1 else half.brains[:, None]
        print(f"{name:22s} 16 with 32 bits r = {correlation(maps[16][name], maps[32][name], inside):.4f}", end="")
        if name is MethodName.SALIENCY:
            print(f", with captum's r = {correlation(maps[32][name], theirs[name], inside):.6f}", end="")
        print()
    with torch.no_grad():
        ends = [float(full.network(pair[None])[0, 0]) for pair in (full.pair, full.fill)]
    for bits in (16, 32):
        error = float(maps[bits][MethodName.INTEGRATED_GRADIENTS].sum()) - (ends[0] - ends[1])
        print(
            f"{bits} bits: integrated gradients miss the logits' difference, {ends[0] - ends[1]:+.4f}, by {error:+.1e}"
        )
    goal = GOAL_GPU_S if device == "cuda" else GOAL_CPU_S
    print(f"all gradient maps, one class: {'within' if seconds[16, 1] <= goal else 'NOT within'} {goal} s")


def captums_occlusion(question: Question) -> dict[Response, Tensor]:
    """Window by window, class by class, the grid's every window."""
    edge = round(question.settings.window_mm / question.voxel_mm)
    step = round(question.settings.stride_mm / question.voxel_mm)
    sequences, method = question.pair.shape[1], attr.Occlusion(question.network)
    window, strides = (1, sequences, *[edge] * 3), (1, sequences, *[step] * 3)
    with torch.no_grad():
        return {
            response: method.attribute(question.pair[None], window, strides, question.fill[None], response.class_index)
            for response in question.classes
        }


def occlusion(recipe: Recipe, device: str) -> None:
    question = ask(recipe, device, TWO)
    print(f"\nOcclusion, {recipe.name}, {' x '.join(map(str, recipe.grid.shape))}, two classes, {device}")
    seconds, maps = timed(lambda: compute_maps(question, (MethodName.OCCLUSION,)), device)
    alone, _ = timed(
        lambda: compute_maps(replace(question, settings=MethodSettings(batch=1)), (MethodName.OCCLUSION,)), device
    )
    captums, theirs = timed(lambda: captums_occlusion(question), device)
    print(f"windows with brain, both classes of a pass, the other study seen once, in batches  {seconds:6.1f} s")
    print(f"the same, a window at a time                                                       {alone:6.1f} s")
    print(f"captum, a window and a class at a time                                             {captums:6.1f} s")
    inside = question.brains[:, None].cpu()
    worst = max(
        float(((maps[MethodName.OCCLUSION, response] - values[0, :, :1].cpu()) * inside).abs().max())
        for response, values in theirs.items()
    )
    most = max(float(values.abs().max()) for values in maps.values())
    ratio = captums / seconds
    print(f"largest difference inside the brain {worst:.1e}, of values up to {most:.1e}")
    print(f"{ratio:.1f} times as fast: {'at least' if ratio >= GOAL_OCCLUSION else 'NOT'} {GOAL_OCCLUSION} times")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--small", action="store_true", help="the full-size case at 2 mm")
    parser.add_argument("--only", choices=("gradients", "occlusion"))
    chosen = parser.parse_args()
    print(
        f"{torch.get_num_threads()} threads on {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} before the start"
    )
    changes = ["grid.voxel_mm=2", "grid.box_mm=[240, 240, 156]"] if chosen.small else []
    for device in ("cpu", *(["cuda"] if torch.cuda.is_available() else [])):
        if chosen.only != "occlusion":
            gradients(load_recipe("paper-densenet264", changes), device)
        if chosen.only != "gradients":
            occlusion(load_recipe("demo"), device)


if __name__ == "__main__":
    main()
