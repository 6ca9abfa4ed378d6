"""TIMELINE files: a typed table and JSON become the same timelines; faults are named with their lines."""

from __future__ import annotations

import csv
import io
import json
from datetime import date, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ranoscope.errors import TableError
from ranoscope.response.reading import read_timeline_file, read_timelines, timeline_schema
from ranoscope.response.spreadsheet import COLUMNS
from ranoscope.response.timeline import (
    Change,
    Compartment,
    Lesion,
    NewLesion,
    NonMeasurable,
    Role,
    Scan,
    Sizes,
    Steroids,
    Surgery,
    Timeline,
)

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture
def read(tmp_path):
    """Write text as a file and read it as the command does."""

    def run(text: str, name: str = "trial.csv"):
        path = tmp_path / name
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return read_timeline_file(path)

    return run


def refusal(read, text: str, name: str = "trial.csv") -> str:
    with pytest.raises(TableError) as raised:
        read(text, name)
    return str(raised.value)


def patient_refusal(read, text: str, patient: str, name: str = "trial.csv") -> str:
    return str(read(text, name).refused[patient])


def test_a_row_per_scan(read):
    found = read(
        "patient,scan,day,surgery,spd_mm2,volume_mm3,new_lesion,t2_flair,steroid_mg_per_day,clinical,"
        "non_measurable,anti_angiogenic,radiotherapy_end_day,recurrent,steroids\n"
        "P-1,s1,0,Post-Op ,,,,,,,,,45,no,\n"
        "P-1,s2,70,,600,9000.5,no,stable,4,Stable,none,yes,,,physiological\n"
        "P-1,s3,126,,n/a,unknown,measurable,worse,0,worse,present,no,45,,no\n"
        "P-2,s1,3,,500,,,,,,,,,,\n"
    )
    assert not found.refused
    one, other = found.timelines
    assert one == Timeline(
        patient="P-1",
        radiotherapy_end_day=45,
        recurrent=False,
        scans=(
            Scan(id="s1", day=0, surgery=Surgery.POST_OP),
            Scan(
                id="s2", day=70, enhancing=Sizes(spd_mm2=600, volume_mm3=9000.5), new_lesion=NewLesion.NONE,
                t2_flair=Change.STABLE, steroid_mg_per_day=4, clinical=Change.STABLE,
                non_measurable=NonMeasurable.ABSENT, anti_angiogenic=True, steroids=Steroids.PHYSIOLOGICAL,
            ),
            Scan(
                id="s3", day=126, new_lesion=NewLesion.MEASURABLE, t2_flair=Change.WORSE, steroid_mg_per_day=0,
                clinical=Change.WORSE, non_measurable=NonMeasurable.PRESENT, anti_angiogenic=False,
                steroids=Steroids.NONE,
            ),
        ),
    )  # fmt: skip
    assert other.scans[0].enhancing.spd_mm2 == 500
    assert other.scans[0].lesions is None


def test_a_row_per_lesion(read):
    found = read(
        "scan,week,lesion,compartment,role,longest_mm,perpendicular_mm,volume_mm3,slices,measurable,clinical\n"
        "a,0,L1,,target,20,15,1800,4,,stable\n"
        "a,0,L2,nonenhancing,,12,10,,3,yes,\n"
        "b,8,none,,,,,,,,\n"
        "c,16,,,,,,,,,worse\n"
        "d,24,,,,,,0,,,\n"
    )
    (timeline,) = found.timelines
    a, b, c, d = timeline.scans
    assert timeline.patient == "patient"
    assert a.lesions == (
        Lesion(id="L1", role=Role.TARGET, longest_mm=20, perpendicular_mm=15, volume_mm3=1800, slices=4),
        Lesion(id="L2", compartment=Compartment.NONENHANCING, longest_mm=12, perpendicular_mm=10, slices=3,
               measurable=True),
    )  # fmt: skip
    assert a.enhancing == Sizes()
    # Told that none was found, not told, and told a sum of 0 are three different things.
    assert (b.lesions, c.lesions, d.lesions) == ((), None, None)
    assert (b.day, c.day, c.clinical, d.enhancing.volume_mm3) == (56, 112, "worse", 0)
    assert found.notes == ("Times are known to the week: an interval may be up to 6 days longer or shorter.",)


