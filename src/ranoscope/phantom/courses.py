"""Decide: when a patient is scanned, how large each lesion truly is then, and what the criteria say of it.

All randomness of the disease is here; the images only show what was decided.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from ranoscope.domain import RESPONSES, Rating, Response, Visit, VisitState
from ranoscope.phantom.difficulty import STANDARD, TumourTraits

# Volume thresholds of modified RANO and RANO 2.0: a sphere's +25 % and -50 % of area are +40 % and -65 % of volume.
PD_FACTOR = 1.40
PR_FACTOR = 0.35

# Counts of next rating by previous one among 362 consecutive pairs of LUMIERE's published table. Ways into PR and CR
# are left out: they are the openings of the patients bound for them.
_NEXT: dict[Rating, dict[Response, int]] = {
    VisitState.POST_OP: {Response.PD: 42, Response.SD: 48},
    Response.PD: {Response.PD: 116, Response.SD: 3},
    Response.SD: {Response.PD: 39, Response.SD: 32},
    Response.PR: {Response.PD: 9, Response.PR: 7, Response.CR: 1},
    Response.CR: {Response.PD: 8, Response.CR: 17},
}
# First follow-ups of a patient bound for a response, with the weight of each. In the same table 12 of 20 entries into
# PR follow PD; CR follows Post-Op and PD about equally often.
_OPENINGS: dict[Response, tuple[tuple[int, tuple[Response, ...]], ...]] = {
    Response.PR: ((8, (Response.PD, Response.PR)), (4, (Response.SD, Response.PD, Response.PR)), (1, (Response.PR,))),
    Response.CR: ((4, (Response.CR,)), (3, (Response.PD, Response.CR)), (1, (Response.SD, Response.CR))),
}
# 12 and 8 of LUMIERE's 76 patients with a case ever reach PR and CR.
_PR_SHARE, _CR_SHARE = 0.16, 0.11
# Small cohorts need more of them: three folds want two patients of each class, and readers and filters take some.
_LEAST_BOUND, _ROOM_FOR_THEM = 7, 24
_SMALLEST_MM3 = 1_000.0
# A patient with more enhancing tumour than this is not scanned again.
_LAST_SCAN_MM3 = 60_000.0
# Readers err towards the worse category: in LUMIERE the expert says PD in two thirds of the visits where a volume rule
# disagrees with it.
_WORSE_WHEN_IN_DOUBT = 0.8


@dataclass(frozen=True)
class Lesion:
    """True volumes in mm^3 of one lesion at one visit; ``cavity`` is the resection cavity beside or inside it."""

    enhancing: float
    necrosis: float = 0.0
    edema: float = 0.0
    cavity: float = 0.0


@dataclass(frozen=True)
class PlannedVisit:
    """One visit: true lesions, in the order they appeared, and the rating that follows from the true course."""

    visit: Visit
    lesions: tuple[Lesion, ...]
    truth: Rating

    @property
    def enhancing_mm3(self) -> float:
        """True enhancing volume of all lesions."""
        return sum(lesion.enhancing for lesion in self.lesions)


@dataclass
class _State:
    """The course so far: baseline and nadir of the surgery epoch, in mm^3 of enhancing tumour."""

    week: int
    lesions: list[Lesion]
    rating: Rating = VisitState.PRE_OP
    baseline: float = 0.0
    nadir: float = 0.0
    visits: list[PlannedVisit] = field(default_factory=list)

    @property
    def burden(self) -> float:
        return sum(lesion.enhancing for lesion in self.lesions)

    def add(self, visit: Visit, rating: Rating) -> None:
        self.rating = rating
        self.visits.append(PlannedVisit(visit, tuple(self.lesions), rating))


def judge(now: float, baseline: float, nadir: float, new_lesion: bool) -> Response:
    """The category of true enhancing volumes (mm^3): PD against the nadir first, then CR, PR against the baseline.

    Recurrence after nothing is PD. Nothing at baseline and nothing now is SD, the best possible without measurable
    disease (RANO-HGG 2010).
    """
    if new_lesion or (now >= PD_FACTOR * nadir if nadir > 0 else now > 0):
        return Response.PD
    if now == 0:
        return Response.CR if baseline > 0 else Response.SD
    return Response.PR if now <= PR_FACTOR * baseline else Response.SD


def draw_course(
    generator: np.random.Generator, bound_for: Response | None, traits: TumourTraits = STANDARD.tumour
) -> list[PlannedVisit]:
    """One patient's visits, from the pre-operative scan on.

    Args:
        generator: drives everything.
        bound_for: PR or CR to make the patient reach it early; None leaves it to the transitions.
        traits: how large new lesions are.
    """
    state = _begin(generator)
    opening = list(_draw_opening(generator, bound_for))
    follow_ups = max(int(np.clip(generator.poisson(4.6), 1, 12)), len(opening))
    for _ in range(follow_ups):
        if state.rating is Response.PD and not opening and generator.random() < 0.10:
            _operate(generator, state)
            continue
        wanted = opening.pop(0) if opening else _draw_next(generator, state.rating)
        state.week += int(np.clip(generator.gamma(5.0, 2.5), 3, 60))
        new_lesion = _change(generator, state, wanted, traits)
        rating = judge(state.burden, state.baseline, state.nadir, new_lesion)
        state.nadir = min(state.nadir, state.burden)
        state.add(Visit(state.week), rating)
        if state.burden > _LAST_SCAN_MM3:
            break
    return state.visits


def quotas(generator: np.random.Generator, patients: int) -> list[Response | None]:
    """Which patients are bound for PR or CR, in random order: LUMIERE's shares, but at least seven each from 24 on."""
    least = _LEAST_BOUND if patients >= _ROOM_FOR_THEM else max(patients // 5, 1)
    partial, complete = (max(least, round(share * patients)) for share in (_PR_SHARE, _CR_SHARE))
    bound: list[Response | None] = [*[Response.PR] * partial, *[Response.CR] * complete, *[None] * patients]
    bound = bound[:patients]
    return [bound[index] for index in generator.permutation(patients)]


def read_with_noise(generator: np.random.Generator, truth: Rating, noise: float) -> Rating:
    """What a reader writes: with probability ``noise`` a neighbouring category, the worse one four times in five."""
    if not isinstance(truth, Response) or generator.random() >= noise:
        return truth
    worst, best = 0, len(RESPONSES) - 1
    worse = truth.class_index == best or (truth.class_index > worst and generator.random() < _WORSE_WHEN_IN_DOUBT)
    return RESPONSES[truth.class_index + (-1 if worse else 1)]


def reading_chances(noise: float) -> NDArray[np.float64]:
    """Chance of each written category given the true one, by ``read_with_noise``: (true, written), rows sum to 1.

    Order of ``RESPONSES`` on both axes.
    """
    last = len(RESPONSES) - 1
    chances = np.eye(last + 1) * (1 - noise)
    for true in range(last + 1):
        worse = {0: 0.0, last: 1.0}.get(true, _WORSE_WHEN_IN_DOUBT)
        chances[true, max(true - 1, 0)] += noise * worse
        chances[true, min(true + 1, last)] += noise * (1 - worse)
    return chances


def _begin(generator: np.random.Generator) -> _State:
    """Pre-operative and first post-operative visit; half of the patients have both in week 0, told apart by suffix."""
    count = int(generator.choice((1, 2), p=(0.85, 0.15)))
    lesions = [_with_surroundings(generator, _lognormal(generator, 17_000, 0.6) / (1 + n)) for n in range(count)]
    state = _State(week=0, lesions=lesions)
    same_week = generator.random() < 0.5
    state.add(Visit(0, 1 if same_week else 0), VisitState.PRE_OP)
    state.week = 0 if same_week else 1
    _resect(generator, state)
    state.add(Visit(state.week, 2 if same_week else 0), VisitState.POST_OP)
    return state


def _operate(generator: np.random.Generator, state: _State) -> None:
    """A second operation: no category across it, a new baseline after it."""
    state.week += int(generator.integers(2, 5))
    _resect(generator, state)
    state.add(Visit(state.week), VisitState.POST_OP)


def _resect(generator: np.random.Generator, state: _State) -> None:
    """Leave 10 to 35 % of each lesion, now and then nothing, and a cavity about as large as what was taken."""
    left = []
    for lesion in state.lesions:
        rest = 0.0 if generator.random() < 0.04 else lesion.enhancing * generator.uniform(0.10, 0.35)
        rest = max(rest, _SMALLEST_MM3) if rest > 0 else 0.0
        cavity = lesion.cavity + 0.7 * (lesion.enhancing + lesion.necrosis)
        left.append(Lesion(rest, 0.0, 0.8 * lesion.edema, cavity))
    state.lesions = left
    state.baseline = state.nadir = state.burden


def _draw_opening(generator: np.random.Generator, bound_for: Response | None) -> tuple[Response, ...]:
    if bound_for is None:
        return ()
    openings = _OPENINGS[bound_for]
    total = sum(weight for weight, _ in openings)
    return openings[int(generator.choice(len(openings), p=[weight / total for weight, _ in openings]))][1]


def _draw_next(generator: np.random.Generator, previous: Rating) -> Response:
    counts = _NEXT[previous]
    total = sum(counts.values())
    return tuple(counts)[int(generator.choice(len(counts), p=[count / total for count in counts.values()]))]


def _change(generator: np.random.Generator, state: _State, wanted: Response, traits: TumourTraits) -> bool:
    """Grow or shrink the lesions so that ``wanted`` follows if it can from here; True if a new lesion appeared.

    A category also shows between two scans, as it mostly does in life: PR goes on shrinking, SD moves by 15 % at most
    unless the criteria need more.
    """
    if wanted is Response.PD:
        return _progress(generator, state, traits)
    if wanted is Response.CR:
        target = 0.0
    elif wanted is Response.PR:
        ceiling = min(0.97 * PR_FACTOR * state.baseline, 0.97 * PD_FACTOR * state.nadir)
        target = min(ceiling * generator.uniform(0.6, 1.0), state.burden * generator.uniform(0.5, 0.75))
    else:
        low, high = 1.05 * PR_FACTOR * state.baseline, 0.95 * PD_FACTOR * state.nadir
        target = float(np.clip(state.burden * generator.uniform(0.85, 1.15), min(low, high), high))
    _scale(generator, state, target)
    return False


def _progress(generator: np.random.Generator, state: _State, traits: TumourTraits) -> bool:
    """Growth of 60 to 180 % from the last scan, less of large tumours, or a new lesion (one case in four)."""
    if generator.random() < 0.25 and len(state.lesions) < 4:
        _scale(generator, state, state.burden * generator.uniform(1.0, 1.2))
        state.lesions.append(_with_surroundings(generator, _lognormal(generator, traits.new_lesion_mm3, 0.5)))
        return True
    if state.burden == 0:
        _scale(generator, state, _lognormal(generator, 3_000, 0.5))
        return False
    factor = generator.uniform(1.6, 2.8) if state.burden < 15_000 else generator.uniform(1.45, 1.8)
    _scale(generator, state, max(state.burden * factor, 1.02 * PD_FACTOR * state.nadir))
    return False


def _scale(generator: np.random.Generator, state: _State, target: float) -> None:
    """Bring the enhancing total to ``target``, shared between lesions as before; after nothing, all in the first."""
    total = state.burden
    shares = [lesion.enhancing / total if total > 0 else float(n == 0) for n, lesion in enumerate(state.lesions)]
    state.lesions = [
        replace(_with_surroundings(generator, share * target), cavity=lesion.cavity)
        for share, lesion in zip(shares, state.lesions, strict=True)
    ]


def _with_surroundings(generator: np.random.Generator, enhancing: float) -> Lesion:
    """Necrosis grows with size (none under 2 ml); oedema is about twice the tumour and stays as gliosis."""
    necrosis = enhancing * float(np.clip((enhancing - 2_000) / 20_000, 0, 0.8)) * generator.uniform(0.7, 1.1)
    edema = 1.5 * (enhancing + necrosis) * float(np.exp(generator.normal(0, 0.3))) + generator.uniform(500, 4_000)
    return Lesion(enhancing, necrosis, float(min(edema, 110_000)))


def _lognormal(generator: np.random.Generator, median: float, sigma: float) -> float:
    return float(median * np.exp(generator.normal(0, sigma)))
