"""Settings of training: steps, losses, and what the network is taught besides the responses."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from ranoscope.config.base import Settings

Weight = Annotated[float, Field(ge=0)]
# Which epoch's weights a training ends with.
Keep = Literal["best", "last"]


class ConsistencySettings(Settings):
    """What must hold of a pair whatever the expert said of it; the weight of each in the loss, 0 = not taught.

    ``swap``: prior and current exchanged, growth is shrinkage: PD becomes PR or CR, PR becomes PD, SD stays; CR stays
    where there was nothing before, either, and becomes PD where there was. ``same``: a study against itself is stable:
    SD, or CR where there is nothing.
    """

    swap: Weight = 0.0
    same: Weight = 0.0

    @property
    def is_asked(self) -> bool:
        """Whether pairs are shown otherwise, too."""
        return self.swap > 0 or self.same > 0


class AuxiliarySettings(Settings):
    """What the tumour masks of the training cases teach besides the response; the weight of each in the loss.

    ``segmentation``: where enhancing and whole tumour are, in both studies. ``measures``: how much each has changed
    (log ratio of volumes), and whether there is a new enhancing lesion. Networks with ``tissues`` alone can be taught
    so; masks are not needed to call a case.
    """

    segmentation: Weight = 0.0
    measures: Weight = 0.0

    @property
    def needs_masks(self) -> bool:
        """Whether training cases come with their tumour masks."""
        return self.segmentation > 0 or self.measures > 0


class TrainingSettings(Settings):
    """How one fold is trained. ``learning_rate`` is the peak of one cycle (AdamW).

    ``schedule``: one cycle, constant, or ``drop``: constant until the inner loss has not improved for
    ``patience_epochs``, then a tenth of it from the best weights so far, ``learning_rate_drops`` times.
    ``keep``: the epoch whose weights are kept, ``best`` by the inner set's loss, or the ``last``, without an early end:
    a small inner set, with a case or two of the rare classes, chooses badly, and one cycle ends at its best by design.
    ``imbalance``: corrected in the loss, by a weighted sampler, in both (twice, as the paper does) or not at all.
    ``weight_averaging``: share of a running average of the weights that each step keeps; the average is what is judged
    and kept, steadier than any one step where cases are few. 0 = no average.
    ``ordinal``: weight of the ranked probability score over PD < SD < PR < CR beside the loss: a call two categories
    off costs more than one.
    ``compile``: compile the network; pays on CUDA, for long trainings.
    """

    epochs: Annotated[int, Field(gt=0)] = 100
    batch_size: Annotated[int, Field(gt=0)] = 4
    learning_rate: Annotated[float, Field(gt=0)] = 2e-3
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    schedule: Literal["one_cycle", "constant", "drop"] = "one_cycle"
    learning_rate_drops: Annotated[int, Field(ge=0)] = 0
    keep: Keep = "best"
    loss: Literal["cross_entropy", "focal"] = "cross_entropy"
    focal_gamma: Annotated[float, Field(ge=0)] = 2.0
    imbalance: Literal["none", "loss", "sampler", "both"] = "loss"
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    ordinal: Weight = 0.0
    consistency: ConsistencySettings = ConsistencySettings()
    auxiliary: AuxiliarySettings = AuxiliarySettings()
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
        if self.keep == "last" and self.schedule == "drop":
            raise ValueError("keep: last is not for schedule: drop, which goes back to the best epoch")
        return self
