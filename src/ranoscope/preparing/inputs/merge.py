"""The studies of all inputs to patients: each with a pseudonym, none mixed, each study with its visit."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace

from ranoscope.domain import StudyKey
from ranoscope.errors import ImageError, problem
from ranoscope.preparing.dicom.patient import count_patients
from ranoscope.preparing.inputs.calendar import on_one_calendar, require_one_patient
from ranoscope.preparing.inputs.pseudonyms import free_names
from ranoscope.preparing.inputs.study import Draft, Found, Inputs, RawStudy
from ranoscope.preparing.inputs.visits import number_visits


def merge(found: Sequence[Found], patient: str | None) -> Inputs:
    """Name the patients, put each one's studies in order, and say what was decided.

    Args:
        found: what each input gave, in the order of the inputs.
        patient: whose the studies are of inputs that hold no pseudonym; None: each input is another patient.

    Raises:
        ImageError: no study with an image, DICOM headers of several patients under one pseudonym, or visits that
            cannot be numbered.
    """
    drafts = [draft for one in found for draft in one.drafts]
    notes = [note for one in found for note in one.notes]
    notes += [f"{draft.where}: no image that can be read, not used." for draft in drafts if not draft.series]
    drafts = [draft for draft in drafts if draft.series]
    if not drafts:
        raise ImageError(problem("images", "none that can be read", "the inputs", "check that they are whole"))
    named, naming = _name(drafts, patient)
    by_patient: dict[str, list[Draft]] = defaultdict(list)
    for draft in named:
        by_patient[str(draft.patient)].append(draft)
    studies = [study for name, held in by_patient.items() for study in _order(name, held)]
    studies.sort(key=lambda study: StudyKey(study.patient, study.visit))
    return Inputs(tuple(studies), (*notes, *naming, *_alike(named)))


def _name(drafts: Sequence[Draft], patient: str | None) -> tuple[list[Draft], list[str]]:
    """Drafts with a pseudonym each, and notes on those that were given."""
    nameless = list(dict.fromkeys(draft.source for draft in drafts if draft.patient is None))
    if not nameless:
        unused = ["--patient is not used: every input holds pseudonyms."] if patient else []
        return list(drafts), unused
    free = free_names(draft.patient for draft in drafts if draft.patient is not None)
    names = {source: patient or next(free) for source in nameless}
    notes = [f"input {source} holds no pseudonym: its patient is {name}." for source, name in names.items()]
    if len(names) > 1 and patient is None:
        several = f"{len(names)} inputs without a pseudonym are {len(names)} patients"
        notes.append(f"{several}; if they are one, give --patient with a pseudonym.")
    return [replace(draft, patient=draft.patient or names[draft.source]) for draft in drafts], notes


def _order(patient: str, drafts: Sequence[Draft]) -> list[RawStudy]:
    places = sorted({draft.source for draft in drafts})
    where = f"{patient} (input{'s' if len(places) > 1 else ''} {', '.join(map(str, places))})"
    require_one_patient(drafts, where)
    dated = on_one_calendar(drafts, where)
    visits = number_visits([draft.moment for draft in dated], where)
    return [
        RawStudy(
            patient, visit, draft.series, draft.named, draft.mask, draft.aside,
            f"{StudyKey(patient, visit)} (input {draft.source})",
        )
        for draft, visit in zip(dated, visits, strict=True)
    ]  # fmt: skip


def _alike(drafts: Iterable[Draft]) -> list[str]:
    """Notes where headers under several pseudonyms bear one patient's number: an examination given to two patients."""
    by_number: dict[str, dict[str, Draft]] = defaultdict(dict)
    for draft in drafts:
        if draft.dicom is not None and (number := draft.dicom.head.text("PatientID").casefold()):
            by_number[number][str(draft.patient)] = draft
    return [
        f"{', '.join(sorted(held))}: the DICOM headers bear one patient number; if this is one patient, say so by one "
        "pseudonym (--patient, or in a manifest)."
        for held in by_number.values()
        if len(held) > 1 and count_patients(one.dicom.head for one in held.values() if one.dicom) == 1
    ]
