"""Fetch the published LUMIERE files: only when asked, resumable, sizes verified, disk space checked first.

Source of ids and sizes: the figshare collection 10.6084/m9.figshare.c.5904905.
"""

from __future__ import annotations

import http.client
import re
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from ranoscope import __version__, runs
from ranoscope.cohort import layout
from ranoscope.errors import DownloadError, StorageError, problem

BASE_URL = "https://springernature.figshare.com/ndownloader/files"
LANDING_PAGE = "https://doi.org/10.6084/m9.figshare.c.5904905"
LICENCE_NOTE = (
    "LUMIERE (Suter et al., Scientific Data 2022, 9:768). The licence notes conflict: figshare marks the files CC0, "
    "the authors' own read-me allows non-commercial use only. Treat the data as for non-commercial research, do not "
    "pass on images, masks or rows of the tables, and cite the paper."
)

_ATTEMPTS = 8
_PAUSE_S = 2.0
_TIMEOUT_S = 60.0
_CHUNK = 1 << 20
_MARGIN = 1 << 30
_TRANSIENT = frozenset({202, 408, 429, 500, 502, 503, 504})

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class PublishedFile:
    """A file of the collection. ``size``: bytes, None where the collection's listing was not read."""

    id: int
    name: str
    size: int | None = None


FILES = (
    PublishedFile(38369741, layout.RATINGS),
    PublishedFile(37575523, layout.COMPLETENESS),
    PublishedFile(37575637, layout.DEMOGRAPHICS),
    PublishedFile(37983597, "LUMIERE-readme.pdf"),
    PublishedFile(38249697, "Imaging-v202211.zip", 32_565_467_707),
)


class _TransientError(Exception):
    """A failure that another attempt may heal; its text tells what happened."""


def download(
    out: Path,
    accept_licence: bool,
    base_url: str = BASE_URL,
    files: Sequence[PublishedFile] = FILES,
    progress: Progress | None = None,
) -> list[Path]:
    """Fetch the files into ``out``; what an earlier attempt left in ``NAME.part`` is continued, whole files are kept.

    Args:
        out: the folder to fill.
        accept_licence: whether the user has read ``LICENCE_NOTE`` and agreed.
        base_url: where the files are served under their ids.
        files: what to fetch.
        progress: called with bytes done, bytes in all (0 if unknown) and the file's name.

    Returns:
        The paths of all files, in order.

    Raises:
        DownloadError: licence not accepted, server unreachable or refusing, or a file of the wrong size.
        StorageError: not enough space, or the folder cannot be written.
    """
    if not accept_licence:
        raise DownloadError(problem("the licence note to be accepted", "no consent", "download", "read it and agree"))
    with runs.storage_errors(out):
        out.mkdir(parents=True, exist_ok=True)
    _require_space(out, files)
    return [_fetch(f"{base_url}/{file.id}", file, out, progress) for file in files]


def _require_space(out: Path, files: Sequence[PublishedFile]) -> None:
    needed = sum((file.size or 0) - _present(out, file) for file in files if not _is_whole(out / file.name, file))
    free = shutil.disk_usage(out).free
    if free < needed + _MARGIN:
        raise StorageError(
            problem(
                f"{(needed + _MARGIN) / 1e9:.1f} GB of free space",
                f"{free / 1e9:.1f} GB",
                str(out),
                "free space or choose another folder; the zip is read in place and need not be unpacked",
            )
        )


def _present(out: Path, file: PublishedFile) -> int:
    return _size(_part(out, file)) if file.size else 0


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _part(out: Path, file: PublishedFile) -> Path:
    return out / f"{file.name}.part"


def _is_whole(path: Path, file: PublishedFile) -> bool:
    return path.is_file() and (path.stat().st_size == file.size if file.size is not None else path.stat().st_size > 0)


