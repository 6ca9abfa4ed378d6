"""One series by itself: its weighting, or why it is none of the four sequences."""

from __future__ import annotations

from dataclasses import dataclass

from ranoscope.preparing.recognition import vocabulary
from ranoscope.preparing.recognition.decision import SetAside
from ranoscope.preparing.recognition.rules import Echo, Times, describe_times, weigh
from ranoscope.preparing.recognition.words import Said, Weighting, listen
from ranoscope.preparing.series import SeriesFacts

# A brain is 100 to 180 mm across in every direction: ten slices cover it only where they are 10 mm apart.
SLICES_MIN = 10
# A slab thinner than this cannot hold a tumour's surroundings; scans of the sella or the inner ear are 20–50 mm.
COVERAGE_MIN_MM = 60.0
# A slab thinner than this leaves some of the brain out, but may be all there is.
BRAIN_MM = 100.0
_SOUGHT = (Weighting.T1, Weighting.T2, Weighting.FLAIR)


@dataclass(frozen=True)
class Reading:
    """``place``: in the list of the study's series. Either ``weighting`` (T1, T2, FLAIR) or ``set_aside`` is given.

    ``reformat``: whether name or ImageType says that it was computed from another series, in another plane.
    """

    place: int
    facts: SeriesFacts
    said: Said
    weighting: Weighting | None
    set_aside: SetAside | None
    reasons: tuple[str, ...]
    reformat: bool

    @property
    def coverage_mm(self) -> float | None:
        """Extent across the slices, in mm."""
        return _coverage(self.facts)


def label(facts: SeriesFacts) -> str:
    """How messages name a series: its number and description, or its file."""
    name = facts.description or facts.protocol or facts.file_name
    if facts.number is None and facts.file_name:
        return f"file `{facts.file_name}`"
    number = "series without number" if facts.number is None else f"series {facts.number}"
    return f"{number} `{name}`" if name else number


def by_number(facts: SeriesFacts) -> tuple[int, str]:
    """Key to sort series by in messages."""
    return facts.number or 0, facts.description or facts.protocol or facts.file_name


def describe(facts: SeriesFacts) -> str:
    """``label`` with times and voxels, for messages that list series."""
    voxels = "" if facts.spacing_mm is None else " x ".join(f"{edge:.2g}" for edge in facts.spacing_mm) + " mm"
    return ": ".join(part for part in (label(facts), ", ".join(filter(None, (describe_times(facts), voxels)))) if part)


def read(place: int, facts: SeriesFacts) -> Reading:
    """Read names and header of one series; what one says against the other counts for neither."""
    said = listen(facts)
    times = weigh(facts, said.inverted)
    reformat = said.reformat or bool(vocabulary.REFORMAT_TYPES.intersection(facts.image_type))
    named = (f"named `{said.names}`",) if said.names else ()

    def answer(weighting: Weighting | None, set_aside: SetAside | None, *reasons: str) -> Reading:
        return Reading(place, facts, said, weighting, set_aside, reasons, reformat)

    kind = _by_modality(facts) or _by_name(said, named) or _by_image_type(facts) or _by_diffusion(facts, times)
    if kind is None:
        kind = _by_geometry(facts)
    if kind is not None:
        return answer(None, kind[0], kind[1])
    weighting, set_aside, reason = _weigh_both(said, times)
    flaws = _flaws(facts, reformat) if weighting else ()
    if times.weighting is not None and times.weighting is weighting:
        return answer(weighting, set_aside, f"{times.sentence}: {times.weighting}", *named, *flaws)
    return answer(weighting, set_aside, *(named if weighting else ()), *([reason] if reason else []), *flaws)


def _by_modality(facts: SeriesFacts) -> tuple[SetAside, str] | None:
    if facts.modality and facts.modality.upper() != "MR":
        return SetAside.NOT_MR, f"modality {facts.modality}"
    return None


def _by_name(said: Said, named: tuple[str, ...]) -> tuple[SetAside, str] | None:
    if said.set_aside is not None:
        return said.set_aside, named[0] if named else "its sequence's name says so"
    if Weighting.OTHER in said.weightings:
        return SetAside.OTHER_WEIGHTING, named[0]
    return None


