"""The expert's free-text rationale → lesion sizes and named reasons: the spellings of LUMIERE's text column live here.

Sizes are written in many ways (``13mm x 26mm``, ``9 x 17 mm``, ``19 mmx 24mm``, ``12mm x 28m``); whatever looks like a
size and cannot be read without guessing is kept as unread text, so that nothing disappears silently.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from enum import StrEnum


class LesionRole(StrEnum):
    """What the text calls the lesion that a size belongs to."""

    TARGET = "target"
    NON_TARGET = "non-target"
    UNSAID = "unsaid"


class Trend(StrEnum):
    """What the text says of a lesion's course."""

    NEW = "new"
    PROGRESSING = "progressing"
    STABLE = "stable"
    REGRESSING = "regressing"
    OLD = "old"
    UNSAID = "unsaid"


@dataclass(frozen=True)
class StatedSize:
    """One lesion's size as the expert wrote it, in mm; ``perpendicular_mm`` is None where one diameter is given.

    ``start``, ``end``: where it stands in the rationale. ``notes``: what the reading had to assume.
    """

    longest_mm: float
    perpendicular_mm: float | None
    role: LesionRole
    trend: Trend
    start: int
    end: int
    notes: tuple[str, ...] = ()

    @property
    def product_mm2(self) -> float | None:
        """Bidimensional product; None where one diameter is given."""
        return None if self.perpendicular_mm is None else self.longest_mm * self.perpendicular_mm


@dataclass(frozen=True)
class Rationale:
    """What one rationale says. ``unread``: pieces of text that look like a size and are not read.

    ``in_radiation_field``: the change lies in the irradiated area or high-dose field. ``resection``: ``CRET`` (complete
    resection of the enhancing tumour) or ``PRET`` (partial).
    """

    sizes: tuple[StatedSize, ...]
    unread: tuple[str, ...]
    new_lesion: bool
    new_non_measurable: bool
    non_measurable: bool
    non_target: bool
    t2_progression: bool
    regression: bool
    in_radiation_field: bool
    bevacizumab: bool
    resection: str | None


def read_rationale(text: str) -> Rationale:
    """Read one cell of the rationale column; an empty cell says nothing."""
    sizes, unread = _sizes(text)
    return Rationale(
        sizes=sizes,
        unread=unread,
        new_lesion=_says(r"\bnew\b", text),
        new_non_measurable=_says(r"\bnew\s+non[\s-]*measurable", text),
        # A lesion that has become measurable or is no longer so is named too.
        non_measurable=_says(r"\bnon[\s-]*measurable", text),
        # "Non-Target L.: 0" says that there is none.
        non_target=_says(r"\bnon[\s-]*target\b(?!\s*L?\.?\s*:?\s*0\b)", text),
        t2_progression=_says(r"\bT2[\s-]*Progr", text),
        regression=_says(r"\bregressing\b|\breduction\b", text),
        in_radiation_field=_says(r"\b(within|in) the (irradiat|high[\s-]*dose)", text),
        bevacizumab=_says(r"\bavastin\b|\bbevacizumab\b", text),
        resection=next((word for word in ("CRET", "PRET") if _says(rf"\b{word}\b", text)), None),
    )


_NUMBER = r"\d+(?:[.,]\d+)?"
# "28m" is a slip for 28mm; "3 months" is none.
_UNIT = r"(?:\s*(?:mm|cm|m)(?![a-wyz]))?"
_LENGTH = rf"{_NUMBER}{_UNIT}"
# A length with a unit, or lengths joined by "x" (a product) or a dash (a range).
_SIZE_LIKE = re.compile(
    rf"(?<![\w.,]){_LENGTH}(?:\s*(?:[x×*]|[-–])\s*{_LENGTH})+|(?<![\w.,]){_NUMBER}\s*(?:mm|cm|m)(?![a-z0-9²³])",
    re.IGNORECASE,
)
# A range without a unit ("2009-2010") is no size.
_UNIT_OR_TIMES = re.compile(r"[mx×*]", re.IGNORECASE)
_STRAY_UNIT = re.compile(r"(?<![a-z])[mc]m(?![a-z])", re.IGNORECASE)
_PRODUCT = re.compile(r"\s*[x×*]\s*", re.IGNORECASE)
_PART = re.compile(rf"({_NUMBER})\s*(mm|cm|m)?$", re.IGNORECASE)
_HEADING = re.compile(
    r"(?P<non>\bnon[\s-]*)?\btarget(?:\s+lesions?\b|\s*L\b)?\.?|(?P<short>\bTL\b)", re.IGNORECASE
)  # fmt: skip
_COUNT = re.compile(r"\s*:?\s*(\d+)(?!\d|[.,]\d|\s*(?:mm|cm|m)(?![a-z])|\s*[x×])", re.IGNORECASE)
_TRENDS = {
    Trend.NEW: r"\bnew\b", Trend.PROGRESSING: r"\bprogressing\b", Trend.REGRESSING: r"\bregressing\b",
    Trend.STABLE: r"\b(stable|static)\b", Trend.OLD: r"\bold\b",
}  # fmt: skip
_PARENTHESIS = re.compile(r"\s*\(([^)]*)\)")