def test_sorted_by_lesion_is_in_order_too(read):
    (timeline,) = read(
        "day,lesion,longest_mm,perpendicular_mm\n0,L1,20,15\n56,L1,21,15\n0,L2,12,10\n56,L2,12,11\n"
    ).timelines
    assert [(scan.id, [one.id for one in scan.lesions]) for scan in timeline.scans] == [
        ("day-0", ["L1", "L2"]),
        ("day-56", ["L1", "L2"]),
    ]


def test_dates_become_days_and_go_no_further(read):
    found = read(
        "patient,date,radiotherapy_end_date,immunotherapy_start_week,spd_mm2\n"
        "P,2020-12-30,2020-11-30,4,600\nP,2021-02-28 00:00:00,,,500\nP,20210301,,,400\n"
    )
    (timeline,) = found.timelines
    assert [(scan.id, scan.day) for scan in timeline.scans] == [("day-0", 0), ("day-60", 60), ("day-61", 61)]
    assert (timeline.radiotherapy_end_day, timeline.immunotherapy_start_day) == (-30, 28)
    assert "20" not in timeline.model_dump_json().replace("day", "")


def test_no_message_repeats_a_date(read):
    text = "patient,date,scan,spd_mm2\nP,4.3.2021,a,600\nP,2021-04-31,b,600\nQ,2021-03-04,a,1\nQ,2021-03-01,b,1\n"
    text += "R,2021-03-04,MR 2021-03-04,1\n"
    found = read(text)
    assert list(found.refused) == ["P", "Q", "R"]
    assert "a cell for `date` on line 2 (YYYY-MM-DD); a cell for `date` on line 3" in str(found.refused["P"])
    assert "scan b of day -3 on line 5 after scan a of day 0 on line 4 (put rows in order of time)" in str(
        found.refused["Q"]
    )
    assert "a date in the name of the scan line 6" in str(found.refused["R"])
    assert not any("2021" in str(error) for error in found.refused.values())


def test_weeks_named_as_in_lumiere(read):
    found = read("patient,scan,volume_mm3\nP,week-000-1,1\nP,week-000-2,2\nP,week-012,3\nQ,first,4\n")
    assert [(scan.id, scan.day) for scan in found.timelines[0].scans] == [
        ("week-000-1", 0),
        ("week-000-2", 0),
        ("week-012", 84),
    ]
    assert "`first` for `scan` on line 5 (week-NNN, or a column `day`, `week` or `date`)" in str(found.refused["Q"])


def test_two_scans_of_one_day_keep_their_order(read):
    (timeline,) = read("week,spd_mm2\n0,700\n40,600\nweek-040,500\n40,400\n").timelines
    assert [(scan.id, scan.enhancing.spd_mm2) for scan in timeline.scans] == [
        ("week-000", 700),
        ("week-040", 600),
        ("week-040-2", 500),
        ("week-040-3", 400),
    ]


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_a_european_spreadsheet(read, delimiter):
    text = "\ufeffPatient;Day;Longest_mm;Perpendicular_mm;Lesion\r\nP;0;12,5;10,25;L1\r\n;;;;\r\n".replace(
        ";", delimiter
    )
    (timeline,) = read(text).timelines
    assert timeline.scans[0].lesions[0].product_mm2 == 12.5 * 10.25


def test_every_bad_cell_of_a_patient_is_listed_and_others_stand(read):
    text = (
        "patient,scan,day,spd_mm2,t2_flair,radiotherapy_end_day\n"
        "P,a,0,600,,10\nP,b,56,-3,wors,12\nP,c,soon,inf,,\nQ,a,0,600,,\n"
    )
    message = patient_refusal(read, text, "P")
    for part in (
        "`-3` for `spd_mm2` on line 3 (greater than or equal to 0)",
        "`wors` for `t2_flair` on line 3 ('better', 'stable' or 'worse')",
        "`soon` for `day` on line 4 (a whole number)",
        "`inf` for `spd_mm2` on line 4 (a finite number)",
        "different `radiotherapy_end_day` of the patient on lines 2 and 3",
        "in trial.csv, patient P; correct this patient.",
    ):
        assert part in message
    assert [one.patient for one in read(text).timelines] == ["Q"]


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ("a,0,L1,20,10,\na,0,L1,20,10,\n", "lesion L1 of scan a on lines 2 and 3"),
        ("a,0,,,,5\na,0,,,,5\n", "scan a on lines 2 and 3"),
        ("a,0,L1,20,10,\na,7,L2,20,10,\n", "several times for scan a on lines 2 and 3"),
        ("a,0,,20,10,\n", "`longest_mm` without a `lesion` on line 2"),
        ("a,0,none,20,,\n", "`longest_mm` beside the lesion `none` on line 2"),
        ("a,0,none,,,\na,0,L1,20,10,\n", "the lesion `none` and others in scan a on lines 2 and 3"),
        ("a,0,L1,10,20,\n", "lesion L1 of scan a on line 2 wider than long"),
        ("a,0,L1,20,10,5\na,0,L2,20,10,6\n", "different `spd_mm2` of scan a on lines 2 and 3"),
        ("a,,L1,20,10,\n", "nothing for `day` on line 2 (a whole number)"),
        ("a,9,L1,20,10,\nb,3,L1,20,10,\n", "scan b of day 3 on line 3 after scan a of day 9 on line 2"),
    ],
)
def test_contradictions_of_rows(read, rows, expected):
    assert expected in patient_refusal(read, f"scan,day,lesion,longest_mm,perpendicular_mm,spd_mm2\n{rows}", "patient")


