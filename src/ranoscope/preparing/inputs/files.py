"""NIfTI files that were found and not listed by anyone: one that cannot be read is set aside, the others are taken."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ranoscope.errors import ImageError
from ranoscope.preparing.dicom.aside import Aside, AsideReason
from ranoscope.preparing.inputs.study import Progress
from ranoscope.preparing.nifti import read_nifti_series
from ranoscope.preparing.series import Series


def read_files(files: Mapping[Path, str], progress: Progress) -> tuple[dict[Path, Series], tuple[Aside, ...]]:
    """Read headers and sidecars.

    Args:
        files: each with its name in messages.
        progress: told (done, total, what) after every file.
    """
    series: dict[Path, Series] = {}
    aside: list[Aside] = []
    for number, (path, where) in enumerate(files.items(), start=1):
        try:
            series[path] = read_nifti_series(path, where)
        except (ImageError, OSError):
            aside.append(Aside(where, AsideReason.UNREADABLE if _has_content(path) else AsideReason.EMPTY))
        progress(number, len(files), "NIfTI headers")
    return series, tuple(aside)


def _has_content(path: Path) -> bool:
    try:
        return path.stat().st_size > 0
    except OSError:
        return True
