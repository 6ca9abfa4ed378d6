"""Every setting of every stage: one pydantic tree, a class per stage, each field with its unit and reason.

A recipe is a YAML delta over ``recipes/base.yaml``. Unknown keys are refused by name, with the nearest known one.
"""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ranoscope.domain import SEQUENCES, InformationLevel, Sequence
from ranoscope.errors import RecipeError, problem


class Settings(BaseModel):
    """A frozen group of settings that refuses unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


S = TypeVar("S", bound=Settings)


class PairRule(StrEnum):
    """Which earlier study a rated visit is compared with."""

    PREVIOUS_ROW = "previous_row"
    PREVIOUS_SCAN = "previous_scan"
    PREVIOUS_SCAN_SAME_SURGERY_EPOCH = "previous_scan_same_surgery_epoch"
    BASELINE = "baseline"
    NADIR = "nadir"


class DuplicatePolicy(StrEnum):
    """What to do with two rating rows of one visit."""

    FIRST = "first"
    LAST = "last"
    DROP = "drop"
    ERROR = "error"


class CohortSettings(Settings):
    """Which rated visits become cases. Defaults follow the loader contract; the paper's rule is ``previous_row``."""

    pair_rule: PairRule = PairRule.PREVIOUS_SCAN
    duplicates: DuplicatePolicy = DuplicatePolicy.DROP
    exclude_under_3_months_column: bool = True
    exclude_under_3_months_rationale: bool = True
    exclude_not_a_rano_timepoint: bool = True
    required_sequences: tuple[Sequence, ...] = SEQUENCES


class PhantomSettings(Settings):
    """A synthetic cohort. ``reader_noise``: chance that a rating is replaced by a neighbouring category."""

    patients: Annotated[int, Field(ge=1, le=999)] = 12
    voxel_mm: Annotated[float, Field(ge=1, le=6)] = 3.0
    seed: int = 0
    reader_noise: Annotated[float, Field(ge=0, le=1)] = 0.05


class GridSettings(Settings):
    """The common grid that atlas-space studies are brought to before learning.

    ``voxel_mm``: isotropic voxel edge in millimetres. ``box_mm``: extent of the crop around the brain in millimetres,
    order left-right, posterior-anterior, inferior-superior; ``centre_mm``: its centre in atlas world coordinates (RAS).
    The default box holds the MNI152 brain with a margin of at least 6 mm on every side.
    """

    voxel_mm: Annotated[float, Field(gt=0, le=10)] = 2.0
    box_mm: tuple[float, float, float] = (160.0, 192.0, 160.0)
    centre_mm: tuple[float, float, float] = (0.0, -17.0, 8.0)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels along left-right, posterior-anterior and inferior-superior; at least one each."""
        right, anterior, superior = (max(round(edge / self.voxel_mm), 1) for edge in self.box_mm)
        return right, anterior, superior


class AugmentationSettings(Settings):
    """Random changes of training samples; both studies of a case get the same geometric change.

    Only the left-right axis is flipped: head-foot and front-back flips make anatomy that does not exist.
    """

    flip_left_right: Annotated[float, Field(ge=0, le=1)] = 0.5
    shift_mm: Annotated[float, Field(ge=0)] = 0.0
    scale_intensity: Annotated[float, Field(ge=0, lt=1)] = 0.1
    shift_intensity: Annotated[float, Field(ge=0)] = 0.1
    gamma: tuple[float, float] = (1.0, 1.0)
    noise: Annotated[float, Field(ge=0)] = 0.0


class DenseNetSettings(Settings):
    """The paper's network: a 3D DenseNet on prior and current stacked as channels (interleaved per sequence)."""

    name: Literal["densenet"] = "densenet"
    depth: Literal[121, 169, 264] = 264
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0


