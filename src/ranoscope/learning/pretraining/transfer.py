"""Weights that learnt something else, put into a recipe's network: a trunk of one channel, or a whole network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ranoscope.errors import RunError, problem
from ranoscope.learning.networks import PairNetwork


@dataclass(frozen=True)
class PretrainedWeights:
    """What a file has: tensors under the names of ``build_trunk``'s or, of a whole network, of ``build_network``'s.

    ``task``: what was learnt. ``least``: so many tensors must find their place in a network, or it is the wrong file.
    """

    task: str
    path: Path
    sha256: str
    tensors: Mapping[str, Tensor]
    least: int


@dataclass(frozen=True)
class LoadReport:
    """What of a file went into a network, by the file's names.

    ``matched``: found their place; ``adapted``: those of them that were spread over the image channels; ``skipped``:
    have no place there.
    """

    task: str
    file: str
    sha256: str
    matched: tuple[str, ...]
    skipped: tuple[str, ...]
    adapted: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """For fold.json: the names of what matched are many and say little, so they are counted."""
        return {
            "task": self.task,
            "file": self.file,
            "sha256": self.sha256,
            "matched": len(self.matched),
            "skipped": list(self.skipped),
            "adapted": list(self.adapted),
        }


def transfer_trunk(weights: PretrainedWeights, network: PairNetwork) -> LoadReport:
    """Copy every tensor below the network's ``trunk_prefix`` that has its name and shape in the file.

    The weights of the layers that take the image channels are repeated over these and divided by their number: an image
    repeated over the channels gives the activations that it gave as one channel. Parameters are changed in place, so
    that an optimiser made before or after holds them.

    Raises:
        RunError: fewer than ``weights.least`` tensors have a place, the first layer's are not among them, or one is not
            finite; the network is as it was.
    """
    own = network.state_dict()
    entering = {f"{layer}.weight" for layer in (network.first_layer, *network.beside_first)}
    found: dict[str, Tensor] = {}
    skipped, adapted = [], []
    for name, tensor in weights.tensors.items():
        place = network.trunk_prefix + name
        wanted = own.get(place)
        if place in entering and wanted is not None and wanted.shape[1] != tensor.shape[1] == 1:
            channels = wanted.shape[1]
            tensor = tensor.expand(-1, channels, *[-1] * (tensor.ndim - 2)) / channels
            adapted.append(name)
        if wanted is None or wanted.shape != tensor.shape:
            skipped.append(name)
        else:
            found[name] = tensor
    first = f"{network.first_layer}.weight".removeprefix(network.trunk_prefix)
    if len(found) < weights.least or first not in found:
        raise _too_few(weights, f"at least {weights.least} tensors, {first} among them", found)
    _put(weights, own, found, network.trunk_prefix)
    fitting = tuple(name for name in adapted if name in found)
    return LoadReport(weights.task, weights.path.name, weights.sha256, tuple(found), tuple(skipped), fitting)


def transfer_network(weights: PretrainedWeights, network: PairNetwork) -> LoadReport:
    """Copy every tensor that has its name and shape in the file; all of the network's trunk must.

    What another recipe's facts or classes gave another shape is skipped, and stays as it was.

    Raises:
        RunError: a tensor of the trunk has none in the file that fits, or one is not finite; the network is as it was.
    """
    own = network.state_dict()
    found = {
        name: tensor for name, tensor in weights.tensors.items() if name in own and own[name].shape == tensor.shape
    }
    missing = [name for name in own if name.startswith(network.trunk_prefix) and name not in found]
    if missing:
        raise _too_few(weights, f"all tensors of the trunk, {missing[0]} among them", found)
    _put(weights, own, found, "")
    skipped = tuple(name for name in weights.tensors if name not in found)
    return LoadReport(weights.task, weights.path.name, weights.sha256, tuple(found), skipped, ())


def _put(weights: PretrainedWeights, own: Mapping[str, Tensor], found: Mapping[str, Tensor], prefix: str) -> None:
    broken = [name for name, tensor in found.items() if not torch.isfinite(tensor).all()]
    if broken:
        do = "name the weights of this very network"
        raise RunError(problem("finite weights", f"NaN or infinity in {broken[0]}", str(weights.path), do))
    with torch.no_grad():
        for name, tensor in found.items():
            own[prefix + name].copy_(tensor)


def _too_few(weights: PretrainedWeights, wanted: str, found: Mapping[str, Tensor]) -> RunError:
    names = ", ".join(list(weights.tensors)[:3])
    got = f"{len(found)} of the file's {len(weights.tensors)} ({names}, …)"
    do = "name the weights of this very network"
    return RunError(problem(f"{wanted}, that fit the network's trunk", got, str(weights.path), do))
