"""What a grid will cost before any of it is run: memory and time per cell, from shapes and a short calibration.

Every network makes one training step on PyTorch's meta device, where tensors have shapes but no contents: that gives
its parameters, what it keeps for the backward pass, its floating-point operations and its layers. What an operation and
a layer take on this machine is measured on a small block. Reading and augmenting images is not counted.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from ranoscope.benchmarking.arms import Arm
from ranoscope.config import FoldProtocol, Recipe
from ranoscope.errors import RanoscopeError
from ranoscope.learning.crossval import require_ready
from ranoscope.learning.data import uses_cuda
from ranoscope.learning.facts import fact_names
from ranoscope.learning.networks import build_network

_FLOAT = 4
# AdamW keeps two moments of every parameter; gradients are a third copy.
_COPIES = 3
# Under bf16 autocast what convolutions and matrix products keep is half as wide.
_BF16_SHARE = 0.5
# A forward pass is a third of a training step.
_FORWARD = 1 / 3
_REPEATS = 7
# Edge of the calibration block's volume and its channels: large enough to be bound by arithmetic, done in a second.
_EDGE, _CHANNELS = {"cpu": 32, "cuda": 96}, {"cpu": 16, "cuda": 64}


@dataclass(frozen=True)
class Footprint:
    """One training step of a network: its memory, what it keeps for the backward pass, its floating-point operations
    and its calls of layers.
    """

    parameters: int
    memory_bytes: int
    kept_bytes: int
    flops: int
    layers: int


@dataclass(frozen=True)
class Speed:
    """Of this machine in training: seconds per operation, per byte kept, and per layer however little it computes."""

    per_flop: float
    per_byte: float
    per_layer: float

    def seconds(self, step: Footprint) -> float:
        """What one training step takes."""
        return step.flops * self.per_flop + step.kept_bytes * self.per_byte + step.layers * self.per_layer


@dataclass(frozen=True)
class CellCost:
    """Estimates for each cell of one distinct training."""

    arms: tuple[str, ...]
    cells: int
    parameters: int
    memory_bytes: int
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """For JSON and tables."""
        return asdict(self)


def estimate_grid(
    groups: Iterable[tuple[Arm, ...]], cases: int, progress: Callable[[int, int, str], None]
) -> tuple[list[CellCost], dict[str, str]]:
    """The cost of each distinct training's cells, and, by the first arm's name, why a training cannot begin.

    Args:
        groups: arms that share a training.
        cases: of the cohort.
        progress: told (done, total, what) after each.
    """
    speeds: dict[tuple[bool, str], Speed] = {}
    footprints: dict[str, Footprint] = {}
    trainings, costs, refused = list(groups), [], {}
    for place, arms in enumerate(trainings):
        recipe = arms[0].recipe
        progress(place, len(trainings), recipe.name)
        try:
            require_ready(recipe)
        except RanoscopeError as error:
            refused[recipe.name] = str(error)
            continue
        kind = (uses_cuda(recipe), recipe.training.precision)
        if kind not in speeds:
            speeds[kind] = calibrate("cuda" if kind[0] else "cpu", recipe.training.precision == "bf16-mixed")
        same = recipe.fingerprint("network", "sequences", "grid", "clinical", "target", "missing_sequences", "training")
        if same not in footprints:
            footprints[same] = measure_step(recipe)
        step = footprints[same]
        cells = recipe.folds.count * len(recipe.folds.seeds)
        seconds = cell_seconds(recipe, step, speeds[kind], cases)
        names = tuple(arm.name for arm in arms)
        costs.append(CellCost(names, cells, step.parameters, step.memory_bytes, seconds))
    progress(len(trainings), len(trainings), "done")
    return costs, refused


def measure_step(recipe: Recipe) -> Footprint:
    """One training step of the recipe's network on the meta device."""
    with torch.device("meta"):
        network = build_network(recipe).train()
        batch, names = recipe.training.batch_size, fact_names(recipe)
        pair = torch.empty(batch, 2, len(recipe.sequences), *recipe.grid.shape)
        facts = torch.empty(batch, len(names)) if names else None
    kept, layers = _Kept(network), _Layers(network)
    with FlopCounterMode(display=False) as counter, torch.autograd.graph.saved_tensors_hooks(kept.pack, kept.unpack):
        network(pair, facts).sum().backward()
    weights = sum(parameter.numel() for parameter in network.parameters())
    copies = 1 + _COPIES + (recipe.training.weight_averaging > 0)
    share = _BF16_SHARE if recipe.training.precision == "bf16-mixed" else 1.0
    memory = _FLOAT * (weights * copies + pair.numel()) + int(share * kept.bytes)
    return Footprint(weights, memory, kept.bytes, counter.get_total_flops(), layers.calls)


