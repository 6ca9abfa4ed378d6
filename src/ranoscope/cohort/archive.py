"""LUMIERE's images where they lie: the unzipped ``Imaging/`` folder or the published zip, read in place.

Both forms answer the same questions and may be handed to several processes.
"""

from __future__ import annotations

import os
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ranoscope.cohort import layout
from ranoscope.domain import StudyKey, Visit
from ranoscope.errors import ImageError, problem

_UNREADABLE = (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError)


class ImagingArchive(ABC):
    """The images of all visits, addressed by study and by file name inside the visit folder.

    ``path``: the ``Imaging`` folder or the zip.
    """

    path: Path
    _rejected: list[str]

    @property
    def rejected(self) -> list[str]:
        """Folders that are neither patient nor visit, each with the reason, sorted."""
        return sorted(self._rejected)

    @abstractmethod
    def studies(self) -> list[StudyKey]:
        """Every visit folder, sorted by patient, week and suffix; one without files is listed too."""

    @abstractmethod
    def names(self, key: StudyKey) -> frozenset[str]:
        """Relative posix names of the files in a visit folder; empty for a study that is not here."""

    @abstractmethod
    def read(self, key: StudyKey, name: str) -> bytes:
        """The bytes of one file.

        Raises:
            ImageError: the file is absent or cannot be read whole; names patient, visit and file.
        """

    @abstractmethod
    def fingerprint(self, key: StudyKey, name: str) -> str:
        """A text that changes when the file does, made without reading its content.

        Raises:
            ImageError: the file is absent.
        """

    @staticmethod
    def where(key: StudyKey, name: str) -> str:
        """Patient, visit and file for messages, e.g. ``Patient-001/week-000/CT1.nii.gz``."""
        return f"{key}/{name}"

    def _absent(self, key: StudyKey, name: str, got: str = "none") -> ImageError:
        return ImageError(problem(f"the file {name}", got, self.where(key, name), "restore it from the download"))


class FolderArchive(ImagingArchive):
    """The unzipped ``Imaging/`` folder. Fingerprint: size and time of last change."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._rejected = []
        self._folders: dict[StudyKey, Path] = {}
        self._names: dict[StudyKey, frozenset[str]] = {}
        for patient in _subfolders(path):
            if not is_patient_folder(patient):
                self._rejected.append(_not_a_patient(patient.name))
                continue
            for visit in _subfolders(patient):
                _register(self._folders, self._rejected, patient.name, visit.name, visit)

    def studies(self) -> list[StudyKey]:
        """Every visit folder, sorted."""
        return sorted(self._folders)

    def names(self, key: StudyKey) -> frozenset[str]:
        """Names of the files in a visit folder, hidden ones left out; listed once and remembered."""
        if key not in self._names:
            self._names[key] = self._list(key)
        return self._names[key]

    def read(self, key: StudyKey, name: str) -> bytes:
        """The bytes of one file."""
        try:
            return self._file(key, name).read_bytes()
        except OSError as error:
            raise self._absent(key, name, error.strerror or "an unreadable file") from error

    def fingerprint(self, key: StudyKey, name: str) -> str:
        """Size and time of last change."""
        try:
            status = self._file(key, name).stat()
        except OSError as error:
            raise self._absent(key, name, error.strerror or "an unreadable file") from error
        return f"{status.st_size}-{status.st_mtime_ns}"

    def _file(self, key: StudyKey, name: str) -> Path:
        if key not in self._folders:
            raise self._absent(key, name, "no such visit folder")
        return self._folders[key] / name

    def _list(self, key: StudyKey) -> frozenset[str]:
        folder = self._folders.get(key)
        if folder is None:
            return frozenset()
        files = (Path(place, name).relative_to(folder) for place, _, names in os.walk(folder) for name in names)
        return frozenset(file.as_posix() for file in files if not any(map(_hidden, file.parts)))


class ZipArchive(ImagingArchive):
    """The published zip, or any zip of the ``Imaging`` tree. Fingerprint: size and checksum from its directory."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._rejected = []
        self._members: dict[StudyKey, dict[str, str]] = {}
        self._handle: zipfile.ZipFile | None = None
        self._process = 0
        self._index([entry.filename for entry in self._zip().infolist()])

    def __getstate__(self) -> dict[str, Any]:
        """Leave the open file behind: each process opens its own."""
        return {**self.__dict__, "_handle": None}

    def studies(self) -> list[StudyKey]:
        """Every visit folder, sorted."""
        return sorted(self._members)

    def names(self, key: StudyKey) -> frozenset[str]:
        """Names of the files in a visit folder, hidden ones left out."""
        return frozenset(self._members.get(key, {}))

    def read(self, key: StudyKey, name: str) -> bytes:
        """The bytes of one member, its checksum verified."""
        member = self._member(key, name)
        try:
            return self._zip().read(member)
        except _UNREADABLE as error:
            raise ImageError(
                problem(
                    "a readable zip member",
                    f"{type(error).__name__} ({error})",
                    f"{self.where(key, name)} of {self.path.name}",
                    "fetch the zip again and give the same command",
                )
            ) from error

    def fingerprint(self, key: StudyKey, name: str) -> str:
        """Size and checksum as the zip's directory states them."""
        entry = self._zip().getinfo(self._member(key, name))
        return f"{entry.file_size}-{entry.CRC:08x}"

    def _member(self, key: StudyKey, name: str) -> str:
        try:
            return self._members[key][name]
        except KeyError as error:
            raise self._absent(key, name) from error

    def _zip(self) -> zipfile.ZipFile:
        """The open zip of this very process: a forked child must not share its parent's position in the file."""
        if self._handle is None or self._process != os.getpid():
            try:
                self._handle = zipfile.ZipFile(self.path)
            except _UNREADABLE as error:
                raise ImageError(
                    problem(
                        "a whole zip of LUMIERE's images",
                        f"{type(error).__name__} ({error})",
                        self.path.name,
                        "fetch it again; `ranoscope download` resumes and verifies its size",
                    )
                ) from error
            self._process = os.getpid()
        return self._handle

    def _index(self, entries: list[str]) -> None:
        paths = {entry: tuple(entry.rstrip("/").split("/")) for entry in entries}
        paths = {entry: parts for entry, parts in paths.items() if not any(map(_hidden, parts))}
        depth = _patient_depth(paths.values())
        folders: dict[StudyKey, str] = {}
        known: dict[str, StudyKey | None] = {}
        for entry, parts in paths.items():
            inside = parts[depth:]
            if not inside or (len(inside) == 1 and not entry.endswith("/")):
                continue
            if not layout.PATIENT.match(inside[0]):
                self._rejected.append(_not_a_patient(inside[0]))
                continue
            if len(inside) < 2 or (len(inside) == 2 and not entry.endswith("/")):
                continue
            folder = "/".join(inside[:2])
            if folder not in known:
                known[folder] = _register(folders, self._rejected, inside[0], inside[1], folder)
            key = known[folder]
            if key is not None:
                files = self._members.setdefault(key, {})
                if len(inside) > 2 and not entry.endswith("/"):
                    files["/".join(inside[2:])] = entry
        self._rejected = list(dict.fromkeys(self._rejected))


