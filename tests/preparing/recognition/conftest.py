"""Whole studies from studies.yaml, and series by the few things that a test is about."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from ranoscope.preparing.series import SeriesFacts

STUDIES = yaml.safe_load((Path(__file__).parent / "studies.yaml").read_text(encoding="utf-8"))


def facts_of(row: dict[str, Any]) -> SeriesFacts:
    """A row of studies.yaml as facts; a file has no modality unless one is given."""
    te, tr, ti = (*row.get("times", ()), None, None, None)[:3]
    return SeriesFacts(
        number=row.get("number"),
        description=row.get("name", ""),
        protocol=row.get("protocol", ""),
        sequence_name=row.get("sequence", ""),
        modality=row.get("modality", "" if "file" in row else "MR"),
        image_type=tuple(row.get("type", "").split()),
        scanning_sequence=tuple(row.get("seq", "").split()),
        scan_options=tuple(row.get("options", "").split()),
        acquisition=row.get("acq", ""),
        contrast=row.get("agent"),
        echo_time_ms=te,
        repetition_time_ms=tr,
        inversion_time_ms=ti,
        flip_angle_deg=row.get("flip"),
        echo_train_length=row.get("etl"),
        diffusion_b=row.get("b"),
        acquired_s=row.get("at"),
        file_name=row.get("file", ""),
        shape=tuple(row["size"]) if "size" in row else None,
        spacing_mm=tuple(row["mm"]) if "mm" in row else None,
        volumes=row.get("volumes", 1),
    )


@pytest.fixture(scope="session")
def studies() -> dict[str, list[SeriesFacts]]:
    return {name: [facts_of(row) for row in rows] for name, rows in STUDIES.items()}


@pytest.fixture
def facts():
    """``facts(name="AX T1", times=[10, 600], seq="SE")``: keys as in studies.yaml."""
    return lambda **row: facts_of(row)


def pytest_generate_tests(metafunc) -> None:
    """A test that asks for ``expected_study`` sees every study once."""
    if "expected_study" in metafunc.fixturenames:
        cases = [pytest.param(([row["is"] for row in rows], [facts_of(row) for row in rows]), id=name)
                 for name, rows in STUDIES.items()]  # fmt: skip
        metafunc.parametrize("expected_study", cases)