def test_no_steroids_beside_a_dose_of_them_is_a_contradiction(read):
    text = "patient,scan,day,spd_mm2,steroids,steroid_mg_per_day\nP,a,0,600,none,8\nQ,a,0,600,none,0\n"
    assert "no steroids and 8 mg of them a day at scan a on line 2" in patient_refusal(read, text, "P")
    assert [one.patient for one in read(text).timelines] == ["Q"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("patient,day,volume_ml\nP,0,1\n", "`volume_ml` (nearest: `volume_mm3`)"),
        ("patient,day,spd_mm2,steroid_dose\nP,0,1,1\n", "`steroid_dose` (nearest: `steroids`)"),
        ("patient,day,spd_mm2,spd_mm2\nP,0,1,1\n", "`spd_mm2` twice"),
        ("patient,day,week,spd_mm2\nP,0,0,1\n", "`day` and `week` together"),
        ("patient,spd_mm2\nP,1\n", "no `day`, `week`, `date` or `scan`"),
        ("patient,day,clinical\nP,0,worse\n", "no size (spd_mm2, volume_mm3,"),
        ("day,spd_mm2,radiotherapy_end_date\n0,1,2021-01-01\n", "`radiotherapy_end_date` beside scans without"),
        ("patient,day,spd_mm2\n", "a header alone"),
        ("", "no size"),
        ("patient,day,spd_mm2\nP,0,1\n,7,1\n", "an empty cell on line 3"),
        ("patient,day,spd_mm2\nP,0,1,000\nP,7,1\n", "4 on line 2"),
        ('patient,day,spd_mm2\nP,0,"1\n', "CSV as UTF-8 text"),
        ("patient,day,spd_mm2\nP\xe4,0,1\n".encode("latin-1"), "CSV as UTF-8 text"),
    ],
)
def test_tables_that_cannot_be_read(read, text, expected):
    assert expected in refusal(read, text)


JSON_PATIENT = {"patient": "P", "scans": [{"id": "a", "day": 0, "enhancing": {"spd_mm2": 600}}]}


def test_json_of_one_patient_of_several_and_in_a_folder(read, tmp_path):
    expected = Timeline(patient="P", scans=(Scan(id="a", day=0, enhancing=Sizes(spd_mm2=600)),))
    assert read(json.dumps(JSON_PATIENT), "one.json").timelines == (expected,)
    several = read(json.dumps([JSON_PATIENT, {**JSON_PATIENT, "patient": "Q"}]), "several.json")
    assert [one.patient for one in several.timelines] == ["P", "Q"]
    (tmp_path / "timeline.json").write_text(expected.model_dump_json())
    assert read_timelines(tmp_path) == (expected,)


