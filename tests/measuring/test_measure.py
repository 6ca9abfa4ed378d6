"""The stage from files to files: what it writes, what it keeps, what it refuses, and what it says of odd input."""

from __future__ import annotations

import gzip
import json
import zipfile
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import yaml
from scipy.spatial.transform import Rotation

from ranoscope import runs
from ranoscope.cohort.archive import open_archive
from ranoscope.domain import Segmenter, Tissue, Visit
from ranoscope.errors import ImageError, RunError, StorageError, TableError
from ranoscope.imaging.store import SourceFile
from ranoscope.measuring import measure as stage
from ranoscope.measuring.files import LESION_COLUMNS
from ranoscope.measuring.measure import Measurement, MeasureSettings, measure
from ranoscope.measuring.scan import LesionSettings, OpenedScan, Plane, compartment_mask, slice_axis
from ranoscope.measuring.visits import (
    NoteKind,
    PatientScans,
    VisitInput,
    visits_of_folder,
    visits_of_masks,
    visits_of_patient,
)
from ranoscope.preparing.registration import RegistrationSettings
from ranoscope.response.criteria import RANO_HGG
from ranoscope.response.engine import evaluate
from ranoscope.response.reading import read_timelines
from ranoscope.response.timeline import Compartment, Measure, Surgery

SHAPE, EDGE = (44, 52, 40), 2.0
PLAIN = MeasureSettings(pictures=False, alignment=RegistrationSettings(rough_mm=8.0, fine_mm=4.0))
ENHANCING_ONLY = PLAIN.model_copy(update={"lesions": LesionSettings(compartments=(Compartment.ENHANCING,))})
DBT = Segmenter.DEEPBRATUMIA
Ball = tuple[tuple[float, float, float], float]

BIG: Ball = ((15.0, 10.0, 5.0), 11.0)
SMALL: Ball = ((-18.0, -12.0, 8.0), 4.0)
LATE: Ball = ((-10.0, 24.0, -12.0), 6.0)


def affine(edge: float = EDGE) -> np.ndarray:
    matrix = np.diag([-edge, edge, edge, 1.0])
    matrix[:3, 3] = np.array([1, -1, -1]) * (np.array(SHAPE) - 1) * EDGE / 2
    return matrix


def world(shape=SHAPE, edge: float = EDGE) -> np.ndarray:
    return np.indices(shape).reshape(3, -1).T @ affine(edge)[:3, :3].T + affine(edge)[:3, 3]


def mask(*balls: Ball, pose: np.ndarray | None = None, label: int = 1) -> np.ndarray:
    """Balls (world mm of the head) as a label map on the common grid, the head moved by ``pose``."""
    points = world()
    if pose is not None:
        points = (points - pose[:3, 3]) @ pose[:3, :3]
    inside = np.zeros(len(points), bool)
    for centre, radius in balls:
        inside |= ((points - centre) ** 2).sum(axis=1) <= radius**2
    return np.where(inside.reshape(SHAPE), label, 0).astype(np.uint8)


def head(labels: np.ndarray, pose: np.ndarray | None = None) -> np.ndarray:
    """A head with soft spots, bright where ``labels`` is enhancing."""
    points = world()
    if pose is not None:
        points = (points - pose[:3, 3]) @ pose[:3, :3]
    value = np.full(len(points), 100.0)
    for spot in np.random.default_rng(1).uniform(-35, 35, (30, 3)):
        value += 30 * np.exp(-((points - spot) ** 2).sum(axis=1) / 120)
    value[((points / (38, 46, 34)) ** 2).sum(axis=1) > 1] = 0
    return np.where(labels == 1, 260.0, value.reshape(SHAPE)).astype(np.float32)


def save(path: Path, data: np.ndarray, edge: float = EDGE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(nib.Nifti1Image(data, affine(edge)).to_bytes(), 1, mtime=0))
    return path


def silent(*_: object) -> None:
    """No progress shown."""


def run(scans: PatientScans, out: Path, settings: MeasureSettings = ENHANCING_ONLY) -> Measurement:
    return measure(scans, out, settings, silent)


def masks(folder: Path, *labels: np.ndarray, days: tuple[int, ...] = (), images: bool = False) -> PatientScans:
    days = days or tuple(range(0, 70 * len(labels), 70))
    paths = [save(folder / f"m{place}.nii.gz", one) for place, one in enumerate(labels)]
    shown = [save(folder / f"i{place}.nii.gz", head(one)) for place, one in enumerate(labels)] if images else []
    return visits_of_masks(paths, DBT, shown, days)


