"""Whose images these are: asked only to refuse a folder of two patients, and to keep names out of descriptions."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from ranoscope.preparing.dicom.header import PATIENT, Attributes

_WORD = re.compile(r"[^\W_]+")
_DATE = re.compile(r"(\d{4})(\d\d)(\d\d)")
# What stays where a word was taken out of the middle of "T1_Miller_post".
_LEFT_OVER = re.compile(r"([\s_\-^,;.])[\s_\-^,;.]+")


def count_patients(headers: Iterable[Attributes]) -> int:
    """How many patients the files speak of, at least: by PatientID, and by name or birth date where that is one.

    A file that is silent agrees with every other. Names are compared without case, accents and punctuation.
    """
    said = list(headers)
    numbers = {"".join(_words(one.text("PatientID"))) for one in said}
    names = {" ".join(_words(one.text("PatientName").split("=")[0])) for one in said}
    births = {"".join(_words(one.text("PatientBirthDate"))) for one in said}
    return max(len(found - {""}) for found in (numbers, names, births))


def private_words(headers: Iterable[Attributes]) -> frozenset[str]:
    """The words, two characters and longer, of all names and numbers of the patient and of the referring physician."""
    texts = {text for header in headers for text in _identifiers(header)}
    words = {word for text in texts for word in (*_words(text), "".join(_words(text)))}
    return frozenset(word for word in words | _dates(texts) if len(word) >= 2)


def scrub(text: str, words: frozenset[str]) -> str:
    """The text without these words."""
    kept = _WORD.sub(lambda found: "" if _plain(found[0]) in words else found[0], text)
    return _LEFT_OVER.sub(r"\1", kept).strip(" _-^,;.") if kept != text else text


def _identifiers(header: Attributes) -> list[str]:
    items = [Attributes((item,)) for item in header.items("OtherPatientIDsSequence")]
    plain = [text for keyword in PATIENT if keyword != "OtherPatientIDsSequence" for text in header.texts(keyword)]
    return plain + [text for item in items for text in item.texts("PatientID")]


def _dates(texts: Iterable[str]) -> set[str]:
    """A birth date is written in more than one order, and its year alone tells too."""
    found = [match.groups() for text in texts if (match := _DATE.fullmatch(text))]
    return {form for year, month, day in found for form in (year, day + month + year, month + day + year)}


def _words(text: str) -> list[str]:
    return [_plain(word) for word in _WORD.findall(text)]


def _plain(word: str) -> str:
    apart = unicodedata.normalize("NFKD", word.casefold())
    return "".join(letter for letter in apart if not unicodedata.combining(letter))