def _by_image_type(facts: SeriesFacts) -> tuple[SetAside, str] | None:
    values = {value.upper() for value in facts.image_type}
    written = " ".join(facts.image_type).upper()
    for reason, known in vocabulary.IMAGE_TYPES:
        # Two-word values are split in some exports: `T1 MAP` as T1, MAP.
        if values & known or any(" " in value and f" {value} " in f" {written} " for value in known):
            return reason, f"image type {' / '.join(facts.image_type)}"
    return None


def _by_diffusion(facts: SeriesFacts, times: Times) -> tuple[SetAside, str] | None:
    """A b-value of 0 alone is no sign: GE writes one on every image."""
    if facts.diffusion_b:
        return SetAside.DIFFUSION, f"diffusion weighting b = {facts.diffusion_b:g} s/mm²"
    if times.echo is not Echo.PLANAR:
        return None
    if facts.diffusion_b == 0:
        return SetAside.DIFFUSION, "echo planar with b = 0"
    return (SetAside.DYNAMIC if facts.volumes > 1 else SetAside.OTHER_WEIGHTING), "echo planar"


def _by_geometry(facts: SeriesFacts) -> tuple[SetAside, str] | None:
    if facts.volumes > 1:
        return SetAside.SEVERAL_VOLUMES, f"{facts.volumes} volumes, over time or echoes, under one name"
    if facts.shape is None:
        return None
    if facts.shape[2] < SLICES_MIN:
        return SetAside.FEW_SLICES, f"{facts.shape[2]} slices; a head needs {SLICES_MIN}"
    if (covered := _coverage(facts)) is not None and covered < COVERAGE_MIN_MM:
        return SetAside.PARTIAL, f"{covered:.0f} mm across the slices"
    return None


def _flaws(facts: SeriesFacts, reformat: bool) -> tuple[str, ...]:
    """What speaks against a series that may still be the best of its study."""
    covered = _coverage(facts)
    thin = (f"covers only {covered:.0f} mm across the slices",) if covered is not None and covered < BRAIN_MM else ()
    return (*thin, *(("a reformat",) if reformat else ()))


def _coverage(facts: SeriesFacts) -> float | None:
    if facts.shape is None or facts.spacing_mm is None:
        return None
    return facts.shape[2] * facts.spacing_mm[2]


def _weigh_both(said: Said, times: Times) -> tuple[Weighting | None, SetAside | None, str]:
    """Weighting by name and times together; one may be silent, neither may contradict the other."""
    names, measured = said.weightings, times.weighting
    if measured is Weighting.T2_STAR and Weighting.T1 not in names:
        return None, SetAside.SUSCEPTIBILITY, f"gradient echo, {times.sentence}: T2*-weighted"
    if measured is Weighting.STIR and Weighting.T1 not in names:
        return None, SetAside.OTHER_WEIGHTING, f"{times.sentence}: {measured}"
    if measured is not None and not names and times.echo is Echo.UNKNOWN:
        return (
            None,
            SetAside.UNRECOGNISED,
            f"no name, and {times.sentence} of an unknown kind of echo: diffusion has them too",
        )
    if measured in names or (measured is not None and not names):
        if measured in _SOUGHT:
            return measured, None, ""
        return None, SetAside.OTHER_WEIGHTING, f"{times.sentence}: {measured}"
    if times.echo is Echo.GRADIENT and names and Weighting.T1 not in names:
        return None, SetAside.CONTRADICTION, f"named `{said.names}`, but a gradient echo ({times.sentence})"
    if measured is not None:
        return None, SetAside.CONTRADICTION, f"named `{said.names}`, but {times.sentence}: {measured}"
    if len(names) > 1:
        both = " and ".join(sorted(names))
        return None, SetAside.UNRECOGNISED, f"named `{said.names}`: {both}, and no times that say which"
    weighting = next(iter(names), None)
    if weighting in _SOUGHT:
        return weighting, None, f"{times.sentence}: no contradiction" if times.sentence else "no times in the header"
    if weighting is not None:
        return None, SetAside.OTHER_WEIGHTING, f"named `{said.names}`: {weighting}"
    nothing = f"named `{said.names}`" if said.names else "no name"
    return None, SetAside.UNRECOGNISED, f"{nothing}, {times.sentence or 'no times in the header'}: no weighting follows"