def table(out: Path, name: str = "lesions.csv") -> pd.DataFrame:
    return pd.read_csv(out / name, keep_default_na=False)


def kinds(measured: Measurement) -> set[tuple[str, NoteKind]]:
    return {(note.scan, note.kind) for note in measured.notes}


# -- what is written ---------------------------------------------------------------------------------------------------


def test_a_single_mask_becomes_a_timeline_and_tables(tmp_path):
    labels = mask(BIG, SMALL)
    scans = visits_of_masks([save(tmp_path / "tumour.nii.gz", labels)], DBT, patient="P-1")
    found = run(scans, tmp_path / "out")
    assert read_timelines(tmp_path / "out") == (found.timeline,)
    (scan,) = found.timeline.scans
    big, small = scan.lesions
    assert (big.id, small.id) == ("L1", "L2")
    assert big.volume_mm3 + small.volume_mm3 == labels.sum() * EDGE**3
    assert big.longest_mm == pytest.approx(22, abs=1)
    assert big.perpendicular_mm == pytest.approx(22, abs=1)
    assert (big.role, big.measurable, scan.new_lesion, scan.non_measurable) == (None, None, None, None)
    assert 0 < big.volume_sd < small.volume_sd
    lesions = table(tmp_path / "out")
    assert tuple(lesions.columns) == LESION_COLUMNS
    assert list(lesions["lesion"]) == ["L1", "L2"]
    assert list(lesions["measurable"]) == ["yes", "no"]
    assert "below 10 mm" in lesions["why_not"][1]
    row = lesions.iloc[0]
    assert row["volume_low_mm3"] < row["volume_mm3"] < row["volume_high_mm3"]
    assert row["product_mm2"] == pytest.approx(row["longest_mm"] * row["perpendicular_mm"], abs=0.05)
    assert [row[f"centre_{axis}_mm"] for axis in "ras"] == pytest.approx(BIG[0], abs=0.3)
    ends = [[row[f"longest_{end}_{axis}_mm"] for axis in "ras"] for end in ("start", "end")]
    assert np.linalg.norm(np.subtract(*ends)) == pytest.approx(row["longest_mm"], abs=0.01)
    # Slices count from the feet, whichever way the file is stored.
    assert row["slice"] == pytest.approx((BIG[0][2] + (SHAPE[2] - 1) * EDGE / 2) / EDGE, abs=1)


def test_settings_and_provenance_name_the_inputs_by_scan_and_no_path(tmp_path):
    run(masks(tmp_path, mask(BIG), mask(BIG), images=True), tmp_path / "out")
    settings = yaml.safe_load((tmp_path / "out/settings.yaml").read_text())["measure"]
    assert settings["labels"] == "DeepBraTumIA"
    assert settings["lesions"]["minimum_mm3"] == 20.0
    text = (tmp_path / "out/provenance.json").read_text()
    inputs = json.loads(text)["measure"]["inputs"]
    assert set(inputs) == {"day-000 mask", "day-000 image", "day-070 mask", "day-070 image"}
    assert str(tmp_path) not in text


def test_a_vanished_lesion_is_listed_with_nothing_and_an_unmeasured_scan_lists_no_lesions(tmp_path):
    scans = masks(tmp_path, mask(BIG, SMALL), mask(BIG), mask(BIG, SMALL, LATE))
    missing = VisitInput("day-100", 100, None)
    scans = PatientScans("P-1", DBT, (*scans.visits[:2], missing, scans.visits[2]))
    found = run(scans, tmp_path / "out")
    first, second, unmeasured, last = found.timeline.scans
    assert [one.id for one in first.lesions] == ["L1", "L2"]
    gone = second.lesions[1]
    assert (gone.id, gone.longest_mm, gone.perpendicular_mm, gone.volume_mm3, gone.slices) == ("L2", 0, 0, 0, 0)
    assert unmeasured.lesions is None
    assert [one.id for one in last.lesions] == ["L1", "L2", "L3"]
    events = table(tmp_path / "out", "events.csv")
    named = set(zip(events["scan"], events["lesion"], events["event"], strict=True))
    assert ("day-070", "L2", "vanished") in named
    assert {("day-140", "L2", "reappeared"), ("day-140", "L3", "new")} <= named
    assert "day-100" not in set(events["scan"]) | set(table(tmp_path / "out")["scan"])


