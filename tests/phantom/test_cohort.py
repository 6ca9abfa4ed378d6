"""The whole folder: same seed, same bytes, whatever happens on the way; and the reader takes it for the real thing."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from ranoscope.cohort.pairing import build_cohort
from ranoscope.config import CohortSettings, PhantomSettings
from ranoscope.errors import RunError, StorageError
from ranoscope.phantom.cohort import make_phantom
from ranoscope.phantom.plans import plan_cohort
from ranoscope.phantom.tables import write_tables

SMALL = PhantomSettings(patients=2, voxel_mm=6.0, seed=5)


def silent(done: int, total: int, what: str) -> None:
    """Progress that nobody watches."""


def digest(root: Path) -> dict[str, str]:
    """Every file's content by name."""
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


# Of SMALL as it was before there were difficulties. Tables to the byte; of images the sum of voxels and of their
# squares, as another CPU may round a voxel otherwise.
TABLES = {
    "LUMIERE-Demographics_Pathology.csv": "d74566292cc12bad2db33ac2565300dab3e5ad7f235840ce51c6a1253e797b80",
    "LUMIERE-ExpertRating-v202211.csv": "83136c710c9421c4baa14136654c515e4730854465f22ad7fe0b7c316751ebee",
    "LUMIERE-MRinfo.csv": "48f11d4b04c6a5b5ae2e3aa23112d81d77ec3c57d8f9bbaab41fee25d657c110",
    "LUMIERE-datacompleteness.csv": "0cb1c3229308413258ebd8b8d5d22d78dac4b9c04c5dfbaceb9e878ba480cbf0",
    "README.md": "d854857bb440fa4e7034a8dedab8602cc6127bbe0a693c35c4006dd8fff1b5b4",
    "phantom.json": "da42c90f5015f5060287951b9f3d891b7a560a24f7f767cd96ea8b7ae8d10c3f",
    "phantom_truth.csv": "f3b3633727de2bc1c26b5d9d42b166e4a0e1d0c73ff300f9b29393a06c034224",
}
IMAGES = {
    "CT1.nii.gz": (2555956, 763171624),
    "FLAIR.nii.gz": (2901931, 804061519),
    "DeepBraTumIA-segmentation/atlas/skull_strip/t2_skull_strip.nii.gz": (2540185, 780285196.75),
    "DeepBraTumIA-segmentation/atlas/segmentation/seg_mask.nii.gz": (120, 330),
    "DeepBraTumIA-segmentation/atlas/skull_strip/brain_mask.nii.gz": (8973, 8973),
    "HD-GLIO-AUTO-segmentation/registered/T1_r2s_bet_reg.nii.gz": (3279279, 1047598063),
}


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("whole")
    make_phantom(root, SMALL, 1, silent)
    return root


@pytest.fixture(scope="module")
def whole(small: Path) -> dict[str, str]:
    return digest(small)


def test_the_standard_cohort_is_the_one_it_always_was(small, whole, load):
    assert {name: whole[name] for name in TABLES} == TABLES
    for name, sums in IMAGES.items():
        voxels = load(small / "Imaging/Patient-002/week-006" / name)[0].astype(float)
        assert (voxels.sum(), (voxels**2).sum()) == pytest.approx(sums, rel=2e-4), name


def test_workers_do_not_change_a_byte(whole, tmp_path):
    make_phantom(tmp_path, SMALL, 2, silent)
    assert digest(tmp_path) == whole


def test_another_seed_is_another_cohort(whole, tmp_path):
    make_phantom(tmp_path, SMALL.model_copy(update={"seed": 6, "patients": 1}), 1, silent)
    other = digest(tmp_path)
    images = [
        name for name in other if name.endswith(("CT1.nii.gz", ".tfm", "ct1_skull_strip.nii.gz")) and name in whole
    ]
    assert images
    assert all(other[name] != whole[name] for name in images)


def test_interrupted_and_resumed_equals_uninterrupted(whole, tmp_path):
    def stop(done: int, total: int, what: str) -> None:
        if done == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_phantom(tmp_path, SMALL, 1, stop)
    finished = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("CT1.nii.gz")}
    assert 0 < len(finished) < sum(name.endswith("/CT1.nii.gz") for name in whole)
    make_phantom(tmp_path, SMALL, 1, silent)
    assert digest(tmp_path) == whole
    assert all(path.stat().st_mtime_ns == changed for path, changed in finished.items())


def test_only_what_is_missing_is_made(whole, tmp_path):
    """One visit of a patient is gone, another was left half written."""
    make_phantom(tmp_path, SMALL, 1, silent)
    visits = sorted((tmp_path / "Imaging/Patient-001").iterdir())
    shutil.rmtree(visits[1])
    visits[2].rename(visits[2].with_name(f".{visits[2].name}.part"))
    kept = {folder: (folder / "CT1.nii.gz").stat().st_mtime_ns for folder in (visits[0], *visits[3:])}
    make_phantom(tmp_path, SMALL, 1, silent)
    assert digest(tmp_path) == whole
    assert all((folder / "CT1.nii.gz").stat().st_mtime_ns == changed for folder, changed in kept.items())


