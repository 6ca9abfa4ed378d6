"""Weights from all studies of one cohort, for recipes on another: the command, its file, and what is refused."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file

from ranoscope.cohort.files import read_cases
from ranoscope.domain import StudyKey, Visit
from ranoscope.errors import RanoscopeError, RecipeError, RunError
from ranoscope.imaging.store import StudyStore
from ranoscope.learning.module import ResponseModule
from ranoscope.learning.networks import build_network
from ranoscope.learning.pretraining import prepare_initial_weights, require_fitting_pretraining
from ranoscope.learning.pretraining.change import pretrain_on_run
from ranoscope.learning.pretraining.pretext import studies_of


def silent(*_):
    pass


@pytest.fixture(scope="module")
def made(run, recipe_of, tmp_path_factory):
    """The weights, their record, and what was told meanwhile."""
    out = tmp_path_factory.mktemp("made") / "taught.safetensors"
    told = []
    return out, pretrain_on_run(recipe_of(), run, out, lambda *what: told.append(what)), told


def begun(recipe_of, weights, **settings):
    return recipe_of({"weights": str(weights)}, **settings)


def test_every_study_teaches_whether_it_is_rated_or_not(made, run, recipe_of):
    out, about, told = made
    assert json.loads(out.with_suffix(".json").read_text()) == about
    rated = {str(key) for key in studies_of(read_cases(run))}
    assert rated < set(about["studies"])
    assert about["left_out"] == [] or all("Expected" in what for what in about["left_out"])
    store = StudyStore(run / "store", recipe_of().grid)
    patient, week = next(iter(about["studies"])).split("/")
    key = StudyKey(patient, Visit.parse(week))
    assert about["studies"][str(key)] == store[key].content
    assert [what[0] for what in told if what[2].startswith("epoch")] == [1, 2]
    assert sorted(path.name for path in out.parent.iterdir()) == ["taught.json", "taught.safetensors"]
    assert set(load_file(out)) == set(build_network(recipe_of()).state_dict())


def test_the_same_call_again_does_nothing_and_other_settings_are_refused(made, run, recipe_of, monkeypatch):
    out, about, _ = made
    monkeypatch.setattr(ResponseModule, "training_step", lambda *_: pytest.fail("it was learnt again"))
    assert pretrain_on_run(recipe_of(), run, out, silent) == about
    with pytest.raises(RunError, match="weights made with other settings or from other data"):
        pretrain_on_run(recipe_of({"epochs": 5}), run, out, silent)


def test_interrupted_it_ends_alike(made, run, recipe_of, tmp_path):
    def pull(done, total, what):
        if what.startswith("epoch 1"):
            raise KeyboardInterrupt

    out = tmp_path / "torn.safetensors"
    with pytest.raises(KeyboardInterrupt):
        pretrain_on_run(recipe_of(), run, out, pull)
    assert not out.exists()
    pretrain_on_run(recipe_of(), run, out, silent)
    assert out.read_bytes() == made[0].read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["torn.json", "torn.safetensors"]


def elsewhere(store):
    """The same studies of another cohort: other content by name."""

    class Other:
        def __getitem__(self, key):
            study = store[key]
            return type(study)(**{**vars(study), "content": f"other {key}"})

    return Other()


def test_another_cohort_begins_with_them(made, run, store, recipe_of):
    out, about, _ = made
    recipe = begun(recipe_of, out)
    network = build_network(recipe)
    report = prepare_initial_weights(recipe, network, elsewhere(store), read_cases(run), out.parent, 0, silent)
    assert report.task == "change"
    assert report.sha256 == about["sha256"]
    assert report.skipped == ()
    two = begun(recipe_of, out, target="pd-versus-rest")
    report = prepare_initial_weights(two, build_network(two), elsewhere(store), read_cases(run), out.parent, 0, silent)
    assert sorted(name.split(".")[-1] for name in report.skipped) == ["bias", "weight"]
    assert all(name.startswith("head.") for name in report.skipped), "the last layer alone"


def test_a_timeline_begins_with_what_a_pair_network_learnt(made, run, store, recipe_of):
    timeline = begun(recipe_of, made[0], network={**recipe_of().network.model_dump(), "name": "change-aware-timeline"})
    network = build_network(timeline)
    report = prepare_initial_weights(timeline, network, elsewhere(store), read_cases(run), made[0].parent, 0, silent)
    assert report.skipped == ("head.0.weight",)
    taught = load_file(made[0])
    assert all(
        torch.equal(tensor, taught[key]) for key, tensor in network.state_dict().items() if key in report.matched
    )
    assert {"token.0.weight", "query"} <= network.state_dict().keys() - taught.keys()


def test_a_cohort_whose_own_studies_taught_them_is_refused(made, run, store, recipe_of):
    recipe, cases = begun(recipe_of, made[0]), read_cases(run)
    with pytest.raises(RunError, match=r"other studies than this cohort's, got ones that \d+ of its studies taught"):
        prepare_initial_weights(recipe, build_network(recipe), store, cases, made[0].parent, 0, silent)


@pytest.mark.parametrize(
    "settings",
    [{"sequences": ["CT1", "T2"]}, {"network": {"name": "change-aware", "widths": [4, 16]}},
     {"grid": {"voxel_mm": 5.0}}],
)  # fmt: skip
def test_weights_of_another_network_sequences_or_grid_are_refused_early(made, recipe_of, settings):
    require_fitting_pretraining(begun(recipe_of, made[0]))
    with pytest.raises(RunError, match=r"Expected weights of name change-aware.*run `ranoscope pretrain change`"):
        require_fitting_pretraining(begun(recipe_of, made[0], **settings))


def test_damaged_and_absent_files_are_refused(made, store, run, recipe_of, tmp_path):
    with pytest.raises(RunError, match="the file of pretrained weights, got none"):
        require_fitting_pretraining(begun(recipe_of, tmp_path / "gone.safetensors"))
    copy = tmp_path / "copy.safetensors"
    shutil.copy(made[0].with_suffix(".json"), copy.with_suffix(".json"))
    copy.write_bytes(made[0].read_bytes()[:-9])
    recipe = begun(recipe_of, copy)
    with pytest.raises(RunError, match="the weights that the file beside it is about, got others"):
        prepare_initial_weights(recipe, build_network(recipe), elsewhere(store), read_cases(run), tmp_path, 0, silent)


def test_bad_input_is_named_before_anything_is_read(run, recipe_of, tmp_path):
    with pytest.raises(RunError, match=r"ends in \.safetensors, got weights\.pt"):
        pretrain_on_run(recipe_of(), run, tmp_path / "weights.pt", silent)
    plain = recipe_of().model_copy(update={"pretraining": recipe_of(pretraining={"name": "none"}).pretraining})
    with pytest.raises(RecipeError, match=r"pretraining by change, got none, in recipe taught; set pretraining"):
        pretrain_on_run(plain, run, tmp_path / "w.safetensors", silent)
    with pytest.raises(RanoscopeError, match="ranoscope cohort"):
        pretrain_on_run(recipe_of(), tmp_path, tmp_path / "w.safetensors", silent)
    assert not list(tmp_path.iterdir())


def test_the_command_says_what_it_did_and_what_is_wrong(ranoscope, run, tmp_path):
    home, out = shutil.copytree(run, tmp_path / "run"), tmp_path / "w.safetensors"
    source = json.loads((run / "source.json").read_text())
    images = (run / source["images"]).resolve()
    options = ["--images", images, "--set", "network={name: change-aware, widths: [4, 8]}", "--set", "grid.voxel_mm=6",
               "--set", "training.accelerator=cpu", "--set", "training.precision=32-true"]  # fmt: skip
    task = ["--set", "pretraining={name: change, epochs: 1, pairs_per_epoch: 8, batch_size: 4}"]
    answer = ranoscope("pretrain", "change", "demo", "--cohort", home, "--out", out, *options, *task)
    assert answer.code == 0, answer.err
    said = " ".join(answer.out.split())
    assert "balanced accuracy on synthetic pairs of held-out patients" in said
    assert out.is_file()
    refused = ranoscope("pretrain", "change", "demo", "--cohort", home, "--out", out, *options)
    assert refused.code == 2
    assert "set pretraining: {name: change}" in " ".join(refused.err.split())
    refused = ranoscope("pretrain", "change", "demo", "--cohort", home, "--out", out, *options,
                        "--set", "pretraining={name: change, masked_share: 1}")  # fmt: skip
    assert refused.code == 2
    assert "masked_share" in refused.err
