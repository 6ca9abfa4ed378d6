"""What docs/prepare.md shows is what the readers take."""

from __future__ import annotations

import re
from pathlib import Path

from ranoscope.domain import Sequence
from ranoscope.preparing.inputs.manifest import read_manifest
from ranoscope.preparing.quality import COLUMNS
from ranoscope.preparing.recognition import read_override

TEXT = (Path(__file__).parents[2] / "docs/prepare.md").read_text(encoding="utf-8")


def block(language):
    return re.search(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)[1]


def test_the_manifest_is_one(tmp_path):
    table = block("csv")
    for name in re.findall(r"p1/\S+?\.nii\.gz", table):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    (tmp_path / "manifest.csv").write_text(table)
    rows = read_manifest(tmp_path / "manifest.csv")
    assert [row.patient for row in rows] == ["P-01", "P-01"]
    assert set(rows[0].images) == set(Sequence)


def test_the_override_is_one(tmp_path):
    (tmp_path / "series.yaml").write_text(block("yaml"))
    assert read_override(tmp_path / "series.yaml") is not None


def test_every_column_that_is_explained_is_there():
    named = re.findall(r"^\| `(\w+)`(?:, `(\w+)`)? \|", TEXT[TEXT.index("| column |") :], re.MULTILINE)
    assert named
    assert {name for pair in named for name in pair if name} <= set(COLUMNS)
