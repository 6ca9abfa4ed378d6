"""Explain the example cases of a trained run: maps as NIfTI, a figure and a record per case."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from ranoscope import provenance, runs
from ranoscope.cohort.files import read_patients
from ranoscope.cohort.folds import watermark
from ranoscope.config import (
    Arrangement,
    DenseNetSettings,
    ExplanationSettings,
    MedNeXtSettings,
    Recipe,
    ResNetSettings,
    StackSettings,
    Target,
)
from ranoscope.domain import Case, Sequence
from ranoscope.errors import RanoscopeError
from ranoscope.explaining.cases import (
    RECORD,
    CalledCase,
    ExplainedCase,
    choose_cases,
    classes_without_a_case,
    read_called,
    read_explanations,
    read_record,
    write_chosen,
    write_record,
)  # fmt: skip
from ranoscope.explaining.cells import cell_steps
from ranoscope.explaining.figures import Scene, as_png, draw
from ranoscope.explaining.maps import make_maps, nifti
from ranoscope.explaining.methods import METHODS
from ranoscope.explaining.slices import tumour_slice
from ranoscope.explaining.subject import CaseNetwork
from ranoscope.imaging.store import AlignedStudy, StudyStore
from ranoscope.learning.checkpoints import FOLD, WEIGHTS, fold_folder, load_fact_scale, load_fold, load_run_recipe
from ranoscope.learning.data import case_tensor
from ranoscope.learning.facts import FactScale, fact_names, fact_tensor
from ranoscope.learning.networks import PairNetwork
from ranoscope.learning.studies import open_run_store

__all__ = ["ExplainedCase", "classes_without_a_case", "explain_run", "read_explanations"]

_FORMAT = 1
_FIGURE = "figure.png"
Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class _Trained:
    """One fold's network on its device, the fold's key and scale of facts, and patients.csv."""

    recipe: Recipe
    network: PairNetwork
    device: torch.device
    fold_key: str
    scale: FactScale
    patients: pd.DataFrame

    def subject(self, store: StudyStore, case: Case) -> CaseNetwork:
        """The network bound to the case's facts."""
        facts = fact_tensor(case, self.patients, store, self.recipe, self.scale)
        return CaseNetwork(self.network, facts.to(self.device), self.recipe.target).eval()


def explain_run(run: Path, settings: ExplanationSettings, progress: Progress) -> list[ExplainedCase]:
    """Explain cases of every class with the network that never saw the patient; finished ones are kept.

    Writes ``explanations/<patient>_<current>/`` per case: maps on the store's grid (``MapFile``), ``figure.png``,
    and last ``case.json``. Which cases: ``cases.choose_cases`` on the first seed's calls.

    Args:
        run: a folder that ``ranoscope crossval`` finished.
        settings: how many cases per class.
        progress: told (done, total, what) at the start and after every case; a class without any case is told too.

    Returns:
        The explained cases, classes in the order PD, SD, PR, CR.

    Raises:
        RunError: no calls, no checkpoints or no store, or they are not of one training.
        StorageError: the disk is full or not writable; finished cases are kept.
    """
    recipe = load_run_recipe(run)
    chosen, absent = choose_cases(read_called(run), settings.cases_per_class or 1)
    store = open_run_store(run, recipe)
    keys = {entry.folder_name: _key(run, entry) for entry in chosen}
    write_chosen(run, chosen, absent)
    done, total = 0, len(chosen)
    progress(done, total, f"no case of {', '.join(absent)} in the calls" if absent else "cases to explain")
    for fold, entries in groupby(sorted(chosen, key=lambda entry: entry.fold), key=lambda entry: entry.fold):
        trained: _Trained | None = None
        for entry in entries:
            folder = run / runs.EXPLANATIONS / entry.folder_name
            if not _is_finished(folder, keys[entry.folder_name]):
                trained = trained or _load(run, recipe, entry.seed, fold)
                _explain(trained, store, entry, folder, keys[entry.folder_name])
            done += 1
            progress(done, total, str(entry.case))
    inputs = {name: provenance.file_hash(run / name) for name in (runs.CALLS, runs.FOLDS)}
    provenance.record(run, "explain", settings.model_dump(mode="json"), inputs, recipe.folds.seeds[0])
    return read_explanations(run)


def _key(run: Path, entry: CalledCase) -> str:
    """Fingerprint of what a case's files are made from: fold, weights, call, and this version of the format."""
    folder = fold_folder(run, entry.seed, entry.fold)
    about = runs.read_json(folder / FOLD, "ranoscope crossval")
    weights = provenance.file_hash(folder / WEIGHTS) if (folder / WEIGHTS).is_file() else None
    content = [_FORMAT, sorted(METHODS), about["key"], weights, str(entry.case), entry.call, entry.probabilities]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]


def _is_finished(folder: Path, key: str) -> bool:
    """Whether the folder's record is of this key; a damaged record is not."""
    if not (folder / RECORD).is_file():
        return False
    try:
        return read_record(folder).key == key
    except RanoscopeError:
        return False


