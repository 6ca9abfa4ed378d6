"""Weighting by the times and the kind of echo in the header.

The limits enclose the protocols in use at 1.5 T and 3 T and leave a gap between two weightings, where nothing is said.
T1 of brain grows by a third from 1.5 T to 3 T, T2 hardly changes (Stanisz et al., Magn Reson Med 2005, 54:507), so that
protocols of both field strengths fit between the same limits; Brown et al., Magnetic Resonance Imaging, Wiley 2014,
chapter 15 says why TE and TR weight as they do. Ranges in trials: Ellingson et al., Neuro Oncol 2015, 17:1188 (BTIP).
Attributes: DICOM PS3.3 C.8.3.1, MR Image Module.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from ranoscope.preparing.recognition.words import Weighting
from ranoscope.preparing.series import SeriesFacts

# Spin echo, T1: TE below half of white matter's T2 (70–80 ms), so that T2 hardly shows; T1 SPACE and VISTA reach 30 ms.
# TR about T1 of white matter (0.6–1.1 s); at 3 T spin echoes reach 1 s.
T1_ECHO_MAX_MS = 35.0
T1_REPETITION_MAX_MS = 1200.0
# Spin echo, T2: TE about T2 of the brain and longer (BTIP 80–120 ms; effective 60 ms in some 3-D trains, nominal 400 ms
# in SPACE). TR at least 2 s in BTIP; single-shot sequences give 1.5 s.
T2_ECHO_MIN_MS = 60.0
T2_REPETITION_MIN_MS = 1500.0
# Spin echo, proton density: TE short, TR long.
PD_ECHO_MAX_MS = 45.0
PD_REPETITION_MIN_MS = 1800.0
# FLAIR nulls CSF (T1 about 4.3 s): TI = T1 (ln 2 − ln(1 + exp(−TR/T1))) is 1.8 s at a TR of 4.8 s (3-D) and 2.7 s at
# 11 s; some 3-D sequences with a prepared CSF use 1.6 s.
FLAIR_INVERSION_MS = (1500.0, 3200.0)
# With less than 4 s between inversions hardly any CSF recovers, and no TI is needed to know that it is no FLAIR.
FLAIR_REPETITION_MIN_MS = 4000.0
# Inversion for T1: 0.4–0.5 s on GE and in T1 FLAIR at 1.5 T, 0.8–1.1 s in MPRAGE and T1 FLAIR at 3 T.
T1_INVERSION_MS = (300.0, 1400.0)
# STIR nulls fat (T1 0.25–0.38 s): TI = T1 ln 2 is 130–260 ms.
STIR_INVERSION_MS = (80.0, 300.0)
# Gradient echo: dephasing shows from about 12 ms on (T2* of grey matter 50–60 ms; hospitals use 15–30 ms for blood).
T2_STAR_ECHO_MIN_MS = 12.0
T1_GRADIENT_ECHO_MAX_MS = 10.0
# A spin echo is excited by 60–90° and its flip angle is often given as that of the refocusing pulse; gradient echoes of
# long TR that show blood use 10–30°.
SPIN_ECHO_FLIP_MIN_DEG = 60.0


class Echo(StrEnum):
    """How the signal is refocused."""

    SPIN = "spin echo"
    GRADIENT = "gradient echo"
    PLANAR = "echo planar"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Times:
    """``weighting``: None where the header is silent or between two. ``sentence``: the times, for reasons."""

    weighting: Weighting | None
    echo: Echo
    sentence: str


def weigh(facts: SeriesFacts, inverted: bool) -> Times:
    """Weighting by echo, repetition and inversion time, in ms, and by ScanningSequence.

    Args:
        facts: of one series.
        inverted: whether the name speaks of an inversion pulse, which some headers leave out.
    """
    echo = kind_of_echo(facts)
    te, tr = facts.echo_time_ms, facts.repetition_time_ms
    if echo is Echo.PLANAR or te is None or tr is None:
        return Times(None, echo, describe_times(facts))
    if echo is Echo.GRADIENT:
        weighting = _gradient_echo(te, facts.inversion_time_ms)
    else:
        weighting = _spin_echo(te, tr, facts, inverted)
        if echo is Echo.UNKNOWN and not _as_spin_echo(facts, te):
            weighting = None
            if facts.inversion_time_ms and _gradient_echo(te, facts.inversion_time_ms) is Weighting.T1:
                weighting = Weighting.T1
    return Times(weighting, echo, describe_times(facts))


def kind_of_echo(facts: SeriesFacts) -> Echo:
    """By ScanningSequence (0018,0020), or by the prefix of Siemens' sequence names where that is empty or says both."""
    said = set(facts.scanning_sequence)
    name = facts.sequence_name.casefold().lstrip("*_")
    if "EP" in said or name.startswith("ep"):
        return Echo.PLANAR
    if "GR" in said and "SE" not in said:
        return Echo.GRADIENT
    if "GR" not in said and ("SE" in said or "IR" in said):
        return Echo.SPIN
    if name.startswith(("tfl", "fl2d", "fl3d")):
        return Echo.GRADIENT
    return Echo.SPIN if name.startswith(("tse", "spc", "se2d", "se3d", "tir", "h2d")) else Echo.UNKNOWN


