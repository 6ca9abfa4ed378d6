"""The run folder: the files through which stages speak, and how they are written.

An interrupted write is never mistaken for a finished one: everything is written beside its place and moved there whole.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from ranoscope.errors import RunError, StorageError, TableError, problem

try:
    import fcntl
except ImportError:  # Windows has no such locks: there folders are not guarded
    fcntl = None  # type: ignore[assignment]

COHORT = "cohort.csv"
STUDIES = "studies.csv"
FLOW = "flow.json"
FOLDS = "folds.csv"
CALLS = "calls.csv"
SCORECARD = "scorecard.json"
AUDIT = "audit.json"
SETTINGS = "settings.yaml"
PROVENANCE = "provenance.json"
REPORT = "report.html"
CHECKPOINTS = "checkpoints"
EXPLANATIONS = "explanations"
FIGURES = "figures"

CALL_COLUMNS = (
    "patient", "prior", "current", "response", "fold", "p_CR", "p_PR", "p_SD", "p_PD", "call",
)  # fmt: skip

_LOCK = ".lock"
# Folders this process has locked; a process forked from it has not.
_held: set[tuple[int, Path]] = set()


@contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Keep other processes that ask for the same folder out while the block runs; made if need be.

    The operating system lets go of it when this process ends, however it ends. Asking again inside the block is
    allowed. Not guarded where the file system knows no locks.

    Raises:
        RunError: another process has it (named by its number).
        StorageError: the disk is full or not writable.
    """
    path = folder.resolve() / _LOCK
    holder = (os.getpid(), path)
    if fcntl is None or holder in _held:
        yield
        return
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = _acquire(path)
    _held.add(holder)
    try:
        yield
    finally:
        _held.discard(holder)
        path.unlink(missing_ok=True)
        os.close(descriptor)


def _acquire(path: Path) -> int:
    """Lock a file and write into it who has it. A record lock, which no forked process goes on holding."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EAGAIN):
                other = os.read(descriptor, 100).decode("utf-8", "replace") or "another process"
                os.close(descriptor)
                do = "wait until it is done, or choose another --out"
                raise RunError(problem("a folder that no other run writes to", other, str(path.parent), do)) from error
            if error.errno not in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP):
                os.close(descriptor)
                raise
        # The holder before us removes the file before it lets go: what we opened may no longer be at its place.
        if path.exists() and os.path.samestat(path.stat(), os.fstat(descriptor)):
            os.truncate(descriptor, 0)
            os.write(descriptor, f"process {os.getpid()}, at work since {datetime.now():%Y-%m-%d %H:%M}".encode())
            return descriptor
        os.close(descriptor)


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary sibling of ``path`` that replaces it when the block ends well, and vanishes when it does not.

    Raises:
        StorageError: the disk is full, read-only or not permitted; nothing at ``path`` has changed.
    """
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
        os.close(handle)
    temporary = Path(name)
    try:
        with storage_errors(path):
            yield temporary
            temporary.chmod(0o644)
            temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(folder: Path) -> Iterator[Path]:
    """Yield an empty sibling of ``folder`` that replaces it when the block ends well; what is left of it otherwise is
    removed the next time.

    Raises:
        StorageError: the disk is full, read-only or not permitted; ``folder`` is as it was.
    """
    part = folder.with_name(f".{folder.name}.part")
    with storage_errors(folder):
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        yield part
        shutil.rmtree(folder, ignore_errors=True)
        part.rename(folder)


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn the operating system's full, read-only and forbidden errors into one StorageError that names ``path``."""
    reasons = {
        errno.ENOSPC: "a full disk",
        errno.EDQUOT: "a used-up quota",
        errno.EROFS: "a read-only disk",
        errno.EACCES: "no permission",
    }
    try:
        yield
    except OSError as error:
        if error.errno not in reasons:
            raise
        raise StorageError(
            problem(
                "a folder that can be written",
                reasons[error.errno],
                str(path),
                "free space or choose another --out and give the same command again; finished steps are kept",
            )
        ) from error


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    with atomic_path(path) as part:
        part.write_text(text, encoding="utf-8")


def write_bytes(path: Path, payload: bytes) -> None:
    """Write bytes atomically."""
    with atomic_path(path) as part:
        part.write_bytes(payload)


def write_json(path: Path, content: object) -> None:
    """Write JSON atomically; NaN is written as null, keys keep their order."""
    write_text(path, json.dumps(_plain(content), indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def write_yaml(path: Path, content: object) -> None:
    """Write YAML atomically, keys in the given order."""
    write_text(path, yaml.safe_dump(_plain(content), sort_keys=False, allow_unicode=True))


def write_csv(path: Path, table: pd.DataFrame) -> None:
    """Write a table atomically, without an index, line ends ``\\n``."""
    with atomic_path(path) as part:
        table.to_csv(part, index=False, lineterminator="\n")


def truth(value: bool) -> str:
    """Yes or no as the tables have it."""
    return "true" if value else "false"


def read_json(path: Path, made_by: str) -> Any:
    """Read JSON that ``made_by`` (a command) writes.

    Raises:
        RunError: the file is absent or not JSON.
    """
    return _read(path, made_by, lambda text: json.loads(text))


def read_yaml(path: Path, made_by: str) -> Any:
    """Read YAML that ``made_by`` (a command) writes.

    Raises:
        RunError: the file is absent or not YAML.
    """
    return _read(path, made_by, lambda text: yaml.safe_load(text))


def read_csv(path: Path, made_by: str, columns: tuple[str, ...]) -> pd.DataFrame:
    """Read a table as text: every cell a string, an empty cell the empty string.

    Raises:
        RunError: the file is absent.
        TableError: a column is missing.
    """
    if not path.is_file():
        raise RunError(problem(f"the file {path.name}", "none", str(path.parent), f"run `{made_by}` first"))
    table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    require_columns(table, columns, str(path))
    return table


def require_columns(table: pd.DataFrame, columns: tuple[str, ...], where: str) -> None:
    """Raise TableError naming each missing column and what is there instead."""
    missing = [name for name in columns if name not in table.columns]
    if missing:
        raise TableError(
            problem(
                f"the column{'s' if len(missing) > 1 else ''} {', '.join(missing)}",
                f"only {', '.join(map(str, table.columns))}",
                where,
                "use the table as published or rename its header",
            )
        )


def _read(path: Path, made_by: str, parse: Callable[[str], Any]) -> Any:
    if not path.is_file():
        raise RunError(problem(f"the file {path.name}", "none", str(path.parent), f"run `{made_by}` first"))
    try:
        return parse(path.read_text(encoding="utf-8"))
    except (ValueError, yaml.YAMLError) as error:
        raise RunError(
            problem("a readable file", f"{type(error).__name__}", str(path), f"delete it and run `{made_by}` again")
        ) from error


def _plain(content: object) -> Any:
    """Reduce to what JSON and YAML hold: mappings, lists, text, numbers, None (NaN and infinities become None)."""
    if isinstance(content, dict):
        return {str(key): _plain(value) for key, value in content.items()}
    if isinstance(content, (list, tuple, set, frozenset)):
        return [_plain(value) for value in content]
    if hasattr(content, "item") and getattr(content, "shape", None) == ():
        content = content.item()
    if isinstance(content, float):
        return content if content == content and abs(content) != float("inf") else None
    if isinstance(content, (bool, int)) or content is None:
        return content
    return str(content)
