"""Order, failures and resumption over many studies; the work itself is played by a worker that writes what is asked."""

from __future__ import annotations

import json

import pytest

from ranoscope.cohort import layout
from ranoscope.domain import Sequence, Visit
from ranoscope.errors import ImageError, RunError
from ranoscope.preparing.inputs import Inputs, RawStudy
from ranoscope.preparing.prepare import QUALITY, SERIES, choose_series, prepare
from ranoscope.preparing.quality import Quality
from ranoscope.preparing.series import Series, SeriesFacts
from ranoscope.preparing.settings import PrepareSettings
from ranoscope.runs import read_csv, write_json


def unread():
    raise AssertionError("no voxel is asked for")


def study(patient, week, names=("T1", "T2"), named=True):
    series = tuple(Series(SeriesFacts(file_name=name, modality="MR"), f"{patient}, {name}", unread) for name in names)
    which = {Sequence(name): one for name, one in zip(names, series, strict=True)} if named else {}
    return RawStudy(patient, Visit(week), series, which, None, (), f"{patient}/{Visit(week)}")


class Player:
    """Writes the file by which a finished study is known; studies in ``failing`` fail."""

    def __init__(self, failing=(), stop_after=None):
        self.failing, self.stop_after = set(failing), stop_after
        self.asked = []

    def __call__(self, tasks):
        for task in tasks:
            if self.stop_after is not None and len(self.asked) >= self.stop_after:
                raise KeyboardInterrupt
            first = None if task.first is None else task.first.name
            self.asked.append((task.key.patient, task.key.visit.week, first))
            if (task.key.patient, task.key.visit.week) in self.failing:
                yield Quality(task.key.patient, str(task.key.visit), "failed", problems="no head")
                continue
            quality = Quality(task.key.patient, str(task.key.visit), "ok", reference="T1", brain_ml=1400.0)
            write_json(task.folder / layout.PREPARED, {"made_from": task.made_from, "quality": quality.row()})
            yield quality


@pytest.fixture
def inputs():
    return Inputs((study("Patient-001", 0), study("Patient-001", 8), study("Patient-001", 20), study("P2", 3)), ())


def run(inputs, out, player, settings=None):
    heard = []
    choice = choose_series(inputs, None)
    done = prepare(choice, out, settings or PrepareSettings(), lambda *told: heard.append(told), player)
    return done, heard


def statuses(done):
    return [(one.patient, one.study, one.status) for one in done.qualities]


def test_later_studies_wait_for_their_patients_first(inputs, tmp_path):
    player = Player()
    done, heard = run(inputs, tmp_path, player)
    assert player.asked == [
        ("Patient-001", 0, None), ("P2", 3, None), ("Patient-001", 8, "week-000"), ("Patient-001", 20, "week-000"),
    ]  # fmt: skip
    assert [one.status for one in done.qualities] == ["ok"] * 4
    assert heard[0][:2] == (0, 4)
    assert heard[-1][:2] == (4, 4)
    table = read_csv(tmp_path / QUALITY, "prepare", ("patient", "study", "status", "brain_ml", "problems"))
    assert list(table["study"]) == ["week-003", "week-000", "week-008", "week-020"]
    assert set(table["brain_ml"]) == {"1400.0"}


def test_a_first_study_that_fails_hands_its_place_on(inputs, tmp_path):
    player = Player(failing={("Patient-001", 0)})
    done, _ = run(inputs, tmp_path, player)
    assert ("Patient-001", 8, None) in player.asked
    assert ("Patient-001", 20, "week-008") in player.asked
    assert ("Patient-001", "week-000", "failed") in statuses(done)
    assert [one.problems for one in done.failed] == ["no head"]


def test_a_patient_of_whom_nothing_can_be_prepared_stops_nobody(inputs, tmp_path):
    failing = {("Patient-001", week) for week in (0, 8, 20)}
    done, _ = run(inputs, tmp_path, Player(failing))
    assert statuses(done)[0] == ("P2", "week-003", "ok")
    assert len(done.failed) == 3


