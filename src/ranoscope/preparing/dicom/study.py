"""The files of one study to its series, each part of a series that can be a volume on its own."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import Path

from ranoscope.preparing.dicom.aside import Aside, AsideReason
from ranoscope.preparing.dicom.facts import first_acquisition, make_facts, study_moment
from ranoscope.preparing.dicom.frames import Frame, frames_of, is_image_class
from ranoscope.preparing.dicom.header import Attributes
from ranoscope.preparing.dicom.splitting import Part, count_volumes, split_series
from ranoscope.preparing.dicom.volume import drop_copies, load_volume
from ranoscope.preparing.series import Series, SeriesFacts


@dataclass(frozen=True, eq=False, repr=False)
class HeaderFile:
    """A DICOM file: its place among the folder's files, from 1, and what its header says."""

    path: Path
    number: int
    header: Attributes


@dataclass(frozen=True, eq=False)
class _Found:
    """A series: ``frames`` with a place, ``spoilt`` ones that should have one, and what of it is no such image."""

    where: str
    frames: list[Frame]
    spoilt: list[Frame]
    aside: tuple[Aside, ...]


def read_series(
    files: Sequence[HeaderFile], prefix: str, private: frozenset[str]
) -> tuple[tuple[Series, ...], tuple[Aside, ...]]:
    """Series in order of their number, and rows for what is none.

    Args:
        files: of one study.
        prefix: names the study in messages; empty where there is one.
        private: words to keep out of texts.
    """
    by_series: dict[str, list[HeaderFile]] = defaultdict(list)
    for file in files:
        by_series[file.header.text("SeriesInstanceUID")].append(file)
    found = [_find(held, prefix + name) for name, held in _named(by_series)]
    day, _ = study_moment(file.header for file in files)
    start = first_acquisition((frame for one in found for frame in one.frames), day)
    series: list[Series] = []
    aside: list[Aside] = []
    for one in found:
        parts, copies = _parts(one)
        aside += [*one.aside, *copies]
        for part, facts in zip(parts, _facts(parts, private), strict=True):
            begun = first_acquisition(part.frames, day)
            where = _where(one, part)
            series.append(
                Series(
                    replace(facts, acquired_s=_seconds(begun, start)), where,
                    partial(load_volume, part.frames, tuple(one.spoilt), where),
                )
            )  # fmt: skip
    return tuple(series), tuple(aside)


def _named(by_series: Mapping[str, list[HeaderFile]]) -> list[tuple[str, list[HeaderFile]]]:
    """Every series with a name that no other has, in order of number, then of files."""
    numbered = sorted(
        ((_number(held), held) for held in by_series.values()),
        key=lambda one: (one[0] is None, one[0] or 0, one[1][0].number),
    )
    names = ["series without a number" if number is None else f"series {number}" for number, _ in numbered]
    total, seen = Counter(names), Counter[str]()
    named = []
    for name, (_, held) in zip(names, numbered, strict=True):
        seen[name] += 1
        named.append((name if total[name] == 1 else f"{name} ({seen[name]} of {total[name]})", held))
    return named


def _number(held: Sequence[HeaderFile]) -> int | None:
    return next((number for file in held if (number := file.header.integer("SeriesNumber")) is not None), None)


def _find(held: Sequence[HeaderFile], where: str) -> _Found:
    frames: list[Frame] = []
    spoilt: list[Frame] = []
    reasons: Counter[AsideReason] = Counter()
    for file in held:
        made = frames_of(file.header, file.path, file.number)
        if isinstance(made, AsideReason):
            reasons[made] += 1
        elif any(frame.flaw for frame in made) and not is_image_class(file.header):
            reasons[AsideReason.NO_PLACE] += 1
        else:
            frames += [frame for frame in made if frame.flaw is None]
            spoilt += [frame for frame in made if frame.flaw is not None]
    if not frames and spoilt:
        reasons[AsideReason.NO_PLACE] += len({frame.path for frame in spoilt})
    modality = held[0].header.text("Modality").upper()
    name = f"{where} ({modality})" if modality.isalpha() and len(modality) <= 16 else where
    return _Found(where, frames, spoilt, tuple(Aside(name, reason, files) for reason, files in reasons.items()))


def _parts(found: _Found) -> tuple[list[Part], list[Aside]]:
    """The parts of a series without slices that are there twice, and a row for these."""
    parts, aside = [], []
    for part in split_series(found.frames):
        kept = drop_copies(part.frames, _where(found, part))
        if len(kept) < len(part.frames):
            aside.append(Aside(_where(found, part), AsideReason.DUPLICATE, len(part.frames) - len(kept)))
        parts.append(replace(part, frames=tuple(kept)))
    return parts, aside


def _where(found: _Found, part: Part) -> str:
    return f"{found.where}, {part.label}" if part.label else found.where


def _facts(parts: Sequence[Part], private: frozenset[str]) -> list[SeriesFacts]:
    """Facts of every part, seen beside the others: a b-value of 0 alone is what some scanners write everywhere."""
    facts = [make_facts(part.frames, private) for part in parts]
    diffusion = any(one.diffusion_b for one in facts)
    return [
        replace(one, volumes=volumes, diffusion_b=one.diffusion_b if diffusion else None)
        for one, volumes in zip(facts, count_volumes(parts), strict=True)
    ]


def _seconds(begun: datetime | None, start: datetime | None) -> float | None:
    return None if begun is None or start is None else (begun - start).total_seconds()
