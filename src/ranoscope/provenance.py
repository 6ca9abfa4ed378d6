"""What made an output: code, versions, inputs, settings and seed, and never a user, host or path of a person."""

from __future__ import annotations

import hashlib
import platform
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from pathlib import Path

from ranoscope import __version__, runs

_LIBRARIES = (
    "captum", "lightning", "monai", "nibabel", "nilearn", "numpy", "pandas", "picsl_greedy", "scikit-learn", "scipy",
    "SimpleITK", "torch", "torchmetrics",
)  # fmt: skip


@cache
def git_sha() -> str | None:
    """Commit of the checkout this code runs from, ``-dirty`` appended with uncommitted changes; None outside git."""
    top = Path(__file__).resolve().parents[2]
    if not (top / ".git").exists():
        return None
    try:
        sha = _output(["git", "rev-parse", "HEAD"], top)
        changed = _output(["git", "status", "--porcelain", "-uno"], top)
    except (OSError, subprocess.SubprocessError):
        return None
    return sha + ("-dirty" if changed else "")


def file_hash(path: Path) -> str:
    """SHA-256 of a file's bytes, hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def describe(command: str, inputs: Mapping[str, str], seed: int | None = None) -> dict[str, object]:
    """Provenance of one stage.

    Args:
        command: the verb, e.g. ``"cohort"``.
        inputs: name of each input (no folder of a person) → its hash.
        seed: the seed that drove all randomness, if any did.
    """
    return {
        "command": command,
        "ranoscope": __version__,
        "git_sha": git_sha(),
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "seed": seed,
        "inputs": dict(inputs),
        "versions": {name: _version(name) for name in _LIBRARIES},
        "python": platform.python_version(),
        "machine": {"system": platform.system(), "architecture": platform.machine(), "accelerator": _accelerator()},
    }


def record(folder: Path, command: str, settings: object, inputs: Mapping[str, str], seed: int | None = None) -> None:
    """Write or extend ``settings.yaml`` and ``provenance.json`` of a run folder, one entry per command.

    Stages that share a folder each keep their own entry.
    """
    for name, entry, write in (
        (runs.SETTINGS, settings, runs.write_yaml),
        (runs.PROVENANCE, describe(command, inputs, seed), runs.write_json),
    ):
        path = folder / name
        read = runs.read_yaml if name == runs.SETTINGS else runs.read_json
        known = read(path, command) if path.is_file() else {}
        write(path, {**(known or {}), command: entry})


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _accelerator() -> str:
    """Kind of accelerator without importing torch: what the driver says, or ``"none"``."""
    try:
        answer = _output(["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"], Path.cwd())
    except (OSError, subprocess.SubprocessError):
        return "none"
    return ", ".join(answer.split("\n")) or "none"


def _output(command: list[str], folder: Path) -> str:
    answer = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True, timeout=10)
    return answer.stdout.strip()
