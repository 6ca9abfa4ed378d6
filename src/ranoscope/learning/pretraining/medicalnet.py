"""MedicalNet's published weights (Chen et al. 2019): a ResNet-18 that segmented 23 data sets."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ranoscope import provenance
from ranoscope.errors import RunError, problem
from ranoscope.learning.pretraining.transfer import PretrainedWeights

_FILE = "resnet_18_23dataset.pth"
_PREFIX = "module."
# The file has 102 tensors. The reference paper's code matched none of them, and did not notice.
_LEAST = 100


def read_medicalnet(path: Path) -> PretrainedWeights:
    """The published file: tensors named ``module.…`` under a key ``state_dict``, one image channel.

    No code in it is run, whatever it holds.

    Raises:
        RunError: not there, damaged, with anything but tensors in it, or of another layout.
    """
    content = _load(path)
    tensors = content.get("state_dict") if isinstance(content, dict) else None
    if not isinstance(tensors, dict) or not all(isinstance(tensor, Tensor) for tensor in tensors.values()):
        got = f"the keys {', '.join(map(str, list(content)[:3]))}" if isinstance(content, dict) else "something else"
        raise _refused(path, "tensors under the key `state_dict`", got)
    stripped = {str(name).removeprefix(_PREFIX): tensor for name, tensor in tensors.items()}
    return PretrainedWeights("medicalnet", path, provenance.file_hash(path), stripped, _LEAST)


def _load(path: Path) -> Any:
    if not path.is_file():
        raise _refused(path, "the file of pretrained weights", "none")
    try:
        return torch.load(path, weights_only=True, map_location="cpu")
    except pickle.UnpicklingError as error:
        raise _refused(
            path, "nothing but tensors", "other objects, or no whole file (nothing of it was run)"
        ) from error
    except (EOFError, KeyError, OSError, RuntimeError, UnicodeDecodeError, ValueError) as error:
        raise _refused(path, "a whole file", f"a damaged one ({type(error).__name__})") from error


def _refused(path: Path, expected: str, got: str) -> RunError:
    return RunError(problem(expected, got, str(path), f"fetch MedicalNet's {_FILE} and name it in pretraining.weights"))