def test_faults_in_json_name_patient_scan_and_field(read):
    bad = [
        {
            "patient": "P",
            "scan": [],
            "scans": [
                {"id": "a", "day": 0, "enhancing": {"spd_mm": 3}},
                {"id": "b", "day": "x", "lesions": [{"id": "L1", "longest_mm": -2}], "steroid": "no"},
                {"day": 5},
            ],
        },
        {"patient": "Q", "scans": [{"id": "a", "day": 9}, {"id": "b", "day": 3}]},
        {"patient": "R", "scans": [{"id": "2021-03-04", "day": 9}]},
        {"patient": "S", "scans": []},
        JSON_PATIENT | {"patient": "T"},
        JSON_PATIENT | {"patient": "T"},
        JSON_PATIENT | {"patient": "U", "baseline": "z"},
    ]
    refused = {name: str(error) for name, error in read(json.dumps(bad), "x.json").refused.items()}
    for part in (
        "the unknown `spd_mm` of scan a (nearest: `spd_mm2`)",
        "`x` for `day` of scan b",
        "`-2` for `longest_mm` of scan b, lesion L1 (greater than or equal to 0)",
        "the unknown `steroid` of scan b (nearest: `steroids`)",
        "no `id` of scan number 3",
        "the unknown `scan` (nearest: `scans`)",
        "in x.json, patient P;",
    ):
        assert part in refused["P"]
    assert "b on day 3 after a on day 9" in refused["Q"]
    assert "a date in the name of the scan of day 9" in refused["R"]
    assert "2021" not in refused["R"]
    assert "at least one scan" in refused["S"]
    assert "the patient twice" in refused["T"]
    assert "`z`" in refused["U"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [("{", "JSON as UTF-8 text"), ("[]", "a list of them"), ("3", "a list of them"), ("[3]", "a list of them")],
)
def test_json_that_is_no_timeline(read, text, expected):
    assert expected in refusal(read, text, "x.json")


def test_strict_reading_refuses_a_single_bad_patient(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("patient,day,spd_mm2\nP,0,600\nQ,0,-1\n")
    with pytest.raises(TableError, match="patient Q"):
        read_timelines(path)
    with pytest.raises(TableError, match="no such file"):
        read_timelines(tmp_path / "nowhere.csv")
    with pytest.raises(TableError, match="no such file"):
        read_timelines(tmp_path)


def test_every_field_of_the_vocabulary_has_its_column():
    nested = {"id", "scans", "lesions", "enhancing", "nonenhancing"}
    for model in (Timeline, Scan, Lesion):
        assert set(model.model_fields) - nested <= set(COLUMNS)


def test_the_schema_in_docs_is_current():
    """If this fails, write it again: ``json.dumps(timeline_schema(), indent=2)`` with a line end."""
    assert json.loads((DOCS / "timeline.schema.json").read_text(encoding="utf-8")) == timeline_schema()


PLAIN = st.builds(
    Scan,
    id=st.just("?"),
    day=st.just(0),
    enhancing=st.builds(Sizes, spd_mm2=st.none() | st.integers(0, 5000), volume_mm3=st.none() | st.floats(0, 1e6)),
    nonenhancing=st.builds(Sizes, spd_mm2=st.none() | st.integers(0, 5000)),
    surgery=st.none() | st.sampled_from(Surgery),
    new_lesion=st.none() | st.sampled_from(NewLesion),
    steroids=st.none() | st.sampled_from(Steroids),
    clinical=st.none() | st.sampled_from(Change),
    leptomeningeal=st.none() | st.booleans(),
)


@given(st.lists(st.tuples(PLAIN, st.integers(0, 90)), min_size=1, max_size=5), st.booleans(), st.dates())
def test_what_is_typed_is_what_is_read(tmp_path_factory, drawn, dated, start):
    """Any scans, written as a table by days or by dates, come back as they were."""
    day, scans = 0, []
    for number, (scan, step) in enumerate(drawn):
        day += step if number else 0
        scans.append(scan.model_copy(update={"id": f"s{number}", "day": day}))
    if dated and (date.max - start).days < day:
        return
    columns = {"new_lesion", "steroids", "surgery", "clinical", "leptomeningeal"}
    rows = [
        {
            "scan": scan.id,
            **({"date": start + timedelta(scan.day)} if dated else {"day": scan.day}),
            "spd_mm2": scan.enhancing.spd_mm2,
            "volume_mm3": scan.enhancing.volume_mm3,
            "nonenhancing_spd_mm2": scan.nonenhancing.spd_mm2,
            **{name: getattr(scan, name) for name in columns},
        }
        for scan in scans
    ]
    text = io.StringIO()
    table = csv.DictWriter(text, list(rows[0]))
    table.writeheader()
    table.writerows(rows)
    path = tmp_path_factory.mktemp("typed") / "t.csv"
    path.write_text(text.getvalue(), encoding="utf-8")
    assert read_timelines(path)[0].scans == tuple(scans)
