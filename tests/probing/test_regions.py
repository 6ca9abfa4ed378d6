"""Relevance in a region: for the tumour what ``explain`` says, elsewhere what the maps on disk say."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest

from ranoscope.domain import StudyKey, Visit
from ranoscope.explaining.opened import BOTH
from ranoscope.explaining.outputs import read_findings
from ranoscope.explaining.record import read_explanations
from ranoscope.explaining.tables import WHOLE, find
from ranoscope.learning.checkpoints import load_run_recipe
from ranoscope.learning.studies import open_run_store
from ranoscope.probing.regions import score_regions

METHOD = "saliency"


def right_half(images):
    """By world coordinates, mm: x grows to the right."""
    affine, shape = images.current.affine, images.current.brain.shape
    return np.broadcast_to((affine[0, 0] * np.arange(shape[0]) + affine[0, 3] > 0)[:, None, None], shape)


@pytest.fixture(scope="module")
def pooled(finished_run):
    settings = load_run_recipe(finished_run).explanation
    regions = {WHOLE: lambda images: images.view(BOTH, WHOLE)[0], "right": right_half,
               "nowhere": lambda images: np.zeros(images.current.brain.shape, bool)}  # fmt: skip
    entries = score_regions(finished_run, settings, regions)
    return {(e.method, e.mask, e.score): e for e in entries if e.expert == "all"}


@pytest.mark.parametrize("score", ["pointing", "mass", "rank", "auc"])
def test_on_the_tumour_it_is_what_explain_wrote(finished_run, pooled, score):
    content = read_findings(finished_run)
    for method in load_run_recipe(finished_run).explanation.methods:
        ours, theirs = pooled[method, WHOLE, score], find(content, method=method, mask=WHOLE, score=score)
        assert ours.cases == theirs["cases"] > 2
        for name in ("estimate", "low", "high"):
            assert getattr(ours.mean, name) == pytest.approx(theirs["mean"][name], abs=1e-9)
            assert getattr(ours.excess, name) == pytest.approx(theirs["excess"][name], abs=1e-9)
        assert ours.chance == pytest.approx(theirs["chance"])


def test_elsewhere_the_mass_is_that_of_the_maps_on_disk(finished_run, pooled):
    store, shares, chances = open_run_store(finished_run, load_run_recipe(finished_run)), [], []
    for example in read_explanations(finished_run):
        files = [example.map_file(METHOD, study, example.call).file for study in ("prior", "current")]
        maps = [nib.load(example.folder / file) for file in files]
        values = sum(np.clip(np.asarray(image.dataobj, np.float64), 0, None) for image in maps)
        prior, current = (store[StudyKey(example.patient, Visit.parse(at))] for at in (example.prior, example.current))
        brain = prior.brain | current.brain
        x = maps[0].affine[0, 0] * np.indices(brain.shape)[0] + maps[0].affine[0, 3]
        shares.append(values[(x > 0) & brain].sum() / values[brain].sum())
        chances.append(((x > 0) & brain).sum() / brain.sum())
    mass = pooled[METHOD, "right", "mass"]
    assert mass.cases == len(shares)
    assert mass.mean.estimate == pytest.approx(np.mean(shares), rel=1e-4)
    assert mass.chance == pytest.approx(np.mean(chances))


def test_a_region_outside_of_every_brain_has_no_score_and_says_why(pooled):
    nowhere = pooled[METHOD, "nowhere", "auc"]
    assert nowhere.cases == 0
    assert list(nowhere.undefined) == ["no such tissue in the mask"]