def test_a_scan_without_lesions_is_measured_and_says_none(tmp_path):
    found = run(masks(tmp_path, mask(), mask(BIG), mask()), tmp_path / "out")
    assert [[one.id for one in scan.lesions] for scan in found.timeline.scans] == [[], ["L1"], ["L1"]]
    lesions = table(tmp_path / "out")
    assert list(lesions["lesion"]) == ["none", "L1", "none"]
    assert lesions["longest_mm"].iloc[0] == ""


def test_the_engine_reads_what_was_measured(tmp_path):
    half = (BIG[0], 7.0)
    found = run(masks(tmp_path, mask(BIG), mask(half), mask(half, LATE), days=(0, 100, 200)), tmp_path / "out")
    calls = evaluate(found.timeline, RANO_HGG, Measure.AREA).calls
    assert calls[1].preliminary == "PR"
    assert calls[2].category == "PD"


def test_lesions_are_those_of_the_native_mask_though_the_head_moved(tmp_path):
    pose = np.eye(4)
    pose[:3, :3] = Rotation.from_euler("xyz", (4, -5, 6), degrees=True).as_matrix()
    pose[:3, 3] = (5, -3, 4)
    first, later = mask(BIG, SMALL), mask(BIG, SMALL, pose=pose)
    paths = [save(tmp_path / name, one) for name, one in (("m0.nii.gz", first), ("m1.nii.gz", later))]
    heads = [save(tmp_path / "i0.nii.gz", head(first)), save(tmp_path / "i1.nii.gz", head(later, pose))]
    fine = ENHANCING_ONLY.model_copy(update={"alignment": RegistrationSettings()})
    aligned = run(visits_of_masks(paths, DBT, heads, (0, 70)), tmp_path / "aligned", fine)
    lying = run(visits_of_masks(paths, DBT, (), (0, 70)), tmp_path / "lying")
    volumes = [sum(one.volume_mm3 for one in scan.lesions) for scan in aligned.timeline.scans]
    assert volumes == [first.sum() * EDGE**3, later.sum() * EDGE**3]
    assert [one.id for one in aligned.timeline.scans[1].lesions] == ["L1", "L2"]
    # The small one has moved by more than its size: without registration it is taken for another (C4).
    assert {one.id: one.volume_mm3 > 0 for one in lying.timeline.scans[1].lesions} == {
        "L1": True, "L2": False, "L3": True,
    }  # fmt: skip
    assert kinds(lying) == {("day-070", NoteKind.ALIGNMENT)}
    one, other = (table(tmp_path / name).drop(columns="lesion") for name in ("aligned", "lying"))
    assert one.equals(other)


def test_every_lesion_has_a_picture_and_those_of_other_ids_are_removed(tmp_path):
    scans, out = masks(tmp_path, mask(BIG, SMALL), mask(BIG), images=True), tmp_path / "out"
    (out / "pictures").mkdir(parents=True)
    (out / "pictures/day-070_L9.png").write_bytes(b"")
    run(scans, out, ENHANCING_ONLY.model_copy(update={"pictures": True}))
    names = {path.name for path in (out / "pictures").iterdir()}
    assert names == {"day-000_L1.png", "day-000_L2.png", "day-070_L1.png"}


def test_progress_counts_three_steps_a_scan(tmp_path):
    told: list[tuple[int, int, str]] = []
    measure(masks(tmp_path, mask(BIG), mask(BIG)), tmp_path / "out", ENHANCING_ONLY, lambda *step: told.append(step))
    assert [step[:2] for step in told] == [(done, 6) for done in range(7)]
    assert told[-1][2] == "day-070: pictures"


# -- compartments ------------------------------------------------------------------------------------------------------


def ring() -> np.ndarray:
    """An enhancing shell (radius 8 to 11 mm) around necrosis, in edema of radius 16 mm; a cyst apart."""
    labels = mask((BIG[0], 16.0), label=3)
    labels[mask(BIG) > 0] = 1
    labels[mask((BIG[0], 8.0)) > 0] = 2
    labels[mask(SMALL) > 0] = 2
    return labels


