"""The record that each example case leaves beside its maps, and how a run's records are read."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from ranoscope import runs
from ranoscope.domain import Response, Sequence
from ranoscope.errors import RunError, problem
from ranoscope.learning.checkpoints import FOLD, fold_folder

RECORD = "case.json"
CHOSEN = "chosen.json"
COMMAND = "ranoscope explain"


class Role(StrEnum):
    """Why a case's maps are kept: how well they find the tumour among the scored cases of its class, or otherwise."""

    BEST = "best"
    MEDIAN = "median"
    WORST = "worst"
    ASKED_FOR = "asked for"
    FURTHER = "further"


@dataclass(frozen=True)
class NativeFile:
    """A map on the grid of one of the scanner's images.

    ``dice``: how well the visit's atlas-space mask fell on its native one with the same transform. ``direction``: which
    way the transform file was found to be written.
    """

    sequence: Sequence
    study: str
    file: str
    dice: float
    direction: str


@dataclass(frozen=True)
class MapFile:
    """One map on the store's grid: NIfTI, float32, in the method's own units and with its signs.

    ``study``: ``prior`` or ``current``, None where the method cannot tell them apart. ``lowest``, ``highest``: over the
    whole grid. ``shown_up_to``: the value at the top of the figure's colour scale, taken inside the brain; 0 for a map
    that is nowhere positive there. ``native``: the same map on the scanner's grids.
    """

    method: str
    study: str | None
    response: Response
    file: str
    lowest: float
    highest: float
    shown_up_to: float
    native: tuple[NativeFile, ...] = ()


@dataclass(frozen=True)
class ExplainedCase:
    """All that a report says of one example case; file names are relative to ``folder``.

    ``role``: why it is kept. ``explained``: the called class,
    then the true one where it differs. ``slice_index``: axial slice k of the figure.
    ``layers``: method → the sub-module it reads. ``cell_mm``: method → edges of that layer's cells along i, j, k in mm.
    ``sentences``: how the maps are to be read.
    ``key``: fingerprint of the fold, its weights, this call and the settings.
    """

    folder: Path
    role: Role
    patient: str
    prior: str
    current: str
    response: Response
    call: Response
    probabilities: dict[Response, float]
    seed: int
    fold: int
    network: str
    layers: dict[str, str]
    cell_mm: dict[str, tuple[float, ...]]
    shown_sequence: Sequence
    slice_index: int
    slice_because: str
    explained: tuple[Response, ...]
    maps: tuple[MapFile, ...]
    figure: str
    sentences: tuple[str, ...]
    fold_key: str
    key: str

    def map_file(self, method: str, study: str | None, response: Response) -> MapFile:
        """The map of this method, study (None: both together) and class.

        Raises:
            KeyError: there is none.
        """
        for entry in self.maps:
            if (entry.method, entry.study, entry.response) == (method, study, response):
                return entry
        raise KeyError((method, study, str(response)))


_RECORDS = TypeAdapter(ExplainedCase)


def write_record(explained: ExplainedCase) -> None:
    """Write case.json, the last file of a case: without it the case counts as not explained."""
    content = _RECORDS.dump_python(explained, mode="json", exclude={"folder"})
    runs.write_json(explained.folder / RECORD, content)


def read_record(folder: Path) -> ExplainedCase:
    """Read case.json.

    Raises:
        RunError: absent, damaged or of another version.
    """
    content = runs.read_json(folder / RECORD, COMMAND)
    try:
        return _RECORDS.validate_python({**content, "folder": folder})
    except (ValidationError, TypeError) as error:
        raise RunError(
            problem("a record of an explained case", "other content", str(folder / RECORD), f"run `{COMMAND}` again")
        ) from error


def write_chosen(run: Path, examples: list[str], absent: list[Response]) -> None:
    """Write which folders are this run's examples and which responses have none, before the first is begun."""
    runs.write_json(run / runs.EXPLANATIONS / CHOSEN, {"cases": examples, "classes_without_a_case": absent})


def read_explanations(run: Path) -> list[ExplainedCase]:
    """The example cases of a run, worst response first, best explained first within each.

    Raises:
        RunError: nothing was explained yet, an interrupted run left cases out, or a fold was trained again since.
    """
    chosen = runs.read_json(run / runs.EXPLANATIONS / CHOSEN, COMMAND)
    explained = [read_record(run / runs.EXPLANATIONS / str(name)) for name in chosen["cases"]]
    for entry in explained:
        fold = runs.read_json(fold_folder(run, entry.seed, entry.fold) / FOLD, "ranoscope crossval")
        if fold.get("key") != entry.fold_key:
            where = str(entry.folder / RECORD)
            raise RunError(problem("maps of today's network", "an earlier one's", where, f"run `{COMMAND}` again"))
    return explained


def classes_without_a_case(run: Path) -> list[Response]:
    """The responses that no case of the run has, so that none is explained.

    Raises:
        RunError: nothing was explained yet.
    """
    chosen = runs.read_json(run / runs.EXPLANATIONS / CHOSEN, COMMAND)
    return [Response(name) for name in chosen["classes_without_a_case"]]
