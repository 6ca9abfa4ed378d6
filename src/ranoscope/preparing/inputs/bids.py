"""A BIDS dataset with sessions, or one subject or session of it: the images of ``anat``, sessions placed by their days.

Source: the Brain Imaging Data Structure, file names (entities and suffixes of ``anat``) and ``sessions.tsv``.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ranoscope.domain import Sequence
from ranoscope.errors import ImageError, problem
from ranoscope.preparing.inputs.contents import counted, is_file, is_nifti
from ranoscope.preparing.inputs.files import read_files
from ranoscope.preparing.inputs.sessions import read_days
from ranoscope.preparing.inputs.study import Draft, Found, Moment, Progress
from ranoscope.preparing.nifti import ENDINGS
from ranoscope.preparing.recognition.words import listen
from ranoscope.preparing.series import Series, SeriesFacts

_SUBJECT, _SESSION = re.compile(r"sub-[A-Za-z0-9]+", re.ASCII), re.compile(r"ses-[A-Za-z0-9]+", re.ASCII)
_PLAIN = {"T2w": Sequence.T2, "FLAIR": Sequence.FLAIR}
# Entities that do not change what an image shows; others (part, inv, echo, rec …) may make it another image.
_HARMLESS = frozenset({"sub", "ses", "acq", "ce", "run"})
_SOUGHT = ("T1w", *_PLAIN)


@dataclass(frozen=True)
class Session:
    """``label``: ses-…, empty where the subject has no sessions. ``anat``: its folder."""

    subject: str
    label: str
    anat: Path

    @property
    def table(self) -> Path:
        """Where BIDS keeps the days of the subject's sessions."""
        folder = self.anat.parent.parent if self.label else self.anat.parent
        return folder / f"{self.subject}_sessions.tsv"


def find_sessions(folder: Path) -> list[Session]:
    """The sessions with an ``anat`` folder of a dataset, a subject or a session; none for other folders."""
    place = folder.absolute()
    if _SUBJECT.fullmatch(place.name):
        return _of_subject(folder, place.name)
    if _SESSION.fullmatch(place.name) and _SUBJECT.fullmatch(place.parent.name) and (folder / "anat").is_dir():
        return [Session(place.parent.name, place.name, place / "anat")]
    return [one for subject in _named(folder, _SUBJECT) for one in _of_subject(subject, subject.name)]


def read_bids(folder: Path, source: int, progress: Progress) -> Found:
    """Studies of all sessions of ``find_sessions``.

    Raises:
        ImageError: a file of another subject or session than its folder, or several sessions without days.
        TableError: ``sessions.tsv`` cannot be read.
    """
    held = find_sessions(folder)
    counts = Counter(one.subject for one in held)
    drafts = []
    for number, session in enumerate(held, start=1):
        drafts.append(_read_session(session, counts[session.subject] == 1, source))
        progress(number, len(held), "BIDS sessions")
    summary = f"input {source}: BIDS, {counted(len(held), 'session')} of {counted(len(counts), 'subject')}"
    bare = _without_anat(folder)
    summary += f", {counted(bare, 'folder')} of a subject or session without `anat`" if bare else ""
    return Found(tuple(drafts), (f"{summary}; images of `anat` alone are read.",))


def _read_session(session: Session, alone: bool, source: int) -> Draft:
    name = "/".join(part for part in (session.subject, session.label) if part)
    files = [path for path in sorted(session.anat.iterdir()) if is_nifti(path) and is_file(path)]
    files = [path for path in files if not path.name.startswith(".")]
    for number, path in enumerate(files, start=1):
        _require_own(path, session, f"{name}, file {number} of anat, input {source}")
    series, aside = read_files({path: f"{name}/anat/{path.name}" for path in files}, lambda *_: None)
    where = f"{name} of input {source}"
    moment = _moment(session, alone, source)
    return Draft(source, where, session.subject, moment, tuple(series.values()), _name(series), None, aside)


def _moment(session: Session, alone: bool, source: int) -> Moment:
    days = read_days(session.table) if session.label and is_file(session.table) else {}
    if session.label in days:
        return Moment(str(session.table.resolve()), days[session.label])
    if alone:
        return Moment(f"input {source}")
    got = f"none for {session.label or 'the images outside of its sessions'}"
    do = "write it with the columns `session_id` and `days` (or `acq_time`), a row for every session"
    raise ImageError(problem("the day of every session", got, f"{session.subject}_sessions.tsv", do))


def _require_own(path: Path, session: Session, where: str) -> None:
    """Raise ImageError where a file's name speaks of another subject or session than its folder."""
    entities, _ = _parse(path)
    for key, expected in (("sub", session.subject), ("ses", session.label)):
        if key in entities and f"{key}-{entities[key]}" != expected:
            do = "put every file into the folder of its own subject and session"
            expected = expected or "no session in its name"
            raise ImageError(problem(f"a file of {expected}", f"{key}-{entities[key]}", where, do))


def _name(series: Mapping[Path, Series]) -> dict[Sequence, Series]:
    """Which image is which, where names and sidecars say so of all that could be one of the four, once each."""
    sought = {path: one for path, one in series.items() if _parse(path)[1] in _SOUGHT}
    agents = {path: _contrast(path, one.facts) for path, one in sought.items() if _parse(path)[1] == "T1w"}
    # Beside an image that says it has contrast agent, BIDS leaves the word out where there is none.
    if True in agents.values():
        agents = {path: bool(agent) for path, agent in agents.items()}
    told: list[tuple[Sequence, Series]] = []
    for path, one in sought.items():
        entities, suffix = _parse(path)
        agent = agents.get(path)
        if not entities.keys() <= _HARMLESS or (suffix == "T1w" and agent is None):
            return {}
        told.append((_PLAIN.get(suffix) or (Sequence.CT1 if agent else Sequence.T1), one))
    named = dict(told)
    return named if len(named) == len(told) else {}


def _contrast(path: Path, facts: SeriesFacts) -> bool | None:
    """Whether agent was given: the entity ``ce``, words of ``acq``, or the sidecar; None where all are silent."""
    entities, _ = _parse(path)
    if "ce" in entities:
        return entities["ce"].casefold() not in ("none", "no", "pre")
    said = listen(SeriesFacts(file_name=entities.get("acq", ""))).contrast
    return facts.contrast if said is None else said


def _parse(path: Path) -> tuple[dict[str, str], str]:
    """Entities and suffix of a BIDS file name."""
    ending = next(one for one in ENDINGS if path.name.lower().endswith(one))
    *parts, suffix = path.name[: -len(ending)].split("_")
    pairs = (part.partition("-")[::2] for part in parts if "-" in part)
    return dict(pairs), suffix


def _of_subject(folder: Path, subject: str) -> list[Session]:
    """Its sessions in order of their labels; one without label where ``anat`` lies in the subject's own folder."""
    sessions = [Session(subject, one.name, one / "anat") for one in _named(folder, _SESSION)]
    return [one for one in (*sessions, Session(subject, "", folder / "anat")) if one.anat.is_dir()]


def _without_anat(folder: Path) -> int:
    """Folders of subjects without sessions, and of sessions, in which there is no ``anat``."""
    subjects = [folder] if _SUBJECT.fullmatch(folder.absolute().name) else _named(folder, _SUBJECT)
    places = [place for subject in subjects for place in _named(subject, _SESSION) or [subject]]
    return sum(not (place / "anat").is_dir() for place in places)


def _named(folder: Path, pattern: re.Pattern[str]) -> list[Path]:
    try:
        return sorted(one for one in folder.iterdir() if pattern.fullmatch(one.name) and one.is_dir())
    except OSError:
        return []
