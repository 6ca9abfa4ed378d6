"""What lies on disk against the description of the published archive: names, types, grids, labels, tables."""

from __future__ import annotations

import csv
import json
import re
from itertools import groupby

import numpy as np
import pytest

# Typed off the description of LUMIERE's archive, not off the writer.
_LISTING = """
CT1.nii.gz T1.nii.gz T2.nii.gz FLAIR.nii.gz
DeepBraTumIA-segmentation/atlas/segmentation/seg_mask.nii.gz
DeepBraTumIA-segmentation/atlas/segmentation/measured_volumes_in_mm3.json
DeepBraTumIA-segmentation/atlas/skull_strip/brain_mask.nii.gz
DeepBraTumIA-segmentation/atlas/skull_strip/ct1_skull_strip.nii.gz
DeepBraTumIA-segmentation/atlas/skull_strip/t1_skull_strip.nii.gz
DeepBraTumIA-segmentation/atlas/skull_strip/t2_skull_strip.nii.gz
DeepBraTumIA-segmentation/atlas/skull_strip/flair_skull_strip.nii.gz
DeepBraTumIA-segmentation/native/segmentation/ct1_seg_mask.nii.gz
DeepBraTumIA-segmentation/native/segmentation/t1_seg_mask.nii.gz
DeepBraTumIA-segmentation/native/segmentation/t2_seg_mask.nii.gz
DeepBraTumIA-segmentation/native/segmentation/flair_seg_mask.nii.gz
DeepBraTumIA-segmentation/native/skull_strip/ct1_brain_mask.nii.gz
DeepBraTumIA-segmentation/native/skull_strip/t1_brain_mask.nii.gz
DeepBraTumIA-segmentation/native/skull_strip/t2_brain_mask.nii.gz
DeepBraTumIA-segmentation/native/skull_strip/flair_brain_mask.nii.gz
DeepBraTumIA-segmentation/native/transformation/ct1.tfm
DeepBraTumIA-segmentation/native/transformation/t1.tfm
DeepBraTumIA-segmentation/native/transformation/t2.tfm
DeepBraTumIA-segmentation/native/transformation/flair.tfm
HD-GLIO-AUTO-segmentation/native/segmentation_CT1_origspace.nii.gz
HD-GLIO-AUTO-segmentation/native/segmentation_T1_origspace.nii.gz
HD-GLIO-AUTO-segmentation/native/segmentation_T2_origspace.nii.gz
HD-GLIO-AUTO-segmentation/native/segmentation_FLAIR_origspace.nii.gz
HD-GLIO-AUTO-segmentation/registered/CT1_r2s_bet.nii.gz
HD-GLIO-AUTO-segmentation/registered/T1_r2s_bet.nii.gz
HD-GLIO-AUTO-segmentation/registered/T2_r2s_bet.nii.gz
HD-GLIO-AUTO-segmentation/registered/FLAIR_r2s_bet.nii.gz
HD-GLIO-AUTO-segmentation/registered/CT1_r2s_bet_reg.mat
HD-GLIO-AUTO-segmentation/registered/T1_r2s_bet_reg.mat
HD-GLIO-AUTO-segmentation/registered/T2_r2s_bet_reg.mat
HD-GLIO-AUTO-segmentation/registered/FLAIR_r2s_bet_reg.mat
HD-GLIO-AUTO-segmentation/registered/CT1_r2s_bet_reg.nii.gz
HD-GLIO-AUTO-segmentation/registered/T1_r2s_bet_reg.nii.gz
HD-GLIO-AUTO-segmentation/registered/T2_r2s_bet_reg.nii.gz
HD-GLIO-AUTO-segmentation/registered/FLAIR_r2s_bet_reg.nii.gz
HD-GLIO-AUTO-segmentation/registered/segmentation.nii.gz
"""
COMPLETE = sorted(_LISTING.split())
SEQUENCES = ("CT1", "T1", "T2", "FLAIR")
HEADERS = {
    "LUMIERE-ExpertRating-v202211.csv": (
        "Patient,Date,LessThan3Months,NonMeasurableLesions,"
        '"Rating (according to RANO, PD: Progressive disease, SD: Stable disease, PR: Partial response, '
        'CR: Complete response, Pre-Op: Pre-Operative, Post-Op: Post-Operative)",'
        '"Rating rationale (CRET: complete resection of the enhancing tumor, PRET: partial resection of the '
        'enhancing tumor, T2-Progr.: T2-Progression, L: Lesion)"'
    ),
    "LUMIERE-datacompleteness.csv": (
        "Patient,Timepoint,CT1,T1,T2,FLAIR,DeepBraTumIA,HD-GLIO-AUTO,DeepBraTumIA-CoLlAGe,HD-GLIO-AUTO-CoLlAGe"
    ),
    "LUMIERE-Demographics_Pathology.csv": (
        "Patient,Survival time (weeks),Sex,Age at surgery (years),IDH (WT: wild type),IDH method,MGMT qualitative,"
        "MGMT quantitative"
    ),
    "LUMIERE-MRinfo.csv": (
        "Patient,Timepoint,Sequence,Field strength,Manufacturer,Model,Spacing,Slice thickness,Voxel size,Rows,"
        "Columns,Slice count"
    ),
}


