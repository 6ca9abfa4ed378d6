"""Which recipes of a folder are arms, and which of them are one training."""

from __future__ import annotations

import pytest
import yaml

from ranoscope.benchmarking.arms import find_arms, group_arms
from ranoscope.config import ChangePretraining, recipes_folder
from ranoscope.errors import RecipeError


def test_every_file_of_the_papers_folder_is_an_arm_but_base():
    arms = find_arms("paper")
    files = {p.relative_to(recipes_folder() / "paper").with_suffix("").as_posix()
             for p in (recipes_folder() / "paper").rglob("*.yaml")}  # fmt: skip
    assert {arm.name for arm in arms} == files - {"base"}
    assert {arm.approach for arm in arms} == {name.split("/")[0] for name in files if "/" in name}
    assert all(arm.recipe.name == arm.name for arm in arms)
    base = {"2-sequences/t1-t2-flair", "1-subtraction/stacked", "3-networks/densenet264", "4-pretraining/none",
            "5-clinical/none"}  # fmt: skip
    assert {arm.name for arm in arms if arm.reference} == base


def test_every_arm_of_the_change_folder_is_a_training_of_its_own():
    """An arm that trains as another does would say that a part buys nothing."""
    arms = find_arms("change")
    files = {p.name for p in (recipes_folder() / "change").rglob("*.yaml")} - {"base.yaml"}
    assert len(group_arms(arms)) == len(arms) == len(files)
    assert [arm.name for arm in arms if arm.reference] == ["1-parts/all"]


def test_every_arm_of_the_proof_is_shown_as_many_samples_on_one_ground():
    arms = find_arms("proof")
    assert len(group_arms(arms)) == len(arms) == 18
    assert [arm.name for arm in arms if arm.reference] == ["300-cases/paper"]
    for arm in arms:
        training, folds, before = arm.recipe.training, arm.recipe.folds, arm.recipe.pretraining
        assert folds.training_cases == int(arm.approach.split("-")[0])
        shown = training.epochs * folds.training_cases * (1 - training.inner_validation)
        if isinstance(before, ChangePretraining):
            shown += before.epochs * before.pairs_per_epoch
        assert shown == pytest.approx(3825, rel=0.05)
    assert len({arm.recipe.grid for arm in arms}) == 1
    assert len({arm.recipe.folds.count for arm in arms}) == 1


def test_arms_with_the_same_training_are_grouped_and_others_never(recipes):
    folder = recipes(
        {
            "a/one": {},
            "b/two": {"evaluation": {"bootstrap": 300}},
            "b/three": {"training": {"epochs": 3}},
            "b/four": {"pretraining": {"name": "organmnist", "weights": "x/w.safetensors"}},
            "b/five": {"pretraining": {"name": "organmnist", "weights": "y/w.safetensors"}},
        }
    )
    groups = [[arm.name for arm in training.arms] for training in group_arms(find_arms(folder))]
    assert groups == [["a/one", "b/two"], ["b/five"], ["b/four"], ["b/three"]]


def test_changes_and_seeds_are_laid_over_every_arm_and_the_base(recipes):
    arms = find_arms(recipes({"a/one": {}, "a/two": {"training": {"epochs": 7}}}), ["training.epochs=5"], seeds=3)
    assert [arm.recipe.training.epochs for arm in arms] == [5, 5]
    assert all(arm.recipe.folds.seeds == (0, 1, 2) and arm.reference for arm in arms)
    assert find_arms(recipes({"a/one": {}}))[0].recipe.folds.seeds == (0,)


def test_recipes_at_the_top_are_of_the_approach_named_as_the_folder(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "one.yaml").write_text(yaml.safe_dump({"description": "d"}))
    (arm,) = find_arms(tmp_path / "mine")
    assert (arm.name, arm.approach, arm.reference) == ("one", "mine", False)


def test_no_folder_and_an_empty_folder_are_said(tmp_path):
    with pytest.raises(RecipeError, match=r"got no such folder, in nowhere; name a folder, or one of: .*paper"):
        find_arms("nowhere")
    with pytest.raises(RecipeError, match="got no recipe in it"):
        find_arms(tmp_path)
