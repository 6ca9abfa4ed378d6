"""Several series of one sequence: each step of the cascade, and what it leaves to the user."""

from __future__ import annotations

import itertools

import pytest

from ranoscope.domain import Sequence
from ranoscope.errors import ImageError
from ranoscope.preparing.recognition import SetAside, recognise

THICK = {"times": [100, 4000], "seq": "SE", "acq": "2D", "size": [320, 320, 30], "mm": [0.7, 0.7, 5]}
THIN = {"times": [250, 3000], "seq": "SE", "acq": "3D", "size": [256, 256, 176], "mm": [1, 1, 1]}


@pytest.fixture
def prefer(facts):
    """``prefer(rows)``: the name of the one chosen, and the reasons of the first other; in any order of the rows."""

    def run(*rows, sequence=Sequence.T2):
        answers = set()
        for order in itertools.permutations(rows):
            series = [facts(**row) for row in order]
            found = recognise(series)
            best = series[found.chosen[sequence]]
            answers.add((best.description, tuple(sorted(one.reasons[-1] for one in found.decisions if one.set_aside))))
        assert len(answers) == 1
        return answers.pop()

    return run


def test_a_volume_is_better_than_thick_slices(prefer):
    best, why = prefer({"number": 1, "name": "AX T2 FSE", **THICK}, {"number": 2, "name": "SAG T2 CUBE", **THIN})
    assert best == "SAG T2 CUBE"
    assert why == ("duplicate of series 2 `SAG T2 CUBE`, which has voxels of at most 1 mm, this one of 5 mm",)


@pytest.mark.parametrize(
    ("better", "worse", "why"),
    [
        ({"name": "AX T2"}, {"name": "T2 MPR", "mm": [1, 1, 1], "size": [200, 200, 150]}, "not reformatted"),
        ({"name": "AX T2"}, {"name": "AX T2 slab", "size": [320, 320, 35], "mm": [0.7, 0.7, 2]}, "100 mm or more"),
        ({"name": "T2 x", "acq": "3D"}, {"name": "T2 y"}, "3-D"),
        ({"name": "AX T2"}, {"name": "AX T2 FS"}, "not fat-saturated"),
        ({"name": "AX T2 z"}, {"name": "AX T2 y", "options": "FAT_SAT_GEMS"}, "not fat-saturated"),
        ({"name": "AX T2"}, {"name": "AX T2 HASTE"}, "no single shot"),
        ({"name": "T2 tra"}, {"name": "T2 cor", "mm": [0.7, 0.7, 4]}, "is axial"),
        ({"name": "AX T2", "mm": [0.7, 0.7, 4]}, {"name": "AX T2 fast"}, "at most 4 mm"),
        ({"name": "T2 a", "type": "ORIGINAL PRIMARY M DIS2D"}, {"name": "T2 a b", "type": "ORIGINAL PRIMARY M ND"},
         "gradient distortion"),
        ({"name": "T2 a", "type": "ORIGINAL PRIMARY M NORM"}, {"name": "T2 a b", "type": "ORIGINAL PRIMARY M"},
         "receive field"),
    ],
)  # fmt: skip
def test_a_step_of_the_cascade(prefer, better, worse, why):
    best, reasons = prefer({**THICK, "number": 1, **better}, {**THICK, "number": 2, **worse})
    assert best == better["name"]
    assert why in reasons[0]


def test_an_earlier_step_wins_over_a_later_one(prefer):
    """Fat-saturated and sagittal, yet a volume."""
    best, _ = prefer({"number": 1, "name": "AX T2", **THICK}, {"number": 2, "name": "SAG T2 FS 3D", **THIN})
    assert best == "SAG T2 FS 3D"


def test_what_lost_by_coverage_or_as_a_reformat_is_named_so(facts):
    slab = {**THICK, "size": [320, 320, 35], "mm": [0.7, 0.7, 2]}
    rows = [{"name": "AX T2", **THICK}, {"name": "T2 MPR", **THICK}, {"name": "AX T2 slab", **slab}]
    asides = [one.set_aside for one in recognise([facts(**row) for row in rows]).decisions]
    assert asides == [None, SetAside.REFORMAT, SetAside.PARTIAL]


def test_a_repeat_is_the_later_one(prefer):
    first, second = (
        {"number": 3, "name": "AX T2", "at": 100, **THICK},
        {"number": 4, "name": "AX T2 rpt", "at": 300, **THICK},
    )
    best, why = prefer(first, second)
    assert best == "AX T2 rpt"
    assert why == ("duplicate of series 4 `AX T2 rpt`, which is its later repeat with the same settings",)
    assert prefer({**first, "at": 500}, second)[0] == "AX T2"
    numbered = [{key: value for key, value in row.items() if key != "at"} for row in (first, second)]
    assert prefer(*numbered)[0] == "AX T2 rpt"


@pytest.mark.parametrize(
    "other",
    [
        {"name": "AX T2", "at": 100},
        {"name": "AX T2", "times": [120, 5000], "at": 300},
        {"name": "AX T2 BLADE", "at": 300},
        {"name": "AX T2", "size": [512, 512, 30], "at": 300},
    ],
)
def test_what_is_no_plain_repeat_is_a_question(prefer, other):
    with pytest.raises(ImageError, match="2 series that could be T2"):
        prefer({**THICK, "number": 1, "name": "AX T2", "at": 100}, {**THICK, "number": 2, **other})


def test_flair_before_contrast_is_better(prefer):
    times = {"times": [120, 9000, 2500], "seq": "SE IR"}
    rows = {"number": 1, "name": "T2 FLAIR"}, {"number": 2, "name": "T2 FLAIR +C"}
    assert prefer(*({**THICK, **times, **row} for row in rows), sequence=Sequence.FLAIR)[0] == "T2 FLAIR"


def test_ct1_matches_the_t1_of_the_study(prefer):
    mprage = {**THIN, "times": [3, 2300, 900], "seq": "GR IR"}
    space = {**THIN, "times": [11, 600], "seq": "SE"}
    pre = {"number": 1, "name": "mprage pre", **mprage}
    post = [{"number": 2, "name": "T1 space post", **space}, {"number": 3, "name": "mprage post", **mprage}]
    assert prefer(pre, *post, sequence=Sequence.CT1)[0] == "mprage post"
    with pytest.raises(ImageError, match="2 series that could be CT1"):
        prefer(*post, sequence=Sequence.CT1)


def test_unknown_voxels_decide_nothing(prefer):
    unknown = {key: value for key, value in THICK.items() if key not in {"mm", "size", "acq"}}
    with pytest.raises(ImageError, match="could be T2"):
        prefer({"number": 1, "name": "T2 a", **THIN}, {"number": 2, "name": "T2 b", **unknown})
