"""Settings of what is learnt from: augmentation, pretraining, clinical facts, labels."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from ranoscope.config.base import Settings

Share = Annotated[float, Field(ge=0, le=1)]


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
