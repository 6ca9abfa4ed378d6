"""Brain extraction by a command that the user has installed; nothing is downloaded on its behalf."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Literal

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from ranoscope.errors import ImageError, problem
from ranoscope.imaging.nifti import Volume, decode, require_same_grid

Tool = Literal["hd-bet", "synthstrip"]
_COMMANDS: dict[Tool, str] = {"hd-bet": "hd-bet", "synthstrip": "mri_synthstrip"}
_ABOUT: dict[Tool, str] = {
    "hd-bet": "install HD-BET and run it once, as it fetches its weights on first use, or choose brain.method=atlas",
    "synthstrip": "install FreeSurfer or SynthStrip with its weights, or choose brain.method=atlas",
}


def run_tool(volume: Volume, tool: Tool, device: str) -> NDArray[np.bool_]:
    """The mask that the tool draws, on the volume's grid.

    The tool sees a file of a name without meaning, in a folder that is gone afterwards.

    Args:
        volume: an image with skull.
        tool: which.
        device: where HD-BET computes; without a graphics card it is told not to average over mirror images, as its
            authors advise.

    Raises:
        ImageError: the command is not there, fails, or leaves no mask on the image's grid.
    """
    command = shutil.which(_COMMANDS[tool])
    if command is None:
        raise ImageError(problem(f"the command {_COMMANDS[tool]}", "none on the PATH", volume.where, _ABOUT[tool]))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        nib.save(nib.Nifti1Image(volume.data, volume.affine), folder / "head.nii.gz")
        arguments, written = _arguments(tool, folder, device)
        done = subprocess.run([command, *arguments], capture_output=True, text=True, errors="replace", check=False)
        if done.returncode or not written.is_file():
            said = (done.stderr.strip() or done.stdout.strip() or "nothing").splitlines()[-1]
            got = f"exit code {done.returncode}, and it said: {said.replace(name, '')}"
            raise ImageError(problem(f"a mask from {_COMMANDS[tool]}", got, volume.where, _ABOUT[tool]))
        mask = decode(written.read_bytes(), f"{volume.where}, mask of {_COMMANDS[tool]}")
    require_same_grid(mask, volume)
    return np.asarray(mask.data > 0)


def _arguments(tool: Tool, folder: Path, device: str) -> tuple[list[str], Path]:
    """What the command is given, and where it then writes the mask. HD-BET names it after its output."""
    given = ["-i", str(folder / "head.nii.gz")]
    if tool == "synthstrip":
        return [*given, "-m", str(folder / "mask.nii.gz")], folder / "mask.nii.gz"
    given += ["-o", str(folder / "brain.nii.gz"), "-device", device, "--save_bet_mask", "--no_bet_image"]
    return given + (["--disable_tta"] if device == "cpu" else []), folder / "brain_bet.nii.gz"
