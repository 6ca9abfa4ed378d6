"""Main memory: kept for the next step, and, where it ran out, named by the cell that needed it, with what to lower."""

from __future__ import annotations

import ctypes
import gc
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import torch

from ranoscope.config import Recipe
from ranoscope.errors import RunError, problem

# What torch says on the CPU, whose allocator has no exception of its own, of CUDA's libraries, and of loader processes,
# which the operating system ends for want of memory.
_WORDS = (
    "can't allocate memory", "not enough memory", "out of memory", "ALLOC_FAILED", "MemoryError in DataLoader worker",
    "is killed by signal: Killed", "is killed by signal: Bus error", "insufficient shared memory",
)  # fmt: skip
# Parameters of glibc's mallopt (malloc.h): give memory back to the system, ask for so much more than is needed, and
# take blocks from the system one by one, where more than so many bytes are free, wanted, or in one block.
_GLIBC = {"M_TRIM_THRESHOLD": (-1, (1 << 31) - 1), "M_TOP_PAD": (-2, 1 << 28), "M_MMAP_THRESHOLD": (-3, 1 << 30)}


@cache
def keep_freed_memory() -> bool:
    """Have the C library keep for the next training step what the last one freed; whether it could be told to.

    Feature maps of volumes are tens of megabytes, and by default each is a mapping of its own, whose pages the system
    clears at every step: a tenth to a sixth of the time of a training on the CPU. Linux with glibc alone.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and all(mallopt(*choice) == 1 for choice in _GLIBC.values())


@contextmanager
def naming_memory(recipe: Recipe, where: str) -> Iterator[None]:
    """Turn running out of GPU or main memory inside the block into a RunError, and give back what was taken.

    Args:
        recipe: whose settings decide how much is needed.
        where: the cell.

    Raises:
        RunError: memory ran out.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        on_gpu = isinstance(error, torch.OutOfMemoryError)
        if not (on_gpu or isinstance(error, MemoryError) or any(word in str(error) for word in _WORDS)):
            raise
        # The frames of the failed step hold the tensors that filled the memory; the next cell needs it.
        traceback.clear_frames(error.__traceback__)
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        said = str(error).splitlines()[0] if str(error) else "no memory left"
        got = f"{'a full GPU' if on_gpu else 'none left'} ({said})"
        raise RunError(problem("enough memory", got, f"{where}, recipe {recipe.name}", _advice(recipe))) from error


def _advice(recipe: Recipe) -> str:
    training = recipe.training
    workers = f", fewer training.workers (now {training.workers})" if training.workers else ""
    return (
        f"lower training.batch_size (now {training.batch_size}){workers}, raise grid.voxel_mm (now "
        f"{recipe.grid.voxel_mm:g}) or choose a smaller network; finished epochs are kept"
    )
