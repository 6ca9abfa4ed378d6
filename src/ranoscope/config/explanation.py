"""Settings of the explanation stage: which cases, which methods, how they are computed and how they are judged."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field, model_validator

from ranoscope.config.base import Settings
from ranoscope.domain import Sequence


class MethodName(StrEnum):
    """The explanation methods, in the order in which they are shown."""

    SALIENCY = "saliency"
    INPUT_X_GRADIENT = "input-x-gradient"
    INTEGRATED_GRADIENTS = "integrated-gradients"
    SMOOTHGRAD = "smoothgrad"
    GRADCAM = "gradcam"
    GRADCAM_FINER = "gradcam-finer"
    OCCLUSION = "occlusion"


class MethodSettings(Settings):
    """How maps are computed.

    ``steps``: points of the path that integrated gradients take. ``samples``: noisy copies for SmoothGrad, ``noise``:
    their standard deviation in standard deviations of the brain's intensities. ``window_mm``, ``stride_mm``: edge of
    the cubes that occlusion covers, and the distance from one to the next. ``batch``: pairs through the network at a
    time, fewer for large grids. ``bf16``: gradients with 16-bit arithmetic, several times faster on most machines;
    occlusion and scores are differences of outputs and always have 32 bits.
    """

    steps: Annotated[int, Field(ge=1)] = 8
    samples: Annotated[int, Field(ge=1)] = 8
    noise: Annotated[float, Field(gt=0)] = 0.15
    window_mm: Annotated[float, Field(gt=0)] = 32.0
    stride_mm: Annotated[float, Field(gt=0)] = 16.0
    batch: Annotated[int, Field(ge=1)] = 8
    bf16: bool = False


class PerturbationSettings(Settings):
    """Deletion and insertion: ``steps`` equal shares of the brain's voxels, ``orders`` random orders for chance."""

    steps: Annotated[int, Field(ge=2)] = 10
    orders: Annotated[int, Field(ge=1)] = 3


class KeptMaps(StrEnum):
    """Whose maps are kept as NIfTI: of the example cases alone, or of every scored case."""

    EXAMPLES = "examples"
    ALL = "all"


class ExplanationSettings(Settings):
    """Which cases are scored, by which methods, and whose maps are kept.

    ``cases_per_class``: this many cases of each of the expert's classes, drawn at random by ``seed``; None scores all.
    The example cases are the best, the median and the worst explained of each class among them. ``native``: on the
    scanner's grids of which sequences kept maps are written, too. ``randomisation``: in how many steps the network's
    parameters are randomised, from the output down, to see whether the examples' maps depend on them; 0 leaves it out.
    """

    cases_per_class: Annotated[int | None, Field(gt=0)] = None
    methods: Annotated[tuple[MethodName, ...], Field(min_length=1)] = tuple(MethodName)
    method: MethodSettings = MethodSettings()
    perturbation: PerturbationSettings = PerturbationSettings()
    maps: KeptMaps = KeptMaps.EXAMPLES
    native: tuple[Sequence, ...] = (Sequence.CT1,)
    randomisation: Annotated[int, Field(ge=0)] = 6
    seed: int = 0

    @model_validator(mode="after")
    def _no_method_twice(self) -> ExplanationSettings:
        if len(set(self.methods)) != len(self.methods):
            raise ValueError(f"each method once, got {', '.join(self.methods)}")
        return self
