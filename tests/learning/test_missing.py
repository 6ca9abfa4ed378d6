"""Studies that lack a sequence: an error, left out by name and count, or zeros and a flag that says so."""

from __future__ import annotations

import base64
import io
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from ranoscope import runs
from ranoscope.cohort.files import read_cases, read_patients
from ranoscope.cohort.files import write_cohort as write
from ranoscope.cohort.pairing import build_cohort
from ranoscope.config import CohortSettings, EvaluationSettings, Recipe
from ranoscope.domain import Sequence, StudyKey, Visit
from ranoscope.errors import ImageError, RunError
from ranoscope.evaluation.scorecard import evaluate_run
from ranoscope.explaining.examples import _shown_sequence
from ranoscope.explaining.opened import Images
from ranoscope.imaging.store import StudyStore
from ranoscope.learning.crossval import cross_validate, prepare_experiment
from ranoscope.learning.data import CaseDataset, Material, case_tensor
from ranoscope.learning.facts import FactScale, acquired, fact_names
from ranoscope.reporting.viewer import viewer_payload

# Patient-003's second study has no FLAIR: the prior of one of its cases, the current of the other.
GAP = StudyKey("Patient-003", Visit(32))


def silent(*_):
    pass


@pytest.fixture(scope="module")
def gap(original, tmp_path_factory) -> Path:
    """A cohort that asks for CT1 alone, one study of which lacks the recipe's FLAIR."""
    home = Path(shutil.copytree(original, tmp_path_factory.mktemp("gap") / "home"))
    next((home / "LUMIERE/Imaging" / GAP.patient / str(GAP.visit)).rglob("flair_skull_strip.nii.gz")).unlink()
    shutil.rmtree(home / "run")
    asked = CohortSettings(required_sequences=(Sequence.CT1,))
    write(home / "run", build_cohort(home / "LUMIERE", asked), asked)
    return home


@pytest.fixture
def home(gap, tmp_path) -> Path:
    return Path(shutil.copytree(gap, tmp_path / "home"))


def policy(tiny, name: str, **augmentation) -> Recipe:
    content = tiny(epochs=1).model_dump(mode="json")
    content["augmentation"] |= augmentation
    return Recipe.model_validate({**content, "missing_sequences": name})


def test_by_default_the_study_is_named_with_what_it_lacks(home, tiny):
    with pytest.raises(ImageError, match=r"flair_skull_strip.*Patient-003/week-032; .*missing_sequences: exclude"):
        cross_validate(tiny(), home / "run", home / "run", silent)


def test_excluded_cases_are_counted_named_and_not_scored(home, tiny):
    out, recipe = home / "out", policy(tiny, "exclude")
    before = (home / "run" / runs.COHORT).read_bytes()
    calls = cross_validate(recipe, home / "run", out, silent)
    assert (home / "run" / runs.COHORT).read_bytes() == before

    everyone = read_cases(home / "run")
    gone = [case for case in everyone if GAP in (case.prior_study, case.current_study)]
    assert len(gone) == 2
    assert read_cases(out) == [case for case in everyone if case not in gone]
    assert len(calls) == len(everyone) - 2
    table = pd.read_csv(out / runs.COHORT, dtype=str, keep_default_na=False)
    rows = table[table["excluded_because"] == "missing-sequences"]
    assert set(zip(rows["patient"], rows["current"], strict=True)) == {(c.patient, str(c.current)) for c in gone}
    assert (rows[["prior", "weeks_between", "prior_rating", "surgery_between"]] == "").all(axis=None)
    assert_flow_adds_up(out, table)
    notes = json.loads((out / runs.FLOW).read_text())["warnings"]
    assert all(str(case) in notes[-1] for case in gone)
    assert "Recipe tiny leaves out 2 cases" in notes[-1]
    scorecard = evaluate_run(out, EvaluationSettings(bootstrap=100))
    assert scorecard["cohort"]["cases"] == len(everyone) - 2


def assert_flow_adds_up(run: Path, table: pd.DataFrame) -> None:
    flow = json.loads((run / runs.FLOW).read_text())
    kept = table[table["excluded_because"] == ""]
    assert flow["kept"] == len(kept)
    assert flow["kept"] + sum(step["excluded"] for step in flow["steps"]) == flow["rating_rows"] == len(table)
    assert flow["steps"][-1]["remaining"] == flow["kept"]
    assert next(s for s in flow["steps"] if s["name"] == "missing-sequences")["excluded"] == 2
    assert flow["kept_per_response"] == {
        name: int((kept["response"] == name).sum()) for name in ("PD", "SD", "PR", "CR")
    }
    assert flow["kept_patients"] == kept["patient"].nunique()
    per_response = kept.groupby("response")["patient"].nunique()
    assert flow["patients_per_response"] == {name: int(per_response.get(name, 0)) for name in ("PD", "SD", "PR", "CR")}


