"""Cross-validates on the CPU in several processes, which Lightning starts as this same script.

Started by test_devices.py as ``python several_processes.py COHORT_RUN OUT RECIPE``.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch

from ranoscope.config import parse_recipe
from ranoscope.learning.crossval import cross_validate

if __name__ == "__main__":
    torch.set_num_threads(1)
    cohort_run, out = map(Path, sys.argv[1:3])
    cross_validate(parse_recipe(json.loads(sys.argv[3]), "test"), cohort_run, out, lambda *_: None)