def _load(run: Path, recipe: Recipe, seed: int, fold: int) -> _Trained:
    accelerated = torch.cuda.is_available() and recipe.training.accelerator != "cpu"
    about = runs.read_json(fold_folder(run, seed, fold) / FOLD, "ranoscope crossval")
    device = torch.device("cuda" if accelerated else "cpu")
    network, scale = load_fold(run, seed, fold).to(device), load_fact_scale(run, seed, fold)
    return _Trained(recipe, network, device, str(about["key"]), scale, read_patients(run))


def _explain(trained: _Trained, store: StudyStore, called: CalledCase, folder: Path, key: str) -> None:
    """Write one case, its record last; an old record goes first, so that it never stands beside new maps."""
    (folder / RECORD).unlink(missing_ok=True)
    case, recipe = called.case, trained.recipe
    network = trained.subject(store, case)
    prior, current = store[case.prior_study], store[case.current_study]
    brain, tumours = prior.brain | current.brain, np.stack([prior.tumour, current.tumour])
    pair = case_tensor(store, case, recipe).to(trained.device)
    maps, shares = make_maps(network, pair, called.explained, brain, recipe.sequences)
    for entry, data in maps:
        runs.write_bytes(folder / entry.file, nifti(data, current.affine))
    layer = network.gradcam_layer
    cell_mm = tuple(step * recipe.grid.voxel_mm for step in cell_steps(network, layer, pair))
    shown = _shown_sequence(recipe, prior, current)
    place = tumour_slice(tumours, brain)
    scene = Scene(
        called=called,
        sequence=shown,
        volumes=pair[:, recipe.sequences.index(shown)].cpu().numpy(),
        brains=np.stack([prior.brain, current.brain]),
        tumours=tumours,
        maps=maps,
        place=place,
        affine=current.affine,
        sentences=how_to_read(recipe, cell_mm),
    )
    runs.write_bytes(folder / _FIGURE, as_png(draw(scene)))
    record = ExplainedCase(
        folder=folder,
        patient=case.patient,
        prior=str(case.prior),
        current=str(case.current),
        response=case.response,
        call=called.call,
        probabilities=called.probabilities,
        seed=called.seed,
        fold=called.fold,
        network=_network_name(recipe),
        layers={"gradcam": trained.network.gradcam_layer},
        cell_mm={"gradcam": cell_mm},
        shown_sequence=shown,
        slice_index=place.index,
        slice_because=place.because,
        explained=called.explained,
        maps=tuple(entry for entry, _ in maps),
        shares=shares,
        figure=_FIGURE,
        sentences=scene.sentences,
        fold_key=trained.fold_key,
        key=key,
    )
    write_record(record)


def _shown_sequence(recipe: Recipe, prior: AlignedStudy, current: AlignedStudy) -> Sequence:
    """CT1, else the recipe's last sequence: the first of these that both studies have."""
    wanted = (*(s for s in recipe.sequences if s is Sequence.CT1), *reversed(recipe.sequences))
    return next((s for s in wanted if s in prior.sequences and s in current.sequences), wanted[0])


def how_to_read(recipe: Recipe, cell_mm: tuple[float, ...]) -> tuple[str, ...]:
    """What the maps of this network can and cannot say, in plain sentences."""
    mixed = "has merged both studies in the layer it is read from"
    if isinstance(recipe.network, StackSettings):
        mixed = "stacks both studies in its first convolution"
        if recipe.network.arrangement is Arrangement.DIFFERENCE:
            mixed = "is shown the difference of both studies alone"
    edge = " × ".join(f"{step:.0f}" for step in cell_mm)
    return (
        "Saliency: how strongly the class's output reacts to each voxel, whichever way; of the sequences the largest "
        "value, per study.",
        f"Grad-CAM: where the network's feature maps speak for the class, in cells of {edge} mm. It cannot say "
        f"from which study evidence came, because the network {mixed}.",
        "Both show what the output depends on, not that it is right.",
        *_about_the_run(recipe),
    )


def _about_the_run(recipe: Recipe) -> list[str]:
    """What else a reader of its maps must know of a run."""
    mark, facts = watermark(recipe.folds.protocol), fact_names(recipe)
    sentences = [f"{mark[0].upper()}{mark[1:]}."] if mark else []
    if recipe.target is Target.PD_VERSUS_REST:
        sentences.append("The network tells PD from the rest alone; SD stands for the rest.")
    if facts:
        sentences.append(f"The network was also told {len(facts)} numbers besides the images; the maps leave them out.")
    return sentences


def _network_name(recipe: Recipe) -> str:
    network = recipe.network
    if isinstance(network, DenseNetSettings | ResNetSettings):
        return f"{network.name}{network.depth}"
    return f"{network.name}-{network.size}" if isinstance(network, MedNeXtSettings) else network.name
