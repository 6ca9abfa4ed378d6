"""Files of our own pretrained weights: safetensors, and beside it a JSON that says what they are."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.utilities import rank_zero_only
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from ranoscope import provenance, runs
from ranoscope.config import ChangeAwareSettings, Recipe, TimelineSettings
from ranoscope.errors import RunError, problem
from ranoscope.learning.networks import PairNetwork
from ranoscope.learning.pretraining.transfer import PretrainedWeights

# Settings of a network that its trunk's weights do not depend on.
_NOT_OF_THE_TRUNK = {"arrangement", "comparison", "dropout", "findings", "tissues", "tolerance_mm"}


def trunk_settings(recipe: Recipe) -> dict[str, Any]:
    """The network settings that two recipes must share to share a trunk."""
    return shared_settings(recipe, _NOT_OF_THE_TRUNK)


def shared_settings(recipe: Recipe, exclude: set[str]) -> dict[str, Any]:
    """The network's settings but some; a timeline's are those of the pair network, whose layers it has."""
    network = recipe.network
    name, left_out = network.name, {*exclude, "name"}
    if isinstance(network, TimelineSettings):
        name, left_out = ChangeAwareSettings().name, {*left_out, "earlier"}
    return {"name": name, **network.model_dump(mode="json", exclude=left_out)}


def record_of(path: Path) -> Path:
    """The JSON beside the weights; written last, so that weights without it are unfinished."""
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
    trunk = {
        name.removeprefix(prefix): tensor for name, tensor in network.state_dict().items() if name.startswith(prefix)
    }
    write_weights(path, trunk, about)


def write_weights(path: Path, tensors: Mapping[str, Tensor], about: dict[str, Any]) -> None:
    """Write tensors and then their record, which names their number and hash besides ``about``.

    Raises:
        StorageError: the disk is full or not writable.
    """
    runs.write_bytes(path, save({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}))
    runs.write_json(record_of(path), {**about, "tensors": len(tensors), "sha256": provenance.file_hash(path)})


def publish(write: Callable[[], None], restart: Path) -> None:
    """Let the first process write what was learnt, the others wait for it, and remove the restart files."""
    rank_zero_only(write)()
    if torch.distributed.is_initialized():
        torch.distributed.barrier()
    rank_zero_only(shutil.rmtree)(restart, ignore_errors=True)


def require_weights_name(out: Path) -> None:
    """Raise RunError unless the name of a file to write says what it is."""
    if out.suffix != ".safetensors":
        do = "give --out such a name"
        raise RunError(problem("a file to write that ends in .safetensors", out.name, str(out.parent), do))


def is_written(path: Path) -> bool:
    """Whether weights and their record are there, whatever they are of."""
    return path.is_file() and record_of(path).is_file()


def is_finished(out: Path, key: str, made_by: str) -> bool:
    """Whether an earlier call wrote these weights.

    Raises:
        RunError: it wrote some with other settings or from other data.
    """
    if not is_written(out):
        return False
    if runs.read_json(record_of(out), made_by).get("key") != key:
        got = "weights made with other settings or from other data"
        raise RunError(problem("the weights of this recipe", got, str(out), "choose another --out, or delete them"))
    return True


def read_record(path: Path, network: dict[str, Any], made_by: str) -> dict[str, Any]:
    """The record beside the weights.

    Args:
        path: of the weights.
        network: the settings they must have been made with.
        made_by: the command that writes them.

    Raises:
        RunError: the weights or their record are not there, or are of another network.
    """
    if not path.is_file():
        raise RunError(problem("the file of pretrained weights", "none", str(path), f"run `{made_by}` first"))
    about: dict[str, Any] = runs.read_json(record_of(path), made_by)
    if about.get("network") != network:
        do = f"run `{made_by}` for this recipe"
        raise RunError(problem(f"weights of {_named(network)}", _named(about.get("network")), str(path), do))
    return about


def read_weights(path: Path, network: dict[str, Any], made_by: str) -> PretrainedWeights:
    """What ``write_weights`` wrote; every tensor of a trunk must find its place. Arguments: ``read_record``.

    Raises:
        RunError: as ``read_record``; or the weights are damaged, or not those that the record is about.
    """
    about = read_record(path, network, made_by)
    sha256 = provenance.file_hash(path)
    if sha256 != about.get("sha256"):
        expected, got = "the weights that the file beside it is about", "others"
        raise RunError(problem(expected, got, str(path), f"keep both files together, or run `{made_by}` again"))
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise RunError(problem("safetensors", f"{error}", str(path), f"run `{made_by}` again")) from error
    return PretrainedWeights(str(about["task"]), path, sha256, tensors, len(tensors))


def _named(network: Any) -> str:
    if not isinstance(network, dict):
        return "a file that names no network"
    return ", ".join(f"{key} {value}" for key, value in network.items())