def test_a_complete_visit_is_40_files_in_12_folders(cohort):
    for folder in cohort.complete():
        inside = list(folder.rglob("*"))
        files = sorted(path.relative_to(folder).as_posix() for path in inside if path.is_file())
        assert files == COMPLETE, folder
        assert 1 + sum(path.is_dir() for path in inside) == 12
    assert len(COMPLETE) == 40


def test_names_of_patients_and_weeks(cohort):
    patients = [path.name for path in sorted((cohort.root / "Imaging").iterdir())]
    assert patients == [f"Patient-{number:03d}" for number in range(1, 17)]
    assert all(re.fullmatch(r"week-\d{3}(-\d+)?", folder.name) for folder in cohort.visits())
    assert not [path for path in cohort.root.rglob("*") if path.name.startswith(".")]


def test_the_visit_without_flair_has_three_images_and_no_masks(cohort):
    poorer = [folder for folder in cohort.visits() if folder not in cohort.complete()]
    assert [sorted(path.name for path in folder.iterdir()) for folder in poorer] == [
        ["CT1.nii.gz", "T1.nii.gz", "T2.nii.gz"]
    ]


def test_types_and_grids(cohort, load):
    for folder in cohort.complete()[:12]:
        atlas = folder / "DeepBraTumIA-segmentation/atlas"
        _, affine = load(atlas / "segmentation/seg_mask.nii.gz")
        np.testing.assert_array_equal(affine, [[-6, 0, 0, 90], [0, 6, 0, -126], [0, 0, 6, -72], [0, 0, 0, 1]])
        for path in atlas.rglob("*.nii.gz"):
            data, own = load(path)
            assert data.shape == (30, 36, 30)
            np.testing.assert_array_equal(own, affine)
            assert data.dtype == (np.float32 if path.name[:5] in ("ct1_s", "t1_sk", "t2_sk", "flair") else np.uint8)
        for sequence in SEQUENCES:
            image, native = load(folder / f"{sequence}.nii.gz")
            assert image.dtype == np.uint16
            for other in (
                f"DeepBraTumIA-segmentation/native/segmentation/{sequence.lower()}_seg_mask.nii.gz",
                f"DeepBraTumIA-segmentation/native/skull_strip/{sequence.lower()}_brain_mask.nii.gz",
                f"HD-GLIO-AUTO-segmentation/native/segmentation_{sequence}_origspace.nii.gz",
            ):
                mask, grid = load(folder / other)
                assert mask.dtype == np.uint8
                assert mask.shape == image.shape
                np.testing.assert_array_equal(grid, native)
        registered = folder / "HD-GLIO-AUTO-segmentation/registered"
        mask, grid = load(registered / "segmentation.nii.gz")
        assert mask.dtype == np.uint8
        for sequence in SEQUENCES:
            image, own = load(registered / f"{sequence}_r2s_bet_reg.nii.gz")
            assert image.shape == mask.shape
            np.testing.assert_array_equal(own, grid)


def test_labels_of_the_two_tools(cohort, load):
    """1 is enhancing for DeepBraTumIA, 2 for HD-GLIO-AUTO, which lumps oedema and necrosis under 1."""
    deep, glio = set(), set()
    for folder in cohort.complete():
        ours, _ = load(folder / "DeepBraTumIA-segmentation/native/segmentation/ct1_seg_mask.nii.gz")
        theirs, _ = load(folder / "HD-GLIO-AUTO-segmentation/native/segmentation_CT1_origspace.nii.gz")
        np.testing.assert_array_equal(theirs == 2, ours == 1)
        np.testing.assert_array_equal(theirs == 1, (ours == 2) | (ours == 3))
        deep |= set(np.unique(ours))
        glio |= set(np.unique(theirs))
    assert deep == {0, 1, 2, 3}
    assert glio == {0, 1, 2}


