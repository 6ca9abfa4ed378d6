"""The studies that a manifest lists, each on its line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ranoscope.errors import ImageError, problem
from ranoscope.preparing.inputs.contents import counted, look_into
from ranoscope.preparing.inputs.dicom import read_dicom_studies
from ranoscope.preparing.inputs.manifest import Row, read_manifest
from ranoscope.preparing.inputs.study import Draft, Found, Progress, TumourMask
from ranoscope.preparing.nifti import read_nifti_series


def read_listed(path: Path, source: int, progress: Progress) -> Found:
    """Studies of a manifest. What it lists must be there: a file that cannot be read is an error, not set aside.

    Raises:
        TableError: as ``read_manifest``.
        ImageError: a file cannot be read, or a folder does not hold one DICOM study.
    """
    rows = read_manifest(path)
    drafts: list[Draft] = []
    notes: list[str] = []
    for number, row in enumerate(rows, start=1):
        if row.dicom is None:
            drafts.append(_of_images(row, source))
        else:
            draft, told = _of_dicom(row, row.dicom, source, progress)
            drafts.append(draft)
            notes += told
        progress(number, len(rows), "rows of the manifest")
    patients = len({row.patient for row in rows})
    summary = f"input {source}: a manifest of {counted(len(rows), 'study')} of {counted(patients, 'patient')}."
    return Found(tuple(drafts), (summary, *notes))


def _of_images(row: Row, source: int) -> Draft:
    where = f"{row.patient}, line {row.line}"
    try:
        named = {
            sequence: read_nifti_series(path, f"{where}, column `{sequence}`") for sequence, path in row.images.items()
        }
    except OSError as error:
        do = "check its permissions"
        raise ImageError(problem("files that can be opened", "one that cannot", where, do)) from error
    return Draft(source, where, row.patient, row.moment, tuple(named.values()), named, _mask(row, where))


def _of_dicom(row: Row, folder: Path, source: int, progress: Progress) -> tuple[Draft, Sequence[str]]:
    where = f"{row.patient}, line {row.line}"
    like = Draft(source, where, row.patient, row.moment, ())
    drafts, notes = read_dicom_studies(look_into(folder), like, progress)
    if len(drafts) > 1:
        do = "give each study's own folder on its own line"
        raise ImageError(problem("one study", counted(len(drafts), "study"), f"the folder of {where}", do))
    return replace(drafts[0], moment=row.moment, mask=_mask(row, where)), notes[1:]


def _mask(row: Row, where: str) -> TumourMask | None:
    return None if row.mask is None else TumourMask(row.mask[0], row.mask[1], None, f"{where}, column `mask`")