def test_a_ring_counts_by_its_outer_contour_and_its_core_is_no_lesion_of_its_own(tmp_path):
    labels = ring()
    found = run(visits_of_masks([save(tmp_path / "m.nii.gz", labels)], DBT), tmp_path / "out", PLAIN)
    ids = {one.id: one for one in found.timeline.scans[0].lesions}
    assert set(ids) == {"L1", "N1", "N2"}
    assert ids["L1"].longest_mm == pytest.approx(22, abs=1)
    assert ids["L1"].volume_mm3 == (labels == 1).sum() * EDGE**3
    assert ids["N1"].volume_mm3 < ((labels == 2) | (labels == 3)).sum() * EDGE**3
    assert ids["N1"].longest_mm == pytest.approx(32, abs=1)
    assert ids["N2"].volume_mm3 == (mask(SMALL) > 0).sum() * EDGE**3


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_what_enhancement_encloses_in_a_slice_is_its_inside(axis):
    tissue = np.full((7, 7, 7), Tissue.EDEMA, np.uint8)
    shell = np.moveaxis(tissue, axis, 0)
    shell[3, 1:6, 1:6] = Tissue.ENHANCING
    shell[3, 2:5, 2:5] = Tissue.NECROSIS_NONENHANCING
    shell[4, 1:5, 1:6] = Tissue.ENHANCING
    shell[4, 2:5, 2:5] = Tissue.NECROSIS_NONENHANCING
    found = np.moveaxis(compartment_mask(tissue, Compartment.NONENHANCING, axis), axis, 0)
    assert not found[3, 1:6, 1:6].any()
    assert found[4, 2:5, 2:5].all()
    assert found.sum() == 343 - 25 - 11


def test_slices_of_5_mm_are_not_thicker_than_5_mm_though_a_header_in_single_precision_says_so(tmp_path):
    """Above 5 mm a lesion needs twice the thickness; 10 × 10 mm on 5 mm slices is measurable."""
    labels = np.zeros((40, 40, 12), np.uint8)
    labels[10:20, 10:20, 4:8] = 1
    matrix = np.diag([1.0, 1.0, np.float64(np.float32(5.0000005)), 1.0])
    path = tmp_path / "m.nii.gz"
    path.write_bytes(gzip.compress(nib.Nifti1Image(labels, matrix).to_bytes(), 1, mtime=0))
    run(visits_of_masks([path], DBT), tmp_path / "out")
    row = table(tmp_path / "out").iloc[0]
    assert (row["slice_thickness_mm"], row["measurable"]) == (5.0, "yes")


@pytest.mark.parametrize(
    ("edges", "plane", "axis"),
    [
        ((1, 1, 1), Plane.AUTO, 2), ((0.45, 0.45, 6), Plane.AUTO, 2), ((5, 0.9, 0.9), Plane.AUTO, 0),
        ((0.9, 4, 0.9), Plane.AUTO, 1), ((1.2, 0.5, 0.5), Plane.AUTO, 2), ((3, 3, 2), Plane.AUTO, 2),
        ((0.45, 0.45, 6), Plane.SAGITTAL, 0), ((1, 1, 1), Plane.CORONAL, 1),
    ],
)  # fmt: skip
def test_slices_are_those_acquired_where_they_are_thick_else_axial(edges, plane, axis):
    assert slice_axis(np.array(edges, float), plane) == axis


# -- what is kept ------------------------------------------------------------------------------------------------------


@pytest.fixture
def work(monkeypatch) -> list[str]:
    """What is really measured, aligned and drawn, in order."""
    done: list[str] = []
    look, register, draw = OpenedScan.measure, stage.align, stage.draw

    def measured(self, settings):
        done.append(f"measure {self.visit.scan}")
        return look(self, settings)

    monkeypatch.setattr(OpenedScan, "measure", measured)
    monkeypatch.setattr(stage, "align", lambda *a: (done.append("align"), register(*a))[1])
    monkeypatch.setattr(stage, "draw", lambda picture: (done.append(f"draw {picture.name}"), draw(picture))[1])
    return done


def test_nothing_is_done_twice_from_the_same_inputs(tmp_path, work):
    scans, out = masks(tmp_path, mask(BIG), mask(BIG), images=True), tmp_path / "out"
    settings = ENHANCING_ONLY.model_copy(update={"pictures": True})
    run(scans, out, settings)
    assert work == ["measure day-000", "measure day-070", "align", "draw L1", "draw L1"]
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file() and path.name != "provenance.json"}
    work.clear()
    run(masks(tmp_path, mask(BIG), mask(BIG), images=True), out, settings)
    assert work == []
    after = {path: path.read_bytes() for path in out.rglob("*") if path.is_file() and path.name != "provenance.json"}
    assert after == before


def test_only_what_changed_is_measured_again(tmp_path, work):
    out = tmp_path / "out"
    run(masks(tmp_path, mask(BIG), mask(BIG), mask(BIG)), out)
    work.clear()
    found = run(masks(tmp_path, mask(BIG), mask(BIG, LATE), mask(BIG)), out)
    assert work == ["measure day-070"]
    assert [one.id for one in found.timeline.scans[1].lesions] == ["L1", "L2"]
    work.clear()
    other = ENHANCING_ONLY.model_copy(update={"lesions": LesionSettings(minimum_mm3=0, compartments=("enhancing",))})
    run(masks(tmp_path, mask(BIG), mask(BIG, LATE), mask(BIG)), out, other)
    assert work == ["measure day-000", "measure day-070", "measure day-140"]


