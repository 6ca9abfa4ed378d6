"""A grid as a whole: what it trains, what survives a failure, what it says of its arms."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from ranoscope.benchmarking.grid import ARMS, run_benchmark
from ranoscope.benchmarking.request import Request
from ranoscope.errors import RunError
from ranoscope.evaluation.scorecard import evaluate_run
from ranoscope.learning.checkpoints import load_run_recipe

UNFINISHED = {"2-second/no-file", "2-second/diverges"}


def arm_of(content: dict, name: str) -> dict:
    return next(arm for arm in content["arms"] if arm["name"] == name)


def worker_at(cell: Path) -> int:
    """The process that says it is at work in a cell's folder."""
    return int(re.match(r"process (\d+)", (cell / ".lock").read_text())[1])


def is_alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_each_distinct_training_is_done_once_and_shown_under_each_approach(finished):
    out, content, told = finished
    assert arm_of(content, "1-first/plain")["run"] == arm_of(content, "2-second/same")["run"]
    assert arm_of(content, "1-first/plain")["scores"] == arm_of(content, "2-second/same")["scores"]
    assert len(list((out / ARMS).iterdir())) == 5  # the arm without its file never began
    assert content["cells"] == {**content["cells"], "total": 12, "finished": 8}
    assert {arm["name"] for arm in content["arms"] if arm["scores"] is None} == UNFINISHED
    for done, total, _ in told:
        assert 0 <= done <= total
    assert any("finished" in what for *_, what in told)


def test_failed_cells_are_noted_with_their_message_and_the_rest_goes_on(finished):
    out, content, _ = finished
    cells = pd.read_csv(out / "cells.csv", keep_default_na=False)
    assert {"arm", "seed", "fold", "state", "seconds", "message"} <= set(cells.columns)
    failed = cells[cells["state"] == "failed"]
    assert set(failed["arm"]) == UNFINISHED
    assert set(cells[cells["state"] != "failed"]["state"]) == {"finished"}
    assert failed[failed["arm"] == "2-second/no-file"]["message"].str.contains(r"none, in nowhere\.pth").all()
    assert failed[failed["arm"] == "2-second/diverges"]["message"].str.contains("finite|NaN").all()
    assert len(content["failures"]) == len(failed) == 4
    page = (out / "benchmark.html").read_text()
    assert "nowhere.pth" in page
    assert "0 of 2 cells finished" in page


def test_an_arms_figures_are_those_of_evaluate(finished, tmp_path):
    out, content, _ = finished
    for name in ("1-first/plain", "2-second/published", "2-second/binary"):
        arm = arm_of(content, name)
        run = Path(shutil.copytree(out / ARMS / arm["run"], tmp_path / arm["run"]))
        model, *rivals = evaluate_run(run, load_run_recipe(run).evaluation)["contenders"]
        assert model["metrics"] == arm["scores"]["metrics"]
        ground = content["grounds"][arm["ground"]]
        assert {one["name"]: one["metrics"] for one in rivals} == {o["name"]: o["metrics"] for o in ground["rivals"]}


def test_the_optimism_of_the_published_protocol_is_a_number(finished):
    _, content, _ = finished
    (one,) = content["optimism"]
    assert (one["as_published"], one["patient"]) == ("2-second/published", "1-first/plain")
    change = one["differences"]["balanced_accuracy"]
    scores = [arm_of(content, name)["scores"]["metrics"]["balanced_accuracy"]["estimate"]
              for name in ("2-second/published", "1-first/plain")]  # fmt: skip
    assert change["estimate"] == pytest.approx(scores[0] - scores[1])
    assert change["low"] <= change["estimate"] <= change["high"]
    assert set(one["median_of_folds"]) == {"as_published", "patient"}


def test_every_table_has_the_papers_figures_beside_the_honest_ones_and_the_rivals(finished):
    out, content, _ = finished
    for approach in ("1-first", "2-second"):
        table = pd.read_csv(out / "tables" / f"{approach}.csv")
        assert set(table[table["kind"] == "model"]["name"]) == {
            arm["name"] for arm in content["arms"] if arm["approach"] == approach
        }
        four = table[table["target"] == "four-classes"]
        for protocol in set(four["protocol"]):
            rivals = four[(four["protocol"] == protocol) & (four["kind"] == "rival")]
            assert set(rivals["name"]) == {"always_pd", "timing", "volume_rule", "persistence"}
        assert {"median_balanced_accuracy", "median_f1_macro", "median_roc_auc_ovr", "balanced_accuracy_low",
                "quadratic_kappa", "first_progression_auc"} <= set(table.columns)  # fmt: skip
    always = four[four["name"] == "always_pd"]
    assert always["balanced_accuracy"].eq(0.25).all()
    binary = table[table["target"] == "pd-versus-rest"]
    assert len(binary) == 5
    assert binary[["balanced_accuracy", "median_balanced_accuracy", "macro_f1"]].isna().all(axis=None)
    assert binary["pd_rest_pd_balanced_accuracy"].notna().all()
    published = table[table["protocol"] == "as-published"]
    assert published["watermark"].str.startswith("as published").all()
    assert table[table["protocol"] == "patient"]["watermark"].isna().all()


