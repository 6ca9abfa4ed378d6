"""Sizes and reasons in the expert's free text: every spelling that occurs, and that nothing like a size is lost."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ranoscope.cohort.rationale import LesionRole, Trend, read_rationale

LUMIERE = Path(__file__).parents[3] / "shared" / "data" / "lumiere_tables" / "LUMIERE-ExpertRating-v202211.csv"
TARGET, NON_TARGET, UNSAID = LesionRole.TARGET, LesionRole.NON_TARGET, Trend.UNSAID
NEW = Trend.NEW


def sizes(text):
    return [(one.longest_mm, one.perpendicular_mm, one.role, one.trend) for one in read_rationale(text).sizes]


# Made-up texts in the table's own forms.
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Target L.: 14mm x 27mm", [(27, 14, TARGET, UNSAID)]),
        ("TL 9 x 17 mm", [(17, 9, TARGET, UNSAID)]),
        ("T2-Progr.,Target L.: 12 x 26 mm", [(26, 12, TARGET, UNSAID)]),
        ("new target L. 19 mmx 24mm", [(24, 19, TARGET, NEW)]),
        ("target L. 10.5mm x 9.5mm", [(10.5, 9.5, TARGET, UNSAID)]),
        ("Target L.: 1 13mm x 14mm, new non-target L.", [(14, 13, TARGET, UNSAID)]),
        ("Target L: 1, 13mm x 16mm", [(16, 13, TARGET, UNSAID)]),
        ("Target L.: 2, 12mm x 12mm,  22mm x 17mm", [(12, 12, TARGET, UNSAID), (22, 17, TARGET, UNSAID)]),
        ('Two new target L.: 12mm x 28m and 17mm x 31mm"', [(28, 12, TARGET, NEW), (31, 17, TARGET, NEW)]),
        ("Target L.: 2, 16mm x 25mm, new TL 23mm x 47mm", [(25, 16, TARGET, UNSAID), (47, 23, TARGET, NEW)]),
        (
            "Target L.: 18mm x 20mm, new 15mm x 17mm and 12mm x 21mm",
            [(20, 18, TARGET, UNSAID), (17, 15, TARGET, NEW), (21, 12, TARGET, NEW)],
        ),
        ("Target L.: 13mm x 24mm (static), new 15mm x 27mm", [(24, 13, TARGET, Trend.STABLE), (27, 15, TARGET, NEW)]),
        ("Target L.: 17mm x 24mm (new), 11mm x 12mm", [(24, 17, TARGET, NEW), (12, 11, TARGET, UNSAID)]),
        ("Target L.: 17mm x 24mm, 11mm x 12mm (new)", [(24, 17, TARGET, UNSAID), (12, 11, TARGET, NEW)]),
        (
            "Three target L.: stable 14mm x 25mm, progressing 19mm x 31mm and 15mm x 32mm",
            [(25, 14, TARGET, Trend.STABLE), (31, 19, TARGET, Trend.PROGRESSING), (32, 15, TARGET, Trend.PROGRESSING)],
        ),
        ("Regressing target L. 13mm x 21mm, regressing non-target L.", [(21, 13, TARGET, Trend.REGRESSING)]),
        (
            "old target L. 29mm x 21mm, new target L. 44mm x 35mm, 11mm x 10mm",
            [(29, 21, TARGET, Trend.OLD), (44, 35, TARGET, NEW), (11, 10, TARGET, NEW)],
        ),
        ("Non-Target L.: 12mm x 21mm", [(21, 12, NON_TARGET, UNSAID)]),
        ("non-target L.: 1, target L.: 31mm x 21mm", [(31, 21, TARGET, UNSAID)]),
        ("Target L.: 1, Non-Target L.: 0, 31mm x 18mm", [(31, 18, TARGET, UNSAID)]),
        (
            "Target L.: 1, Non-Target L.: 2, 42mm x 28mm, 12mm x 15mm",
            [(42, 28, TARGET, UNSAID), (15, 12, NON_TARGET, UNSAID)],
        ),
        ("Target L.: 16.5mm x 12mm, non-measurable L. to target L., 25% more SPD", [(16.5, 12, TARGET, UNSAID)]),
        ("target lesion 22mm", [(22, None, TARGET, UNSAID)]),
        ("1.5 x 2 cm", [(20, 15, LesionRole.UNSAID, UNSAID)]),
        ("No size at all, less than 3 months, 45% less than on 20100101, >25%, week 12-14", []),
        ("", []),
    ],
)
def test_sizes(text, expected):
    found = read_rationale(text)
    assert sizes(text) == expected
    assert found.unread == ()


@pytest.mark.parametrize(
    ("text", "unread"),
    [
        ("Target L.: 10-12mm", ("10-12mm",)),
        ("Target L.: 11mm x 12mm x 13mm", ("11mm x 12mm x 13mm",)),
        # One and a half by ..., or lesion count 1 and a length of 5 mm?
        ("Target L.:1,5mm x 7mm", ("1,5mm x 7mm",)),
        ("grown by several mm", ("by several mm",)),
        ("12mm³", ("12mm",)),
        ("15m", ("15m",)),
    ],
)
def test_what_cannot_be_read_without_guessing_is_told(text, unread):
    found = read_rationale(text)
    assert found.sizes == ()
    assert found.unread == unread


def test_what_the_reading_assumed_is_noted():
    notes = [one.notes for one in read_rationale("target L. approx. 44mm x 79m, 12 x 13").sizes]
    assert notes == [("m read as mm", "approximate"), ("no unit, read as mm",)]
    (size,) = read_rationale("Target L.: 1, Non-Target L.: 1, 18mm x 21mm").sizes
    assert size.notes == ("role by the counts",)
    assert size.product_mm2 == 378


@pytest.mark.parametrize(
    ("text", "facts"),
    [
        ("T2-Progr., new non-target L.", {"t2_progression", "new_lesion", "non_target"}),
        ("discrete T2 Progr. in the high-dose field", {"t2_progression", "in_radiation_field"}),
        ("New non-measurable L.", {"new_lesion", "new_non_measurable", "non_measurable"}),
        ("Growth, perhaps within the irradiated tissue", {"in_radiation_field"}),
        ("with Avastin", {"bevacizumab"}),
        ("SPD reduction of 45%", {"regression"}),
        ("Target L.: 1, Non-Target L.: 0", set()),
        ("None", set()),
    ],
)
def test_named_reasons(text, facts):
    found = read_rationale(text)
    names = ("new_lesion", "new_non_measurable", "non_measurable", "non_target", "t2_progression", "regression",
             "in_radiation_field", "bevacizumab")  # fmt: skip
    assert {name for name in names if getattr(found, name)} == facts


@pytest.mark.parametrize(("text", "resection"), [("CRET", "CRET"), ("PRET (ventral)", "PRET"), ("", None)])
def test_resection(text, resection):
    assert read_rationale(text).resection == resection


number = st.integers(1, 1999).map(lambda tenths: tenths / 10)
spelling = st.sampled_from(["{}mm x {}mm", "{} x {} mm", "{} mmx {}mm", "{}MM X {}MM", "{} mm × {} mm"])


@given(st.lists(st.tuples(number, number, spelling), max_size=5), st.sampled_from([", ", " and ", "; "]))
def test_any_list_of_sizes_is_read_whole(pairs, joint):
    text = "Target L.: " + joint.join(form.format(f"{a:g}", f"{b:g}") for a, b, form in pairs)
    assert sizes(text) == [(max(a, b), min(a, b), TARGET, UNSAID) for a, b, _ in pairs]
    assert read_rationale(text).unread == ()


@given(st.text(alphabet="0123456789.,- xm×cTLnewtarg()³", max_size=40))
def test_every_millimetre_is_accounted_for(text):
    found = read_rationale(text)
    read = sum(len(re.findall("mm", text[one.start : one.end])) for one in found.sizes)
    unread = sum(len(re.findall("mm", one)) for one in found.unread)
    stray = re.findall(r"(?<![a-zA-Z])mm(?![a-zA-Z])", text)
    assert read + unread >= len(stray)


@pytest.fixture(scope="module")
def real():
    if not LUMIERE.is_file():
        pytest.skip("LUMIERE's tables are not beside the checkout")
    with LUMIERE.open(encoding="utf-8-sig", newline="") as stream:
        return [(row[0], row[1], row[5]) for row in csv.reader(stream)][1:]


def test_nothing_like_a_size_is_lost_in_the_real_table(real):
    """Two independent counts: the letters "mm", and numbers joined by an "x"."""
    assert len(real) == 482
    for patient, week, text in real:
        found = read_rationale(text)
        place = f"{patient}/{week}: {text}"
        assert found.unread == (), place
        rest = text
        for one in reversed(found.sizes):
            rest = rest[: one.start] + rest[one.end :]
        assert "mm" not in rest, place
        assert not re.search(r"\d\s*m?m?\s*x\s*\d", rest), place
        assert len(found.sizes) == len(re.findall(r"x\s*\d", text)), place


def test_real_counts(real):
    stated = [(patient, week, one) for patient, week, text in real for one in read_rationale(text).sizes]
    assert len(stated) == 157
    assert len({(patient, week) for patient, week, _ in stated}) == 116
    assert len({patient for patient, _, _ in stated}) == 49
    assert all(one.perpendicular_mm is not None for _, _, one in stated)
    # Every lesion the expert measured is measurable: 10 mm or more in both directions.
    assert min(one.perpendicular_mm for _, _, one in stated) == 10
    assert sum(one.role is NON_TARGET for _, _, one in stated) == 3
    assert sum(one.role is LesionRole.UNSAID for _, _, one in stated) == 0


def test_real_reasons_by_their_letters(real):
    """The facts against plain searches in the text."""
    for name, word in (("t2_progression", "t2"), ("new_lesion", "new"), ("bevacizumab", "avastin")):
        said = [text for _, _, text in real if getattr(read_rationale(text), name)]
        assert said == [text for _, _, text in real if word in text.casefold()], name
