"""Which T1-weighted series were acquired after contrast agent was given.

What counts, in this order:

1. The series' own word: its name, or an agent in its header (ContrastBolusAgent, PS3.3 C.7.6.4). An empty attribute is
   silence, for many scanners leave it empty after injection. Where every T1 has an agent in its header and only some
   names say contrast, the agent was entered for the examination, and only names count.
2. The clock: what was acquired after the first series that says contrast was acquired with the agent in the body.
   What was acquired before it and says nothing is without.
3. The pair: of two series acquired alike of which one says contrast, the silent one is without.
4. Where contrast is spoken of elsewhere in the study and no clock or number speaks against it, silence means without.
5. A single T1 in a study in which no series says anything of contrast is taken as without, and the reasons say so.

Anything else stays unknown. In particular, that one of two silent series came later says nothing: it may be a repeat.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from ranoscope.preparing.recognition.alike import alike
from ranoscope.preparing.recognition.decision import SetAside
from ranoscope.preparing.recognition.reading import Reading, label

# What was computed from other series, or is no image of the study's course, does not tell when agent was given.
_NO_WITNESS = frozenset(
    {SetAside.NOT_MR, SetAside.LOCALISER, SetAside.DERIVED, SetAside.QUANTITATIVE, SetAside.FIELD_MAP}
)


@dataclass(frozen=True)
class Verdict:
    """``contrast``: None where it stays unknown. ``own``: whether the series itself says so.

    ``contradiction``: its name says before contrast and its header names an agent.
    """

    contrast: bool | None
    own: bool
    reason: str
    contradiction: bool = False


def judge(candidates: Sequence[Reading], study: Sequence[Reading]) -> dict[int, Verdict]:
    """A verdict for every T1-weighted candidate, by its place.

    Args:
        candidates: the T1-weighted series that were acquired; reformats only where none of them was.
        study: every series of the study.
    """
    own = own_words(candidates)
    names_only = _agent_everywhere(candidates) and _names_discriminate(candidates)
    witnesses = [one for one in study if _is_witness(one, own, names_only)]
    verdicts = dict(own)
    for one in candidates:
        if own[one.place].contrast is None and not own[one.place].contradiction:
            verdicts[one.place] = _infer(one, [other for other in candidates if _says(other, own)], witnesses)
    lone = len(candidates) == 1 and not witnesses
    if lone and not own[candidates[0].place].contradiction and own[candidates[0].place].contrast is None:
        verdicts[candidates[0].place] = Verdict(
            False, False, "no word about contrast in this or any other series: taken as without contrast agent"
        )
    return verdicts


def own_words(candidates: Sequence[Reading]) -> dict[int, Verdict]:
    """What each T1-weighted series itself says, by its place."""
    everywhere = _agent_everywhere(candidates)
    names_only = everywhere and _names_discriminate(candidates)
    return {one.place: _own_word(one, everywhere, names_only) for one in candidates}


def _own_word(reading: Reading, everywhere: bool, names_only: bool) -> Verdict:
    named, agent = reading.said.contrast, reading.facts.contrast is True
    if named is True:
        return Verdict(True, True, "its name says contrast agent")
    if named is False:
        if agent and not everywhere:
            return Verdict(None, True, "its name says without contrast agent, its header names one", contradiction=True)
        return Verdict(False, True, "its name says without contrast agent")
    if agent and not names_only:
        return Verdict(True, True, "contrast agent in the header")
    return Verdict(None, True, "contrast agent in every header" if agent else "no word about contrast")


def _agent_everywhere(candidates: Sequence[Reading]) -> bool:
    return len(candidates) > 1 and all(one.facts.contrast is True for one in candidates)


def _names_discriminate(candidates: Sequence[Reading]) -> bool:
    named = {one.said.contrast for one in candidates}
    return True in named and len(named) > 1


def _says(reading: Reading, own: dict[int, Verdict]) -> bool:
    return own[reading.place].contrast is True


def _is_witness(reading: Reading, own: dict[int, Verdict], names_only: bool) -> bool:
    if reading.set_aside in _NO_WITNESS or reading.reformat:
        return False
    if reading.place in own:
        return own[reading.place].contrast is True
    return reading.said.contrast is True or (reading.facts.contrast is True and not names_only)


def _infer(reading: Reading, enhanced: Iterable[Reading], witnesses: Sequence[Reading]) -> Verdict:
    """For a series that is silent itself. ``enhanced``: the T1-weighted series that say contrast."""
    first = _earliest(witnesses, lambda one: one.facts.acquired_s)
    when, agent_entered = reading.facts.acquired_s, reading.facts.contrast is True
    if first is not None and when is not None:
        if when > _known(first.facts.acquired_s):
            return Verdict(True, False, f"acquired after {label(first.facts)}, which says contrast agent")
        if not agent_entered and when < _known(first.facts.acquired_s):
            return Verdict(False, False, f"acquired before {label(first.facts)}, the first to say contrast agent")
    twins = sorted(label(one.facts) for one in enhanced if alike(one, reading))
    if twins:
        return Verdict(False, False, f"acquired as {twins[0]}, which says contrast agent, and silent about it")
    if not witnesses or agent_entered:
        return Verdict(None, False, "no word about contrast" if not agent_entered else "contrast agent in every header")
    numbered = _earliest(witnesses, lambda one: one.facts.number)
    number = reading.facts.number
    if numbered is not None and number is not None and number > _known(numbered.facts.number):
        return Verdict(
            None, False, f"no word about contrast, and numbered after {label(numbered.facts)}, which says it"
        )
    return Verdict(False, False, "no word about contrast, where another series has one: without contrast agent")


def _earliest(witnesses: Sequence[Reading], key: Callable[[Reading], float | None]) -> Reading | None:
    known = [one for one in witnesses if key(one) is not None]
    return min(known, key=lambda one: (_known(key(one)), label(one.facts)), default=None)


def _known(value: float | None) -> float:
    if value is None:
        raise ValueError("only series with a known place in time are compared")
    return value
