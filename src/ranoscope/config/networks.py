"""Settings of the networks, a class for each."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, model_validator

from ranoscope.config.base import Settings

Millimetres = Annotated[float, Field(gt=0)]


class Arrangement(StrEnum):
    """How a network that takes one image stack is shown two studies.

    ``stacked``: channels interleaved per sequence, current before prior, as in the reference paper. ``difference``:
    current minus prior. ``both``: the stack, then the differences.
    """

    STACKED = "stacked"
    DIFFERENCE = "difference"
    BOTH = "both"

    def channels(self, sequences: int) -> int:
        """Input channels for so many sequences."""
        return {Arrangement.STACKED: 2, Arrangement.DIFFERENCE: 1, Arrangement.BOTH: 3}[self] * sequences


class StackSettings(Settings):
    """What every network that takes both studies as channels of one image has.

    ``dropout``: where the architecture has it, in front of the last layer where it has none.
    """

    arrangement: Arrangement = Arrangement.STACKED
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0


class DenseNetSettings(StackSettings):
    """3D DenseNet-BC (Huang et al. 2017) at three depths; 264 is the reference paper's best."""

    name: Literal["densenet"] = "densenet"
    depth: Literal[121, 169, 264] = 264


class AlexNetSettings(StackSettings):
    """AlexNet (Krizhevsky et al. 2012) with 3D convolutions.

    ``cells``: the last map is averaged to so many per axis; ``hidden``: units of the two dense layers behind it. The
    defaults are the published ones: 226 of 252 million weights are in the first dense layer.
    """

    name: Literal["alexnet"] = "alexnet"
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.5
    cells: Annotated[int, Field(gt=0)] = 6
    hidden: Annotated[int, Field(gt=0)] = 4096


class ViTSettings(StackSettings):
    """Vision transformer (Dosovitskiy et al. 2021).

    ``patch_mm``: edges of a patch in millimetres, rounded to whole voxels, at least one; the paper's are 20 x 20 x 10
    at 1 mm. ``hidden``: features per token, shared out among ``heads``.
    """

    name: Literal["vit"] = "vit"
    patch_mm: tuple[Millimetres, Millimetres, Millimetres] = (20.0, 20.0, 10.0)
    hidden: Annotated[int, Field(gt=0)] = 768
    layers: Annotated[int, Field(gt=0)] = 12
    heads: Annotated[int, Field(gt=0)] = 12

    @model_validator(mode="after")
    def _heads_share_the_features(self) -> ViTSettings:
        if self.hidden % self.heads:
            raise ValueError(f"hidden must be a multiple of heads, got {self.hidden} and {self.heads}")
        return self


class ResNetSettings(StackSettings):
    """ResNet-18 in MedicalNet's form (Chen et al. 2019): shortcut type A, last two stages dilated, not strided."""

    name: Literal["resnet"] = "resnet"
    depth: Literal[18] = 18


class SwinSettings(StackSettings):
    """Encoder of Swin UNETR (Hatamizadeh et al. 2022): shifted-window attention in four stages."""

    name: Literal["swin"] = "swin"
    features: Literal[12, 24, 36, 48] = 24


class MedNeXtSettings(StackSettings):
    """Encoder of MedNeXt (Roy et al. 2023): ConvNeXt blocks in 3D, size S, B, M or L."""

    name: Literal["mednext"] = "mednext"
    size: Literal["S", "B", "M", "L"] = "S"


class Comparison(StrEnum):
    """What of two studies' evidence is compared; each is a share of the features that the response is decided from.

    ``amount``: how much of a finding there was and is. ``growth``: the difference of these on a log scale. ``spot``:
    the strongest place, then and now, for a small new lesion. ``moved``: how much came and how much went, place by
    place. ``matched``: the same, each place compared with what attention finds like it nearby in the other study.
    """

    AMOUNT = "amount"
    GROWTH = "growth"
    SPOT = "spot"
    MOVED = "moved"
    MATCHED = "matched"


class ComparisonSettings(Settings):
    """One encoder shared by all studies; how much of each learnt finding there was and is, compared.

    ``widths``: feature channels per stage; ``findings``: maps per scale whose amounts are compared. Instance norm,
    because batches are small. ``comparison``: what is compared. ``tolerance_mm``: studies may be off from each other by
    this much: what is that near in the other study has neither come nor gone. ``tissues``: two more maps, on the
    grid itself, enhancing and whole tumour, which masks teach (``training.auxiliary``).
    """

    widths: Annotated[tuple[int, ...], Field(min_length=2)] = (16, 24, 48)
    findings: Annotated[int, Field(gt=0)] = 16
    comparison: Annotated[tuple[Comparison, ...], Field(min_length=1)] = (
        Comparison.AMOUNT,
        Comparison.GROWTH,
        Comparison.SPOT,
        Comparison.MOVED,
    )
    tolerance_mm: Annotated[float, Field(ge=0)] = 0.0
    tissues: bool = False
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1

    @model_validator(mode="after")
    def _nothing_compared_twice(self) -> ComparisonSettings:
        if len(set(self.comparison)) != len(self.comparison):
            raise ValueError(f"compare each once, got {', '.join(self.comparison)}")
        return self


class ChangeAwareSettings(ComparisonSettings):
    """The change-aware network of a pair: the current study is compared with the prior one."""

    name: Literal["change-aware"] = "change-aware"


class TimelineSettings(ComparisonSettings):
    """The change-aware network of a timeline: the current study is compared with every earlier one, by its date.

    ``earlier``: so many earlier studies at most are shown of a training case, the prior and the baseline always, the
    others drawn anew every epoch. A case is called with all of them.
    """

    name: Literal["change-aware-timeline"] = "change-aware-timeline"
    earlier: Annotated[int, Field(ge=2)] = 4


NetworkSettings = Annotated[
    DenseNetSettings
    | AlexNetSettings
    | ViTSettings
    | ResNetSettings
    | SwinSettings
    | MedNeXtSettings
    | ChangeAwareSettings
    | TimelineSettings,
    Field(discriminator="name"),
]
