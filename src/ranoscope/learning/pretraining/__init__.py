"""Initial weights that were learnt on another task, and how they come into a recipe's network."""

from ranoscope.learning.pretraining.initial import prepare_initial_weights, require_fitting_pretraining
from ranoscope.learning.pretraining.transfer import LoadReport

__all__ = ["LoadReport", "prepare_initial_weights", "require_fitting_pretraining"]
