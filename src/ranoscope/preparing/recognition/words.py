"""From the names of a series to what they say: weighting, contrast agent, plane, and reasons to set it aside."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from enum import StrEnum

from ranoscope.preparing.recognition import vocabulary
from ranoscope.preparing.recognition.decision import SetAside
from ranoscope.preparing.series import SeriesFacts


class Weighting(StrEnum):
    """What an image mostly shows. The first three are looked for, the rest only to tell them apart."""

    T1 = "T1-weighted"
    T2 = "T2-weighted"
    FLAIR = "FLAIR"
    PROTON_DENSITY = "proton density"
    T2_STAR = "T2*-weighted"
    STIR = "short inversion time (STIR)"
    OTHER = "another weighting"


class Plane(StrEnum):
    """The plane a name speaks of."""

    AXIAL = "axial"
    SAGITTAL = "sagittal"
    CORONAL = "coronal"


@dataclass(frozen=True)
class Said:
    """What the names of a series say.

    ``names``: as they stand, for messages. ``words``: normalised, without those about contrast and repetition, to
    compare two series by. ``weightings``: those that the name allows, empty where it says nothing; two where a name
    speaks of two. ``contrast``: None where the name is silent or says both.
    """

    names: str
    words: str
    weightings: frozenset[Weighting]
    contrast: bool | None
    set_aside: SetAside | None
    plane: Plane | None
    inverted: bool
    reformat: bool
    fat_saturated: bool
    single_shot: bool
    denoised: bool


# What is written in one word with T1, T2 or FLAIR, before and after it, and what is meant where it is not the same.
_BEFORE = ("axial", "oax", "ax", "tra", "osag", "sag", "ocor", "cor", "3d", "2d", "tse", "fse")
_AFTER = (
    "weighted", "gewichtet", "mprage", "propeller", "frfse", "blade", "bravo", "space", "fspgr", "contrast",
    "native", "nativ", "flair", "vista", "cube", "gado", "gad", "post", "spgr", "tirm", "vibe", "star", "map",
    "mpr", "pre", "inj", "tse", "fse", "tfe", "ffe", "gre", "axial", "tra", "cor", "sag", "spc", "3d", "2d", "ax", "fs",
    "ce", "gd", "km", "se", "wi", "w", "c", "n", "f",
)  # fmt: skip
_MEANT = {"c": "ce", "n": "nativ", "w": "", "wi": "", "s": "", "e": ""}
# A single letter only by itself: Philips' sT1W and eT1W, LUMIERE's CT1.
_JOINED = re.compile(
    rf"((?:{'|'.join(_BEFORE)})*|[se]|c(?=t1))(t1|t2|flair|mprage|bravo|vibe)((?:{'|'.join(_AFTER)})*)"
)
_PART_BEFORE = re.compile("|".join((*_BEFORE, "[sec]")))
_PART_AFTER = re.compile("|".join(_AFTER))
# Labels of subject and session in BIDS are anybody's choice, that of space is another image's name.
_BIDS_LABELS = re.compile(r"(?:^|(?<=[ /]))(?:sub|ses|space)-[a-z0-9]+(?=[ /]|$)")


def normalise(text: str) -> str:
    """Lower-case words with single spaces between them, however a name was written.

    Accents go, ``_`` and other separators become spaces, ``w/o`` becomes ``without``, ``T2*`` becomes ``t2 star``, a
    plus stands alone, and what is written in one word with T1, T2 or FLAIR is split off: ``axt1ce`` becomes
    ``ax t1 ce``, BraTS' ``t1n`` ``t1 nativ`` and its ``t2f`` ``flair``.
    """
    plain = unicodedata.normalize("NFKD", text.casefold()).encode("ascii", "ignore").decode()
    plain = re.sub(r"[_\s]+", " ", plain)
    plain = _BIDS_LABELS.sub(" ", plain)
    plain = re.sub(r"(?<![a-z0-9])w ?/ ?o(?![a-z0-9])", " without ", plain)
    plain = re.sub(r"(?<![a-z0-9])w ?/", " with ", plain)
    plain = re.sub(r"t2 ?\*", "t2 star ", plain).replace("+", " + ")
    tokens = re.sub(r"[^a-z0-9+]+", " ", plain).split()
    return " ".join(part for token in tokens for part in _split(token))


def _split(token: str) -> list[str]:
    found = _JOINED.fullmatch(token)
    if found is None:
        return [token]
    before, head, after = found.groups()
    if head == "t2" and after == "f":
        return [*_parts(_PART_BEFORE, before), "flair"]
    return [*_parts(_PART_BEFORE, before), head, *_parts(_PART_AFTER, after)]


def _parts(pattern: re.Pattern[str], text: str) -> list[str]:
    return [word for part in pattern.findall(text) if (word := _MEANT.get(part, part))]


def listen(facts: SeriesFacts) -> Said:
    """What description and file name say; where they say nothing of the sequence, what the protocol's name says.

    The protocol's name comes second because GE and others name the whole examination there (`brain tumour w/wo`). For
    the same reason it is heard on contrast only where it also names a weighting.
    """
    own = normalise(f"{facts.description} {facts.file_name}")
    protocol = normalise(facts.protocol)
    sequence_name = re.sub(r"[^a-z0-9]+", " ", facts.sequence_name.casefold())
    heard = own
    if not _weightings(own) and _reason(f"{own} {sequence_name}", own) is None:
        heard = f"{own} {protocol}".strip()
    contrast = _contrast(own)
    if contrast is None and _weightings(protocol):
        contrast = _contrast(protocol)
    written = dict.fromkeys(name for name in (facts.description, facts.file_name) if name)
    if heard != own or not written:
        written.update(dict.fromkeys([facts.protocol] if facts.protocol else []))
    return Said(
        names=" / ".join(written),
        words=_without_contrast(heard),
        weightings=_weightings(heard),
        contrast=contrast,
        set_aside=_reason(f"{heard} {sequence_name}", heard),
        plane=_plane(heard),
        inverted=bool(vocabulary.INVERTED.search(heard)),
        reformat=bool(vocabulary.REFORMAT.search(heard)),
        fat_saturated=bool(vocabulary.FAT_SATURATED.search(heard)),
        single_shot=bool(vocabulary.SINGLE_SHOT.search(f"{heard} {sequence_name}")),
        denoised=bool(vocabulary.DENOISED.search(heard)),
    )


def _reason(text: str, named: str) -> SetAside | None:
    for reason, pattern in vocabulary.SET_ASIDE:
        if pattern.search(text):
            return reason
    if vocabulary.GRADIENT_ECHO.search(named) and Weighting.T1 not in _weightings(named):
        return SetAside.SUSCEPTIBILITY
    return None


def _weightings(words: str) -> frozenset[Weighting]:
    """T1 FLAIR and T1 TIRM, in this order, are T1-weighted with an inversion pulse; T2 FLAIR is FLAIR."""
    words = vocabulary.REGISTERED_TO.sub(" ", words)
    if vocabulary.OTHER_WEIGHTING.search(words):
        return frozenset({Weighting.OTHER})
    if vocabulary.PD_AND_T2.search(words):
        return frozenset({Weighting.PROTON_DENSITY, Weighting.T2})
    t1, t2 = vocabulary.T1.search(words), vocabulary.T2.search(words)
    found = set()
    flair = vocabulary.FLAIR.search(words)
    if flair and not (t1 and not t2 and t1.start() < flair.start()):
        found.add(Weighting.FLAIR)
        t2 = None
    if t1:
        found.add(Weighting.T1)
    if t2:
        found.add(Weighting.T2)
    if vocabulary.PD.search(words):
        found.add(Weighting.PROTON_DENSITY)
    return frozenset(found)


def _contrast(words: str) -> bool | None:
    rest = vocabulary.CONTRAST_NEUTRAL.sub(" ", vocabulary.REGISTERED_TO.sub(" ", words))
    if vocabulary.CONTRAST_BOTH.search(rest):
        return None
    left = vocabulary.CONTRAST_WITHOUT.sub(" | ", rest)
    without, with_agent = left != rest, bool(vocabulary.CONTRAST_WITH.search(left))
    if without and with_agent:
        return None
    return True if with_agent else (False if without else None)


def _without_contrast(words: str) -> str:
    for pattern in (vocabulary.CONTRAST_WITHOUT, vocabulary.CONTRAST_WITH, vocabulary.REPEATED):
        words = pattern.sub(" ", words)
    return " ".join(sorted(words.replace("+", " ").split()))


def _plane(words: str) -> Plane | None:
    patterns = {
        Plane.AXIAL: vocabulary.AXIAL,
        Plane.SAGITTAL: vocabulary.SAGITTAL,
        Plane.CORONAL: vocabulary.CORONAL,
    }
    found = [plane for plane, pattern in patterns.items() if pattern.search(words)]
    return found[0] if len(found) == 1 else None
