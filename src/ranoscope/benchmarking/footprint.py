"""One training step without contents: its memory at its peak, its arithmetic, the bytes it moves, its operations.

The very step that is trained, losses and all that is taught besides included, is played with tensors that have shapes
but no contents (PyTorch's fake tensors), and every storage is watched from its birth to its end: so what autograd
keeps, bf16 copies of weights, gradients and passing results all count, at the time when they are there.
"""

from __future__ import annotations

import warnings
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_leaves, tree_map_only
from torch.utils.flop_counter import FlopCounterMode

from ranoscope.config import ChangePretraining, Recipe, RotationPretraining
from ranoscope.learning.module import Batch, ResponseModule
from ranoscope.learning.networks import build_network, build_trunk
from ranoscope.learning.pretraining.change.masking import ChangeModule
from ranoscope.learning.pretraining.pretext import TrunkClassifier, pretext_recipe
from ranoscope.learning.pretraining.rotations import TURNS
from ranoscope.learning.targets import class_count

_FLOAT = 4
# AdamW keeps two moments of every parameter.
_MOMENTS = 2
# What an allocator holds beyond what is in use: blocks that were freed and fit nothing yet. Measured on the CPU, see
# docs/lumiere.md; that of CUDA was not.
_HELD = 1.25
# Larger things than these are batches and images; smaller ones (tables of classes, dates, masks of what is shown) keep
# their contents, as later shapes may depend on them.
_SMALL = 4096
_INDEXING = {"aten.index.Tensor", "aten.index_put.default", "aten.index_put_.default", "aten._index_put_impl_.default"}


@dataclass(frozen=True)
class Footprint:
    """One training step. ``memory_bytes``: at its peak, with weights, gradients and optimiser, but without what Python
    and its libraries take. ``moved_bytes``: read and written by its ``operations``. ``flops``: floating-point
    operations.
    """

    parameters: int
    memory_bytes: int
    moved_bytes: int
    flops: int
    operations: int


def training_footprint(recipe: Recipe, batch: Any) -> Footprint:
    """One training step of the recipe; ``batch``: nested tensors as its loader gives them."""
    with torch.device("meta"):
        module = ResponseModule(build_network(recipe), recipe.training, torch.ones(class_count(recipe)))
    return _play(module, batch, recipe.training.precision == "bf16-mixed")


def pretraining_footprint(recipe: Recipe, batch: Any) -> Footprint:
    """One step of the recipe's pretraining, rotations or synthetic change; of the latter one without masked cubes."""
    settings, half = recipe.pretraining, recipe.training.precision == "bf16-mixed"
    module: ResponseModule
    if isinstance(settings, RotationPretraining):
        with torch.device("meta"):
            trunk = build_trunk(recipe.network, 1, recipe.grid.shape, recipe.grid.voxel_mm)
            network = TrunkClassifier(trunk, len(TURNS))
            module = ResponseModule(network, pretext_recipe(recipe, settings).training, torch.ones(len(TURNS)))
        return _play(module, batch, half)
    assert isinstance(settings, ChangePretraining)
    with torch.device("meta"):
        plain = pretext_recipe(recipe, settings, auxiliary=recipe.training.auxiliary)
        module = ChangeModule(plain, settings.masked_share)
    return _play(module, batch, half)


def _play(module: ResponseModule, batch: Any, bf16: bool) -> Footprint:
    """Forward and backward as Lightning makes them: the last step's gradients go only when the forward pass is done."""
    watched = Watched()
    with FakeTensorMode(allow_non_fake_inputs=True), watched, FlopCounterMode(display=False) as counter:
        _empty(module)
        shown = cast(Batch, tree_map_only(Tensor, _as_shape, batch))
        learnt = [parameter for parameter in module.parameters() if parameter.requires_grad]
        for parameter in learnt:
            parameter.grad = torch.empty_like(parameter)
        with watched.stepping(), _quietly():
            with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                loss = module.train().training_step(shown, 0)
            for parameter in learnt:
                parameter.grad = None
            loss.backward()
    weights = sum(parameter.numel() for parameter in learnt)
    memory = int(_HELD * (watched.peak + _MOMENTS * _FLOAT * weights))
    return Footprint(weights, memory, watched.moved, counter.get_total_flops(), watched.operations)


def _empty(module: nn.Module) -> None:
    """Put tensors without contents in the place of all parameters and buffers."""
    for part in module.modules():
        for name, parameter in part.named_parameters(recurse=False):
            setattr(part, name, nn.Parameter(_like(parameter), parameter.requires_grad))
        for name, buffer in part.named_buffers(recurse=False):
            setattr(part, name, _like(buffer))


def _like(tensor: Tensor) -> Tensor:
    return torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype)


def _as_shape(tensor: Tensor) -> Tensor:
    return _like(tensor) if tensor.numel() > _SMALL else tensor


@contextmanager
def _quietly() -> Iterator[None]:
    """The module logs its loss; there is no trainer here to log it to."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


class Watched(TorchDispatchMode):
    """Counts every operation inside its block, and every storage while it lives."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.live = self.peak = self.moved = self.operations = 0
        self._known: dict[int, weakref.ref[Any]] = {}
        self._stepping = False

    @contextmanager
    def stepping(self) -> Iterator[None]:
        """Inside, what depends on small tensors with contents alone is really computed.

        Tables that learning keeps for later (which answers are accepted) must not be kept without contents.
        """
        self._stepping = True
        try:
            yield
        finally:
            self._stepping = False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        given = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        if self._stepping and not any(isinstance(tensor, FakeTensor) for tensor in given):
            with _disable_current_modes():
                return func(*args, **kwargs)
        if str(func) in _INDEXING:
            args = (args[0], _numbered(args[1]), *args[2:])
        result = func(*args, **kwargs)
        made = [leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]
        for tensor in made:
            self._watch(tensor)
        if not func.is_view:
            self.operations += 1
            self.moved += sum(tensor.numel() * tensor.element_size() for tensor in (*given, *made))
        return result

    def _watch(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        place, size = id(storage), storage.nbytes()
        if place in self._known:
            return

        def ended(_: object) -> None:
            self.live -= size
            self._known.pop(place, None)

        self._known[place] = weakref.ref(storage, ended)
        self.live += size
        self.peak = max(self.peak, self.live)


def _numbered(indices: list[Tensor | None]) -> list[Tensor | None]:
    """Masks with contents as numbers, so that the shape of what they choose is known."""
    found: list[Tensor | None] = []
    for index in indices:
        if index is not None and index.dtype is torch.bool and not isinstance(index, FakeTensor):
            with _disable_current_modes():
                found += list(index.nonzero().unbind(1))
        else:
            found.append(index)
    return found