def test_json_equals_counts(cohort, load):
    zeros = 0
    for folder in cohort.complete():
        place = folder / "DeepBraTumIA-segmentation/atlas/segmentation"
        text = (place / "measured_volumes_in_mm3.json").read_text()
        mask, _ = load(place / "seg_mask.nii.gz")
        expected = {
            key: float((mask == label).sum() * 216)
            for label, key in enumerate(("Enhancing_Core", "Necrotic_NonEnhancing", "Edema_Compartment"), start=1)
        }
        assert json.loads(text) == expected
        zeros += '"Enhancing_Core": 0.0' in text
    assert zeros > 0


@pytest.mark.parametrize("name", HEADERS)
def test_header(cohort, name):
    text = (cohort.root / name).read_text()
    assert cohort.rows(name)[0] == next(csv.reader([HEADERS[name]]))
    assert text.splitlines()[0] == HEADERS[name]
    assert {len(row) for row in cohort.rows(name)} == {len(cohort.rows(name)[0])}


def test_completeness_tells_the_disk_but_for_one_slip(cohort):
    marked = {
        (row[0], row[1], name)
        for row in cohort.rows("LUMIERE-datacompleteness.csv")[1:]
        for name, cell in zip((*SEQUENCES, "DeepBraTumIA", "HD-GLIO-AUTO"), row[2:8], strict=True)
        if cell == "x"
    }
    on_disk = {
        (folder.parent.name, folder.name, path.name.removesuffix(".nii.gz").removesuffix("-segmentation"))
        for folder in cohort.visits()
        for path in folder.iterdir()
    }
    assert marked - on_disk == set()
    assert [name for _, _, name in on_disk - marked] == ["FLAIR"]


def test_mr_info_has_a_row_per_image_with_its_header(cohort, load):
    rows = cohort.rows("LUMIERE-MRinfo.csv")[1:]
    assert len(rows) == len(list(cohort.root.glob("Imaging/*/*/*.nii.gz")))
    for row in rows[:8]:
        data, affine = load(cohort.root / "Imaging" / row[0] / row[1] / f"{row[2]}.nii.gz")
        assert [int(row[10]), int(row[9]), int(row[11])] == list(data.shape)
        assert float(row[7]) == pytest.approx(np.linalg.norm(affine[:3, 2]), abs=1e-3)


def test_demographics_in_the_published_words(cohort):
    rows = cohort.rows("LUMIERE-Demographics_Pathology.csv")[1:]
    assert [row[0] for row in rows] == [f"Patient-{number:03d}" for number in range(1, 17)]
    for _, survival, sex, age, idh, _, mgmt, quantity in rows:
        assert survival == "na" or 3 <= int(survival) <= 201
        assert sex in ("male", "female")
        assert 39 <= int(age) <= 80
        assert idh in ("WT", "wt", "na", "IDH1 neg, Sequencing required")
        assert mgmt in ("methylated", "not methylated", "na")
        assert re.fullmatch(r"\d+\.\d\d%|na", quantity)


def test_quirks_in_the_rating_table(cohort):
    """Each in the very spelling of the published table."""
    rows = cohort.rows("LUMIERE-ExpertRating-v202211.csv")[1:]
    ratings, rationales = [row[4] for row in rows], [row[5] for row in rows]
    for spelling in ("Post-Op ", "Post-Op/PD", "None"):
        assert ratings.count(spelling) == 1, spelling
    for text in ("less than 3 months", "Less than 3 months", "Not a timepoint for RANO measurement"):
        assert rationales.count(text) == 1, text
    twice = [list(same) for _, same in groupby(rows, key=lambda row: row[:2])]
    assert ["SD", "PD"] in [[row[4] for row in same] for same in twice]
    pre_op = [row[0] for row in rows if row[4] == "Pre-Op"]
    assert len(pre_op) == len(set(pre_op)) + 1
    scans = {(folder.parent.name, folder.name) for folder in cohort.visits()}
    rated = {(row[0], row[1]) for row in rows}
    assert rated - scans
    assert scans - rated
    assert any(re.fullmatch(r"week-(?!000)\d{3}-2", week) for _, week in scans)
    assert sum(len(list(path.iterdir())) == 1 for path in (cohort.root / "Imaging").iterdir()) == 1
    assert "new L" in rationales
