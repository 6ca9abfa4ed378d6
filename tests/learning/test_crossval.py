"""Cross-validation as a whole: who is called by whom, what it writes, and what it refuses."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file

from ranoscope import runs
from ranoscope.cohort.files import read_cases
from ranoscope.config import FoldSettings
from ranoscope.domain import RESPONSES, Case, Response, StudyKey, Visit
from ranoscope.errors import ImageError, RunError
from ranoscope.imaging.store import StudyStore
from ranoscope.learning import cells, crossval, studies
from ranoscope.learning.checkpoints import load_fold
from ranoscope.learning.crossval import cross_validate
from ranoscope.learning.data import case_tensor
from ranoscope.learning.studies import STORE, open_run_store


def silent(done, total, what):
    assert 0 <= done <= total


def test_every_case_is_called_once_per_seed_by_a_fold_that_never_saw_its_patient(home, tiny, monkeypatch):
    recipe = tiny(epochs=1).model_copy(update={"folds": FoldSettings(count=3, seeds=(0, 4))})
    seen: dict[int, set[str]] = {}
    honest = crossval.fit_fold

    def watched(recipe, material, sides, folder, seed, told):
        seen[seed] = {case.patient for case in (*sides.training, *sides.inner)}
        return honest(recipe, material, sides, folder, seed, told)

    monkeypatch.setattr(crossval, "fit_fold", watched)
    run = home / "run"
    returned = cross_validate(recipe, run, run, silent)
    calls = runs.read_csv(run / runs.CALLS, "crossval", (*runs.CALL_COLUMNS, "seed"))
    assert tuple(calls.columns) == (*runs.CALL_COLUMNS, "seed")
    pd.testing.assert_frame_equal(returned.astype(str), calls, check_dtype=False)
    expected = Counter((str(s), c.patient, str(c.prior), str(c.current)) for s in (0, 4) for c in read_cases(run))
    assert Counter(calls[["seed", "patient", "prior", "current"]].itertuples(index=False, name=None)) == expected
    for row in calls.itertuples():
        assert row.patient not in seen[1000 * int(row.seed) + int(row.fold)]
    probabilities = calls[[f"p_{name}" for name in RESPONSES]].astype(float)
    assert np.allclose(probabilities.sum(axis=1), 1, atol=3e-6)
    assert list(calls["call"]) == [name.removeprefix("p_") for name in probabilities.idxmax(axis=1)]
    folds = runs.read_csv(run / runs.FOLDS, "crossval", ("seed", "patient", "fold"))
    merged = calls.merge(folds, on=["seed", "patient", "current"], suffixes=("", "_drawn"))
    assert len(merged) == len(calls)
    assert (merged["fold"] == merged["fold_drawn"]).all()


@st.composite
def cohorts(draw) -> list[Case]:
    sizes = draw(st.lists(st.integers(1, 4), min_size=6, max_size=14))
    cases = []
    for number, size in enumerate(sizes):
        for place in range(size):
            label = draw(st.sampled_from(RESPONSES))
            cases.append(Case(f"P-{number}", Visit(place), Visit(place + 1), label, 1, Response.SD, False))
    return draw(st.permutations(cases))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(cases=cohorts(), count=st.integers(2, 3), seed=st.integers(0, 999))
def test_no_patient_is_ever_on_two_sides_of_a_fold_or_of_its_inner_split(cases, count, seed, tiny):
    recipe = tiny().model_copy(update={"folds": FoldSettings(count=count, seeds=(seed,))})
    folds = crossval.draw_folds(cases, recipe.folds)
    tested = []
    for fold in range(count):
        cell = cells._cell(recipe, (dict.fromkeys(cases, ""), ""), folds, Path(), (seed, fold))
        both = cell.sides(recipe)
        training, inner = both.training, both.inner
        sides = [{case.patient for case in side} for side in (cell.test, training, inner)]
        assert all(sides)
        assert sum(map(len, sides)) == len(set().union(*sides))
        assert len(cell.test) + len(training) + len(inner) == len(cases)
        tested += cell.test
    assert Counter(map(str, tested)) == Counter(map(str, cases))


def test_so_many_training_cases_are_learnt_from_and_every_test_case_is_still_called(tiny):
    cases = [
        Case(f"P-{number}", Visit(place), Visit(place + 1), RESPONSES[number % 4], 1, Response.SD, False)
        for number in range(12)
        for place in range(3)
    ]
    whole, part = (
        tiny().model_copy(update={"folds": FoldSettings(count=3, training_cases=count)}) for count in (None, 10)
    )
    folds = crossval.draw_folds(cases, whole.folds)
    assert folds.equals(crossval.draw_folds(cases, part.folds))
    of_all, of_ten = (
        cells._cell(recipe, (dict.fromkeys(cases, ""), ""), folds, Path(), (0, 1)) for recipe in (whole, part)
    )
    assert of_ten.test == of_all.test
    assert len(of_ten.training) == 10 < len(of_all.training)
    assert set(of_ten.training) < set(of_all.training)
    assert of_ten.key != of_all.key


def test_the_checkpoint_is_the_network_that_made_the_calls(trained, tiny):
    run = trained / "run"
    store = open_run_store(run, tiny())
    calls = runs.read_csv(run / runs.CALLS, "crossval", (*runs.CALL_COLUMNS, "seed"))
    for case in read_cases(run):
        row = calls[(calls["patient"] == case.patient) & (calls["current"] == str(case.current))].iloc[0]
        with torch.inference_mode():
            logits = load_fold(run, 0, int(row["fold"]))(case_tensor(store, case, tiny())[None])
        expected = logits.softmax(dim=1)[0].tolist()
        assert [float(row[f"p_{name}"]) for name in RESPONSES] == pytest.approx(expected, abs=2e-4)
        assert row["response"] == case.response


def test_a_finished_fold_says_how_it_was_trained_and_leaves_no_restart_files(trained):
    for fold in range(2):
        folder = trained / "run" / runs.CHECKPOINTS / f"seed-0_fold-{fold}"
        assert sorted(path.name for path in folder.iterdir()) == ["calls.csv", "fold.json", "model.safetensors"]
        about = json.loads((folder / "fold.json").read_text())
        losses = [entry["inner_loss"] for entry in about["history"]]
        assert about["epochs"] == len(losses) == 3
        assert about["inner_loss"] == min(losses) == losses[about["kept_epoch"] - 1]


def test_the_reported_fold_chooses_nothing(trained, home, tiny, monkeypatch):
    """Labels of the held-out patients turned round, images replaced: its network stays the same to the last bit."""
    run = home / "run"
    folds = pd.read_csv(trained / "run" / runs.FOLDS)
    held_out = set(folds.loc[folds["fold"] == 0, "patient"])
    table = pd.read_csv(run / runs.COHORT, dtype=str, keep_default_na=False)
    turned = {"PD": "CR", "CR": "PD", "SD": "PR", "PR": "SD"}
    mine = table["patient"].isin(held_out) & (table["excluded_because"] == "")
    table.loc[mine, "response"] = table.loc[mine, "response"].map(turned)
    table.to_csv(run / runs.COHORT, index=False)
    visits = home / "LUMIERE/Imaging"
    donor = next((visits / min(held_out)).rglob("t2_skull_strip.nii.gz")).read_bytes()
    for patient in held_out:
        for image in (visits / patient).rglob("*_skull_strip.nii.gz"):
            image.write_bytes(donor)
    monkeypatch.setattr(crossval, "draw_folds", lambda cases, settings: folds)
    cross_validate(tiny(), run, run, silent)

    def weights(place, fold):
        return load_file(place / "run" / runs.CHECKPOINTS / f"seed-0_fold-{fold}" / "model.safetensors")

    same, other = ([weights(place, fold) for place in (trained, home)] for fold in (0, 1))
    assert all(torch.equal(same[0][name], same[1][name]) for name in same[0])
    assert not all(torch.equal(other[0][name], other[1][name]) for name in other[0])


def test_the_same_command_again_trains_nothing_and_gives_the_same_calls(trained, tiny, tmp_path, monkeypatch):
    home = Path(shutil.copytree(trained, tmp_path / "home"))
    monkeypatch.setattr(crossval, "fit_fold", lambda *_: pytest.fail("a finished fold was trained again"))
    before = (home / "run" / runs.CALLS).read_bytes()
    told = []
    cross_validate(tiny(), home / "run", home / "run", lambda *what: told.append(what))
    assert (home / "run" / runs.CALLS).read_bytes() == before
    assert [what for *_, what in told if "finished before" in what]
    assert told[-1][:2] == (6, 6)


def test_another_out_explains_itself_and_finds_the_store(home, tiny):
    out = home / "elsewhere/out"
    cross_validate(tiny(epochs=1), home / "run", out, silent)
    assert (out / runs.COHORT).read_bytes() == (home / "run" / runs.COHORT).read_bytes()
    case = read_cases(out)[0]
    assert case.current_study in open_run_store(out, tiny())
    for name in (runs.SETTINGS, runs.PROVENANCE):
        assert "crossval" in (out / name).read_text()


def test_images_that_moved_are_the_same_images(trained, tiny, tmp_path, monkeypatch):
    home = Path(shutil.copytree(trained, tmp_path / "home"))
    (home / "LUMIERE").rename(home / "moved")
    for path in (home / "moved").rglob("*.nii.gz"):
        path.touch()
    monkeypatch.setattr(crossval, "fit_fold", lambda *_: pytest.fail("a finished fold was trained again"))
    with pytest.raises(RunError, match="--images"):
        cross_validate(tiny(), home / "run", home / "run", silent)
    cross_validate(tiny(), home / "run", home / "run", silent, images=home / "moved")


def test_where_and_how_fast_it_ran_is_not_another_recipe(trained, tiny, tmp_path, monkeypatch):
    home = Path(shutil.copytree(trained, tmp_path / "home"))
    monkeypatch.setattr(crossval, "fit_fold", lambda *_: pytest.fail("a finished fold was trained again"))
    cross_validate(tiny(workers=1, devices=1), home / "run", home / "run", silent)


def test_a_further_seed_trains_its_own_folds_alone_and_fewer_train_none(trained, tiny, tmp_path, monkeypatch):
    home = Path(shutil.copytree(trained, tmp_path / "home"))
    few = tiny()
    more = few.model_copy(update={"folds": few.folds.model_copy(update={"seeds": (*few.folds.seeds, 7)})})
    trained_now = []
    original = crossval.fit_fold

    def watched(recipe, material, sides, folder, seed, told):
        trained_now.append(seed // 1000)
        return original(recipe, material, sides, folder, seed, told)

    monkeypatch.setattr(crossval, "fit_fold", watched)
    before = (home / "run" / runs.CALLS).read_text()
    cross_validate(more, home / "run", home / "run", silent)
    assert trained_now == [7] * few.folds.count
    assert (home / "run" / runs.CALLS).read_text().startswith(before)
    cross_validate(few, home / "run", home / "run", silent)
    assert trained_now == [7] * few.folds.count
    assert (home / "run" / runs.CALLS).read_text() == before


def test_checkpoints_of_another_recipe_are_refused_and_kept(trained, tiny, tmp_path):
    home = Path(shutil.copytree(trained, tmp_path / "home"))
    before = {path: path.read_bytes() for path in home.rglob("*") if path.is_file() and STORE not in path.parts}
    with pytest.raises(RunError, match=r"Expected a checkpoint of recipe tiny .*seed-0_fold-0; choose another --out"):
        cross_validate(tiny(learning_rate=1e-3), home / "run", home / "run", silent)
    assert all(path.read_bytes() == content for path, content in before.items())


def change_label(table: pd.DataFrame) -> None:
    table.loc[table.index[table["prior"] != ""][0], "response"] = "CR"


def change_prior(table: pd.DataFrame) -> None:
    later = table.index[table["current"] == "week-044"][0]
    table.loc[later, "prior"] = "week-020"


def nothing(table: pd.DataFrame) -> None:
    """The table stays; the test changes an image."""


@pytest.mark.parametrize(
    ("change", "words"),
    [(change_label, "other folds"), (change_prior, "one of other cases or images"), (nothing, "one of other cases or")],
)
def test_another_cohort_in_a_trained_run_is_refused(trained, tiny, tmp_path, change, words):
    home = Path(shutil.copytree(trained, tmp_path / "home"))
    table = pd.read_csv(home / "run" / runs.COHORT, dtype=str, keep_default_na=False)
    change(table)
    table.to_csv(home / "run" / runs.COHORT, index=False)
    if change is nothing:
        one, other = sorted((home / "LUMIERE/Imaging").rglob("flair_skull_strip.nii.gz"))[4:6]
        one.write_bytes(other.read_bytes())
    with pytest.raises(RunError, match=f"got {words}.*, in .*; choose another --out"):
        cross_validate(tiny(), home / "run", home / "run", silent)


def test_an_out_with_another_cohort_is_refused(trained, home, tiny):
    (home / "out").mkdir()
    (home / "out" / runs.COHORT).write_text("patient\n")
    with pytest.raises(RunError, match="another cohort"):
        cross_validate(tiny(), trained / "run", home / "out", silent)


@pytest.mark.parametrize("damage", [b"", b"not safetensors", None])
def test_damaged_weights_are_named(trained, tmp_path, damage):
    home = Path(shutil.copytree(trained, tmp_path / "home"))
    weights = home / "run" / runs.CHECKPOINTS / "seed-0_fold-1" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100] if damage is None else damage)
    with pytest.raises(RunError, match=r"seed-0_fold-1/model.safetensors; delete the fold's folder"):
        load_fold(home / "run", 0, 1)


BAD = {
    "Patient-001/week-020": ("t1_skull_strip", "truncated"),
    "Patient-002/week-020": ("flair_skull_strip", "flair_skull_strip"),
    "Patient-003/week-032": ("ct1_skull_strip", "30x37x31"),
    "Patient-004/week-020": ("seg_mask", "9.0"),
    "Patient-005/week-044": ("t2_skull_strip", "NaN in every voxel"),
}


def spoil(imaging: Path, nifti) -> None:
    def file(study: str) -> Path:
        return next((imaging / study).rglob(f"{BAD[study][0]}.nii.gz"))

    truncated, missing, wrong_grid, strange, nan = map(file, BAD)
    truncated.write_bytes(truncated.read_bytes()[:3000])
    missing.unlink()
    wrong_grid.write_bytes(nifti(np.ones((30, 37, 31), np.float32)))
    strange.write_bytes(nifti(np.full((31, 37, 31), 9, np.uint8)))
    nan.write_bytes(nifti(np.full((31, 37, 31), np.nan, np.float32)))


def test_all_bad_studies_are_named_in_one_error_and_the_good_ones_kept(home, tiny, nifti, monkeypatch):
    originals = Path(shutil.copytree(home / "LUMIERE", home / "originals"))
    spoil(home / "LUMIERE/Imaging", nifti)
    with pytest.raises(ImageError) as caught:
        cross_validate(tiny(), home / "run", home / "run", silent)
    lines = str(caught.value).splitlines()
    assert len(lines) == len(BAD)
    for line, (study, (file, words)) in zip(lines, BAD.items(), strict=True):
        assert all(word in line for word in (study, file, words, "Expected ", "; ")), line
    store = StudyStore(home / "run" / STORE, tiny().grid)
    keys = {key for case in read_cases(home / "run") for key in (case.prior_study, case.current_study)}
    assert {str(key) for key in keys if key not in store} == set(BAD)

    shutil.rmtree(home / "LUMIERE")
    shutil.copytree(originals, home / "LUMIERE")
    made = []
    honest = studies.build_store

    def counted(folder, sources, grid, progress, workers):
        made.extend(source.key for source in sources if source.key not in store)
        return honest(folder, sources, grid, progress, workers)

    monkeypatch.setattr(studies, "build_store", counted)
    cross_validate(tiny(epochs=1), home / "run", home / "run", silent)
    assert {str(key) for key in made} == set(BAD)


def test_an_unreadable_zip_member_is_named(home, tiny, make_cohort):
    zipped = home / "zipped"
    zipped.mkdir()
    for table in (home / "LUMIERE").glob("*.csv"):
        shutil.copy(table, zipped)
    with zipfile.ZipFile(zipped / "Imaging-v202211.zip", "w") as archive:
        for path in sorted((home / "LUMIERE/Imaging").rglob("*")):
            archive.write(path, path.relative_to(home / "LUMIERE").as_posix())
        victim = archive.getinfo("Imaging/Patient-006/week-032/" + "DeepBraTumIA-segmentation/atlas/skull_strip/"
                                 "ct1_skull_strip.nii.gz")  # fmt: skip
    payload = bytearray((zipped / "Imaging-v202211.zip").read_bytes())
    middle = victim.header_offset + 2000
    payload[middle : middle + 50] = bytes(50)
    (zipped / "Imaging-v202211.zip").write_bytes(payload)
    make_cohort(zipped, home / "zip_run")
    with pytest.raises(ImageError, match=r"readable zip member.*Patient-006/week-032.*ct1_skull_strip") as caught:
        cross_validate(tiny(), home / "zip_run", home / "zip_run", silent)
    assert len(str(caught.value).splitlines()) == 1
    assert StudyKey("Patient-001", Visit(20)) in StudyStore(home / "zip_run" / STORE, tiny().grid)


def test_a_damaged_study_of_the_store_is_made_anew(trained, tiny, tmp_path):
    home = Path(shutil.copytree(trained, tmp_path / "home"))
    (home / "run" / "checkpoints").rename(home / "kept")
    volumes = next((home / "run" / STORE).rglob("volumes.npy"))
    whole = volumes.read_bytes()
    volumes.write_bytes(whole[:500])
    cross_validate(tiny(), home / "run", home / "run", silent)
    assert volumes.read_bytes() == whole
    assert (home / "run" / runs.CALLS).read_bytes() == (trained / "run" / runs.CALLS).read_bytes()