def open_archive(root: Path) -> ImagingArchive | None:
    """Find LUMIERE's images in or at ``root``.

    Args:
        root: a folder holding ``Imaging/`` or ``Imaging*.zip``, or that folder or zip itself. A folder wins over a
            zip; one named after the zip, as unpacking tools make it, is found too.

    Returns:
        The archive, or None where there are only tables.

    Raises:
        ImageError: the zip is truncated, not a zip, or there are several of them.
    """
    if root.is_file():
        return ZipArchive(root) if root.suffix.lower() == ".zip" else None
    for folder in (root / layout.IMAGING, root, *sorted(root.glob("Imaging*")), *sorted(root.glob("Imaging*/Imaging"))):
        if folder.is_dir() and any(is_patient_folder(child) for child in _subfolders(folder)):
            return FolderArchive(folder)
    zips = sorted(path for path in root.glob(layout.IMAGING_ZIP_PATTERN) if path.is_file())
    if len(zips) > 1:
        names = ", ".join(path.name for path in zips)
        raise ImageError(problem("one zip of images", names, "the LUMIERE folder", "name the one to read"))
    if zips:
        return ZipArchive(zips[0])
    return FolderArchive(root / layout.IMAGING) if (root / layout.IMAGING).is_dir() else None


def is_patient_folder(folder: Path) -> bool:
    """Whether it is named as LUMIERE names a patient's, or holds a visit that ranoscope prepared."""
    if layout.PATIENT.match(folder.name):
        return True
    return any((visit / layout.PREPARED).is_file() for visit in _subfolders(folder))


def _subfolders(folder: Path) -> list[Path]:
    return sorted(child for child in folder.iterdir() if child.is_dir() and not _hidden(child.name))


def _hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"


def _not_a_patient(name: str) -> str:
    return f"{name}: not a patient folder (Patient-NNN)"


def _patient_depth(paths: Iterable[tuple[str, ...]]) -> int:
    """How many folders lie above the patients: one (``Imaging``) in the published zip."""
    depths = [depth for parts in paths for depth, part in enumerate(parts) if layout.PATIENT.match(part)]
    return min(depths, default=0)


def _register(
    folders: dict[StudyKey, Any], rejected: list[str], patient: str, name: str, place: object
) -> StudyKey | None:
    """Enter a visit folder under its key, or note why it is none."""
    visit = Visit.parse(name)
    if visit is None:
        rejected.append(f"{patient}/{name}: not a visit folder (week-NNN or week-NNN-S)")
        return None
    key = StudyKey(patient, visit)
    if key in folders:
        rejected.append(f"{patient}/{name}: another folder already stands for {key}")
        return None
    folders[key] = place
    return key
