"""T1 before and after contrast agent: own words, the clock, the pair, and honest ignorance."""

from __future__ import annotations

import itertools

import pytest

from ranoscope.domain import Sequence
from ranoscope.errors import ImageError
from ranoscope.preparing.recognition import SetAside, recognise

AXIAL = {"times": [10, 600], "seq": "SE", "acq": "2D", "size": [256, 256, 30], "mm": [0.9, 0.9, 5]}
VOLUME = {"times": [3, 2300, 900], "seq": "GR IR", "acq": "3D", "size": [256, 256, 176], "mm": [1, 1, 1]}


@pytest.fixture
def decide(facts):
    """``decide(rows)``: the number chosen for T1 and for CT1, in any order of the rows."""

    def run(*rows):
        answers = set()
        for order in itertools.permutations(rows):
            series = [facts(**row) for row in order]
            chosen = recognise(series).chosen
            answers.add(tuple(series[chosen[one]].number if one in chosen else None
                              for one in (Sequence.T1, Sequence.CT1)))  # fmt: skip
        assert len(answers) == 1
        return answers.pop()

    return run


def test_of_two_alike_the_silent_one_is_without(decide):
    assert decide({"number": 1, "name": "AX T1", **AXIAL}, {"number": 2, "name": "AX T1 Gd", **AXIAL}) == (1, 2)
    assert decide({"number": 2, "name": "AX T1", **AXIAL}, {"number": 1, "name": "AX T1 Gd", **AXIAL}) == (2, 1)
    assert decide({"number": 1, "name": "AX T1", **AXIAL}, {"number": 2, "name": "x T1", "agent": True, **AXIAL}) == (
        1,
        2,
    )


def test_two_silent_ones_alike_are_a_question_whatever_their_order(decide):
    with pytest.raises(ImageError, match="2 series that could be T1 or CT1"):
        decide({"number": 1, "name": "AX T1", "at": 0, **AXIAL}, {"number": 2, "name": "AX T1", "at": 900, **AXIAL})


def test_two_silent_ones_of_different_kinds_are_a_question_too(decide):
    with pytest.raises(ImageError, match="2 series that could be T1 or CT1"):
        decide({"number": 1, "name": "SAG T1", "at": 0, **AXIAL}, {"number": 2, "name": "MPRAGE", "at": 900, **VOLUME})


@pytest.mark.parametrize("witness", [{"name": "AX T2", "agent": True}, {"name": "perf DSC"}, {"name": "FLAIR +C"}])
def test_a_witness_between_two_silent_ones_tells_them_apart(decide, witness):
    rows = [{"number": 1, "name": "AX T1", "at": 0, **AXIAL}, {"number": 2, "name": "AX T1", "at": 900, **AXIAL}]
    assert decide(*rows, {"number": 3, "at": 400, **witness}) == (1, 2)


@pytest.mark.parametrize(
    "no_witness",
    [
        {"name": "ADC", "agent": True},
        {"name": "loc", "agent": True},
        {"name": "AX T2", "agent": False},
        {"name": "ASL"},
    ],
)
def test_a_map_a_localiser_and_an_empty_attribute_are_no_witnesses(decide, no_witness):
    rows = [{"number": 1, "name": "AX T1", "at": 0, **AXIAL}, {"number": 2, "name": "AX T1", "at": 900, **AXIAL}]
    with pytest.raises(ImageError, match="T1 or CT1"):
        decide(*rows, {"number": 3, "at": 400, **no_witness})


def test_after_a_series_with_agent_nothing_is_without(decide):
    post = {"number": 1, "name": "AX T1 Gd", "at": 100, **AXIAL}
    assert decide(post, {"number": 2, "name": "AX T1", "at": 200, **AXIAL}) == (None, 1)
    assert decide(post, {"number": 2, "name": "MPRAGE", "at": 200, **VOLUME}) == (None, 2)
    assert decide(post, {"number": 2, "name": "MPRAGE", "at": 50, **VOLUME}) == (2, 1)


def test_without_a_clock_a_later_number_is_a_question(decide):
    post = {"number": 5, "name": "AX T1 Gd", **AXIAL}
    assert decide(post, {"number": 2, "name": "MPRAGE", **VOLUME}) == (2, 5)
    with pytest.raises(ImageError, match="1 series that could be T1, in"):
        decide(post, {"number": 9, "name": "MPRAGE", **VOLUME})


def test_a_single_silent_one_is_taken_as_without_and_says_so(facts):
    found = recognise([facts(name="AX T1", number=1, **AXIAL)])
    assert found.chosen == {Sequence.T1: 0}
    assert "no word about contrast in this or any other series" in found.decisions[0].reasons[-1]


def test_beside_one_that_is_without_a_silent_one_may_be_the_missing_ct1(decide):
    with pytest.raises(ImageError, match="1 series that could be CT1"):
        decide({"number": 1, "name": "T1 nativ", **AXIAL}, {"number": 2, "name": "MPRAGE", **VOLUME})


def test_an_agent_in_every_header_counts_only_where_names_do_not_speak(decide):
    agent = {"agent": True}
    pre, post = {"number": 1, "name": "AX T1", **agent, **AXIAL}, {"number": 2, "name": "AX T1 POST", **agent, **AXIAL}
    assert decide(pre, post) == (1, 2)
    assert decide({**pre, "name": "AX T1 PRE"}, post) == (1, 2)
    assert decide({**pre, "name": "AX T1 PRE"}, {**post, "name": "AX T1"}) == (1, 2)
    with pytest.raises(ImageError, match="could be T1"):
        decide({"number": 1, "name": "MPRAGE", "at": 0, **agent, **VOLUME}, {**post, "at": 100})


def test_a_name_before_contrast_with_an_agent_in_the_header_is_a_contradiction(facts):
    series = [facts(name="T1 PRE", agent=True, **AXIAL), facts(name="T1 POST", agent=None, **AXIAL)]
    found = recognise(series)
    assert found.chosen == {Sequence.CT1: 1}
    assert found.decisions[0].set_aside is SetAside.CONTRADICTION


def test_an_empty_agent_does_not_speak_against_a_name(decide):
    rows = [{"number": 1, "name": "AX T1", **AXIAL}, {"number": 2, "name": "AX T1 POST", "agent": False, **AXIAL}]
    assert decide(*rows) == (1, 2)


def test_a_silent_reformat_is_never_a_t1_beside_an_original(facts):
    """The header of a reformat copies the times, the name often loses the agent."""
    series = [facts(name="MPRAGE +C", **VOLUME), facts(name="MPRAGE MPR cor", **VOLUME)]
    found = recognise(series)
    assert found.chosen == {Sequence.CT1: 0}
    assert found.decisions[1].set_aside is SetAside.REFORMAT


def test_reformats_alone_are_judged_as_if_acquired(facts):
    series = [facts(name="MPRAGE MPR tra +C", **VOLUME), facts(name="MPRAGE MPR cor +C", **VOLUME),
              facts(name="MPRAGE MPR tra", **VOLUME)]  # fmt: skip
    found = recognise(series)
    assert found.chosen == {Sequence.CT1: 0, Sequence.T1: 2}
    assert "a reformat" in found.decisions[0].reasons
