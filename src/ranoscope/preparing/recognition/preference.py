"""Which of several series of one sequence is the better one to measure a tumour on.

A cascade: each step compares one property and drops whatever is clearly worse than the best; the next sees the rest.
A property that is unknown in one of them says nothing. What no step tells apart is left to the user.

1. acquired, not reformatted: a reformat holds nothing new and is often thicker;
2. covering the brain: 100 mm or more across the slices;
3. voxels: the longest edge at least a third shorter than the other's. A diameter is known to about one voxel, and a
   3-D scan of 1 mm can be measured in every plane (BTIP: isotropic 3-D T1, at most 1.5 mm);
4. 3-D rather than 2-D: no gaps;
5. CT1 and T1: acquired as a T1 on the other side of the injection. BTIP asks that both match;
6. without fat saturation: as BTIP, and it fails at the skull base;
7. FLAIR: before contrast agent, as BTIP; enhancing tumour is bright on FLAIR after it;
8. contrast said by the series itself, not inferred from the others;
9. no single shot: it blurs;
10. axial, where voxels are equal: BTIP's plane for 2-D, and the one RANO's diameters are measured in;
11. voxels again, by any difference that is more than rounding;
12. corrected: MP2RAGE without background noise, gradient distortion (DIS2D or DIS3D, not ND), receive field (NORM);
13. the later one of two alike in everything: a scan is repeated where the first one failed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import combinations

from ranoscope.domain import Sequence as MrSequence
from ranoscope.preparing.recognition.alike import alike, fat_saturated
from ranoscope.preparing.recognition.decision import SetAside
from ranoscope.preparing.recognition.reading import BRAIN_MM, Reading
from ranoscope.preparing.recognition.words import Plane

CLEARLY_LONGER = 1.5
_ROUNDING = 1.1
_OTHER = {MrSequence.T1: MrSequence.CT1, MrSequence.CT1: MrSequence.T1}
Quality = Callable[[Reading], float | None]


@dataclass(frozen=True)
class Company:
    """What a choice may look at beside the candidates.

    ``sequence``: which one is chosen. ``other_side``: for T1 the candidates of CT1 and the other way round.
    ``own_word``: places of the series that say themselves whether contrast agent was given.
    """

    sequence: MrSequence
    other_side: tuple[Reading, ...] = ()
    own_word: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Choice:
    """``best``: one, or several that no step tells apart. ``lost``: by place, why the best is better."""

    best: tuple[Reading, ...]
    lost: dict[int, tuple[SetAside, str]] = field(default_factory=dict)


@dataclass(frozen=True)
class _Step:
    """``quality``: smaller is better, None unknown. ``say``: of the worse quality, what the best has instead."""

    quality: Quality
    say: Callable[[Reading, Reading], str]
    factor: float = 1.0
    reason: SetAside = SetAside.DUPLICATE


def choose(candidates: Sequence[Reading], company: Company) -> Choice:
    """The best of the candidates, or those of them between which it cannot be decided."""
    left, lost = list(candidates), dict[int, tuple[SetAside, str]]()
    for step in _steps(company):
        known = [value for one in left if (value := step.quality(one)) is not None]
        if len(known) < len(left) or len(left) < 2:
            continue
        limit = min(known) * step.factor
        keep = [one for value, one in sorted(zip(known, left, strict=True), key=lambda pair: pair[0]) if value <= limit]
        winner = keep[0]
        lost |= {one.place: (step.reason, step.say(winner, one)) for one in left if one not in keep}
        left = keep
    if len(left) > 1 and (last := _last_repeat(left)) is not None:
        lost |= {
            one.place: (SetAside.DUPLICATE, "is its later repeat with the same settings")
            for one in left
            if one is not last
        }
        left = [last]
    return Choice(tuple(left), lost)


def _steps(company: Company) -> list[_Step]:
    steps = [
        _yes_or_no(lambda one: one.reformat, "was acquired, not reformatted", SetAside.REFORMAT),
        _yes_or_no(_covers_less, f"covers {BRAIN_MM:.0f} mm or more across the slices", SetAside.PARTIAL),
        _Step(_longest_edge, _tell_edges, CLEARLY_LONGER - 1e-6),
        _yes_or_no(lambda one: {"3D": False, "2D": True}.get(one.facts.acquisition), "is 3-D, without gaps"),
    ]
    if company.other_side:
        steps.append(
            _yes_or_no(lambda one: not _matches(one, company), f"matches a {_OTHER[company.sequence]} of the study")
        )
    steps.append(_yes_or_no(fat_saturated, "is not fat-saturated"))
    if company.sequence is MrSequence.FLAIR:
        steps.append(_yes_or_no(_after_contrast, "says nothing of contrast agent"))
    if company.own_word:
        steps.append(_yes_or_no(lambda one: one.place not in company.own_word, "says itself whether agent was given"))
    steps += [
        _yes_or_no(lambda one: one.said.single_shot, "is no single shot"),
        _yes_or_no(_not_axial, "is axial"),
        _Step(_longest_edge, _tell_edges, _ROUNDING),
        _yes_or_no(lambda one: not one.said.denoised, "is without background noise"),
        _yes_or_no(_distorted, "is corrected for gradient distortion"),
        _yes_or_no(lambda one: "NORM" not in one.facts.image_type, "is corrected for the receive field"),
    ]
    return steps


def _yes_or_no(worse: Callable[[Reading], bool | None], instead: str, reason: SetAside = SetAside.DUPLICATE) -> _Step:
    def quality(reading: Reading) -> float | None:
        answer = worse(reading)
        return None if answer is None else float(answer)

    return _Step(quality, lambda _best, _loser: instead, reason=reason)


def _covers_less(reading: Reading) -> bool | None:
    return None if reading.coverage_mm is None else reading.coverage_mm < BRAIN_MM


def _longest_edge(reading: Reading) -> float | None:
    return None if reading.facts.spacing_mm is None else max(reading.facts.spacing_mm)


def _tell_edges(best: Reading, loser: Reading) -> str:
    return f"has voxels of at most {_longest_edge(best):.2g} mm, this one of {_longest_edge(loser):.2g} mm"


def _matches(reading: Reading, company: Company) -> bool:
    return any(alike(reading, other) for other in company.other_side)


def _after_contrast(reading: Reading) -> bool:
    return reading.said.contrast is True or (reading.facts.contrast is True and reading.said.contrast is None)


def _not_axial(reading: Reading) -> bool | None:
    return None if reading.said.plane is None else reading.said.plane is not Plane.AXIAL


def _distorted(reading: Reading) -> bool | None:
    values = set(reading.facts.image_type)
    if values & {"DIS2D", "DIS3D"}:
        return False
    return True if "ND" in values else None


def _last_repeat(left: Sequence[Reading]) -> Reading | None:
    """The last of several alike in header, names and matrix; None where they differ or their order is unknown."""
    if not all(
        alike(a, b) and a.said.words == b.said.words and a.facts.shape == b.facts.shape
        for a, b in combinations(left, 2)
    ):
        return None
    times = [one.facts.acquired_s for one in left]
    if None in times:
        times = [one.facts.number for one in left]
    if None in times or len(set(times)) < len(times):
        # Acquired at once is one acquisition reconstructed twice, whatever the numbers.
        return None
    return max(zip(times, left, strict=True), key=lambda pair: pair[0] or 0.0)[1]