def describe_times(facts: SeriesFacts) -> str:
    """``echo time 102 ms, repetition time 4,800 ms``, as far as known; empty where nothing is."""
    known = {
        "echo time": facts.echo_time_ms,
        "repetition time": facts.repetition_time_ms,
        "inversion time": facts.inversion_time_ms or None,
    }
    return ", ".join(f"{name} {_milliseconds(value)}" for name, value in known.items() if value is not None)


def _milliseconds(value: float) -> str:
    return f"{value:,.0f} ms" if value >= 20 else f"{value:.2g} ms"


def _as_spin_echo(facts: SeriesFacts, te: float) -> bool:
    train, flip = facts.echo_train_length or 1, facts.flip_angle_deg or 0.0
    return te >= T2_ECHO_MIN_MS or train > 1 or flip >= SPIN_ECHO_FLIP_MIN_DEG


def _gradient_echo(te: float, ti: float | None) -> Weighting | None:
    if te >= T2_STAR_ECHO_MIN_MS:
        return Weighting.T2_STAR
    # Without inversion, angiography, perfusion and steady state have the times of a T1-weighted gradient echo too.
    if te <= T1_GRADIENT_ECHO_MAX_MS and ti and T1_INVERSION_MS[0] <= ti <= T1_INVERSION_MS[1]:
        return Weighting.T1
    return None


def _spin_echo(te: float, tr: float, facts: SeriesFacts, inverted: bool) -> Weighting | None:
    if facts.inversion_time_ms:
        return _inversion(te, facts.inversion_time_ms)
    if "IR" in facts.scanning_sequence or (inverted and (te < T2_ECHO_MIN_MS or tr >= FLAIR_REPETITION_MIN_MS)):
        return Weighting.FLAIR if te >= T2_ECHO_MIN_MS and tr >= FLAIR_REPETITION_MIN_MS else None
    if te <= T1_ECHO_MAX_MS and tr <= T1_REPETITION_MAX_MS:
        return Weighting.T1
    if te >= T2_ECHO_MIN_MS and tr >= T2_REPETITION_MIN_MS:
        return Weighting.T2
    if te <= PD_ECHO_MAX_MS and tr >= PD_REPETITION_MIN_MS:
        return Weighting.PROTON_DENSITY
    return None


def _inversion(te: float, ti: float) -> Weighting | None:
    if STIR_INVERSION_MS[0] <= ti < STIR_INVERSION_MS[1]:
        return Weighting.STIR
    if ti <= T1_INVERSION_MS[1] and ti >= T1_INVERSION_MS[0]:
        return Weighting.T1 if te <= PD_ECHO_MAX_MS else None
    if FLAIR_INVERSION_MS[0] <= ti <= FLAIR_INVERSION_MS[1]:
        return Weighting.FLAIR if te >= T2_ECHO_MIN_MS else None
    return None