def test_interrupted_it_goes_on_where_it_stopped(inputs, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run(inputs, tmp_path, Player(stop_after=3))
    player = Player()
    done, _ = run(inputs, tmp_path, player)
    assert player.asked == [("Patient-001", 20, "week-000")]
    assert done.resumed == 3
    assert [one.status for one in done.qualities] == ["ok"] * 4
    again = Player()
    assert run(inputs, tmp_path, again)[0].resumed == 4
    assert again.asked == []


def test_what_failed_is_tried_again(inputs, tmp_path):
    run(inputs, tmp_path, Player(failing={("P2", 3)}))
    player = Player()
    run(inputs, tmp_path, player)
    assert player.asked == [("P2", 3, None)]


def test_other_series_are_other_studies_and_later_ones_follow(inputs, tmp_path):
    run(inputs, tmp_path, Player())
    changed = Inputs((study("Patient-001", 0, ("T1", "T2", "FLAIR")), *inputs.studies[1:]), ())
    player = Player()
    run(changed, tmp_path, player)
    assert [asked[:2] for asked in player.asked] == [("Patient-001", 0), ("Patient-001", 8), ("Patient-001", 20)]


def test_a_damaged_mark_is_no_finished_study(inputs, tmp_path):
    run(inputs, tmp_path, Player())
    (tmp_path / "Imaging/P2/week-003" / layout.PREPARED).write_text("{")
    player = Player()
    run(inputs, tmp_path, player)
    assert player.asked == [("P2", 3, None)]


def test_other_settings_are_refused(inputs, tmp_path):
    run(inputs, tmp_path, Player())
    with pytest.raises(RunError, match="Expected a folder prepared with the same settings"):
        run(inputs, tmp_path, Player(), PrepareSettings(denoise=True))


def test_a_study_whose_series_cannot_be_told_is_a_row_with_the_reason(tmp_path):
    unclear = study("Patient-003", 0, ("scan_a", "scan_b"), named=False)
    mixed = Inputs((unclear, study("P2", 3)), ())
    choice = choose_series(mixed, None)
    assert [one.patient for one in choice.failed] == ["Patient-003"]
    assert "series.csv says why" in choice.failed[0].problems
    player = Player()
    done, _ = run(mixed, tmp_path, player)
    assert player.asked == [("P2", 3, None)]
    assert statuses(done) == [("P2", "week-003", "ok"), ("Patient-003", "week-000", "failed")]
    table = read_csv(tmp_path / SERIES, "prepare", ("patient", "study", "name", "decision", "set_aside", "reasons"))
    assert list(table["decision"]) == ["", "", "T1", "T2"]
    assert all(table["reasons"])


def test_ambiguity_is_that_studys_own_error():
    series = tuple(
        Series(SeriesFacts(description="AX T1 SE", modality="MR", number=number), f"series {number}", unread)
        for number in (3, 7)
    )
    unclear = RawStudy("Patient-004", Visit(0), series, {}, None, (), "Patient-004/week-000")
    choice = choose_series(Inputs((unclear, study("P2", 3)), ()), None)
    assert [plan.key.patient for plan in choice.plans] == ["P2"]
    assert "2 series that could be T1 or CT1" in choice.failed[0].problems
    assert "Patient-004/week-000" in choice.failed[0].problems


def test_rows_survive_being_written_and_read(tmp_path):
    quality = Quality("P", "week-001", "check", "T1", "T2", "T1", 0.1, None, 1.5, 2.0, 1300.5, 12.0, "look")
    assert Quality(**{k: v for k, v in json.loads(json.dumps(quality.row())).items() if v != ""}) == quality


def test_an_image_error_is_a_row(monkeypatch, tmp_path):
    from ranoscope.preparing import study as module
    from ranoscope.preparing.prepare import _task

    choice = choose_series(Inputs((study("P", 0),), ()), None)
    task = _task(choice.plans[0], None, tmp_path, PrepareSettings())

    def broken(*_):
        raise ImageError("Expected slices, got none, in P/week-000; look.")

    monkeypatch.setattr(module, "_prepare", broken)
    quality = module.run(task)
    assert (quality.status, quality.problems) == ("failed", "Expected slices, got none, in P/week-000; look.")
    assert not task.folder.exists()