def test_the_page_needs_nothing_else_and_says_what_it_shows(finished):
    out, content, _ = finished
    page = (out / "benchmark.html").read_text()
    assert not re.search(r"(src|href)=|url\((?!#)|@import|<script", re.sub(r'xlink:href="#|href="#', "", page))
    assert "Research use only" in page
    assert "Synthetic cohort" in page
    assert page.count("as published: folds by visit") >= 1
    assert page.count("<figure>") == len(list((out / "figures").glob("*.svg"))) == 2
    assert "AS PUBLISHED" in (out / "figures" / "2-second.svg").read_text()
    assert "AS PUBLISHED" not in (out / "figures" / "1-first.svg").read_text()
    on_disk = json.loads((out / "benchmark.json").read_text())
    assert [arm["name"] for arm in on_disk["arms"]] == [arm["name"] for arm in content["arms"]]
    assert on_disk["provenance"]["command"] == "benchmark"
    for private in (str(out), str(Path.home())):
        assert private not in page + (out / "benchmark.json").read_text()


def test_a_killed_worker_fails_its_cell_alone_and_the_next_call_finishes_it(cohort, recipes, tmp_path):
    folder = recipes({"a/plain": {}, "a/victim": {"training": {"epochs": 8}}})
    request, killed = Request(str(folder), cohort, tmp_path / "out", seeds=1), []

    def kill_once(done, total, what):
        if not killed and what.startswith("a/victim, seed 0, fold 1 of 2, epoch 4"):
            (cell,) = (tmp_path / "out" / ARMS).glob("*/checkpoints/seed-0_fold-0/.lock")
            killed.append(worker_at(cell.parent))
            os.kill(killed[0], signal.SIGKILL)

    first = run_benchmark(request, kill_once)
    assert killed
    (failure,) = first["failures"]
    assert (failure["arm"], failure["fold"]) == ("a/victim", 0)
    assert "SIGKILL" in failure["message"]
    weights = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("model.safetensors")}
    assert len(weights) == 3
    epochs = []
    second = run_benchmark(request, lambda done, total, what: epochs.append(what))
    assert second["failures"] == []
    assert second["cells"]["finished"] == 4
    assert all(path.stat().st_mtime_ns == made for path, made in weights.items())
    # It went on where the killed one stopped, and no other cell was trained again.
    trained = [what for what in epochs if ", epoch " in what and ", epoch 0" not in what]
    assert all(what.startswith("a/victim, seed 0, fold 1 of 2") for what in trained)
    assert 1 <= len(trained) <= 5


def test_an_arm_whose_calls_were_damaged_fails_alone_and_is_scored_again_once_they_are_back(cohort, recipes, tmp_path):
    folder = recipes({"a/plain": {}, "a/victim": {"training": {"epochs": 1}}})
    request = Request(str(folder), cohort, tmp_path / "out", seeds=1)
    whole = run_benchmark(request, lambda *_: None)
    calls = tmp_path / "out" / ARMS / arm_of(whole, "a/victim")["run"] / "checkpoints" / "seed-0_fold-1" / "calls.csv"
    before = calls.read_bytes()
    calls.write_bytes(before[: len(before) // 2])
    damaged = run_benchmark(request, lambda *_: None)
    assert arm_of(damaged, "a/plain")["scores"] == arm_of(whole, "a/plain")["scores"]
    assert arm_of(damaged, "a/victim")["scores"] is None
    assert arm_of(damaged, "a/victim")["messages"]
    assert {cell["arm"] for cell in damaged["failures"]} == {"a/victim"}
    assert {cell["state"] for cell in json.loads((tmp_path / "out" / "cells.json").read_text())} == {
        "finished", "failed"
    }  # fmt: skip
    calls.write_bytes(before)
    again = run_benchmark(request, lambda *_: None)
    assert again["failures"] == []
    assert arm_of(again, "a/victim")["scores"] == arm_of(whole, "a/victim")["scores"]


def test_ctrl_c_ends_the_workers_and_the_exit_code_says_so(cohort, recipes, tmp_path):
    folder, out = recipes({"a/long": {"training": {"epochs": 3000}}}), tmp_path / "out"
    command = [sys.executable, "-c", "from ranoscope.cli import main; main()", "benchmark", str(folder), "--cohort",
               str(cohort), "--out", str(out), "--seeds", "1"]  # fmt: skip
    process = subprocess.Popen(command, start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        deadline = time.monotonic() + 60
        while not (begun := list(out.glob("arms/*/checkpoints/*/restart-*/last.ckpt"))):
            assert process.poll() is None, process.stderr.read()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        worker = worker_at(begun[0].parent.parent)
        assert is_alive(worker)
        os.killpg(process.pid, signal.SIGINT)
        printed, said = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130, (printed, said)
    assert not is_alive(worker)
    assert begun[0].is_file()


def test_two_benchmarks_never_write_to_one_folder(cohort, recipes, tmp_path):
    hold = "import sys, time; from pathlib import Path; from ranoscope import runs\n" \
           "with runs.exclusive(Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"  # fmt: skip
    other = subprocess.Popen([sys.executable, "-c", hold, str(tmp_path / "out")], stdout=subprocess.PIPE)
    try:
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(RunError, match=f"got process {other.pid}"):
            run_benchmark(Request(str(recipes({"a/one": {}})), cohort, tmp_path / "out"), lambda *_: None)
    finally:
        other.kill()
        other.communicate()
    assert not (tmp_path / "out" / ARMS).exists()
