"""One example case on disk: maps as NIfTI on the store's grid, a figure, and a record."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ranoscope import runs
from ranoscope.cohort import layout
from ranoscope.cohort.archive import ImagingArchive
from ranoscope.cohort.folds import watermark
from ranoscope.config import (
    Arrangement,
    DenseNetSettings,
    MedNeXtSettings,
    MethodName,
    Recipe,
    ResNetSettings,
    StackSettings,
    Target,
    TimelineSettings,
)
from ranoscope.domain import Sequence
from ranoscope.explaining.cases import STUDIES
from ranoscope.explaining.cells import cell_steps, layer_cells
from ranoscope.explaining.figures import Scene, as_png, draw
from ranoscope.explaining.maps import Maps, keep, nifti, packed
from ranoscope.explaining.methods import METHODS, compute_maps
from ranoscope.explaining.native import native_grid
from ranoscope.explaining.opened import Images, OpenCase
from ranoscope.explaining.record import RECORD, ExplainedCase, NativeFile, Role, write_record
from ranoscope.explaining.slices import tumour_slice
from ranoscope.learning.facts import fact_names

_FIGURE, _NATIVE = "figure.png", "native"
_NO_IMAGES = "Maps on the scanner's grids were left out: its images are not where the cohort was made from."
CellEdges = dict[str, tuple[float, ...]]


def write_example(folder: Path, role: Role, case: OpenCase, key: str, archive: ImagingArchive | None) -> ExplainedCase:
    """Write one case, its record last; an old record goes first, so that it never stands beside new maps.

    Args:
        folder: made if need be.
        role: of the case among those of its class.
        case: the case with its network.
        key: fingerprint of all it is made from.
        archive: the scanner's images, for maps on their grids; None where they are no longer at hand.

    Raises:
        ImageError: the scanner's images or their transforms are damaged.
    """
    (folder / RECORD).unlink(missing_ok=True)
    called, recipe, images = case.called, case.trained.recipe, case.images
    maps = _compute(case)
    for entry, data in maps:
        runs.write_bytes(folder / entry.file, nifti(data, images.current.affine))
    native = _native_maps(folder, case, maps, archive)
    layers, cell_mm = _cells(case)
    shown, place = _shown_sequence(recipe, images), tumour_slice(images.tumours, images.either_brain)
    scene = Scene(
        called=called,
        sequence=shown,
        volumes=case.question.pair[:, recipe.sequences.index(shown)].cpu().numpy(),
        brains=images.brains,
        tumours=images.tumours,
        maps=maps,
        place=place,
        affine=images.current.affine,
        sentences=how_to_read(recipe, case.methods, cell_mm),
    )
    runs.write_bytes(folder / _FIGURE, as_png(draw(scene)))
    record = ExplainedCase(
        folder=folder,
        role=role,
        patient=called.case.patient,
        prior=str(called.case.prior),
        current=str(called.case.current),
        response=called.case.response,
        call=called.call,
        probabilities=called.probabilities,
        seed=called.seed,
        fold=called.fold,
        network=_network_name(recipe),
        layers=layers,
        cell_mm=cell_mm,
        shown_sequence=shown,
        slice_index=place.index,
        slice_because=place.because,
        explained=called.explained,
        maps=tuple(replace(entry, native=native.get(entry.file, ())) for entry, _ in maps),
        figure=_FIGURE,
        sentences=(*scene.sentences, *([] if archive or not case.settings.native else [_NO_IMAGES])),
        fold_key=case.trained.fold_key,
        key=key,
    )
    write_record(record)
    return record


def _compute(case: OpenCase) -> Maps:
    """Every map of the case, classes in the order explained."""
    computed = compute_maps(case.question, case.methods)
    return [
        entry
        for response in case.called.explained
        for method in case.methods
        for entry in keep(method, response, computed[method, response].numpy(), case.images.either_brain)
    ]


def _native_maps(
    folder: Path, case: OpenCase, maps: Maps, archive: ImagingArchive | None
) -> dict[str, tuple[NativeFile, ...]]:
    """Map file → the same map on the scanner's grids: of its study, of both studies for a map of both together."""
    if archive is None:
        return {}
    keys = dict(zip(STUDIES, (case.called.case.prior_study, case.called.case.current_study), strict=True))
    grids = {
        (study, sequence): native_grid(archive, key, sequence)
        for study, key in keys.items()
        for sequence in case.settings.native
        if layout.native_transform(sequence) in archive.names(key)
    }
    written: dict[str, tuple[NativeFile, ...]] = {}
    for entry, data in maps:
        mine = {place: grid for place, grid in grids.items() if entry.study in (None, place[0])}
        stem = entry.file.removesuffix(".nii.gz")
        for (study, sequence), grid in mine.items():
            name = f"{_NATIVE}/{stem}_on_{study}_{sequence}.nii.gz"
            runs.write_bytes(folder / name, packed(grid.bring(data, case.images.current.affine)))
            record = NativeFile(sequence, study, name, grid.dice, grid.direction)
            written[entry.file] = (*written.get(entry.file, ()), record)
    return written


