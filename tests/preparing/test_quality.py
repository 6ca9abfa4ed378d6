"""The row of a study, what is to be looked at, and the picture beside it."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.image import imread
from scipy.spatial.transform import Rotation

from ranoscope.domain import Sequence
from ranoscope.imaging.nifti import Volume
from ranoscope.preparing.between import Placed
from ranoscope.preparing.brain import BrainMask
from ranoscope.preparing.output import OnAtlas
from ranoscope.preparing.picture import Told, draw
from ranoscope.preparing.quality import judge
from ranoscope.preparing.registration import Registration
from ranoscope.preparing.series import Series, SeriesFacts
from ranoscope.preparing.settings import PrepareSettings
from ranoscope.preparing.study import _loaded
from ranoscope.preparing.within import Within, choose_reference

SHAPE = (30, 36, 30)
EDGES = 5.0


def ball(radius=60.0):
    places = (np.moveaxis(np.indices(SHAPE), 0, -1) - (np.array(SHAPE) - 1) / 2) * EDGES
    return np.linalg.norm(places, axis=-1) < radius


def image(edges=(EDGES, EDGES, EDGES)):
    return Volume(ball().astype(np.float32) * 100, np.diag([*edges, 1.0]), "Patient-001/week-000")


def registered(apart=0.1, problem=None):
    return Registration(np.eye(4), apart, 1.2, 1.1, 1.0, problem)


def aligned(**changes):
    images = {Sequence.CT1: image(), Sequence.T2: image()}
    found = BrainMask(ball())
    return replace(Within(images, Sequence.CT1, {Sequence.T2: registered()}, found), **changes)


def placed(degrees=0.0, shift=0.0, problem=None, first=False):
    moved = np.eye(4)
    moved[:3, :3] = Rotation.from_euler("x", degrees, degrees=True).as_matrix()
    moved[0, 3] = shift
    return Placed(np.eye(4), moved, None if first else 0.2, problem)


def atlas(radius=60.0, tumour=None):
    # Voxels of the atlas grid count 1 mm^3 each, the small ones here as many as there are.
    brain = np.zeros((60, 60, 60), np.bool_)
    brain.ravel()[: int(ball(radius).sum() * EDGES**3 / 1000)] = True
    return OnAtlas({Sequence.CT1: np.zeros(brain.shape, np.float32)}, brain, tumour)


def whole_atlas():
    millilitres = int(ball().sum() * EDGES**3)
    brain = np.zeros((182, 218, 60), np.bool_)
    brain.ravel()[:millilitres] = True
    return OnAtlas({Sequence.CT1: np.zeros(brain.shape, np.float32)}, brain, None)


def test_a_study_without_a_problem_has_its_figures():
    figures, problems = judge(aligned(), placed(), whole_atlas())
    assert problems == []
    assert (figures["sequences"], figures["missing"], figures["reference"]) == ("CT1 T2", "T1 FLAIR", "CT1")
    assert (figures["within_mm"], figures["between_mm"], figures["moved_mm"]) == (0.1, 0.2, 0.0)
    assert figures["brain_ml"] == pytest.approx(ball().sum() * EDGES**3 / 1000, abs=0.1)


@pytest.mark.parametrize(
    ("within", "place", "words"),
    [
        ({"registrations": {Sequence.T2: registered(9.0, "there and back differ")}}, placed(), "T2: there and back"),
        ({"found": BrainMask(ball(), problem="a brain of 300 ml")}, placed(), "brain: a brain of 300 ml"),
        ({}, placed(problem="nothing in common"), "by the first study: nothing in common"),
        ({}, placed(shift=80.0), "the head lies 80 mm and 0 degrees away"),
        ({}, placed(degrees=50.0), "and 50 degrees away"),
    ],
)
def test_what_is_to_be_looked_at_is_said(within, place, words):
    _, problems = judge(aligned(**within), place, whole_atlas())
    assert any(words in one for one in problems)


def test_a_first_study_may_lie_anywhere_in_the_scanner():
    assert judge(aligned(), placed(degrees=50.0, shift=80.0, first=True), whole_atlas())[1] == []


def test_a_brain_that_is_cut_off_is_said():
    _, problems = judge(aligned(), placed(), atlas())
    assert any("% of the brain lies outside the atlas grid" in one for one in problems)


@pytest.mark.parametrize(("problems", "colour"), [((), (46, 125, 50)), (("look here",), (176, 0, 32))])
def test_the_picture_has_its_rows_its_outline_and_its_verdict(problems, colour):
    brain = ball()
    shown = OnAtlas({s: brain * np.float32(50) for s in (Sequence.CT1, Sequence.T2)}, brain, None)
    drawn = draw(shown, None, Told("Patient-001 week-000", problems))
    assert drawn == draw(shown, None, Told("Patient-001 week-000", problems))
    pixels = np.rint(imread(io.BytesIO(drawn))[..., :3] * 255).astype(int)

    def shows(wanted, within=40):
        return (np.abs(pixels - wanted).sum(axis=-1) < within).any()

    assert shows(colour, within=130)  # thin letters
    assert shows((53, 224, 255))
    assert not shows((255, 179, 71))
    compared = draw(shown, np.roll(brain, 4, axis=0), Told("Patient-001 week-000", problems))
    pixels = np.rint(imread(io.BytesIO(compared))[..., :3] * 255).astype(int)
    assert shows((255, 179, 71))
    one_row = draw(replace(shown, images={Sequence.CT1: brain * np.float32(50)}), None, Told("P", problems))
    assert imread(io.BytesIO(one_row)).shape[0] < pixels.shape[0]


def test_the_reference_is_the_image_without_a_long_edge():
    fine, thick, thin = image((1.0, 1.0, 1.2)), image((0.5, 0.5, 6.0)), image((1.0, 1.0, 1.0))
    assert choose_reference({Sequence.T2: thick, Sequence.FLAIR: fine}) is Sequence.FLAIR
    assert choose_reference({Sequence.FLAIR: fine, Sequence.T1: thin}) is Sequence.T1
    # A header's rounding does not choose.
    rounded = image((1.0, 1.0, 1.0004))
    assert choose_reference({Sequence.T2: thin, Sequence.CT1: rounded}) is Sequence.CT1


def test_smoothing_takes_noise_and_leaves_edges():
    noisy = image()
    noisy.data[...] += np.random.default_rng(0).normal(0, 8, SHAPE).astype(np.float32)
    series = Series(SeriesFacts(), "P", lambda: noisy)
    plain, smooth = (_loaded(series, PrepareSettings(denoise=on)).data for on in (False, True))
    inside, outside = ball(50), ~ball(70)
    assert np.array_equal(plain, np.maximum(noisy.data, 0))
    assert smooth[inside].std() < 0.9 * plain[inside].std()
    assert smooth[inside].mean() - smooth[outside].mean() > 90
