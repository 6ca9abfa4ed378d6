"""The stage: what it writes for a trial, what it refuses, and the examples of docs/timeline.md as they are printed."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import pytest
import yaml
from rich.console import Console

from ranoscope import provenance, runs
from ranoscope.domain import RESEARCH_USE_ONLY
from ranoscope.errors import RunError, TableError
from ranoscope.response.calls import Evaluation
from ranoscope.response.criteria import CRITERIA, RANO_2, RANO_HGG, with_changes
from ranoscope.response.outputs import rating
from ranoscope.response.respond import respond
from ranoscope.response.tables import render_calls
from ranoscope.response.timeline import Measure

DOC = (Path(__file__).parents[2] / "docs" / "timeline.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```(csv|json)\n(.*?)```.*?```text\n(.*?)```", DOC, re.DOTALL)

TABLE = """patient,scan,day,surgery,spd_mm2,new_lesion,non_measurable,t2_flair,steroids,clinical,radiotherapy_end_day
P/1,base,0,,600,,,,stable,,-200
P/1,s1,60,,290,none,absent,stable,stable,stable,
P/1,s2,100,,280,none,absent,stable,stable,stable,
P/1,s3,160,,350,none,absent,stable,stable,stable,
p-1,base,0,,600,,,,,,
p-1,s1,60,,six,,,,,,
Q,base,0,,600,,,,,,
Q,s1,60,,610,,,,,,
"""


@pytest.fixture
def real(tmp_path):
    """Respond to a table in a folder of its own; the folder is ``real.out``."""

    def go(text: str = TABLE, criteria=(RANO_HGG,), measure=Measure.AREA, name="trial.csv", **more):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return respond(path, criteria, measure, go.out, lambda *_: None, **more)

    go.out = tmp_path / "out"
    return go


@pytest.fixture
def run(real, monkeypatch):
    """The same with figures that take no time."""
    monkeypatch.setattr("ranoscope.response.respond.draw_timeline", lambda *_: b"<svg/>")
    return real


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(("kind", "text", "printed"), EXAMPLES, ids=["per-scan", "per-lesion", "json"])
def test_the_examples_in_the_docs(run, kind, text, printed):
    measure = Measure.VOLUME if "volume_mm3" in text else Measure.AREA
    found = run(text, measure=measure, name=f"trial.{kind}")
    told = [
        f"{one.patient} {call.scan} {rating(call)}{'*' if call.provisional else ''}"
        for one in found.evaluations
        for call in one.calls
    ]
    assert told == [" ".join(line.split()) for line in printed.splitlines()]
    assert not found.refused


def test_every_column_is_in_the_docs():
    from ranoscope.response.spreadsheet import COLUMNS, TREATMENTS

    named = set(re.findall(r"`(\w+)`", DOC))
    derived = {f"{treatment}_{unit}" for treatment in TREATMENTS for unit in ("week", "date")}
    assert set(COLUMNS) - derived <= named


def test_what_is_written(run):
    found = run(study="GLIO")
    assert files(run.out) == {
        "calls.csv", "endpoints.csv", "evaluation.json", "settings.yaml", "provenance.json",
        "cdisc/rano-hgg/tu.csv", "cdisc/rano-hgg/tr.csv", "cdisc/rano-hgg/rs.csv",
        "figures/P-1_rano-hgg.svg", "figures/Q_rano-hgg.svg",
    }  # fmt: skip
    calls = rows(run.out / "calls.csv")
    assert [(row["patient"], row["scan"], row["category"], row["preliminary"]) for row in calls] == [
        ("P/1", "base", "", ""), ("P/1", "s1", "SD", "PR"), ("P/1", "s2", "PR", ""), ("P/1", "s3", "PD", ""),
        ("Q", "base", "", ""), ("Q", "s1", "SD", ""),
    ]  # fmt: skip
    first = rows(run.out / "endpoints.csv")[0]
    told = (first["best_confirmed_response"], first["progression_scan"], first["days_to_progression"])
    assert told == ("PR", "s3", "160")
    assert rows(run.out / "cdisc" / "rano-hgg" / "rs.csv")[0]["USUBJID"] == "GLIO-P/1"
    assert [one.patient for one in found.evaluations] == ["P/1", "Q"]


def test_a_bad_patient_is_told_and_stops_nobody(run):
    found = run()
    assert list(found.refused) == ["p-1"]
    assert "`six` for `spd_mm2` on line 7" in found.refused["p-1"]
    content = json.loads((run.out / "evaluation.json").read_text(encoding="utf-8"))
    assert content["refused"] == found.refused
    with pytest.raises(TableError, match="`six`"):
        run("patient,day,spd_mm2\nP,0,six\n")


def test_evaluation_json_holds_everything(run):
    found = run(criteria=CRITERIA)
    content = json.loads((run.out / "evaluation.json").read_text(encoding="utf-8"))
    assert content["note"] == RESEARCH_USE_ONLY
    assert list(content["criteria"]) == [one.name for one in CRITERIA]
    again = [
        Evaluation.model_validate({"patient": patient["patient"], **{k: v for k, v in one.items() if k != "series"}})
        for patient in content["patients"]
        for one in patient["evaluations"]
    ]
    assert tuple(again) == found.evaluations
    series = content["patients"][0]["evaluations"][1]["series"]
    assert series[0]["time_to_progression"] == {"start": "base", "end": "s3", "days": 160, "event": True}


def test_settings_and_provenance(run):
    run(criteria=(with_changes(RANO_HGG, ["confirmation_days=41"]),))
    recorded = yaml.safe_load((run.out / "settings.yaml").read_text(encoding="utf-8"))["respond"]
    assert recorded["criteria"][0]["confirmation_days"] == 41
    made = json.loads((run.out / "provenance.json").read_text(encoding="utf-8"))["respond"]
    assert made["inputs"] == {"timeline": provenance.file_hash(run.out.parent / "trial.csv")}
    # 40 days apart confirm nothing then, in the calls and in the endpoints alike.
    assert [row["category"] for row in rows(run.out / "calls.csv")][:3] == ["", "SD", "SD"]
    assert rows(run.out / "endpoints.csv")[0]["best_confirmed_response"] == "SD"


def test_the_same_input_gives_the_same_files(real):
    real()
    before = {name: (real.out / name).read_bytes() for name in files(real.out) if name != "provenance.json"}
    real()
    assert before == {name: (real.out / name).read_bytes() for name in files(real.out) if name != "provenance.json"}


def test_what_an_earlier_call_left_is_gone(run):
    run(criteria=CRITERIA)
    assert "comparison.csv" in files(run.out)
    (run.out / "notes.txt").write_text("mine")
    run("patient,day,spd_mm2\nR,0,600\nR,60,300\n")
    assert files(run.out) == {
        "calls.csv", "endpoints.csv", "evaluation.json", "settings.yaml", "provenance.json", "notes.txt",
        "cdisc/rano-hgg/tu.csv", "cdisc/rano-hgg/tr.csv", "cdisc/rano-hgg/rs.csv", "figures/R_rano-hgg.svg",
    }  # fmt: skip


def test_a_failure_leaves_the_earlier_result(run):
    run()
    before = (run.out / "evaluation.json").read_bytes()
    with pytest.raises(TableError):
        run("patient,day\nR,0\n")
    assert (run.out / "evaluation.json").read_bytes() == before


def test_an_interrupted_call_is_never_taken_for_a_finished_one(run, monkeypatch):
    run()

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("ranoscope.response.respond.draw_timeline", stop)
    with pytest.raises(KeyboardInterrupt):
        run()
    assert "evaluation.json" not in files(run.out)


def test_another_commands_folder_is_refused(run):
    provenance.record(run.out, "crossval", {}, {})
    (run.out / runs.CALLS).write_text("theirs")
    with pytest.raises(RunError, match="a folder of its own, got the output of `crossval`"):
        run()
    assert (run.out / runs.CALLS).read_text() == "theirs"


def test_names_of_patients_make_safe_names_of_files(real):
    text = "patient,day,spd_mm2\n../x,0,600\n..x,0,600\n..X,0,600\nÄ,0,600\n$a$_{,0,600\n"
    real(text)
    assert {name for name in files(real.out) if name.startswith("figures")} == {
        "figures/x_rano-hgg.svg", "figures/x_rano-hgg_2.svg", "figures/X_rano-hgg_3.svg",
        "figures/patient_rano-hgg.svg", "figures/a_rano-hgg.svg",
    }  # fmt: skip
    assert files(real.out.parent) == {"trial.csv", *(f"out/{name}" for name in files(real.out))}


def test_no_date_reaches_any_output(real):
    text = "patient,date,radiotherapy_end_date,spd_mm2\nP,1987-11-30,1987-06-05,600\nP,1988-02-03,,290\n"
    real(text)
    for name in files(real.out):
        if name != "provenance.json":
            content = (real.out / name).read_text(encoding="utf-8")
            assert not re.search(r"1987|1988|87-11|30\.11", content), name


def test_a_measure_that_nobody_has_is_told(run):
    found = run("patient,day,volume_mm3\nP,0,6000\nP,60,3000\n")
    assert found.notes == ("No area is known of P, but volumes are: `--measure volume` uses them.",)
    assert not run("patient,day,volume_mm3\nP,0,6000\nP,60,3000\n", measure=Measure.VOLUME).notes
    lesions = "patient,day,lesion,longest_mm,perpendicular_mm\nP,0,L1,20,20\nP,60,none,,\n"
    assert not run(lesions).notes
    assert "No volume is known of P, but areas are" in run(lesions, measure=Measure.VOLUME).notes[0]
    assert not run("patient,day,lesion,longest_mm\nP,0,none,\nP,60,none,\n", measure=Measure.VOLUME).notes


def test_notes_of_the_engine_are_told_once_with_their_patient(run):
    found = run("patient,scan,day,spd_mm2\nP,a,0,600\nP,b,0,590\nP,c,60,580\n", criteria=CRITERIA)
    assert found.notes == ("P: a and b are on one day (0); the order given is kept.",)


def test_progress_counts_every_figure(run, tmp_path):
    told = []
    (tmp_path / "t.csv").write_text(TABLE)
    criteria = (RANO_HGG, RANO_2)
    respond(tmp_path / "t.csv", criteria, Measure.AREA, tmp_path / "out", lambda *step: told.append(step))
    assert told == [(1, 4, "P/1"), (2, 4, "P/1"), (3, 4, "Q"), (4, 4, "Q")]


def printed(found) -> str:
    console = Console(width=80, force_terminal=False)
    with console.capture() as caught:
        console.print(render_calls(found.evaluations, found.endpoints))
    return caught.get()


def test_one_patient_in_the_terminal(run):
    text = printed(run("\n".join(TABLE.splitlines()[:5]) + "\n"))
    lines = [line.split() for line in text.splitlines()]
    # 350 against the nadir of 280 is +25.0 %, against 600 −41.7 %.
    assert ["s3", "160", "PD", "350", "+25.0", "%", "-41.7", "%"] in [line[:8] for line in lines]
    assert ["s1", "60", "SD", "(PR?)", "290", "-51.7", "%", "-51.7", "%"] in [line[:9] for line in lines]
    assert "s3 Growth by the threshold of progression or more is progression." in text
    assert "0 of 3 calls are provisional." in text
    assert ["P/1", "rano-hgg", "4", "PR", "PR", "s3", "160"] in lines


def test_criteria_side_by_side_in_the_terminal(run):
    changed = with_changes(RANO_2, ["parts.enhancing.thresholds.area.progression=20"])
    text = printed(run("patient,day,spd_mm2\nP,0,500\nP,60,610\nP,99,630\n", criteria=(RANO_HGG, changed)))
    lines = [line.split() for line in text.splitlines()]
    assert ["Scan", "Day", "rano-hgg", "rano2"] in lines
    # +22 % is progression under the changed limit alone, +26 % under both.
    assert ["day-60", "≠", "60", "SD*", "PD*"] in lines
    assert ["day-99", "99", "PD*", "PD*"] in lines
    assert "day-60 rano-hgg: SD – Neither progression nor response. rano2: PD – Growth" in " ".join(text.split())


def test_there_is_no_percentage_of_nothing(run):
    lines = [line.split() for line in printed(run("patient,day,spd_mm2\nP,0,600\nP,60,0\nP,120,0\n")).splitlines()]
    assert ["day-60", "60", "SD", "(CR?)*", "0", "-100.0", "%", "-100.0", "%", "0", "%"] in lines
    assert ["day-120", "120", "CR*", "0", "-100.0", "%", "0", "%"] in lines


def test_many_patients_in_the_terminal(run):
    lines = [line.split() for line in printed(run()).splitlines()]
    assert ["P/1", "rano-hgg", "4", "PR", "PR", "s3", "160"] in lines
    assert ["Q", "rano-hgg", "2", "SD", "SD", "none", "60+"] in lines
