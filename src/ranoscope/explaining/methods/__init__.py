"""The explanation methods: what each computes, and the one list of them."""

from ranoscope.explaining.methods.occlusion import logits_of, volume_drops
from ranoscope.explaining.methods.question import Question
from ranoscope.explaining.methods.registry import METHODS, Method, compute_maps, methods_for

__all__ = ["METHODS", "Method", "Question", "compute_maps", "logits_of", "methods_for", "volume_drops"]
