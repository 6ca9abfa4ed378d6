"""A synthetic cohort made once per session, and the command line as a person uses it."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from ranoscope.cli import main
from ranoscope.config import PhantomSettings
from ranoscope.phantom.cohort import make_phantom

PHANTOM = PhantomSettings(patients=9, voxel_mm=6.0, seed=3)


@dataclass(frozen=True)
class Answer:
    """What a command left behind: its exit code and what it printed."""

    code: int
    out: str
    err: str


@pytest.fixture(scope="session")
def phantom_folder(tmp_path_factory) -> Path:
    """Nine synthetic patients at 6 mm. Read only: a test that changes files works on a copy."""
    folder = tmp_path_factory.mktemp("phantom") / "LUMIERE"
    make_phantom(folder, PHANTOM, workers=2, progress=lambda *_: None)
    return folder


@pytest.fixture
def ranoscope(capsys, monkeypatch):
    """Run a command in this process, exactly as the console script does."""

    def run(*arguments: object) -> Answer:
        monkeypatch.setattr(sys, "argv", ["ranoscope", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as stopped:
            main()
        printed = capsys.readouterr()
        return Answer(int(stopped.value.code or 0), printed.out, printed.err)

    return run
