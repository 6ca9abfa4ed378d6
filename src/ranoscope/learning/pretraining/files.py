"""Files of our own pretrained trunks: safetensors, and beside it a JSON that says what they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from ranoscope import provenance, runs
from ranoscope.config import Recipe
from ranoscope.errors import RunError, problem
from ranoscope.learning.networks import PairNetwork
from ranoscope.learning.pretraining.transfer import TrunkWeights

# Settings of a network that its trunk's weights do not depend on.
_NOT_OF_THE_TRUNK = {"arrangement", "dropout"}


def trunk_settings(recipe: Recipe) -> dict[str, Any]:
    """The network settings that two recipes must share to share a trunk."""
    return recipe.network.model_dump(mode="json", exclude=_NOT_OF_THE_TRUNK)


def record_of(path: Path) -> Path:
    """The JSON beside a trunk's weights; written last, so that weights without it are unfinished."""
    return path.with_suffix(".json")


def write_trunk(path: Path, network: PairNetwork, about: dict[str, Any]) -> None:
    """Write what is below ``trunk_prefix``, under names without it, and then the record.

    Args:
        path: a .safetensors file.
        network: whose trunk it is.
        about: content of the record; the hash of the weights is added.

    Raises:
        StorageError: the disk is full or not writable.
    """
    prefix = network.trunk_prefix
    tensors: dict[str, Tensor] = {
        name.removeprefix(prefix): tensor.detach().cpu().contiguous()
        for name, tensor in network.state_dict().items()
        if name.startswith(prefix)
    }
    runs.write_bytes(path, save(tensors))
    runs.write_json(record_of(path), {**about, "tensors": len(tensors), "sha256": provenance.file_hash(path)})


def read_record(path: Path, recipe: Recipe, made_by: str) -> dict[str, Any]:
    """The record beside a trunk's weights.

    Args:
        path: of the weights.
        recipe: whose network they must be of.
        made_by: the command that writes them.

    Raises:
        RunError: the weights or their record are not there, or are of another network.
    """
    if not path.is_file():
        raise RunError(problem("the file of pretrained weights", "none", str(path), f"run `{made_by}` first"))
    about: dict[str, Any] = runs.read_json(record_of(path), made_by)
    mine = trunk_settings(recipe)
    if about.get("network") != mine:
        do = f"run `{made_by}` for this recipe"
        raise RunError(problem(f"weights of {_named(mine)}", _named(about.get("network")), str(path), do))
    return about


def read_trunk(path: Path, recipe: Recipe, made_by: str) -> TrunkWeights:
    """What ``write_trunk`` wrote; every tensor of it must find its place. Arguments: ``read_record``.

    Raises:
        RunError: as ``read_record``; or the weights are damaged, or not those that the record is about.
    """
    about = read_record(path, recipe, made_by)
    sha256 = provenance.file_hash(path)
    if sha256 != about.get("sha256"):
        expected, got = "the weights that the file beside it is about", "others"
        raise RunError(problem(expected, got, str(path), f"keep both files together, or run `{made_by}` again"))
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise RunError(problem("safetensors", f"{error}", str(path), f"run `{made_by}` again")) from error
    return TrunkWeights(str(about["task"]), path, sha256, tensors, len(tensors))


def _named(network: Any) -> str:
    if not isinstance(network, dict):
        return "a file that names no network"
    return ", ".join(f"{key} {value}" for key, value in network.items())
