"""Brain extraction by a command of the user's: a small script stands for it."""

from __future__ import annotations

import stat
import sys

import numpy as np
import pytest

from ranoscope.errors import ImageError
from ranoscope.imaging.nifti import Volume
from ranoscope.preparing.brain import BrainSettings, extract_brain

WHERE = "Patient-001/week-000/T1"
# Draws what is brighter than 500, where the tool would write it; the last line of the file decides how it ends.
SCRIPT = """#!{python}
import sys, nibabel, numpy
said = sys.argv[1:]
assert {expected}, said
image = nibabel.load(said[said.index("-i") + 1])
mask = (numpy.asarray(image.dataobj) > 500).astype("uint8")
{write}
"""
SAVE = "nibabel.save(nibabel.Nifti1Image(mask{cut}, image.affine), {path})"
HD_BET = 'said[said.index("-o") + 1].replace(".nii.gz", "_bet.nii.gz")'
SYNTHSTRIP = 'said[said.index("-m") + 1]'
FLAGS = {
    "hd-bet": '"--save_bet_mask" in said and "--disable_tta" in said and said[said.index("-device") + 1] == "cpu"',
    "mri_synthstrip": '"-o" not in said',
}


@pytest.fixture
def volume():
    data = np.random.default_rng(0).uniform(1, 100, (40, 40, 40)).astype(np.float32)
    data[6:34, 6:34, 6:34] += 1000
    return Volume(data, np.diag([4.0, 4.0, 4.0, 1.0]), WHERE)


@pytest.fixture
def install(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))

    def write(command, line):
        script = tmp_path / command
        script.write_text(SCRIPT.format(python=sys.executable, expected=FLAGS[command], write=line))
        script.chmod(script.stat().st_mode | stat.S_IXUSR)

    return write


@pytest.mark.parametrize(
    ("method", "command", "path"), [("hd-bet", "hd-bet", HD_BET), ("synthstrip", "mri_synthstrip", SYNTHSTRIP)]
)
def test_the_tools_mask_is_taken(install, volume, method, command, path):
    install(command, SAVE.format(cut="", path=path))
    found = extract_brain(volume, BrainSettings(method=method))
    assert np.array_equal(found.mask, volume.data > 500)
    assert found.problem is None
    assert found.fit is None


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('sys.exit("weights missing")', "exit code 1, and it said: weights missing"),
        ("pass", "exit code 0, and it said: nothing"),
        (SAVE.format(cut="[:, :, 1:]", path=HD_BET), "Expected the grid of"),
    ],
)
def test_a_tool_that_fails_is_named(install, volume, line, words):
    install("hd-bet", line)
    with pytest.raises(ImageError, match=words) as caught:
        extract_brain(volume, BrainSettings(method="hd-bet"))
    assert "tmp" not in str(caught.value)


@pytest.mark.parametrize(("method", "command"), [("hd-bet", "hd-bet"), ("synthstrip", "mri_synthstrip")])
def test_a_tool_that_is_not_there(install, volume, method, command):
    with pytest.raises(ImageError, match=f"the command {command}, got none on the PATH"):
        extract_brain(volume, BrainSettings(method=method))