def _fetch(url: str, file: PublishedFile, out: Path, progress: Progress | None) -> Path:
    path, part = out / file.name, _part(out, file)
    if _is_whole(path, file):
        return path
    failures, failure = 0, ""
    while failures < _ATTEMPTS:
        before = _size(part)
        try:
            with runs.storage_errors(part):
                expected = _append(url, file, part, progress)
        except _TransientError as error:
            failure = str(error)
            failures = 1 if _size(part) > before else failures + 1
            time.sleep(_PAUSE_S * 2 ** (failures - 1))
            continue
        _verify(part, expected, file)
        with runs.storage_errors(path):
            part.replace(path)
        return path
    do = f"give the same command again, it goes on where it stopped, or fetch it by browser from {LANDING_PAGE}"
    raise DownloadError(problem("the whole file", f"{failure} in {_ATTEMPTS} attempts without progress", file.name, do))


def _append(url: str, file: PublishedFile, part: Path, progress: Progress | None) -> int | None:
    """Continue the part until the server has no more; returns the size the file should have, if anyone said so."""
    have = _size(part)
    if file.size is not None and have == file.size:
        return file.size
    if file.size is not None and have > file.size:
        part.unlink()
        have = 0
    headers = {"User-Agent": f"ranoscope/{__version__}", **({"Range": f"bytes={have}-"} if have else {})}
    request = urllib.request.Request(url, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as response:
            start, stated = _span(response, have)
            with part.open("ab" if start else "wb") as stream:
                _copy(response, stream.write, (start, file.size or stated or 0), (progress, file.name))
    except urllib.error.HTTPError as error:
        with error:
            _refuse(error, part, file)
    except urllib.error.URLError as error:
        raise _TransientError(f"no answer ({error.reason})") from error
    except (http.client.HTTPException, ConnectionError, TimeoutError) as error:
        raise _TransientError(f"a broken connection ({type(error).__name__})") from error
    expected = file.size if file.size is not None else stated
    got = part.stat().st_size
    if expected is not None and got < expected and stated != got:
        raise _TransientError(f"{got} of {expected} bytes")
    return expected


def _span(response: http.client.HTTPResponse, have: int) -> tuple[int, int | None]:
    """Where the answer begins in the file, and the whole file's size if stated; a server may ignore the range."""
    if response.status in _TRANSIENT:
        raise _TransientError(f"status {response.status}")
    if response.headers.get_content_type() == "text/html":
        do = f"fetch the file by browser from {LANDING_PAGE} into the same folder"
        raise DownloadError(problem("the file", "a web page", response.url, do))
    if response.status == http.client.PARTIAL_CONTENT:
        match = re.match(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
        if match is None or int(match[1]) != have:
            raise DownloadError(
                problem(
                    f"the bytes from {have} on", "another range", response.url, "delete the .part file and try again"
                )
            )
        return have, None if match[2] == "*" else int(match[2])
    length = response.headers.get("Content-Length")
    return 0, None if length is None else int(length)


def _copy(
    response: http.client.HTTPResponse,
    write: Callable[[bytes], int],
    span: tuple[int, int],
    report: tuple[Progress | None, str],
) -> None:
    done, total = span
    progress, name = report
    while chunk := response.read(_CHUNK):
        write(chunk)
        done += len(chunk)
        if progress is not None:
            progress(done, total, name)


def _refuse(error: urllib.error.HTTPError, part: Path, file: PublishedFile) -> NoReturn:
    if error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
        part.unlink(missing_ok=True)
        raise _TransientError("a part longer than the file") from error
    if error.code in _TRANSIENT:
        raise _TransientError(f"status {error.code}") from error
    do = f"fetch it by browser from {LANDING_PAGE} into the same folder"
    raise DownloadError(problem("the file", f"status {error.code} ({error.reason})", file.name, do)) from error


def _verify(part: Path, expected: int | None, file: PublishedFile) -> None:
    got = part.stat().st_size
    if (expected is not None and got != expected) or not got:
        part.unlink()
        wanted = "a file that is not empty" if expected is None else f"{expected} bytes"
        do = f"try again; if it stays so, the published file has changed: see {LANDING_PAGE}"
        raise DownloadError(problem(wanted, f"{got} bytes", file.name, do))
