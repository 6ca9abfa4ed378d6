"""Whole studies, decided as a neuroradiologist would; and what must not change a decision."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ranoscope.domain import SEQUENCES
from ranoscope.errors import ImageError
from ranoscope.preparing.recognition import SetAside, recognise
from ranoscope.preparing.recognition.decision import Decision
from ranoscope.preparing.series import SeriesFacts

# An ADC map and a localiser that carry every temptation: T1's times, an agent in the header, the first or last number.
TEMPTING = (
    SeriesFacts(0, "3-plane loc T1", modality="MR", scanning_sequence=("SE",), echo_time_ms=10, repetition_time_ms=500,
                contrast=True, acquired_s=-1.0),
    SeriesFacts(9999, "ADC T2 +C", modality="MR", image_type=("DERIVED", "PRIMARY", "ADC"), scanning_sequence=("SE",),
                echo_time_ms=100, repetition_time_ms=5000, contrast=True, acquired_s=0.5, shape=(256, 256, 200),
                spacing_mm=(0.5, 0.5, 0.5)),
)  # fmt: skip
SPELLINGS = {
    "upper": str.upper,
    "lower": str.lower,
    "underscores": lambda name: name.replace(" ", "_"),
    "spaces": lambda name: name.replace("_", " "),
    "doubled": lambda name: name.replace(" ", "  ").replace("_", "__"),
}


def names_of(decisions) -> list[str]:
    return [one.sequence.value if one.sequence else one.set_aside.name for one in decisions]


def respelt(facts: SeriesFacts, spell) -> SeriesFacts:
    return replace(
        facts, description=spell(facts.description), protocol=spell(facts.protocol), file_name=spell(facts.file_name)
    )


def test_the_corpus_is_worth_its_name(studies):
    assert len(studies) >= 12
    assert sum(map(len, studies.values())) >= 60


def test_every_series_of_a_study_is_recognised(expected_study):
    expected, series = expected_study
    for wanted, got, facts in zip(expected, names_of(recognise(series).decisions), series, strict=True):
        assert got in wanted.split(" or "), facts


def test_every_series_is_chosen_once_or_set_aside_with_a_reason(expected_study):
    _, series = expected_study
    found = recognise(series)
    assert len(found.decisions) == len(series)
    chosen = [one.sequence for one in found.decisions if one.sequence is not None]
    assert len(chosen) == len(set(chosen))
    assert set(found.chosen) | set(found.missing) == set(SEQUENCES)
    assert not set(found.chosen) & set(found.missing)
    assert all(all(one.reasons) for one in found.decisions)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_the_order_of_the_series_does_not_matter(studies, data):
    series = studies[data.draw(st.sampled_from(sorted(studies)))]
    order = data.draw(st.permutations(range(len(series))))
    straight, shuffled = recognise(series).decisions, recognise([series[place] for place in order]).decisions
    assert [straight[place] for place in order] == list(shuffled)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_localiser_or_a_map_more_changes_nothing(studies, data):
    series = studies[data.draw(st.sampled_from(sorted(studies)))]
    more = data.draw(st.sampled_from(TEMPTING))
    place = data.draw(st.integers(0, len(series)))
    with_more = list(recognise([*series[:place], more, *series[place:]]).decisions)
    added = with_more.pop(place)
    assert added.set_aside in {SetAside.LOCALISER, SetAside.DERIVED}
    assert with_more == list(recognise(series).decisions)


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_spelling_does_not_matter(studies, data):
    series = studies[data.draw(st.sampled_from(sorted(studies)))]
    spell = SPELLINGS[data.draw(st.sampled_from(sorted(SPELLINGS)))]
    assert names_of(recognise([respelt(one, spell) for one in series]).decisions) == names_of(
        recognise(series).decisions
    )


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_part_of_a_study_is_a_partial_study_or_an_honest_question(studies, data):
    """Whatever is left out: the kinds of the rest stay, and a T1 is never taken for a T2."""
    series = studies[data.draw(st.sampled_from(sorted(studies)))]
    kept = sorted(data.draw(st.sets(st.integers(0, len(series) - 1), min_size=1)))
    whole = names_of(recognise(series).decisions)
    try:
        part = names_of(recognise([series[place] for place in kept]).decisions)
    except ImageError:
        return
    kinds = {"T1": "T1", "CT1": "T1", "T2": "T2", "FLAIR": "FLAIR"}
    for before, after in zip((whole[place] for place in kept), part, strict=True):
        if before in kinds and after in kinds:
            assert kinds[before] == kinds[after]
        if before not in {*kinds, "DUPLICATE", "REFORMAT", "CONTRAST_UNKNOWN"}:
            assert before == after


def test_an_empty_study_misses_everything():
    found = recognise([])
    assert (found.decisions, found.chosen, found.missing) == ((), {}, SEQUENCES)


def test_any_facts_at_all_are_decided_or_asked_about():
    """No combination of words and numbers raises anything but a question."""
    chance = random.Random(1)
    words = ["T1", "T2", "FLAIR", "PD", "+C", "pre", "post", "MPR", "ax", "cor", "*", "(", "", "STIR", "w/o", "+"]
    asked = 0
    for _ in range(300):
        series = [
            SeriesFacts(
                number=chance.choice([None, 1, 2, 3]),
                description=" ".join(chance.choices(words, k=3)),
                modality=chance.choice(["", "MR", "MR", "PT"]),
                scanning_sequence=chance.choice([(), ("SE",), ("GR",), ("SE", "IR"), ("EP",), ("RM",)]),
                contrast=chance.choice([None, True, False]),
                echo_time_ms=chance.choice([None, 3.0, 10.0, 100.0]),
                repetition_time_ms=chance.choice([None, 8.0, 600.0, 5000.0]),
                inversion_time_ms=chance.choice([None, 0.0, 150.0, 900.0, 2500.0]),
                acquired_s=chance.choice([None, 0.0, 100.0, 200.0]),
                shape=chance.choice([None, (256, 256, 30), (256, 256, 3)]),
                spacing_mm=chance.choice([None, (1.0, 1.0, 5.0), (1.0, 1.0, 1.0)]),
            )
            for _ in range(5)
        ]
        try:
            assert len(recognise(series).decisions) == 5
        except ImageError:
            asked += 1
    assert 0 < asked < 300


def test_a_decision_without_a_reason_cannot_be_made():
    for sequence, set_aside, reasons in ((None, None, ("why",)), (SEQUENCES[0], SetAside.DUPLICATE, ("why",)),
                                         (SEQUENCES[0], None, ())):  # fmt: skip
        with pytest.raises(ValueError, match="says why"):
            Decision(sequence, set_aside, reasons)
