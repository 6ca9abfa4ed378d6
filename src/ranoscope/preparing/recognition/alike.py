"""Whether two series were acquired in the same way, whatever was injected between them."""

from __future__ import annotations

from collections.abc import Sequence

from ranoscope.preparing.recognition.reading import Reading
from ranoscope.preparing.recognition.rules import kind_of_echo
from ranoscope.preparing.series import SeriesFacts

# Minimum echo and repetition times shift by some per cent with the field of view and the number of slices.
_SAME_SHARE = 0.1
_SAME_MS = 1.0
_SAME_MM = 0.1
_SAME_DEG = 2.0


def alike(one: Reading, other: Reading) -> bool:
    """Equal in all that both headers tell; without echo and repetition times in both, equal in their names.

    Names are compared without the words about contrast and repetition.
    """
    a, b = one.facts, other.facts
    if None in (a.echo_time_ms, b.echo_time_ms, a.repetition_time_ms, b.repetition_time_ms):
        return one.said.words == other.said.words and _same_geometry(a, b)
    if one.said.plane and other.said.plane and one.said.plane is not other.said.plane:
        return False
    if fat_saturated(one) != fat_saturated(other) or kind_of_echo(a) is not kind_of_echo(b):
        return False
    if a.acquisition and b.acquisition and a.acquisition != b.acquisition:
        return False
    times = (
        (a.echo_time_ms, b.echo_time_ms),
        (a.repetition_time_ms, b.repetition_time_ms),
        (a.inversion_time_ms or 0.0, b.inversion_time_ms or 0.0),
    )
    return (
        all(_close(x, y, _SAME_MS) for x, y in times)
        and _close(a.flip_angle_deg, b.flip_angle_deg, _SAME_DEG)
        and _same_geometry(a, b)
    )


def fat_saturated(reading: Reading) -> bool:
    """By name, or by ScanOptions (0018,0022): FS, or GE's FAT_SAT_GEMS."""
    return reading.said.fat_saturated or any(
        option == "FS" or option.startswith("FAT") for option in reading.facts.scan_options
    )


def _same_geometry(a: SeriesFacts, b: SeriesFacts) -> bool:
    edges: tuple[Sequence[float], Sequence[float]] = (a.spacing_mm or (), b.spacing_mm or ())
    if not all(edges):
        return True
    return all(_close(x, y, _SAME_MM) for x, y in zip(*edges, strict=True))


def _close(a: float | None, b: float | None, least: float) -> bool:
    if a is None or b is None:
        return True
    return abs(a - b) <= max(least, _SAME_SHARE * max(abs(a), abs(b)))