def test_an_interruption_loses_nothing(tmp_path, work, monkeypatch):
    scans, out = masks(tmp_path, mask(BIG), mask(BIG), mask(BIG)), tmp_path / "out"

    def stop(done: int, _total: int, _what: str) -> None:
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure(scans, out, ENHANCING_ONLY, stop)
    assert not (out / "timeline.json").exists()
    work.clear()
    run(scans, out)
    assert work == ["measure day-140"]


def test_another_image_is_aligned_and_drawn_again(tmp_path, work):
    out, settings = tmp_path / "out", ENHANCING_ONLY.model_copy(update={"pictures": True})
    run(masks(tmp_path, mask(BIG), mask(BIG), images=True), out, settings)
    work.clear()
    save(tmp_path / "i1.nii.gz", head(mask(BIG)) * np.float32(2))
    paths = [[tmp_path / f"{kind}{place}.nii.gz" for place in (0, 1)] for kind in "mi"]
    run(visits_of_masks(paths[0], DBT, paths[1], (0, 70)), out, settings)
    assert work == ["measure day-070", "align", "draw L1"]


def test_parts_of_two_inputs_are_never_mixed(tmp_path, monkeypatch):
    """Stopped between the numbered lesions of a changed mask and their measurements, then given the old mask again."""
    out = tmp_path / "out"
    first = run(masks(tmp_path, mask(BIG, SMALL)), out)
    written = runs.write_json

    def stop(path: Path, content: object) -> None:
        if path.parent.name == "parts":
            raise KeyboardInterrupt
        written(path, content)

    monkeypatch.setattr(runs, "write_json", stop)
    with pytest.raises(KeyboardInterrupt):
        run(masks(tmp_path, mask(LATE)), out)
    monkeypatch.setattr(runs, "write_json", written)
    assert run(masks(tmp_path, mask(BIG, SMALL)), out).timeline == first.timeline


def test_an_old_timeline_never_stands_beside_new_tables(tmp_path, monkeypatch):
    out = tmp_path / "out"
    run(masks(tmp_path, mask(BIG)), out)

    def full(*_: object) -> None:
        raise StorageError

    monkeypatch.setattr(runs, "write_csv", full)
    with pytest.raises(StorageError):
        run(masks(tmp_path, mask(LATE)), out)
    assert not (out / "timeline.json").exists()


@pytest.mark.parametrize("damage", ["{", "[]", '{"key": "other"}'])
def test_a_damaged_part_is_made_again(tmp_path, work, damage):
    scans, out = masks(tmp_path, mask(BIG)), tmp_path / "out"
    first = run(scans, out)
    (out / "parts/day-000.json").write_text(damage)
    work.clear()
    assert run(scans, out).timeline == first.timeline
    assert work == ["measure day-000"]


def test_what_is_kept_equals_what_was_measured(tmp_path):
    scans, out = visits_of_masks([save(tmp_path / "m.nii.gz", ring())], DBT), tmp_path / "out"
    settings = PLAIN.model_copy(update={"pictures": True})
    run(scans, out, settings)
    tables = {name: (out / name).read_bytes() for name in ("lesions.csv", "events.csv", "timeline.json", "notes.csv")}
    drawn = {path.name: path.read_bytes() for path in (out / "pictures").iterdir()}
    for path in (out / "parts").glob("*.pictures.json"):
        path.unlink()
    run(scans, out, settings)
    assert {name: (out / name).read_bytes() for name in tables} == tables
    assert {path.name: path.read_bytes() for path in (out / "pictures").iterdir()} == drawn


# -- odd and bad input -------------------------------------------------------------------------------------------------


def test_one_voxel_is_no_lesion_but_is_counted(tmp_path):
    labels = mask(BIG)
    labels[2, 2, 2] = 1
    found = run(masks(tmp_path, labels), tmp_path / "out")
    assert [one.id for one in found.timeline.scans[0].lesions] == ["L1"]
    assert [note.sentence for note in found.notes] == ["1 enhancing piece below 20 mm³ (8 mm³ in all) left out"]
    assert table(tmp_path / "out", "notes.csv")["note"][0] == found.notes[0].sentence