def test_killed_in_the_middle_of_a_visit_and_resumed(whole, tmp_path):
    """kill -9 as soon as a visit is being written."""
    out = tmp_path / "killed"
    code = (
        "import sys, pathlib; from ranoscope.config import PhantomSettings; "
        "from ranoscope.phantom.cohort import make_phantom; "
        f"settings = PhantomSettings(**{SMALL.model_dump(mode='json')}); "
        "make_phantom(pathlib.Path(sys.argv[1]), settings, 1, lambda *_: None)"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(out)])
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline and not list(out.glob("Imaging/*/*")):
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not (out / "LUMIERE-ExpertRating-v202211.csv").exists()
    make_phantom(out, SMALL, 1, silent)
    assert digest(out) == whole


def test_a_folder_of_another_cohort_is_refused(tmp_path):
    make_phantom(tmp_path, SMALL.model_copy(update={"patients": 1}), 1, silent)
    before = digest(tmp_path)
    with pytest.raises(RunError, match=r"Expected a cohort of .*'patients': 2.*, got one of .*'patients': 1"):
        make_phantom(tmp_path, SMALL, 1, silent)
    assert digest(tmp_path) == before


def test_a_full_disk_leaves_no_half_visit(tmp_path, monkeypatch):
    real, written = Path.write_bytes, []

    def full(path: Path, payload: bytes) -> int:
        written.append(path)
        if len(written) == 50:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(path, payload)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        with pytest.raises(StorageError, match="a full disk"):
            make_phantom(tmp_path, SMALL, 1, silent)
    visits = [path for path in tmp_path.glob("Imaging/*/*") if not path.name.startswith(".")]
    assert [len([p for p in visit.rglob("*") if p.is_file()]) for visit in visits] == [40]


def test_progress_counts_patients(tmp_path):
    heard: list[tuple[int, int]] = []
    make_phantom(
        tmp_path, SMALL.model_copy(update={"patients": 1}), 1, lambda done, total, _: heard.append((done, total))
    )
    assert heard == [(0, 1), (1, 1)]


def test_the_reader_takes_it_for_lumiere(cohort):
    """Kept and excluded are all rated rows, and every quirk is counted under its own name."""
    read = build_cohort(cohort.root, CohortSettings())
    rows = cohort.rows("LUMIERE-ExpertRating-v202211.csv")[1:]
    taken = Counter(read.table["excluded_because"])
    assert len(read.table) == len(rows)
    assert read.flow["kept"] == taken[""] > 20
    surgery = sum(row[4].strip() in ("Pre-Op", "Post-Op", "Post-Op/PD") for row in rows)
    assert taken["surgery-state"] == surgery
    assert taken["unrated"] == 1
    assert taken["duplicate-rating"] == 2
    assert taken["under-3-months-column"] == sum(row[2] == "x" for row in rows) > 0
    assert taken["under-3-months-rationale"] == 2
    assert taken["not-a-rano-timepoint"] == 1
    assert taken["missing-sequences"] == 1
    assert taken["no-images-for-visit"] > 0
    for never in ("unreadable-week", "missing-atlas-volumes"):
        assert taken[never] == 0
    assert read.flow["rejected"] == []
    assert [text for text in read.warnings if "differs" not in text] == []
    assert len(read.flow["completeness_differences"]) == 1
    assert "FLAIR" in read.flow["completeness_differences"][0]


def test_the_reader_finds_the_written_volumes_close_to_the_truth(cohort):
    """Segmented against true enhancing volume: error of the tool and of the coarse grid, no bias."""
    read = build_cohort(cohort.root, CohortSettings())
    truth = {(row[0], row[1]): float(row[3]) for row in cohort.rows("phantom_truth.csv")[1:]}
    pairs = [
        (float(row.enhancing_mm3), truth[row.patient, row.visit])
        for row in read.studies.itertuples()
        if row.enhancing_mm3 and truth[row.patient, row.visit] > 5_000
    ]
    assert len(pairs) > 15
    ratios = [found / true for found, true in pairs]
    assert sum(ratios) / len(ratios) == pytest.approx(1, abs=0.08)
    assert all(0.6 < ratio < 1.5 for ratio in ratios)


def test_rare_classes_survive_the_filters_of_a_demo_cohort(tmp_path):
    """40 patients at seed 0, tables alone: each class in six patients or more, for three folds."""
    write_tables(tmp_path, plan_cohort(PhantomSettings(patients=40, seed=0)))
    kept = build_cohort(tmp_path, CohortSettings()).flow["patients_per_response"]
    assert min(kept.values()) >= 6, kept
