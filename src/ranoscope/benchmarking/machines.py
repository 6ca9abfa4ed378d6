"""Machines to estimate for: this one, whose speed is measured, and named ones, whose published figures are taken.

Sources: GeForce RTX 4090: NVIDIA Ada GPU Architecture, version 2.01, appendix A (24 GB, 1008 GB/s, 165.2 TFLOPS of
dense bf16 with float32 accumulation, 82.6 of float32). H200: NVIDIA H200 Tensor Core GPU data sheet (141 GB, 4.8 TB/s,
1,979 TFLOPS of bf16 with sparsity, so 989 without; 67 of float32). Of these peaks ``_OF_PEAK_FLOPS`` and
``_OF_BANDWIDTH`` are taken to be reached, and ``_LAUNCH_S`` to pass per operation: assumptions for 3D convolutions of
few channels in eager PyTorch, not measurements. ``cpu-2``: what ``calibrate`` found on a core of an x86-64 server with
AVX-512 and bf16 instructions, shared out among two.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import cast

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from ranoscope.benchmarking.footprint import Footprint, Watched
from ranoscope.benchmarking.request import MachineName

_GB, _GIB = 10**9, 1024**3
_OF_PEAK_FLOPS, _OF_BANDWIDTH, _LAUNCH_S = 0.2, 0.5, 10e-6
# Python with PyTorch, before any network: measured on the CPU; with CUDA's context and libraries, assumed.
_PROCESS_CPU, _PROCESS_CUDA = _GIB // 2, _GIB
_REPEATS = 7
# Edge of the calibration block's volume and its channels: large enough to be bound by arithmetic, done in a second.
_EDGE, _CHANNELS = {"cpu": 32, "cuda": 96}, {"cpu": 16, "cuda": 64}


@dataclass(frozen=True)
class Speed:
    """In training: seconds per floating-point operation, per byte read or written, and per operation of PyTorch."""

    per_flop: float
    per_byte: float
    per_operation: float

    def seconds(self, step: Footprint) -> float:
        """What one training step takes."""
        arithmetic = step.flops * self.per_flop + step.moved_bytes * self.per_byte
        return arithmetic + step.operations * self.per_operation


@dataclass(frozen=True)
class Machine:
    """``memory_bytes``: that trainings may fill. ``process_bytes``: taken before any network is there. ``cores``: that
    read images. ``bf16``, ``float32``: speeds by precision; None where they are yet to be measured.
    """

    title: str
    measured: bool
    memory_bytes: int
    process_bytes: int
    cores: int
    bf16: Speed | None = None
    float32: Speed | None = None

    def speed(self, bf16: bool) -> Speed:
        """Of trainings in this precision."""
        known = self.bf16 if bf16 else self.float32
        return known or calibrate("cuda" if torch.cuda.is_available() else "cpu", bf16)


def _published(title: str, memory_gb: int, bytes_s: float, bf16_flops: float, flops: float, cores: int) -> Machine:
    per_byte = 1 / (_OF_BANDWIDTH * bytes_s)
    bf16, float32 = (Speed(1 / (_OF_PEAK_FLOPS * peak), per_byte, _LAUNCH_S) for peak in (bf16_flops, flops))
    return Machine(title, False, memory_gb * _GB, _PROCESS_CUDA, cores, bf16, float32)


MACHINES = {
    MachineName.CONSUMER_GPU: _published("one GeForce RTX 4090, 24 GB", 24, 1.008e12, 165.2e12, 82.6e12, 8),
    MachineName.H200: _published("one H200, 141 GB", 141, 4.8e12, 989e12, 67e12, 8),
    MachineName.CPU_2: Machine(
        "2 CPU cores, 16 GB",
        False,
        16 * _GB,
        _PROCESS_CPU,
        2,
        Speed(4.5e-12 / 2, 1.2e-10 / 2, 27e-6),
        Speed(9.0e-12 / 2, 1.2e-10 / 2, 80e-6),
    ),
}


def this_machine(cuda: bool) -> Machine:
    """The one this runs on; ``cuda``: its GPU does the training."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if cuda:
        memory = torch.cuda.get_device_properties(0).total_memory
        return Machine("this machine's GPU", True, memory, _PROCESS_CUDA, cores)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return Machine("this machine", True, memory, _PROCESS_CPU, cores)


@cache
def calibrate(device: str, bf16: bool) -> Speed:
    """Time training steps: of convolutions (arithmetic), norms and activations (bytes), and a tiny volume (operations).

    On the CPU the processor's time on one thread, so that other programs do not count, shared out among all threads as
    if nothing were lost by that.

    Args:
        device: cpu or cuda.
        bf16: under autocast.
    """
    channels, edge = _CHANNELS[device], _EDGE[device]
    dense = _block(device, [nn.Conv3d(channels, channels, 3, padding=1) for _ in range(2)])
    light = _block(device, [layer for _ in range(2) for layer in (nn.InstanceNorm3d(channels, affine=True), nn.GELU())])
    large, tiny = (torch.rand(2, channels, size, size, size, device=device) for size in (edge, 2))
    flops, moved, operations = _counted(dense, large, bf16)
    _, light_moved, light_operations = _counted(light, large, bf16)
    threads = torch.get_num_threads() if device == "cpu" else 1
    with _one_thread():
        per_operation = _quickest(dense, tiny, bf16) / operations
        per_byte = max(_quickest(light, large, bf16) - light_operations * per_operation, 1e-9) / light_moved
        seconds = _quickest(dense, large, bf16)
    arithmetic = max(seconds - operations * per_operation - moved * per_byte, seconds / 2)
    return Speed(arithmetic / flops / threads, per_byte / threads, per_operation)


def _counted(block: nn.Module, images: Tensor, bf16: bool) -> tuple[int, int, int]:
    """Floating-point operations, bytes moved and operations of a step."""
    watched = Watched()
    with watched, FlopCounterMode(display=False) as counter:
        _step(block, images, bf16)
    return counter.get_total_flops(), watched.moved, watched.operations


def _block(device: str, layers: list[nn.Module]) -> nn.Sequential:
    block = nn.Sequential(*layers).to(device, memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    return cast(nn.Sequential, block)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Threads that wait for each other would count."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _quickest(block: nn.Module, images: Tensor, bf16: bool) -> float:
    """Seconds of the quickest step: of the processor on the CPU, by the clock on a GPU."""
    clock = time.perf_counter if images.is_cuda else time.process_time
    taken = []
    for _ in range(_REPEATS):
        began = clock()
        _step(block, images, bf16)
        taken.append(clock() - began)
    return min(taken)


def _step(block: nn.Module, images: Tensor, bf16: bool) -> None:
    with torch.autocast(images.device.type, torch.bfloat16, enabled=bf16):
        loss = block(images).float().sum()
    loss.backward()
    if images.is_cuda:
        torch.cuda.synchronize()
