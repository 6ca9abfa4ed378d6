"""Settings of learning: augmentation, networks, pretraining, clinical facts, training."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from ranoscope.config.base import Settings

Share = Annotated[float, Field(ge=0, le=1)]
Millimetres = Annotated[float, Field(gt=0)]


class AugmentationSettings(Settings):
    """Random changes of training samples; both studies of a case get the same geometric change.

    ``flip_left_right``, ``flip_anterior_posterior``, ``flip_superior_inferior``: chance of each. Only the first is on
    by default: the others make anatomy that does not exist (the reference paper uses all three).
    ``sequence_dropout``: chance that a sequence is taken out of a study, as if it had not been acquired; at least one
    is left.
    """

    flip_left_right: Share = 0.5
    flip_anterior_posterior: Share = 0.0
    flip_superior_inferior: Share = 0.0
    shift_mm: Annotated[float, Field(ge=0)] = 0.0
    scale_intensity: Annotated[float, Field(ge=0, lt=1)] = 0.1
    shift_intensity: Annotated[float, Field(ge=0)] = 0.1
    gamma: tuple[float, float] = (1.0, 1.0)
    noise: Annotated[float, Field(ge=0)] = 0.0
    sequence_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0


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


class ChangeAwareSettings(Settings):
    """One encoder shared by both studies; how much of each learnt finding there was and is, compared.

    ``widths``: feature channels per stage; ``findings``: maps per scale whose amounts are compared. Instance norm,
    because batches are small.
    """

    name: Literal["change-aware"] = "change-aware"
    widths: Annotated[tuple[int, ...], Field(min_length=2)] = (16, 24, 48)
    findings: Annotated[int, Field(gt=0)] = 16
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1


NetworkSettings = Annotated[
    DenseNetSettings
    | AlexNetSettings
    | ViTSettings
    | ResNetSettings
    | SwinSettings
    | MedNeXtSettings
    | ChangeAwareSettings,
    Field(discriminator="name"),
]


class NoPretraining(Settings):
    """Random initial weights."""

    name: Literal["none"] = "none"


class MedicalNetPretraining(Settings):
    """The published MedicalNet weights; ``weights``: path of ``resnet_18_23dataset.pth``, which the user fetches."""

    name: Literal["medicalnet"] = "medicalnet"
    weights: Path


class OrganPretraining(Settings):
    """OrganMNIST3D classification; ``weights``: what ``ranoscope pretrain organmnist`` wrote for this network."""

    name: Literal["organmnist"] = "organmnist"
    weights: Path


class RotationPretraining(Settings):
    """Which of six shape-preserving rotations a volume was turned by, learnt on each fold's training patients alone."""

    name: Literal["rotations"] = "rotations"
    epochs: Annotated[int, Field(gt=0)] = 20
    batch_size: Annotated[int, Field(gt=0)] = 8
    learning_rate: Annotated[float, Field(gt=0)] = 1e-4


class ChangePretraining(Settings):
    """Which response a pair of studies shows that were made from one by synthetic change.

    ``weights``: what ``ranoscope pretrain change`` learnt from other studies than those of this cohort; None, and each
    fold learns it from its own training patients alone, by the other settings. ``pairs_per_epoch``: pairs are drawn
    anew every epoch. ``learning_rate``: peak of one cycle. ``masked_share``: of the steps, those in which the trunk
    restores masked cubes of the same images instead.
    """

    name: Literal["change"] = "change"
    weights: Path | None = None
    epochs: Annotated[int, Field(gt=0)] = 20
    pairs_per_epoch: Annotated[int, Field(gt=0)] = 800
    batch_size: Annotated[int, Field(gt=0)] = 8
    learning_rate: Annotated[float, Field(gt=0)] = 2e-3
    masked_share: Annotated[float, Field(ge=0, lt=1)] = 0.0


