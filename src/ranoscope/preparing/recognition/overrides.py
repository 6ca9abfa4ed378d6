"""The user's word on which series is which: a small YAML file that wins over the rules.

CT1: {series: 12}
T2: {name: "AX T2 FSE"}
FLAIR: {file: "flair"}
T1: none
set_aside: [3, {name: "repeat"}]
"""

from __future__ import annotations

import json
from collections.abc import Sequence as Sequential
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BeforeValidator, Field, field_validator

from ranoscope.config import Settings, parse_settings
from ranoscope.domain import Sequence
from ranoscope.errors import ImageError, RecipeError, problem
from ranoscope.preparing.recognition.reading import by_number, describe
from ranoscope.preparing.recognition.words import normalise
from ranoscope.preparing.series import SeriesFacts

_HOW = "what names one series, e.g. {series: 12}, {name: AX T1 POST} or {file: t1_gd}"


class Pick(Settings):
    """What names a series; all that is given must fit.

    ``series``: SeriesNumber. ``name``: SeriesDescription or ProtocolName, ``file``: of a NIfTI file; both whatever the
    case, spaces and underscores, as a whole or, where none is so called, as words in a row within it.
    """

    series: int | None = None
    name: str | None = None
    file: str | None = None

    @field_validator("name", "file")
    @classmethod
    def _has_words(cls, value: str | None) -> str | None:
        if value is not None and not normalise(value):
            raise ValueError("a name with letters or digits")
        return value

    @property
    def written(self) -> str:
        """As in the YAML file."""
        parts = {"series": self.series, "name": self.name, "file": self.file}
        inside = ", ".join(
            f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in parts.items() if value is not None
        )
        return f"{{{inside}}}"

    def fits(self, facts: SeriesFacts, *, whole: bool) -> bool:
        """Whether all that is given fits; ``whole``: names from their first to their last word."""
        return (
            (self.series is None or self.series == facts.number)
            and (self.name is None or any(_fits(self.name, one, whole) for one in (facts.description, facts.protocol)))
            and (self.file is None or _fits(self.file, facts.file_name, whole))
        )


def _fits(wanted: str, name: str, whole: bool) -> bool:
    words, inside = normalise(wanted), normalise(name)
    return words == inside if whole else f" {words} " in f" {inside} "


def _pick_or_none(value: Any) -> Any:
    """The word `none` leaves a sequence out: a pick of nothing."""
    if isinstance(value, str) and value.casefold() == "none":
        return {}
    if isinstance(value, Pick) or (isinstance(value, dict) and value):
        return value
    raise ValueError(f"expected none, or {_HOW}")


def _number_or_pick(value: Any) -> Any:
    if isinstance(value, int):
        return {"series": value}
    if isinstance(value, Pick) or (isinstance(value, dict) and value):
        return value
    raise ValueError(f"expected a series number, or {_HOW}")


_SequencePick = Annotated[Pick | None, BeforeValidator(_pick_or_none), Field(validate_default=False)]


class Override(Settings):
    """A pick per sequence, of nothing where the sequence is to be left out, and series to set aside."""

    CT1: _SequencePick = None
    T1: _SequencePick = None
    T2: _SequencePick = None
    FLAIR: _SequencePick = None
    set_aside: tuple[Annotated[Pick, BeforeValidator(_number_or_pick)], ...] = ()

    @property
    def picks(self) -> dict[Sequence, Pick]:
        """Those given, by sequence."""
        given = {sequence: getattr(self, sequence.value) for sequence in Sequence}
        return {sequence: pick for sequence, pick in given.items() if pick is not None}


@dataclass(frozen=True)
class Resolved:
    """An override on one study: places of the series chosen and set aside, and the sequences left out."""

    chosen: dict[Sequence, int]
    set_aside: frozenset[int]
    left_out: frozenset[Sequence]


def read_override(path: Path) -> Override:
    """Read the YAML file.

    Raises:
        RecipeError: it cannot be read, is no mapping, or has unknown keys or values that name no series.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        what = str(error).splitlines()[0]
        raise RecipeError(problem("a YAML file", f"{what}", path.name, "write e.g. CT1: {series: 12}")) from error
    if not isinstance(content, dict):
        got = "an empty file" if content is None else f"`{content}`"
        raise RecipeError(problem("a line per sequence", got, path.name, "write e.g. CT1: {series: 12}"))
    return parse_settings(Override, content, path.name)


def resolve(override: Override, series: Sequential[SeriesFacts], where: str) -> Resolved:
    """Find the series an override speaks of. What is set aside by one pick may be several, e.g. both of one number.

    Raises:
        ImageError: a pick fits none or, for a sequence, several; or one series is named twice.
    """
    left_out = frozenset(sequence for sequence, pick in override.picks.items() if pick == Pick())
    chosen = {
        sequence: _one(sequence, pick, series, where)
        for sequence, pick in override.picks.items()
        if sequence not in left_out
    }
    aside = frozenset(place for pick in override.set_aside for place in _some(pick, series, where))
    named = [*chosen.values(), *aside]
    if twice := [place for place in chosen.values() if named.count(place) > 1]:
        raise ImageError(
            problem(
                "every series at most once in the override",
                f"{describe(series[twice[0]])} for two purposes",
                where,
                "remove one of its lines",
            )
        )
    return Resolved(chosen, aside, left_out)


def fitting(pick: Pick, series: Sequential[SeriesFacts]) -> list[int]:
    """Places of the series that a pick names: those whose whole name it gives, or else those whose name contains it."""
    for whole in (True, False):
        if found := [place for place, facts in enumerate(series) if pick.fits(facts, whole=whole)]:
            return found
    return []


def naming(place: int, series: Sequential[SeriesFacts]) -> Pick | None:
    """The shortest pick that names this series alone; None where number, name and file are those of another too."""
    facts = series[place]
    given: dict[str, Any] = {
        "series": facts.number,
        "file": facts.file_name or None,
        "name": facts.description or facts.protocol or None,
    }
    keys = [key for key, value in given.items() if value is not None and (key == "series" or normalise(value))]
    for size in range(1, len(keys) + 1):
        for some in combinations(keys, size):
            pick = Pick(**{key: given[key] for key in some})
            if fitting(pick, series) == [place]:
                return pick
    return None


def listing(series: Sequential[SeriesFacts]) -> str:
    """Every series on a line of its own."""
    return "".join(f"\n  {line}" for line in map(describe, sorted(series, key=by_number)))


def _one(sequence: Sequence, pick: Pick, series: Sequential[SeriesFacts], where: str) -> int:
    found = fitting(pick, series)
    if len(found) == 1:
        return found[0]
    there = listing([series[place] for place in found] or series)
    raise ImageError(
        problem(
            f"one series that fits `{sequence}: {pick.written}` of the override",
            f"{len(found) or 'none'}",
            where,
            f"name one of these by number, name or file, or write none:{there}\nand run again",
        )
    )


def _some(pick: Pick, series: Sequential[SeriesFacts], where: str) -> list[int]:
    if found := fitting(pick, series):
        return found
    expected = f"a series that fits {pick.written} under `set_aside` of the override"
    raise ImageError(problem(expected, "none", where, f"name some of these:{listing(series)}\nand run again"))
