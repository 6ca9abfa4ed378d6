"""What earlier scans of a series mean for a later one: responses that wait for a second scan, progression for a repeat.

Where an earlier scan's facts are unknown, more than one state is possible; the presumed one always comes first.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ranoscope.response.criteria import Confirmation, Criteria
from ranoscope.response.decide import Step
from ranoscope.response.logic import Truth
from ranoscope.response.rows import Outcome


class State(NamedTuple):
    """Where a series stands before a scan.

    ``waiting``: index of the scan whose progression waits for its repeat; ``by_size``: whether it had grown.
    ``reference``: index of the first scan among which the nadir is sought. ``progressed``: progression was called
    (kept only where progression may have to wait).
    ``doubted``: ids of new lesions that were seen and not believed.
    """

    waiting: int | None = None
    by_size: bool = False
    reference: int = 0
    progressed: bool = False
    doubted: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Level:
    """How good a response a scan shows, 0 (none) to 3 (CR), confirmed or not, by row; None: not evaluable.

    ``least``, ``most``: the limits within which it lies, whatever the unknown facts are.
    """

    day: int
    presumed: int | None
    least: int
    most: int


def step_of(state: State, criteria: Criteria, days: Sequence[int], place: int) -> Step:
    """What a scan is to the progression that waits, if one does.

    Args:
        state: before the scan.
        criteria: for whether progression waits, and how long.
        days: of the series' scans.
        place: index of the scan.
    """
    if criteria.confirm_progression is Confirmation.NEVER:
        return Step.NONE_WAITS
    if state.progressed:
        return Step.PROGRESSED
    if state.waiting is None:
        return Step.NONE_WAITS
    enough = days[place] - days[state.waiting] >= criteria.progression_confirmation_days
    return Step.REPEAT_SCAN if enough else Step.TOO_SOON


@dataclass(frozen=True)
class Seen:
    """What of a scan the state after it depends on, besides its outcome.

    ``grown``: its size is progression. ``measured``: its size is known. ``appeared``: ids of its new lesions that the
    criteria take for progression.
    """

    place: int
    step: Step
    grown: bool
    measured: bool
    appeared: frozenset[str]


def next_states(state: State, outcome: Outcome, seen: Seen, criteria: Criteria) -> Iterator[State]:
    """The states that a scan may leave behind, the presumed one first."""
    if outcome is Outcome.PROGRESSION:
        yield State(reference=state.reference, progressed=criteria.confirm_progression is not Confirmation.NEVER)
        return
    if outcome in (Outcome.WAITS, Outcome.DOUBTED):
        state = state._replace(doubted=state.doubted | seen.appeared)
    if outcome is Outcome.WAITS:
        yield state if state.waiting is not None else state._replace(waiting=seen.place, by_size=seen.grown)
        return
    if state.waiting is None or seen.step is not Step.REPEAT_SCAN:
        yield state
        return
    if not seen.measured:
        # A repeat scan of unknown size settles nothing, though it might have.
        yield state
    moves = criteria.unconfirmed_becomes_reference and state.by_size
    yield state._replace(waiting=None, by_size=False, reference=state.waiting if moves else state.reference)


def is_confirmed(level: int, day: int, least_days: int, earlier: Sequence[Level]) -> tuple[Truth, bool]:
    """Whether a response of that level was there long enough: on every evaluable scan since one ``least_days`` ago.

    Args:
        level: of the response.
        day: of the scan.
        least_days: to the scan that shows it first.
        earlier: levels of the earlier scans after the baseline, in time order.

    Returns:
        The answer, None where it depends on unknown facts, and what it is presumed to be.
    """
    surely = day - _first_day(level, day, ((one.day, one.least) for one in reversed(earlier))) >= least_days
    perhaps = day - _first_day(level, day, ((one.day, one.most) for one in reversed(earlier))) >= least_days
    presumed = day - first_day(level, day, earlier) >= least_days
    return (True if surely else None if perhaps else False), presumed


def first_day(level: int, day: int, earlier: Sequence[Level]) -> int:
    """Since when a response of that level is presumed to be there without a break; ``day`` if this scan is the first.

    A scan that is not evaluable is passed over.
    """
    return _first_day(level, day, ((one.day, one.presumed) for one in reversed(earlier)))


def _first_day(level: int, day: int, backwards: Iterable[tuple[int, int | None]]) -> int:
    first = day
    for one, shown in backwards:
        if shown is not None and shown < level:
            break
        first = first if shown is None else one
    return first
