"""Decide: when a patient is scanned, how large each lesion truly is then, and what the criteria say of it.

All randomness of the disease is here; the images only show what was decided.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from ranoscope.domain import Rating, Response, Visit, VisitState

# Volume thresholds of modified RANO and RANO 2.0: a sphere's +25 % and -50 % of area are +40 % and -65 % of volume.
PD_FACTOR = 1.40
PR_FACTOR = 0.35

# Counts of next rating by previous one among 362 consecutive pairs of LUMIERE's published table.
_NEXT: dict[Rating, dict[Response, int]] = {
    VisitState.POST_OP: {Response.PD: 42, Response.SD: 48, Response.PR: 1, Response.CR: 4},
    Response.PD: {Response.PD: 116, Response.SD: 3, Response.PR: 12, Response.CR: 3},
    Response.SD: {Response.PD: 39, Response.SD: 32, Response.PR: 1, Response.CR: 1},
    Response.PR: {Response.PD: 9, Response.SD: 1, Response.PR: 7, Response.CR: 1},
    Response.CR: {Response.PD: 8, Response.SD: 0, Response.PR: 0, Response.CR: 17},
}
# 12 and 8 of LUMIERE's 76 patients with a case ever reach PR and CR; drawn as quotas so that small cohorts have them.
_PR_SHARE, _CR_SHARE = 0.17, 0.14
_SMALLEST_MM3 = 500.0
_LARGEST_MM3 = 70_000.0


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


def draw_course(generator: np.random.Generator, bound_for: Response | None) -> list[PlannedVisit]:
    """One patient's visits, from the pre-operative scan on.

    Args:
        generator: drives everything.
        bound_for: PR or CR to make the patient reach it early; None leaves it to the transitions.
    """
    state = _begin(generator)
    follow_ups = int(np.clip(generator.poisson(4.6), 1, 12))
    reach_at = int(generator.integers(0, 2))
    for number in range(follow_ups):
        if state.rating is Response.PD and generator.random() < 0.10:
            _operate(generator, state)
            continue
        wanted = bound_for if bound_for is not None and number == reach_at else _draw_next(generator, state.rating)
        state.week += int(np.clip(generator.gamma(5.0, 2.5), 3, 60))
        new_lesion = _change(generator, state, wanted)
        rating = judge(state.burden, state.baseline, state.nadir, new_lesion)
        state.nadir = min(state.nadir, state.burden)
        state.add(Visit(state.week), rating)
    return state.visits


def quotas(generator: np.random.Generator, patients: int) -> list[Response | None]:
    """Which patients are bound for PR or CR, in random order: at least two each in cohorts of 12 or more."""
    least = 2 if patients >= 12 else 1
    partial, complete = (max(least, round(share * patients)) for share in (_PR_SHARE, _CR_SHARE))
    bound: list[Response | None] = [*[Response.PR] * partial, *[Response.CR] * complete, *[None] * patients]
    bound = bound[:patients]
    return [bound[index] for index in generator.permutation(patients)]


def read_with_noise(generator: np.random.Generator, truth: Rating, noise: float) -> Rating:
    """What a reader writes: with probability ``noise`` the neighbouring category in PD < SD < PR < CR."""
    if not isinstance(truth, Response) or generator.random() >= noise:
        return truth
    order = tuple(Response)
    step = 1 if truth.class_index == 0 or (truth.class_index < 3 and generator.random() < 0.5) else -1
    return order[truth.class_index + step]


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
    """Leave a rim of 3 to 15 % of each lesion, now and then none, and a cavity about as large as what was taken."""
    left = []
    for lesion in state.lesions:
        rest = 0.0 if generator.random() < 0.06 else lesion.enhancing * generator.uniform(0.06, 0.25)
        rest = max(rest, _SMALLEST_MM3) if rest > 0 else 0.0
        cavity = lesion.cavity + 0.7 * (lesion.enhancing + lesion.necrosis)
        left.append(Lesion(rest, 0.0, 0.8 * lesion.edema, cavity))
    state.lesions = left
    state.baseline = state.nadir = state.burden


def _draw_next(generator: np.random.Generator, previous: Rating) -> Response:
    counts = _NEXT[previous]
    total = sum(counts.values())
    return tuple(counts)[int(generator.choice(len(counts), p=[count / total for count in counts.values()]))]


def _change(generator: np.random.Generator, state: _State, wanted: Response) -> bool:
    """Grow or shrink the lesions so that ``wanted`` follows if it can from here; True if a new lesion appeared."""
    if wanted is Response.PD:
        return _progress(generator, state)
    if wanted is Response.CR:
        target = 0.0
    elif wanted is Response.PR:
        ceiling = min(0.97 * PR_FACTOR * state.baseline, 0.97 * PD_FACTOR * state.nadir)
        drawn = state.burden * generator.uniform(0.85, 1.1) if state.rating is Response.PR else 0.0
        target = drawn if 0 < drawn < ceiling else ceiling * generator.uniform(0.35, 0.95)
    else:
        low, high = 1.05 * PR_FACTOR * state.baseline, 0.95 * PD_FACTOR * state.nadir
        target = float(np.clip(state.burden * generator.uniform(0.85, 1.15), min(low, high), high))
    _scale(generator, state, target)
    return False


def _progress(generator: np.random.Generator, state: _State) -> bool:
    """Growth of 50 to 180 % from the last scan, or a new lesion with little growth elsewhere (one case in four)."""
    if generator.random() < 0.25 and len(state.lesions) < 4:
        _scale(generator, state, state.burden * generator.uniform(1.0, 1.2))
        state.lesions.append(_with_surroundings(generator, _lognormal(generator, 2_500, 0.5)))
        return True
    if state.burden == 0:
        _scale(generator, state, _lognormal(generator, 3_000, 0.5))
        return False
    factor = generator.uniform(1.5, 2.8) if state.burden < 20_000 else generator.uniform(1.3, 1.7)
    least = 1.02 * PD_FACTOR * state.nadir
    _scale(generator, state, max(min(state.burden * factor, _LARGEST_MM3), least))
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
    edema = 2.0 * (enhancing + necrosis) * float(np.exp(generator.normal(0, 0.3))) + generator.uniform(500, 4_000)
    return Lesion(enhancing, necrosis, float(min(edema, 110_000)))


def _lognormal(generator: np.random.Generator, median: float, sigma: float) -> float:
    return float(median * np.exp(generator.normal(0, sigma)))