def test_one_voxel_can_be_measured(tmp_path):
    labels = mask()
    labels[20, 20, 20] = 1
    settings = PLAIN.model_copy(update={"lesions": LesionSettings(minimum_mm3=0), "pictures": True})
    found = run(masks(tmp_path, labels), tmp_path / "out", settings)
    (lesion,) = found.timeline.scans[0].lesions
    assert (lesion.volume_mm3, lesion.slices) == (8.0, 1)
    assert 0 < lesion.perpendicular_mm <= lesion.longest_mm <= 2 * np.sqrt(2)
    assert (tmp_path / "out/pictures/day-000_L1.png").is_file()


def test_a_lesion_at_the_edge_of_the_volume_is_flagged(tmp_path):
    labels = mask(BIG)
    labels[:4, 20:26, 20:26] = 1
    settings = ENHANCING_ONLY.model_copy(update={"pictures": True})
    run(masks(tmp_path, labels), tmp_path / "out", settings)
    assert list(table(tmp_path / "out")["touches_edge"]) == ["no", "yes"]


def test_labels_that_look_exchanged_are_reported(tmp_path):
    labels = ring()
    image = head(np.where(labels == 2, 1, 0))
    paths = save(tmp_path / "m.nii.gz", labels), save(tmp_path / "i.nii.gz", image)
    found = run(visits_of_masks([paths[0]], DBT, [paths[1]]), tmp_path / "out")
    assert ("day-000", NoteKind.LABELS) in kinds(found)
    assert "swapped" in table(tmp_path / "out", "notes.csv")["note"][0]


def test_an_image_on_another_grid_is_refused_and_both_grids_named(tmp_path):
    path = save(tmp_path / "m.nii.gz", mask(BIG))
    image = save(tmp_path / "i.nii.gz", np.ones((20, 20, 20), np.float32), edge=3.0)
    with pytest.raises(ImageError, match=r"20x20x20 voxels of 3 x 3 x 3 mm.*44x52x40 voxels of 2 x 2 x 2 mm"):
        run(visits_of_masks([path], DBT, [image]), tmp_path / "out")


def test_masks_on_different_grids_need_images(tmp_path):
    paths = [save(tmp_path / "a.nii.gz", mask(BIG)), save(tmp_path / "b.nii.gz", mask(BIG)[:, :40])]
    with pytest.raises(ImageError, match=r"44x52x40.*no images to align by.*44x40x40.*b.nii.gz"):
        run(visits_of_masks(paths, DBT, (), (0, 70)), tmp_path / "out")


@pytest.mark.parametrize("value", [0.5, 7, -1, np.nan])
def test_labels_outside_the_convention_are_refused(tmp_path, value):
    labels = mask(BIG).astype(np.float32)
    labels[5, 5, 5] = value
    scans = visits_of_masks([save(tmp_path / "m.nii.gz", labels)], DBT)
    if np.isnan(value):
        assert run(scans, tmp_path / "out").timeline.scans[0].lesions  # NaN reads as background
        return
    with pytest.raises(ImageError, match=r"DeepBraTumIA labels 0, 1, 2, 3.*also.*m.nii.gz"):
        run(scans, tmp_path / "out")


def test_visits_out_of_order_are_refused(tmp_path):
    with pytest.raises(TableError, match=r"in order of time.*day-010 on day 10 after day-070 on day 70"):
        run(masks(tmp_path, mask(BIG), mask(BIG), days=(70, 10)), tmp_path / "out")


def test_two_scans_of_one_day_keep_the_order_given_and_say_so(tmp_path):
    found = run(masks(tmp_path, mask(BIG), mask(), days=(10, 10)), tmp_path / "out")
    assert [scan.id for scan in found.timeline.scans] == ["day-010", "day-010-2"]
    assert ("day-010-2", NoteKind.DAYS) in kinds(found)


def test_one_name_twice_is_refused(tmp_path):
    paths = [save(tmp_path / f"{folder}/week-004.nii.gz", mask(BIG)) for folder in "ab"]
    with pytest.raises(TableError, match="week-004 twice"):
        run(visits_of_masks(paths, DBT), tmp_path / "out")


def test_a_file_that_vanished_or_broke_is_named(tmp_path):
    with pytest.raises(ImageError, match=r"none, in patient/gone.nii.gz"):
        visits_of_masks([tmp_path / "gone.nii.gz"], DBT)
    broken = tmp_path / "broken.nii.gz"
    broken.write_bytes(gzip.compress(b"x" * 400)[:50])
    with pytest.raises(ImageError, match=r"broken.nii.gz"):
        run(visits_of_masks([broken], DBT), tmp_path / "out")


