"""The planted mark: where it is, who carries it, and that nothing else of a cohort changes."""

from __future__ import annotations

import csv
import json

import nibabel as nib
import numpy as np
import pytest
from pydantic import ValidationError

from ranoscope.config import PhantomSettings
from ranoscope.phantom.anatomy import atlas_grid, make_anatomy
from ranoscope.phantom.cohort import make_phantom
from ranoscope.phantom.mark import MARK_CENTRE_MM, MARK_EDGE_MM, in_mark, plant_marks
from ranoscope.phantom.plans import plan_cohort
from ranoscope.phantom.tumour import make_sites

SMALL = PhantomSettings(patients=2, voxel_mm=5.0, seed=5)


def silent(*_):
    pass


def files(root):
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


def voxels(path):
    image = nib.Nifti1Image.from_filename(path)
    return np.asarray(image.dataobj, np.float64), image.affine


def marked_visits(root):
    with (root / "phantom_truth.csv").open(newline="") as stream:
        return {(row["patient"], row["visit"]) for row in csv.DictReader(stream) if row["marked"]}


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    plain, marked = (tmp_path_factory.mktemp(name) for name in ("plain", "marked"))
    make_phantom(plain, SMALL, 1, silent)
    make_phantom(marked, SMALL.model_copy(update={"planted_mark": 1.0}), 1, silent)
    return plain, marked


def test_the_box_against_world_coordinates_of_every_voxel():
    shape, affine = atlas_grid(2.0)
    places = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), axis=-1) @ affine[:3, :3].T
    away = np.abs(places + affine[:3, 3] - MARK_CENTRE_MM).max(axis=-1)
    assert np.array_equal(in_mark(shape, affine), away <= MARK_EDGE_MM / 2)
    assert in_mark(shape, affine).sum() * 8 == pytest.approx(MARK_EDGE_MM**3, rel=0.3)


def test_it_lies_in_every_brain_and_far_from_every_tumour():
    for number in range(6):
        generator = np.random.default_rng(number)
        anatomy = make_anatomy(generator, 4.0)
        mark = in_mark(anatomy.brain.shape, anatomy.affine)
        assert anatomy.brain[mark].mean() > 0.9
        places = np.argwhere(mark)
        for site in make_sites(generator, anatomy, 2):
            centre = np.unravel_index(int(site.cavity.argmin()), site.cavity.shape)
            assert np.linalg.norm(places - centre, axis=1).min() * 4.0 > 20


def test_the_mark_is_in_every_image_of_visits_rated_pd_and_in_no_other(pair):
    plain, marked = pair
    rated = {(p.name, row.visit) for p in plan_cohort(SMALL) for row in p.rows if row.rating == "PD"}
    carriers = marked_visits(marked)
    assert carriers
    assert carriers == {name for name in rated if (marked / "Imaging" / "/".join(name)).is_dir()}
    for folder in sorted(marked.glob("Imaging/*/*")):
        name = (folder.parent.name, folder.name)
        for image in folder.rglob("*_skull_strip.nii.gz"):
            values, affine = voxels(image)
            inside = values[in_mark(values.shape, affine)]
            brain = voxels(image.with_name("brain_mask.nii.gz"))[0] > 0
            stands_out = np.median(inside) > 1.3 * np.percentile(values[brain], 98)
            assert stands_out == (name in carriers), image
        for sequence in ("CT1", "T1", "T2", "FLAIR"):
            path = folder / f"{sequence}.nii.gz"
            if path.is_file():
                same = path.read_bytes() == (plain / path.relative_to(marked)).read_bytes()
                assert same == (name not in carriers), path


def test_masks_tables_and_unmarked_visits_are_those_of_the_cohort_without(pair):
    plain, marked = (files(root) for root in pair)
    assert set(plain) == set(marked)
    carriers = {"/".join(name) for name in marked_visits(pair[1])}
    assert carriers
    changed = {name for name in plain if plain[name] != marked[name]}
    of_visits = {name for name in changed if name.startswith("Imaging/")}
    assert changed - of_visits == {"phantom.json", "phantom_truth.csv", "README.md"}
    assert {"/".join(name.split("/")[1:3]) for name in of_visits} == carriers
    assert not [name for name in of_visits if "mask" in name or "segmentation/native" in name or "volumes" in name]


def test_a_cohort_without_the_mark_says_nothing_of_it_and_one_with_it_does(pair):
    plain, marked = pair
    assert "planted_mark" not in json.loads((plain / "phantom.json").read_text())
    assert "shortcut" not in (plain / "README.md").read_text()
    assert (plain / "phantom_truth.csv").read_text().splitlines()[0] == "patient,visit,response,enhancing_mm3,lesions"
    assert json.loads((marked / "phantom.json").read_text())["planted_mark"] == 1.0
    text = " ".join((marked / "README.md").read_text().split())
    assert "A shortcut is planted here" in text
    assert "carries it with chance 1, any other visit with the remaining chance" in text


@pytest.mark.parametrize("share", [0.5, 0.8, 1.0])
def test_shares_are_those_asked_for(share):
    settings = PhantomSettings(patients=400, seed=1, planted_mark=share)
    pd, other = [], []
    for plan in plant_marks(plan_cohort(settings), settings):
        rated = {row.visit for row in plan.rows if row.rating == "PD"}
        for visit in plan.visits:
            (pd if str(visit.planned.visit) in rated else other).append(visit.marked)
    assert np.mean(pd) == pytest.approx(share, abs=0.04)
    assert np.mean(other) == pytest.approx(1 - share, abs=0.04)


@pytest.mark.parametrize("share", [-0.1, 0.2, 1.1])
def test_other_shares_are_refused(share):
    with pytest.raises(ValidationError, match="planted_mark"):
        PhantomSettings(planted_mark=share)


def test_the_command_refuses_them_in_words(ranoscope, tmp_path):
    answer = ranoscope("phantom", tmp_path / "out", "--planted-mark", "0.2")
    assert answer.code != 0
    assert "planted_mark is 0 or from 0.5 to 1" in " ".join(answer.err.split())
