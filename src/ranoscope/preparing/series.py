"""A series: one image of a study, and what its header says of how it was acquired."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ranoscope.imaging.nifti import Volume


@dataclass(frozen=True)
class SeriesFacts:
    """What is known of a series without looking at its voxels; no direct identifier is among it.

    Texts are empty and numbers None where nothing is said. DICOM attributes go by their keyword:
    ``number`` SeriesNumber; ``description`` SeriesDescription and ``protocol`` ProtocolName, both without words of the
    patient's name or number; ``sequence_name`` SequenceName or PulseSequenceName; ``modality`` Modality;
    ``image_type``, ``scanning_sequence``, ``sequence_variant``, ``scan_options`` as lists of upper-case words;
    ``acquisition`` MRAcquisitionType, 2D or 3D; ``contrast``: whether ContrastBolusAgent or its sequence names an
    agent, None where the header is silent; ``echo_time_ms``, ``repetition_time_ms``, ``inversion_time_ms``,
    ``flip_angle_deg``, ``echo_train_length``; ``diffusion_b`` DiffusionBValue or a vendor's; ``acquired_s``: seconds
    since the study's first acquisition. ``file_name``: of a NIfTI file, without its ending. ``shape``: voxels along the
    image's own axes, the last across the slices; ``spacing_mm`` likewise; ``volumes``: images over time, echo or
    diffusion direction in the series, 1 for a plain one.
    """

    number: int | None = None
    description: str = ""
    protocol: str = ""
    sequence_name: str = ""
    modality: str = ""
    image_type: tuple[str, ...] = ()
    scanning_sequence: tuple[str, ...] = ()
    sequence_variant: tuple[str, ...] = ()
    scan_options: tuple[str, ...] = ()
    acquisition: str = ""
    contrast: bool | None = None
    echo_time_ms: float | None = None
    repetition_time_ms: float | None = None
    inversion_time_ms: float | None = None
    flip_angle_deg: float | None = None
    echo_train_length: int | None = None
    diffusion_b: float | None = None
    acquired_s: float | None = None
    file_name: str = ""
    shape: tuple[int, int, int] | None = None
    spacing_mm: tuple[float, float, float] | None = None
    volumes: int = 1


@dataclass(frozen=True)
class Series:
    """``where`` names it in messages, without identifiers; ``load`` reads its voxels.

    ``load`` raises ImageError where the series cannot be one volume with a sound grid.
    """

    facts: SeriesFacts
    where: str
    load: Callable[[], Volume]