def test_no_mask_at_all_is_refused(tmp_path):
    with pytest.raises(TableError, match="a mask"):
        visits_of_masks([], DBT)
    with pytest.raises(ImageError, match="a mask"):
        run(PatientScans("P-1", DBT, (VisitInput("week-000", 0, None),)), tmp_path / "out")


def test_numbers_that_do_not_match_and_days_that_lack_are_refused(tmp_path):
    paths = [save(tmp_path / f"{name}.nii.gz", mask(BIG)) for name in "ab"]
    with pytest.raises(TableError, match="as many images as masks, got 1 for 2"):
        visits_of_masks(paths, DBT, paths[:1], (0, 7))
    with pytest.raises(TableError, match="as many days as masks"):
        visits_of_masks(paths, DBT, (), (0,))
    with pytest.raises(TableError, match=r"a day for each mask, got none for a.nii.gz"):
        visits_of_masks(paths, DBT)


def test_another_patients_folder_and_another_commands_are_refused(tmp_path):
    scans = masks(tmp_path, mask(BIG))
    run(scans, tmp_path / "out")
    with pytest.raises(RunError, match=r"a folder for P-2, got one of patient"):
        run(PatientScans("P-2", DBT, scans.visits), tmp_path / "out")
    (tmp_path / "other").mkdir()
    (tmp_path / "other/provenance.json").write_text('{"crossval": {}}')
    with pytest.raises(RunError, match="the output of `crossval`"):
        run(scans, tmp_path / "other")


@pytest.mark.parametrize(
    ("name", "scan", "day"),
    [
        ("week-044.nii.gz", "week-044", 308),
        ("week-000-2/seg.nii.gz", "week-000-2", 0),
        ("P7_week-012-1_mask.nii", "week-012-1", 84),
        ("seg.nii.gz", "day-000", 0),
    ],
)
def test_names_tell_the_week(tmp_path, name, scan, day):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"")
    (visit,) = visits_of_masks([path], DBT).visits
    assert (visit.scan, visit.day) == (scan, day)


# -- a LUMIERE patient -------------------------------------------------------------------------------------------------

ATLAS = "DeepBraTumIA-segmentation/atlas"
REGISTERED = "HD-GLIO-AUTO-segmentation/registered"
HEADER = 'Patient,Date,LessThan3Months,NonMeasurableLesions,"Rating (according to RANO)","Rating rationale (CRET)"\n'


def visit(root: Path, name: str, labels: np.ndarray | None) -> None:
    """One visit folder with both segmenters' masks and images, or with a native image alone."""
    folder = root / "Imaging/Patient-007" / name
    if labels is None:
        save(folder / "CT1.nii.gz", head(mask()))
        return
    save(folder / f"{ATLAS}/segmentation/seg_mask.nii.gz", labels)
    save(folder / f"{ATLAS}/skull_strip/ct1_skull_strip.nii.gz", head(labels))
    hd_glio = np.choose(labels, [0, 2, 1, 1]).astype(np.uint8)
    save(folder / f"{REGISTERED}/segmentation.nii.gz", hd_glio)
    save(folder / f"{REGISTERED}/CT1_r2s_bet_reg.nii.gz", head(labels))


@pytest.fixture(scope="module")
def lumiere(tmp_path_factory) -> Path:
    """One patient: week 0, post-operative week 1 (rated as week 2), weeks 10 and 20; week 15 without segmentation."""
    root = tmp_path_factory.mktemp("lumiere")
    visit(root, "week-000", ring())
    visit(root, "week-001", mask())
    visit(root, "week-010", mask(SMALL))
    visit(root, "week-015", None)
    visit(root, "week-020", mask(SMALL, LATE))
    (root / "Imaging/Patient-007/notes").mkdir()
    rows = [
        ("week-000", "Pre-Op"),
        ("week-002", "Post-Op "),
        ("week-010", "SD"),
        ("week-015", "SD"),
        ("week-020", "PD"),
    ]
    rows += [("week-011", "Post-Op"), ("week-030", "Post-Op")]
    text = HEADER + "".join(f"Patient-007,{week},,,{rating},None\n" for week, rating in rows)
    text += "Patient-008,week-020,,,Post-Op,None\n"
    (root / "LUMIERE-ExpertRating-v202211.csv").write_text(text)
    (root / "LUMIERE-Demographics_Pathology.csv").write_text(
        "Patient,Survival time (weeks),Sex,Age at surgery (years),IDH (WT: wild type),MGMT qualitative\n"
        "Patient-007,60,male,50,R132H mut,na\n"
    )
    return root


