"""Which part of an image is brain: found from the image and the MNI152 brain, or by a tool that the user has."""

from ranoscope.preparing.brain.extract import BrainSettings, extract_brain, fit_atlas
from ranoscope.preparing.brain.fitting import Fit
from ranoscope.preparing.brain.mask import LEAST_SIMILARITY, BrainMask

__all__ = ["LEAST_SIMILARITY", "BrainMask", "BrainSettings", "Fit", "extract_brain", "fit_atlas"]