def cell_seconds(recipe: Recipe, step: Footprint, speed: Speed, cases: int) -> float:
    """Seconds to train a cell to its last epoch: early stopping is not foreseen.

    Args:
        recipe: the arm.
        step: of its network.
        speed: of this machine.
        cases: of the cohort.
    """
    others = cases * (recipe.folds.count - 1) / recipe.folds.count
    published = recipe.folds.protocol is FoldProtocol.AS_PUBLISHED
    inner = cases - others if published else others * recipe.training.inner_validation
    learnt = others if published else others - inner
    steps = (learnt + _FORWARD * inner) / recipe.training.batch_size
    return recipe.training.epochs * steps * speed.seconds(step)


def calibrate(device: str, bf16: bool) -> Speed:
    """Time training steps: of convolutions (operations), norms and activations (bytes), and a tiny volume (layers).

    Args:
        device: cpu or cuda.
        bf16: under autocast.
    """
    channels, edge = _CHANNELS[device], _EDGE[device]
    dense = _block(device, [nn.Conv3d(channels, channels, 3, padding=1) for _ in range(2)])
    light = _block(device, [layer for _ in range(2) for layer in (nn.InstanceNorm3d(channels, affine=True), nn.GELU())])
    large, tiny = (torch.rand(2, channels, size, size, size, device=device) for size in (edge, 2))
    with _one_thread():
        per_layer = _quickest(dense, tiny, bf16) / len(dense)
    with FlopCounterMode(display=False) as counter:
        _step(dense, large, bf16)
    kept = _Kept(light)
    with torch.autograd.graph.saved_tensors_hooks(kept.pack, kept.unpack):
        _step(light, large, bf16)
    seconds = [max(_quickest(block, large, bf16) - per_layer * len(block), 1e-9) for block in (dense, light)]
    return Speed(seconds[0] / counter.get_total_flops(), seconds[1] / kept.bytes, per_layer)


def _block(device: str, layers: list[nn.Module]) -> nn.Sequential:
    block = nn.Sequential(*layers).to(device, memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    return cast(nn.Sequential, block)


@contextmanager
def _one_thread() -> Iterator[None]:
    """So little is not shared out: threads would only wait for each other, on a busy machine for milliseconds."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _quickest(block: nn.Module, images: Tensor, bf16: bool) -> float:
    """Seconds of the step that other programs disturbed least."""
    taken = []
    for _ in range(_REPEATS):
        began = time.perf_counter()
        _step(block, images, bf16)
        taken.append(time.perf_counter() - began)
    return min(taken)


def _step(block: nn.Module, images: Tensor, bf16: bool) -> None:
    with torch.autocast(images.device.type, torch.bfloat16, enabled=bf16):
        loss = block(images).float().sum()
    loss.backward()
    if images.is_cuda:
        torch.cuda.synchronize()


class _Kept:
    """Bytes that a forward pass keeps for the backward pass, parameters apart, each storage once."""

    def __init__(self, network: nn.Module) -> None:
        self.known = {_identity(parameter) for parameter in network.parameters()}
        self.bytes = 0
        # While a tensor is held here no other storage can take its identity.
        self.held: list[Tensor] = []

    def pack(self, tensor: Tensor) -> Tensor:
        """Count a tensor that is kept."""
        if _identity(tensor) not in self.known:
            self.known.add(_identity(tensor))
            self.held.append(tensor)
            self.bytes += tensor.untyped_storage().nbytes()
        return tensor

    def unpack(self, tensor: Tensor) -> Tensor:
        """Give it back as it was."""
        return tensor


class _Layers:
    """Calls of modules that hold no others."""

    def __init__(self, network: nn.Module) -> None:
        self.calls = 0
        for module in network.modules():
            if not any(module.children()):
                module.register_forward_hook(self._count)

    def _count(self, *_: Any) -> None:
        self.calls += 1


def _identity(tensor: Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)
