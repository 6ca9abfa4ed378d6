"""Headers to the facts of a series that recognition reads, without a word of who the patient is."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import date, datetime, time

from ranoscope.preparing.dicom.frames import Frame
from ranoscope.preparing.dicom.geometry import step_mm
from ranoscope.preparing.dicom.header import Attributes
from ranoscope.preparing.dicom.patient import scrub
from ranoscope.preparing.dicom.splitting import diffusion_b
from ranoscope.preparing.series import SeriesFacts

_DATE = re.compile(r"(\d{4})[.:-]?(\d\d)[.:-]?(\d\d)")
_TIME = re.compile(r"(\d\d):?(\d\d)(?::?(\d\d)(?:\.(\d{1,6}))?)?")
_NO_AGENT = frozenset({"NO", "NONE", "N", "WITHOUT", "NO CONTRAST", "0"})
# The older terms of ScanningSequence for what enhanced MR says in attributes of its own (PS3.3, C.8.13.4 and C.8.3.1).
_ENHANCED_SEQUENCES = (
    ("EchoPulseSequence", {"SPIN": ("SE",), "GRADIENT": ("GR",), "BOTH": ("SE", "GR")}),
    ("EchoPlanarPulseSequence", {"YES": ("EP",)}),
    ("InversionRecovery", {"YES": ("IR",)}),
)


def make_facts(frames: Sequence[Frame], private: frozenset[str]) -> SeriesFacts:
    """Facts of the slices of one volume; what differs from slice to slice is taken from the first.

    ``acquired_s``, ``volumes`` and whether a b-value of 0 means diffusion are seen only beside other series and parts.

    Args:
        frames: one or more.
        private: words to keep out of texts.
    """
    said, first = frames[0].attributes, frames[0]
    step = step_mm(frames)
    spacing = None if step is None else (first.pixel_mm[1], first.pixel_mm[0], step)
    return SeriesFacts(
        number=said.integer("SeriesNumber"),
        description=scrub(said.text("SeriesDescription"), private),
        protocol=scrub(said.text("ProtocolName"), private),
        sequence_name=scrub(said.text("SequenceName", "PulseSequenceName"), private),
        modality=said.text("Modality").upper(),
        image_type=_upper(said.texts("FrameType", "ImageType")),
        scanning_sequence=_scanning_sequence(said),
        sequence_variant=_upper(said.texts("SequenceVariant")),
        scan_options=_upper(said.texts("ScanOptions")),
        acquisition=said.text("MRAcquisitionType").upper(),
        contrast=_contrast(said),
        echo_time_ms=said.number("EchoTime", "EffectiveEchoTime"),
        repetition_time_ms=said.number("RepetitionTime"),
        inversion_time_ms=said.number("InversionTime", "InversionTimes"),
        flip_angle_deg=said.number("FlipAngle"),
        echo_train_length=said.integer("EchoTrainLength", "RFEchoTrainLength"),
        diffusion_b=diffusion_b(said),
        shape=(first.columns, first.rows, len({frame.place for frame in frames})),
        spacing_mm=spacing,
    )


def first_acquisition(frames: Iterable[Frame], usual: date | None) -> datetime | None:
    """When the earliest of these slices was acquired, or made where nothing else is said.

    Args:
        frames: any number.
        usual: the day of those that say none.
    """
    moments = (_acquired(frame.attributes, usual or date.min) for frame in frames)
    return min((moment for moment in moments if moment is not None), default=None)


def study_moment(headers: Iterable[Attributes]) -> tuple[date | None, time]:
    """Date and time of a study: StudyDate, or the earliest date of its images; midnight where no time is said."""
    said = list(headers)
    for keyword in ("StudyDate", "SeriesDate", "AcquisitionDate", "ContentDate"):
        days = [day for one in said if (day := _day(one.text(keyword))) is not None]
        if days:
            break
    times = [clock for one in said if (clock := _clock(one.text("StudyTime"))) is not None]
    return min(days, default=None), min(times, default=time())


def _upper(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(text.upper() for text in texts)


def _scanning_sequence(said: Attributes) -> tuple[str, ...]:
    found = _upper(said.texts("ScanningSequence"))
    enhanced = [terms.get(said.text(keyword).upper(), ()) for keyword, terms in _ENHANCED_SEQUENCES]
    return found or tuple(term for group in enhanced for term in group)


def _contrast(said: Attributes) -> bool | None:
    agent = said.text("ContrastBolusAgent").upper()
    if said.text("ContrastBolusAgentAdministered").upper() == "NO" or agent in _NO_AGENT:
        return False
    return True if agent or said.items("ContrastBolusAgentSequence") else None


def _acquired(said: Attributes, usual: date) -> datetime | None:
    whole = said.text("FrameAcquisitionDateTime", "AcquisitionDateTime")
    if (day := _day(whole[:8])) is not None and (clock := _clock(whole[8:])) is not None:
        return datetime.combine(day, clock)
    for kind in ("Acquisition", "Content"):
        clock = _clock(said.text(f"{kind}Time"))
        if clock is not None:
            return datetime.combine(_day(said.text(f"{kind}Date")) or usual, clock)
    return None


def _day(text: str) -> date | None:
    found = _DATE.match(text)
    try:
        return None if found is None else date(*map(int, found.groups()))
    except ValueError:
        return None


def _clock(text: str) -> time | None:
    found = _TIME.match(text)
    if found is None:
        return None
    hours, minutes, seconds, fraction = (part or "0" for part in found.groups())
    try:
        return time(int(hours), int(minutes), int(seconds), int(fraction.ljust(6, "0")))
    except ValueError:
        return None