class ChangeAwareSettings(Settings):
    """One encoder shared by both studies; how much of each learnt finding there was and is, compared.

    ``widths``: feature channels per stage; ``findings``: maps per scale whose amounts are compared. Instance norm,
    because batches are small.
    """

    name: Literal["change-aware"] = "change-aware"
    widths: Annotated[tuple[int, ...], Field(min_length=2)] = (16, 24, 48)
    findings: Annotated[int, Field(gt=0)] = 16
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1


NetworkSettings = Annotated[DenseNetSettings | ChangeAwareSettings, Field(discriminator="name")]


class TrainingSettings(Settings):
    """How one fold is trained. ``learning_rate`` is the peak of one cycle (AdamW).

    ``weight_averaging``: share of a running average of the weights that each step keeps; the average is what is judged
    and kept, steadier than any one step where cases are few. 0 = no average.
    """

    epochs: Annotated[int, Field(gt=0)] = 100
    batch_size: Annotated[int, Field(gt=0)] = 4
    learning_rate: Annotated[float, Field(gt=0)] = 2e-3
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    schedule: Literal["one_cycle", "constant"] = "one_cycle"
    class_weighted_loss: bool = True
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    weight_averaging: Annotated[float, Field(ge=0, lt=1)] = 0.0
    patience_epochs: Annotated[int, Field(gt=0)] = 20
    inner_validation: Annotated[float, Field(gt=0, lt=0.5)] = 0.2
    accelerator: Literal["auto", "cpu", "gpu"] = "auto"
    devices: Annotated[int, Field(gt=0)] | Literal["auto"] = "auto"
    strategy: str = "auto"
    precision: Literal["bf16-mixed", "32-true"] = "bf16-mixed"
    workers: Annotated[int, Field(ge=0)] = 0


class FoldSettings(Settings):
    """Patient-grouped folds, stratified by each patient's rarest class; one set of folds per seed."""

    count: Annotated[int, Field(ge=2)] = 5
    seeds: Annotated[tuple[int, ...], Field(min_length=1)] = (0,)

    @model_validator(mode="after")
    def _no_seed_twice(self) -> FoldSettings:
        if len(set(self.seeds)) != len(self.seeds):
            raise ValueError("each seed once: the same folds twice would count as evidence twice")
        return self


class EvaluationSettings(Settings):
    """Patient bootstrap: number of resamples, and two-sided coverage of the intervals."""

    bootstrap: Annotated[int, Field(ge=100)] = 2000
    coverage: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    seed: int = 0


class ExplanationSettings(Settings):
    """Which cases are explained: this many per class, the surest correct call first, then the surest wrong one."""

    cases_per_class: Annotated[int, Field(gt=0)] = 1


class Recipe(Settings):
    """One experiment: what the network sees, which network, how it is trained, and how it is judged."""

    name: str
    description: str
    sequences: Annotated[tuple[Sequence, ...], Field(min_length=1)] = SEQUENCES
    level: InformationLevel = InformationLevel.PAIR
    grid: GridSettings = GridSettings()
    augmentation: AugmentationSettings = AugmentationSettings()
    network: NetworkSettings = ChangeAwareSettings()
    training: TrainingSettings = TrainingSettings()
    folds: FoldSettings = FoldSettings()
    evaluation: EvaluationSettings = EvaluationSettings()
    explanation: ExplanationSettings = ExplanationSettings()

    @model_validator(mode="after")
    def _no_sequence_twice(self) -> Recipe:
        if len(set(self.sequences)) != len(self.sequences):
            raise ValueError(f"each sequence once, got {', '.join(self.sequences)}")
        return self

    def fingerprint(self, *parts: str) -> str:
        """SHA-256 (first 16 hex digits) of the named groups of settings, of all when none is named.

        Outputs made under another fingerprint are never mixed with today's.
        """
        content = self.model_dump(mode="json")
        chosen = {part: content[part] for part in parts} if parts else content
        return hashlib.sha256(json.dumps(chosen, sort_keys=True).encode()).hexdigest()[:16]


