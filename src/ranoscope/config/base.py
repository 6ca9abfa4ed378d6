"""What every group of settings shares: frozen, unknown keys refused by name, with the nearest known one."""

from __future__ import annotations

import difflib
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from ranoscope.errors import RecipeError, problem


class Settings(BaseModel):
    """A frozen group of settings that refuses unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


S = TypeVar("S", bound=Settings)


def parse_settings(model: type[S], content: dict[str, Any], where: str) -> S:
    """Validate one group of settings; ``where`` names their place in messages.

    Raises:
        RecipeError: with every offending key by name.
    """
    try:
        return model.model_validate(content)
    except ValidationError as error:
        lines = [_explain(detail, content, model) for detail in error.errors()]
        raise RecipeError(
            problem("known settings with allowed values", "; ".join(lines), where, "correct these keys")
        ) from error


def overlay(base: dict[str, Any], delta: dict[str, Any]) -> dict[str, Any]:
    """Lay ``delta`` over ``base``; a group that switches its discriminating ``name`` starts afresh."""
    merged = dict(base)
    for key, value in delta.items():
        old = merged.get(key)
        if isinstance(old, dict) and isinstance(value, dict):
            switches = "name" in value and value["name"] != old.get("name")
            merged[key] = value if switches else overlay(old, value)
        else:
            merged[key] = value
    return merged


def parse_change(change: str) -> dict[str, Any]:
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


def _explain(detail: Any, content: dict[str, Any], model: type[Settings]) -> str:
    location = _written(detail["loc"], content)
    place = ".".join(location)
    if detail["type"] != "extra_forbidden":
        return f"`{place}`: {detail['msg']} (got {detail.get('input')!r})"
    near = difflib.get_close_matches(location[-1], sorted(_known_keys(model)), n=1)
    return f"unknown key `{place}`" + (f" (did you mean `{near[0]}`?)" if near else "")


def _written(location: tuple[str | int, ...], content: Any) -> list[str]:
    """The place of a fault as the user wrote it: pydantic adds the ``name`` that chose between groups."""
    written = []
    for part in location:
        if isinstance(content, dict) and part not in content and content.get("name") == part:
            continue
        written.append(str(part))
        if isinstance(content, dict):
            content = content.get(part)
        elif isinstance(content, (list, tuple)) and isinstance(part, int) and part < len(content):
            content = content[part]
    return written


def _known_keys(model: type[Settings]) -> set[str]:
    """Every key of the tree below ``model``, read from its JSON schema."""
    schema = model.model_json_schema()
    groups = (schema, *schema.get("$defs", {}).values())
    return {key for group in groups for key in group.get("properties", {})}