PretrainingSettings = Annotated[
    NoPretraining | MedicalNetPretraining | OrganPretraining | RotationPretraining | ChangePretraining,
    Field(discriminator="name"),
]


class ClinicalSettings(Settings):
    """Facts fused late, each switchable; unknown values stay unknown.

    ``interval``: weeks between the studies. ``week``: weeks from the first MRI to the current study; it follows the
    course of the disease and so is a shortcut: off by default, on where the paper is reproduced.
    """

    age: bool = False
    sex: bool = False
    idh: bool = False
    mgmt: bool = False
    interval: bool = False
    week: bool = False


class Target(StrEnum):
    """What is learnt: the four categories, or PD against all others."""

    FOUR_CLASSES = "four-classes"
    PD_VERSUS_REST = "pd-versus-rest"


class Labels(StrEnum):
    """Whose responses are learnt.

    ``expert``: those of the rating table. ``permuted``: the same, dealt at random to the training cases, so that images
    say nothing of them; a sanity check of explanations (data randomisation, Adebayo et al. 2018, arXiv 1810.03292).
    """

    EXPERT = "expert"
    PERMUTED = "permuted"

    @property
    def warning(self) -> str | None:
        """What to bear in mind of a network that learnt these; None for the expert's."""
        if self is Labels.EXPERT:
            return None
        return (
            "The labels of the training cases are permuted: the network cannot learn responses. For sanity checks of "
            "explanations only."
        )


class MissingSequences(StrEnum):
    """What to do with a case one of whose studies lacks a sequence of the recipe.

    ``error``: stop and name the studies. ``exclude``: leave the case out, counted and named. ``zero-fill``: an empty
    volume and a presence flag among the facts.
    """

    ERROR = "error"
    EXCLUDE = "exclude"
    ZERO_FILL = "zero-fill"


class TrainingSettings(Settings):
    """How one fold is trained. ``learning_rate`` is the peak of one cycle (AdamW).

    ``schedule``: one cycle, constant, or ``drop``: constant until the inner loss has not improved for
    ``patience_epochs``, then a tenth of it from the best weights so far, ``learning_rate_drops`` times.
    ``imbalance``: corrected in the loss, by a weighted sampler, in both (twice, as the paper does) or not at all.
    ``weight_averaging``: share of a running average of the weights that each step keeps; the average is what is judged
    and kept, steadier than any one step where cases are few. 0 = no average.
    ``compile``: compile the network; pays on CUDA, for long trainings.
    """

    epochs: Annotated[int, Field(gt=0)] = 100
    batch_size: Annotated[int, Field(gt=0)] = 4
    learning_rate: Annotated[float, Field(gt=0)] = 2e-3
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    schedule: Literal["one_cycle", "constant", "drop"] = "one_cycle"
    learning_rate_drops: Annotated[int, Field(ge=0)] = 0
    loss: Literal["cross_entropy", "focal"] = "cross_entropy"
    focal_gamma: Annotated[float, Field(ge=0)] = 2.0
    imbalance: Literal["none", "loss", "sampler", "both"] = "loss"
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    weight_averaging: Annotated[float, Field(ge=0, lt=1)] = 0.0
    patience_epochs: Annotated[int, Field(gt=0)] = 20
    inner_validation: Annotated[float, Field(gt=0, lt=0.5)] = 0.2
    accelerator: Literal["auto", "cpu", "gpu"] = "auto"
    devices: Annotated[int, Field(gt=0)] | Literal["auto"] = "auto"
    strategy: str = "auto"
    precision: Literal["bf16-mixed", "32-true"] = "bf16-mixed"
    compile: bool = False
    workers: Annotated[int, Field(ge=0)] = 0

    @model_validator(mode="after")
    def _drops_need_their_schedule(self) -> TrainingSettings:
        if (self.learning_rate_drops > 0) != (self.schedule == "drop"):
            raise ValueError("learning_rate_drops above 0 and schedule: drop belong together")
        return self
