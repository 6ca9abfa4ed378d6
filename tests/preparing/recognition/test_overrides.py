"""The user's word: how it is written, what it wins over, and how it can be wrong."""

from __future__ import annotations

import re
from io import StringIO

import pytest
import yaml
from rich.console import Console

from ranoscope.config import parse_settings
from ranoscope.domain import Sequence
from ranoscope.errors import ImageError, RecipeError
from ranoscope.preparing.recognition import Override, SetAside, explain, read_override, recognise, rows

AXIAL = {"times": [10, 600], "seq": "SE", "acq": "2D", "size": [256, 256, 30], "mm": [0.9, 0.9, 5]}


@pytest.fixture
def study(facts):
    """Two silent T1s: a question without an override."""
    return [
        facts(number=4, name="AX T1", at=0, **AXIAL),
        facts(number=9, name="AX T1", at=900, **AXIAL),
        facts(number=5, name="AX T2", **{**AXIAL, "times": [100, 4000]}),
        facts(number=6, name="AX ADC"),
    ]


def override(text: str) -> Override:
    return parse_settings(Override, yaml.safe_load(text), "override.yaml")


def test_the_lines_that_an_error_offers_answer_it(study):
    with pytest.raises(ImageError) as error:
        recognise(study, None, "Patient-1/week-000")
    message = str(error.value)
    assert "Patient-1/week-000" in message
    assert "series 4 `AX T1`: echo time 10 ms, repetition time 600 ms, 0.9 x 0.9 x 5 mm" in message
    lines = re.findall(r"^  (\w+: .*)$", message, flags=re.MULTILINE)
    assert len(lines) == 6
    t1, ct1 = (next(line for line in lines if line.startswith(key)) for key in ("T1: {series: 4}", "CT1: {series: 9}"))
    assert recognise(study, override(f"{t1}\n{ct1}")).chosen == {Sequence.T1: 0, Sequence.CT1: 1, Sequence.T2: 2}


def test_what_is_told_of_one_series_tells_of_the_others(study):
    assert recognise(study, override("CT1: {series: 9}")).chosen[Sequence.T1] == 0
    with pytest.raises(ImageError, match="1 series that could be CT1"):
        recognise(study, override("T1: {series: 4}"))
    found = recognise(study, override("T1: {series: 4}\nCT1: none"))
    assert found.missing == (Sequence.CT1, Sequence.FLAIR)
    assert found.decisions[1].set_aside is SetAside.CONTRAST_UNKNOWN


def test_left_out_and_set_aside(study):
    found = recognise(study, override("set_aside: [9]\nT2: none"))
    assert found.chosen == {Sequence.T1: 0}
    assert [one.set_aside for one in found.decisions[1:3]] == [SetAside.BY_OVERRIDE, SetAside.BY_OVERRIDE]
    assert "`T2: none` in the override" in found.decisions[2].reasons


def test_the_override_wins_and_says_what_speaks_against_it(study):
    found = recognise(study, override("FLAIR: {name: ax t2}\nCT1: {series: 6}\nT1: {series: 4}"))
    assert found.chosen == {Sequence.FLAIR: 2, Sequence.CT1: 3, Sequence.T1: 0}
    assert any(reason.startswith("against it: T2-weighted") for reason in found.decisions[2].reasons)
    assert any(reason.startswith("against it: derived map") for reason in found.decisions[3].reasons)


def test_an_agent_against_the_override_is_noted(facts):
    series = [facts(number=1, name="AX T1", agent=True, **AXIAL), facts(number=2, name="AX T1 nativ", **AXIAL)]
    found = recognise(series, override("T1: {series: 1}\nCT1: {series: 2}"))
    assert found.decisions[0].reasons[-1] == "against it: contrast agent in the header"
    assert found.decisions[1].reasons[-1] == "against it: its name says without contrast agent"


