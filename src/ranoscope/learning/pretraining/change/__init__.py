"""Synthetic change: pairs made from one study by lesions that appear, grow, shrink or go, and what is learnt from them.

Decided first (``scenes``, ``scanning``: every random number, plain values), then done (``lesions``, ``tumours``,
``images``: pure). Shares no code with ``phantom``, so that what is learnt here can be proven there.
"""

from ranoscope.learning.pretraining.change.learn import network_settings, pretrain_in_fold
from ranoscope.learning.pretraining.change.outside import (
    COMMAND,
    pretrain_on_run,
    read_outside_weights,
    require_outside_weights,
)

__all__ = [
    "COMMAND", "network_settings", "pretrain_in_fold", "pretrain_on_run", "read_outside_weights",
    "require_outside_weights",
]  # fmt: skip
