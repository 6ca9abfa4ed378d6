"""Which part of an image is brain: found from the image and the MNI152 brain, or by a tool that the user has."""

from ranoscope.preparing.brain.extract import BrainSettings, extract_brain
from ranoscope.preparing.brain.mask import BrainMask

__all__ = ["BrainMask", "BrainSettings", "extract_brain"]