def test_another_of_the_same_sequence_is_a_duplicate_of_the_choice(facts):
    cube = {"times": [100, 3000], "seq": "SE", "size": [256, 256, 176], "mm": [1, 1, 1]}
    series = [
        facts(number=1, name="AX T2", **AXIAL | {"times": [100, 4000]}),
        facts(number=2, name="SAG T2 CUBE", **cube),
    ]
    found = recognise(series, override("T2: {series: 1}"))
    assert found.chosen == {Sequence.T2: 0}
    assert found.decisions[1].reasons[-1] == "duplicate of series 1 `AX T2`, which is the override's choice"


def test_a_name_is_whole_or_else_words_within(facts):
    series = [facts(file="p1_t1"), facts(file="p1_t1_gd"), facts(file="t1")]
    assert recognise(series, override("T1: {file: T1}\nCT1: {file: t1 GD}")).chosen == {Sequence.T1: 2, Sequence.CT1: 1}
    with pytest.raises(ImageError, match=r"got 2, in .*\n  file `p1_t1`.*\n  file `p1_t1_gd`"):
        recognise(series, override("T1: {file: p1_T1w}\nCT1: {file: p1}"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("T2: {series: 12}", r"`T2: {series: 12}` of the override, got none"),
        ("T2: {name: t1}", "got 2"),
        ("set_aside: [12]", "under `set_aside`"),
        ("T2: {series: 5}\nset_aside: [5]", "two purposes"),
        ("T1: {series: 4}\nCT1: {series: 4}", "two purposes"),
    ],
)
def test_an_override_that_fits_none_or_several_names_what_is_there(study, text, message):
    with pytest.raises(ImageError, match=message) as error:
        recognise(study, override(text))
    assert "series 4 `AX T1`" in str(error.value) or "series 5 `AX T2`" in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("CT2: {series: 1}", "unknown key `CT2`"),
        ("CT1: {serie: 1}", "unknown key `CT1.serie` .did you mean `series`"),
        ("CT1: 12", "expected none, or what names one series"),
        ("CT1: T1.nii", "expected none, or what names one series"),
        ("CT1:", "expected none, or what names one series"),
        ("CT1: {name: '__'}", "a name with letters or digits"),
        ("set_aside: [a]", "expected a series number"),
        ("set_aside: [{}]", "expected a series number"),
        ("- 1", "a line per sequence"),
        ("", "an empty file"),
        ("CT1: {", "a YAML file"),
    ],
)
def test_a_file_that_is_not_understood_is_refused_by_name(tmp_path, text, message):
    path = tmp_path / "override.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(RecipeError, match=message) as error:
        read_override(path)
    assert "override.yaml" in str(error.value)


def test_a_file_is_read(tmp_path):
    path = tmp_path / "override.yaml"
    path.write_text("CT1: {series: 12}\nT1: none\nset_aside: [3, {name: x}]\n", encoding="utf-8")
    assert read_override(path) == override("CT1: {series: 12}\nT1: none\nset_aside: [{series: 3}, {name: x}]")
    with pytest.raises(RecipeError, match="a YAML file"):
        read_override(tmp_path / "nowhere.yaml")


def test_series_that_cannot_be_named_apart_say_so(facts):
    twice = {"number": 5, "name": "AX T2", **AXIAL, "times": [100, 4000]}
    with pytest.raises(ImageError, match="export them with numbers of their own"):
        recognise([facts(**twice), facts(**twice)])


def test_rows_and_table_show_every_decision(facts):
    series = [facts(number=10, name="AX T2 [b]", times=[100, 4000], seq="SE"), facts(number=2, name="ADC")]
    found = recognise(series)
    made = rows(found, series)
    assert [(row["number"], row["decision"], row["set_aside"]) for row in made] == [
        ("2", "", "derived map"),
        ("10", "T2", ""),
    ]
    assert made[1]["reasons"] == "echo time 100 ms, repetition time 4,000 ms: T2-weighted; named `AX T2 [b]`"
    console = Console(width=160, record=True, file=StringIO())
    console.print(explain(found, series))
    text = console.export_text()
    assert "AX T2 [b]" in text
    assert "not found: CT1, T1, FLAIR" in text
