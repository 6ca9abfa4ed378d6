"""LUMIERE's names on disk, written once: files inside a visit folder, relative and posix.

Source: the tree of the published archive (31,370 entries). DeepBraTumIA spells sequences in lower case, the top level
and HD-GLIO-AUTO in upper case.
"""

from __future__ import annotations

import re

from ranoscope.domain import Segmenter, Sequence

IMAGING = "Imaging"
IMAGING_ZIP_PATTERN = "Imaging*.zip"
PATIENT = re.compile(r"^Patient-\w+$")

RATINGS = "LUMIERE-ExpertRating-v202211.csv"
COMPLETENESS = "LUMIERE-datacompleteness.csv"
DEMOGRAPHICS = "LUMIERE-Demographics_Pathology.csv"
# Not in LUMIERE: a visit that holds it was prepared by ranoscope, under whatever pseudonym the patient was given.
PREPARED = "prepared.json"
# Not in LUMIERE: a cohort that holds it is synthetic, and everything made from it says so.
SYNTHETIC_MARK = "phantom.json"

_ATLAS = "DeepBraTumIA-segmentation/atlas"
ATLAS_MASK = f"{_ATLAS}/segmentation/seg_mask.nii.gz"
ATLAS_BRAIN_MASK = f"{_ATLAS}/skull_strip/brain_mask.nii.gz"
VOLUMES_JSON = f"{_ATLAS}/segmentation/measured_volumes_in_mm3.json"
_NATIVE = "DeepBraTumIA-segmentation/native"
HDGLIO_MASK = "HD-GLIO-AUTO-segmentation/registered/segmentation.nii.gz"


def sequence_file(sequence: Sequence) -> str:
    """The skull-stripped image in scanner space, on its own grid."""
    return f"{sequence}.nii.gz"


def atlas_file(sequence: Sequence) -> str:
    """The skull-stripped image in atlas space, on the grid shared by all four sequences."""
    return f"{_ATLAS}/skull_strip/{sequence.lower()}_skull_strip.nii.gz"


def native_brain_mask(sequence: Sequence) -> str:
    """The brain on the grid of ``sequence_file``."""
    return f"{_NATIVE}/skull_strip/{sequence.lower()}_brain_mask.nii.gz"


def native_transform(sequence: Sequence) -> str:
    """ITK's text file of the rigid transform between ``sequence_file`` and the atlas."""
    return f"{_NATIVE}/transformation/{sequence.lower()}.tfm"


def native_masks(sequence: Sequence) -> tuple[tuple[Segmenter, str], ...]:
    """Both tools' masks on the grid of ``sequence_file``, DeepBraTumIA's first."""
    return (
        (Segmenter.DEEPBRATUMIA, f"{_NATIVE}/segmentation/{sequence.lower()}_seg_mask.nii.gz"),
        (Segmenter.HD_GLIO_AUTO, f"HD-GLIO-AUTO-segmentation/native/segmentation_{sequence}_origspace.nii.gz"),
    )