def recipes_folder() -> Path:
    """The folder of recipes that came with ranoscope: inside the installed package, or at the top of a checkout."""
    package = Path(__file__).parent
    installed = package / "recipes"
    return installed if installed.is_dir() else package.parents[1] / "recipes"


def load_recipe(name: str | Path, changes: Iterable[str] = ()) -> Recipe:
    """Read a recipe, a YAML file or the bare name of one that came with ranoscope, as a delta over ``base.yaml``.

    Args:
        name: path or bare name.
        changes: settings laid over the recipe, each ``key.sub=value`` with a YAML value.

    Raises:
        RecipeError: no such recipe, not YAML, or a key or value that is not allowed, by name.
    """
    path = Path(name)
    if not path.is_file() and (recipes_folder() / f"{name}.yaml").is_file():
        path = recipes_folder() / f"{name}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(found.stem for found in recipes_folder().glob("*.yaml") if found.stem != "base"))
        raise RecipeError(
            problem("a recipe file or the name of one that came with ranoscope", str(name), "RECIPE", f"use {known}")
        )
    merged = _merge(_read_yaml(recipes_folder() / "base.yaml"), _read_yaml(path))
    merged.setdefault("name", path.stem)
    for change in changes:
        merged = _merge(merged, _parse_change(change))
    return parse_recipe(merged, str(path))


def parse_recipe(content: dict[str, Any], where: str) -> Recipe:
    """Validate resolved settings; ``where`` names their file in messages.

    Raises:
        RecipeError: with every offending key on a line of its own.
    """
    return parse_settings(Recipe, content, where)


def parse_settings(model: type[S], content: dict[str, Any], where: str) -> S:
    """Validate one group of settings; ``where`` names their place in messages.

    Raises:
        RecipeError: with every offending key by name.
    """
    try:
        return model.model_validate(content)
    except ValidationError as error:
        lines = [_explain(detail, model) for detail in error.errors()]
        raise RecipeError(
            problem("known settings with allowed values", "; ".join(lines), where, "correct these keys")
        ) from error


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise RecipeError(problem("YAML", f"({error})", str(path), "correct the file")) from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise RecipeError(
            problem("a YAML mapping of settings", type(content).__name__, str(path), "write `key: value`")
        )
    return content


def _merge(base: dict[str, Any], delta: dict[str, Any]) -> dict[str, Any]:
    """Lay ``delta`` over ``base``; a group that switches its discriminating ``name`` starts afresh."""
    merged = dict(base)
    for key, value in delta.items():
        old = merged.get(key)
        if isinstance(old, dict) and isinstance(value, dict):
            switches = "name" in value and value["name"] != old.get("name")
            merged[key] = value if switches else _merge(old, value)
        else:
            merged[key] = value
    return merged


def _parse_change(change: str) -> dict[str, Any]:
    """``training.epochs=5`` as ``{"training": {"epochs": 5}}``."""
    key, equals, text = change.partition("=")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        value = text
    if not (key.strip() and equals):
        raise RecipeError(problem("KEY=VALUE", f"`{change}`", "--set", "write e.g. training.epochs=5"))
    for part in reversed(key.strip().split(".")):
        value = {part: value}
    return dict(value)


def _explain(detail: Any, model: type[Settings]) -> str:
    location = [str(part) for part in detail["loc"] if str(part) not in ("densenet", "change-aware")]
    place = ".".join(location)
    if detail["type"] != "extra_forbidden":
        return f"`{place}`: {detail['msg']} (got {detail.get('input')!r})"
    near = difflib.get_close_matches(location[-1], sorted(_known_keys(model)), n=1)
    return f"unknown key `{place}`" + (f" (did you mean `{near[0]}`?)" if near else "")


def _known_keys(model: type[Settings]) -> set[str]:
    """Every key of the tree below ``model``, read from its JSON schema."""
    schema = model.model_json_schema()
    groups = (schema, *schema.get("$defs", {}).values())
    return {key for group in groups for key in group.get("properties", {})}
