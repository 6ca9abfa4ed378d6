"""Settings of ``ranoscope prepare``, a class per step."""

from __future__ import annotations

from ranoscope.config import Settings
from ranoscope.preparing.bias import BiasSettings
from ranoscope.preparing.brain import BrainSettings
from ranoscope.preparing.registration import RegistrationSettings


class PrepareSettings(Settings):
    """``denoise``: edge-preserving smoothing of every image before it is interpolated; off, because it also takes away
    what is small.
    """

    bias: BiasSettings = BiasSettings()
    denoise: bool = False
    brain: BrainSettings = BrainSettings()
    registration: RegistrationSettings = RegistrationSettings()