@dataclass
class _Heading:
    """A mention of target or non-target lesions, and the sizes listed under it."""

    role: LesionRole
    count: int | None
    trend: Trend
    end: int
    sizes: list[StatedSize] = field(default_factory=list)


def _sizes(text: str) -> tuple[tuple[StatedSize, ...], tuple[str, ...]]:
    headings = [_Heading(LesionRole.UNSAID, None, Trend.UNSAID, 0), *_headings(text)]
    unread, covered = [], []
    previous: StatedSize | None = None
    for found in _SIZE_LIKE.finditer(text):
        if not _UNIT_OR_TIMES.search(found[0]):
            continue
        covered.append(found.span())
        heading = [one for one in headings if one.end <= found.start()][-1]
        size = _read_size(found)
        if size is None:
            unread.append(found[0])
            continue
        before = previous if previous is not None and previous.end > heading.end else None
        size = replace(size, role=heading.role, trend=_trend(text, size, heading, before))
        between = text[before.end if before else heading.end : size.start]
        if _says(r"\bapprox", between):
            size = replace(size, notes=(*size.notes, "approximate"))
        heading.sizes.append(size)
        previous = size
    strays = [one for one in _STRAY_UNIT.finditer(text) if not any(a <= one.start() < b for a, b in covered)]
    unread += [text[max(0, one.start() - 12) : one.end()].strip() for one in strays]
    _deal_by_counts(headings)
    sizes = sorted((size for heading in headings for size in heading.sizes), key=lambda size: size.start)
    return tuple(sizes), tuple(unread)


def _headings(text: str) -> Iterator[_Heading]:
    for found in _HEADING.finditer(text):
        clause = text[: found.start()].rpartition(",")[2]
        count = _COUNT.match(text, found.end())
        yield _Heading(
            role=LesionRole.NON_TARGET if found["non"] else LesionRole.TARGET,
            count=int(count[1]) if count else None,
            trend=_trend_word(clause),
            end=found.end(),
        )


def _read_size(found: re.Match[str]) -> StatedSize | None:
    """One or two lengths; None for a range, three lengths, a decimal comma (it may part two numbers) or a lone "m"."""
    parts = [_PART.match(part) for part in _PRODUCT.split(found[0])]
    if len(parts) > 2 or any(part is None or "," in part[1] for part in parts):
        return None
    lengths = [(float(part[1]), (part[2] or "").casefold()) for part in parts if part is not None]
    units = [unit for _, unit in lengths]
    if len(lengths) == 1 and units[0] == "m":
        return None
    notes = []
    if "m" in units:
        notes.append("m read as mm")
    if not any(units):
        notes.append("no unit, read as mm")
    # "9 x 17 mm": the unit of the pair stands once.
    shared = "cm" if "cm" in units else "mm"
    millimetres = [value * (10 if (unit or shared) == "cm" else 1) for value, unit in lengths]
    perpendicular = min(millimetres) if len(millimetres) == 2 else None
    return StatedSize(
        max(millimetres), perpendicular, LesionRole.UNSAID, Trend.UNSAID, found.start(), found.end(), tuple(notes)
    )


def _trend(text: str, size: StatedSize, heading: _Heading, before: StatedSize | None) -> Trend:
    """The word behind the size in brackets, else the one before it, else that of the size it is joined to by "and",
    else the heading's."""
    behind = _PARENTHESIS.match(text, size.end)
    said = _trend_word(behind[1]) if behind else Trend.UNSAID
    if said is Trend.UNSAID:
        between = text[before.end if before else heading.end : size.start]
        # What stands in brackets behind the size before speaks of that one.
        between = _PARENTHESIS.sub("", between)
        said = _trend_word(between)
        if said is Trend.UNSAID and before is not None and between.strip() == "and":
            said = before.trend
    return heading.trend if said is Trend.UNSAID else said


def _trend_word(text: str) -> Trend:
    return next((trend for trend, word in _TRENDS.items() if _says(word, text)), Trend.UNSAID)


def _deal_by_counts(headings: list[_Heading]) -> None:
    """ "Target L.: 1, Non-Target L.: 1, 18mm x 21mm": counts first, sizes behind; they belong to the targets first."""
    for place, heading in enumerate(headings):
        if heading.role is not LesionRole.NON_TARGET or heading.count is None:
            continue
        for earlier in headings[:place]:
            if earlier.role is LesionRole.TARGET and earlier.count is not None:
                missing = max(0, earlier.count - len(earlier.sizes))
                moved, heading.sizes = heading.sizes[:missing], heading.sizes[missing:]
                earlier.sizes += [
                    replace(one, role=LesionRole.TARGET, notes=(*one.notes, "role by the counts")) for one in moved
                ]


def _says(pattern: str, text: str) -> bool:
    return re.search(pattern, text, re.IGNORECASE) is not None