def _cells(case: OpenCase) -> tuple[dict[str, str], CellEdges]:
    """Of the methods that read a layer: its name in the trained network, and the edges of its cells in mm."""
    layers: dict[str, str] = {}
    edges: CellEdges = {}
    for method in case.methods:
        kind = METHODS[method].layer
        if kind is not None:
            question = case.question
            steps = cell_steps(*layer_cells(question.network, question.network.saliency_layers[kind], question.pair))
            layers[method] = case.trained.network.saliency_layers[kind]
            edges[method] = tuple(step * question.voxel_mm for step in steps)
    return layers, edges


def _shown_sequence(recipe: Recipe, images: Images) -> Sequence:
    """CT1, else the recipe's last sequence: the first of these that both studies have."""
    wanted = (*(s for s in recipe.sequences if s is Sequence.CT1), *reversed(recipe.sequences))
    both = set(images.prior.sequences) & set(images.current.sequences)
    return next((s for s in wanted if s in both), wanted[0])


def how_to_read(recipe: Recipe, methods: tuple[MethodName, ...], cell_mm: CellEdges) -> tuple[str, ...]:
    """What the maps of this network can and cannot say, in plain sentences."""
    sentences = []
    for method in methods:
        cells = ""
        if method in cell_mm:
            cells = f", in cells of {' × '.join(f'{edge:.0f}' for edge in cell_mm[method])} mm"
        sentences.append(f"{METHODS[method].title}: {METHODS[method].reading}{cells}.")
    if cell_mm:
        sentences.append(f"Grad-CAM cannot say from which study evidence came, because the network {_mixed(recipe)}.")
    if any(METHODS[method].signed for method in methods):
        sentences.append("Of signed maps the figure shows what speaks for the class; the files keep both signs.")
    return (*sentences, "All show what the output depends on, not that it is right.", *_about_the_run(recipe))


def _mixed(recipe: Recipe) -> str:
    """How the network merges both studies."""
    if not isinstance(recipe.network, StackSettings):
        return "has merged both studies in the layer it is read from"
    if recipe.network.arrangement is Arrangement.DIFFERENCE:
        return "is shown the difference of both studies alone"
    return "stacks both studies in its first convolution"


def _about_the_run(recipe: Recipe) -> list[str]:
    """What else a reader of its maps must know of a run."""
    mark, facts = watermark(recipe.folds.protocol, recipe.labels), fact_names(recipe)
    sentences = [f"{mark[0].upper()}{mark[1:]}."] if mark else []
    if recipe.target is Target.PD_VERSUS_REST:
        sentences.append("The network tells PD from the rest alone; SD stands for the rest.")
    if isinstance(recipe.network, TimelineSettings):
        sentences.append("The network also saw the studies before the prior; the maps hold them fixed.")
    if facts:
        sentences.append(f"The network was also told {len(facts)} numbers besides the images; the maps leave them out.")
    return sentences


def _network_name(recipe: Recipe) -> str:
    network = recipe.network
    if isinstance(network, DenseNetSettings | ResNetSettings):
        return f"{network.name}{network.depth}"
    return f"{network.name}-{network.size}" if isinstance(network, MedNeXtSettings) else network.name