def test_a_patient_folder_tells_visits_surgery_and_what_is_skipped(lumiere):
    scans = visits_of_folder(lumiere / "Imaging/Patient-007")
    assert scans.patient == "Patient-007"
    assert scans.idh_mutant is True
    assert [(one.scan, one.day, one.surgery, one.mask is not None) for one in scans.visits] == [
        ("week-000", 0, Surgery.PRE_OP, True),
        ("week-001", 7, Surgery.POST_OP, True),
        ("week-010", 70, None, True),
        ("week-011", 77, Surgery.POST_OP, False),
        ("week-015", 105, None, False),
        ("week-020", 140, None, True),
        ("week-030", 210, Surgery.POST_OP, False),
    ]
    notes = {(note.scan, note.kind): note.sentence for note in scans.notes}
    assert set(notes) == {
        ("notes", NoteKind.SKIPPED), ("week-011", NoteKind.SURGERY), ("week-015", NoteKind.SKIPPED),
        ("week-002", NoteKind.SURGERY), ("week-030", NoteKind.SURGERY),
    }  # fmt: skip
    assert "seg_mask.nii.gz" in notes["week-015", NoteKind.SKIPPED]
    assert "taken as week-001" in notes["week-002", NoteKind.SURGERY]
    for week in ("week-011", "week-030"):
        assert "listed without measurements" in notes[week, NoteKind.SURGERY]


def test_a_patient_is_measured_alike_by_either_segmenters_convention(lumiere, tmp_path):
    found = {
        segmenter: run(visits_of_folder(lumiere / "Imaging/Patient-007", segmenter), tmp_path / segmenter, PLAIN)
        for segmenter in Segmenter
    }
    one, other = (measured.timeline for measured in found.values())
    assert one == other
    assert one.idh_mutant is True
    ids = [[lesion.id for lesion in scan.lesions or () if lesion.volume_mm3] for scan in one.scans]
    assert ids == [["L1", "N1", "N2"], [], ["L2"], [], [], ["L2", "L3"], []]
    assert [scan.lesions is None for scan in one.scans] == [False, False, False, True, True, False, True]


def test_the_published_zip_is_read_in_place(lumiere, tmp_path):
    archive = tmp_path / "Imaging-v202211.zip"
    with zipfile.ZipFile(archive, "w") as target:
        for path in sorted((lumiere / "Imaging").rglob("*")):
            target.write(path, path.relative_to(lumiere))
    opened = open_archive(archive)
    assert opened is not None
    scans = visits_of_patient(opened, "Patient-007", DBT, None)
    assert [one.surgery for one in scans.visits] == [None] * 5
    found = run(scans, tmp_path / "out")
    assert [one.id for one in found.timeline.scans[2].lesions if one.volume_mm3] == ["L2"]


def test_visits_of_one_week_are_ordered_by_their_suffix(tmp_path):
    for name in ("week-040-2", "week-040-1", "week-007"):
        visit(tmp_path, name, mask(BIG))
    found = run(visits_of_folder(tmp_path / "Imaging/Patient-007"), tmp_path / "out")
    assert [(scan.id, scan.day) for scan in found.timeline.scans] == [
        ("week-007", 49), ("week-040-1", 280), ("week-040-2", 280),
    ]  # fmt: skip
    assert [str(Visit.parse(scan.id)) for scan in found.timeline.scans] == [scan.id for scan in found.timeline.scans]
    assert kinds(found) == {("week-040-2", NoteKind.DAYS)}


def test_folders_that_are_no_patients_and_patients_without_masks_are_refused(tmp_path):
    with pytest.raises(ImageError, match="a patient's folder, got none"):
        visits_of_folder(tmp_path / "Imaging/Patient-001")
    (tmp_path / "somebody").mkdir()
    with pytest.raises(ImageError, match="Patient-NNN"):
        visits_of_folder(tmp_path / "somebody")
    visit(tmp_path, "week-000", None)
    with pytest.raises(ImageError, match=r"a visit with a mask of DeepBraTumIA, got none in 1 visit folders"):
        visits_of_folder(tmp_path / "Imaging/Patient-007")


def test_a_source_is_read_when_it_is_needed_only():
    """Opening a scan reads nothing."""

    def fail() -> bytes:
        raise AssertionError

    OpenedScan(VisitInput("week-000", 0, None), SourceFile("x", "", fail), DBT)
