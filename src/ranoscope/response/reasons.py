"""A finding in plain English: what was seen, with its numbers, in sentences a reader can defend."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from ranoscope.response.burden import Burden
from ranoscope.response.calls import Reason
from ranoscope.response.confirmation import first_day
from ranoscope.response.course import Finding
from ranoscope.response.criteria import T2Rule
from ranoscope.response.decide import Question, Rules, Step
from ranoscope.response.facts import Ground
from ranoscope.response.rows import ON_IMAGES, RESPONSE_LEVELS, SUSPICIOUS, Row
from ranoscope.response.sizes import Size
from ranoscope.response.timeline import Compartment, Measure, NewLesion

_TISSUE = {Compartment.ENHANCING: "enhancing", Compartment.NONENHANCING: "non-enhancing"}
_BURDEN = {Measure.AREA: "SPD", Measure.VOLUME: "volume"}


def explain(ground: Ground, finding: Finding) -> tuple[Reason, ...]:
    """Why the finding is what it is: triggers, sizes, the time since treatment, confirmation."""
    found = [*_triggers(ground, finding), *_sizes(ground, finding), *_limits(ground, finding)]
    found += [*_timing(ground, finding), *_confirmation(ground, finding)]
    return tuple(Reason(name=name, sentence=sentence) for name, sentence in found)


def size_words(value: float, measure: Measure, *beside: float) -> str:
    """A size with its unit, in as many digits as tell it from those beside it."""
    return f"{_telling(value, beside)} {measure.unit}"


def _telling(value: float, beside: Sequence[float]) -> str:
    apart = [one for one in beside if abs(value - one) > 1e-9 * abs(value)]
    for digits in (1, 2, 3, 4, 5):
        text = _plain(value, digits)
        if all(text != _plain(one, digits) for one in apart):
            return text
    return _plain(value, 6)


def _plain(value: float, digits: int) -> str:
    text = f"{value:,.{digits}f}"
    return text.rstrip("0").rstrip(".")


def _triggers(ground: Ground, finding: Finding) -> Iterator[tuple[str, str]]:
    rules, burden = ground.rules, ground.found[finding.place]
    said = {
        Question.NEW_LESION: ("new lesion", _new_lesion(burden.new_lesion, burden.appeared)),
        Question.NON_MEASURABLE_WORSE: ("non-measurable disease", _worse(burden)),
        Question.CLINICAL_DECLINE: ("clinical state", "The patient has clearly declined."),
    }
    if rules.enhancement:
        said[Question.ENHANCEMENT_WORSE] = ("enhancement", "There is new or increased enhancement.")
    if rules.leptomeningeal:
        said[Question.LEPTOMENINGEAL] = ("leptomeningeal spread", "Tumour has spread along the leptomeninges.")
    if _t2_counts(rules, finding):
        said[Question.T2_WORSE] = ("T2/FLAIR", "The T2/FLAIR abnormality is significantly larger.")
    for question, (name, sentence) in said.items():
        if finding.facts[question]:
            yield name, sentence


def _worse(burden: Burden) -> str:
    if not burden.grown:
        return "Non-measurable disease has clearly progressed."
    return f"Disease outside the sum has clearly grown ({', '.join(burden.grown)})."


def _t2_counts(rules: Rules, finding: Finding) -> bool:
    treated = finding.facts[Question.ANTI_ANGIOGENIC] is True
    return rules.t2_flair is T2Rule.PROGRESSION or (
        rules.t2_flair is T2Rule.PROGRESSION_UNDER_ANTI_ANGIOGENIC and treated
    )


def _new_lesion(stated: NewLesion | None, appeared: tuple[str, ...]) -> str:
    if stated is None or stated is NewLesion.NONE:
        return f"A new lesion that was not believed at first is still there ({', '.join(appeared)})."
    ids = f" ({', '.join(appeared)})" if appeared else ""
    return f"There is a new {stated} lesion{ids}."


def _sizes(ground: Ground, finding: Finding) -> Iterator[tuple[str, str]]:
    now, baseline, references = ground.sizes[finding.place], ground.sizes[ground.baseline], finding.references
    what = f"{_TISSUE[ground.compartment]} {_BURDEN[ground.measure]}".capitalize().replace("spd", "SPD")
    if now is None:
        yield "size", f"{what} is unknown at this scan."
        return
    limits = ground.part.thresholds[ground.measure]
    if references.nadir is not None:
        yield (
            references.name,
            _against(ground, what, now, references.nadir, references.name, {"progression": limits.progression}),
        )
    if references.unmeasured:
        ids = ", ".join(ground.scan(place).id for place in references.unmeasured)
        yield "nadir", f"{what} is unknown at {ids}, which was passed over in the search for the nadir."
    if baseline is None:
        yield "baseline", f"{what} is unknown at the baseline ({ground.scan(ground.baseline).id})."
        return
    minor = limits.minor_response
    begins = {"response": -limits.response} | ({} if minor is None else {"minor response": -minor})
    if finding.row.level <= 1:
        begins = dict(reversed(begins.items()))
    yield "baseline", _against(ground, what, now, baseline, "baseline", begins)


def _against(ground: Ground, what: str, now: Size, reference: Size, name: str, begins: Mapping[str, int]) -> str:
    """The comparison in words; ``begins``: every threshold in percent by what begins there, the one to name first."""
    measure, scan = ground.measure, ground.scan(reference.scan).id
    if reference.value == 0:
        size = "is still 0" if now.value == 0 else f"is {size_words(now.value, measure)}"
        return f"{what} {size}; at the {name} ({scan}) there was nothing to measure."
    change = (now.value - reference.value) / reference.value * 100
    (call, limit), *_ = begins.items()
    thresholds = [(100 + one) * reference.value / 100 for one in begins.values()]
    beside = f"the {name} of {size_words(reference.value, measure)} ({scan})"
    if change == 0:
        relation = f"equals {beside}"
    else:
        percent = _telling(abs(change), [abs(one) for one in begins.values()])
        relation = f"is {percent} % {'above' if change > 0 else 'below'} {beside}"
    size = size_words(now.value, measure, *thresholds)
    return f"{what} {size} {relation}; {call} begins at {abs(limit)} % ({size_words(thresholds[0], measure)})."


def _limits(ground: Ground, finding: Finding) -> Iterator[tuple[str, str]]:
    """What keeps a small size from being a response, or growth from being progression."""
    facts, row = finding.facts, finding.row
    if row is Row.DOSE_LOWERED:
        since = finding.references.nadir.scan if finding.references.nadir else ground.baseline
        yield "steroid dose", f"The steroid dose was lowered since {ground.scan(since).id}."
    if row is Row.DOSE_RAISED:
        yield "steroid dose", f"The steroid dose is above the baseline's ({ground.scan(ground.baseline).id})."
    if facts[Question.GONE] and facts[Question.ABOVE_PHYSIOLOGICAL] and ground.rules.steroids_limit:
        yield "steroid dose", "The steroid dose is above physiological replacement, which rules out CR."
    if facts[Question.GONE] and facts[Question.NON_MEASURABLE_LEFT] and not facts[Question.NON_MEASURABLE_WORSE]:
        yield "non-measurable disease", "Non-measurable disease is left, which rules out CR."
    if row is Row.NOTHING_TO_MEASURE:
        yield "baseline", "There was no measurable disease at the baseline, which rules out a response."


def _timing(ground: Ground, finding: Finding) -> Iterator[tuple[str, str]]:
    window, scan = ground.criteria.early_window, ground.scan(finding.place)
    day = ground.window_day(scan)
    if window is not None and day is not None and finding.row in ON_IMAGES | SUSPICIOUS | {Row.DECLINE_ALONE}:
        event = "the end of radiotherapy" if window.after_radiotherapy else "the start of immunotherapy"
        since = f"{day} days after" if day >= 0 else f"{-day} days before"
        relation = "within" if finding.facts[Question.EARLY] else "outside"
        yield "early window", f"The scan was made {since} {event}, {relation} the early window of {window.days} days."
    if finding.waiting is None or finding.row is Row.NOT_EVALUABLE:
        return
    first = ground.scan(finding.waiting)
    gap = f"{scan.day - first.day} days later (at least {ground.criteria.progression_confirmation_days} are asked for)"
    if finding.row in ON_IMAGES:
        told = "confirms it"
    elif finding.step is Step.REPEAT_SCAN:
        told = "does not confirm it"
    else:
        told = "comes too soon to settle it"
    yield "repeat scan", f"Progression was first suspected at {first.id}; this scan, {gap}, {told}."


def _confirmation(ground: Ground, finding: Finding) -> Iterator[tuple[str, str]]:
    least, row, day = ground.criteria.confirmation_days, finding.row, ground.scan(finding.place).day
    if least is None:
        return
    if row.category in RESPONSE_LEVELS:
        since = first_day(RESPONSE_LEVELS[row.category], day, finding.earlier)
        held = f"{row.category} or better has been there for {day - since} days"
        yield "confirmation", f"{held}; {least} are asked for."
    if row.preliminary in RESPONSE_LEVELS:
        yield "confirmation", f"{row.preliminary} waits for a scan at least {least} days after the first that shows it."