def test_excluding_again_changes_nothing_here_or_in_the_cohorts_own_folder(home, tiny):
    run, recipe = home / "run", policy(tiny, "exclude")
    for out in (home / "out", run):
        cross_validate(recipe, run, out, silent)
        before = {name: (out / name).read_bytes() for name in (runs.COHORT, runs.FLOW, runs.CALLS, runs.FOLDS)}
        cross_validate(recipe, run, out, silent)
        assert {name: (out / name).read_bytes() for name in before} == before
    assert_flow_adds_up(run, pd.read_csv(run / runs.COHORT, dtype=str, keep_default_na=False))


def test_where_nothing_is_left_it_says_so(home, tiny):
    for path in (home / "LUMIERE/Imaging").rglob("flair_skull_strip.nii.gz"):
        path.unlink()
    with pytest.raises(RunError, match=r"at least one kept case, got none \(16 left out for a missing sequence\)"):
        cross_validate(policy(tiny, "exclude"), home / "run", home / "out", silent)


def test_zero_fill_keeps_every_case_and_says_what_was_there(home, tiny):
    recipe = policy(tiny, "zero-fill")
    calls = cross_validate(recipe, home / "run", home / "run", silent)
    assert len(calls) == 16
    store = StudyStore(home / "run/store", recipe.grid)
    for case in read_cases(home / "run"):
        pair, there = case_tensor(store, case, recipe), acquired(case, store, recipe)
        for which, key in enumerate((case.prior_study, case.current_study)):
            assert there[which].tolist() == [True, key != GAP]
            assert bool(pair[which, 1].any()) == (key != GAP)
            assert np.array_equal(pair[which, 0].numpy(), store[key].volume(Sequence.CT1).astype(np.float32))
    names = fact_names(recipe)
    assert names == tuple(f"{s} {q} acquired" for s in ("prior", "current") for q in ("CT1", "FLAIR"))


def test_a_study_with_none_of_the_sequences_is_an_error_even_so(home, tiny):
    next((home / "LUMIERE/Imaging" / GAP.patient / str(GAP.visit)).rglob("ct1_skull_strip.nii.gz")).unlink()
    with pytest.raises(ImageError, match=r"ct1_skull_strip.*flair_skull_strip.*Patient-003/week-032"):
        cross_validate(policy(tiny, "zero-fill"), home / "run", home / "run", silent)


@pytest.fixture(scope="module")
def material(gap, tiny) -> Material:
    run = gap / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("joblib.cpu_count", lambda: 1)
        experiment = prepare_experiment(policy(tiny, "zero-fill"), run, gap / "prepared", silent)
    return Material(experiment.material.store, read_patients(run))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 10**6), st.integers(0, 50), st.floats(0, 0.95))
def test_flags_always_follow_the_images(material, gap, tiny, seed, epoch, chance):
    """In training a sequence is dropped from image and flag alike; what a study never had is never flagged."""
    recipe = policy(tiny, "zero-fill", sequence_dropout=chance, flip_superior_inferior=0.5)
    cases = [case for case in read_cases(gap / "run") if case.patient in ("Patient-003", "Patient-004")]
    plain = CaseDataset(material, cases, recipe, FactScale({}))
    dropped = CaseDataset(material, cases, recipe, FactScale({}), seed)
    dropped.epoch.fill_(epoch)
    for place in range(len(cases)):
        pair, facts, label = dropped[place]
        shown = pair.flatten(2).abs().amax(dim=2) > 0
        assert torch.equal(facts.reshape(2, 2).bool(), shown)
        assert shown.any(dim=1).all()
        _, there, same = plain[place]
        assert not (facts > there).any()
        assert label == same
        if chance == 0:
            assert torch.equal(facts, there)
    again = CaseDataset(material, cases, recipe, FactScale({}), seed)
    again.epoch.fill_(epoch)
    assert torch.equal(again[0][0], dropped[0][0])
    assert torch.equal(again[0][1], dropped[0][1])


def test_pictures_show_what_both_studies_have_and_black_for_what_one_lacks(material, tiny):
    recipe = policy(tiny, "zero-fill")
    prior, current = material.store[StudyKey(GAP.patient, Visit(20))], material.store[GAP]
    assert _shown_sequence(recipe, Images(prior, current)) is Sequence.CT1
    flair_first = recipe.model_copy(update={"sequences": (Sequence.T2, Sequence.FLAIR)})
    assert _shown_sequence(flair_first, Images(prior, current)) is Sequence.T2
    assert _shown_sequence(flair_first, Images(prior, prior)) is Sequence.FLAIR
    images = viewer_payload(prior, current, recipe.sequences, {})["studies"]
    pictures = {
        (study, sequence): np.asarray(Image.open(io.BytesIO(base64.b64decode(image["png"].split(",")[1]))))
        for study, content in images.items()
        for sequence, image in content["images"].items()
    }
    assert [key for key, picture in pictures.items() if not picture.any()] == [("current", Sequence.FLAIR)]
