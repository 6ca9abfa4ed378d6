"""Cases to tensors: the store's sources from the archive, the data set, and its loaders."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ranoscope.cohort import layout
from ranoscope.cohort.archive import ImagingArchive
from ranoscope.cohort.earlier import Earlier
from ranoscope.config import MissingSequences, Recipe, TimelineSettings
from ranoscope.domain import Case, Sequence, StudyKey
from ranoscope.imaging.store import SourceFile, StudySource, StudyStore
from ranoscope.learning.facts import BoolArray, FactScale, acquired, fact_rows, with_acquired
from ranoscope.learning.history import besides_prior, collate, draw_studies, make_history, read_history
from ranoscope.learning.measures import measure_change
from ranoscope.learning.networks import History
from ranoscope.learning.samplers import EpochSampler
from ranoscope.learning.targets import class_of
from ranoscope.learning.transforms import apply, apply_to_labels, decide

# A pair, its facts and its class and, where masks teach, what they say of it; last, of a timeline, its history.
Sample = tuple[Tensor, Tensor, int, *tuple[Tensor | History, ...]]
# The class of a sample that is there for the sake of equal shares alone, and is not to be judged.
PADDING = -1


def study_source(archive: ImagingArchive, key: StudyKey) -> StudySource:
    """The atlas-space files of one LUMIERE visit, for the store.

    Raises:
        ImageError: one of the files is not there.
    """
    present = archive.names(key)
    volumes = {
        sequence: _file(archive, key, layout.atlas_file(sequence))
        for sequence in Sequence
        if layout.atlas_file(sequence) in present
    }
    return StudySource(
        key=key,
        volumes=volumes,
        brain=_file(archive, key, layout.ATLAS_BRAIN_MASK),
        tumour=_file(archive, key, layout.ATLAS_MASK),
        measured_volumes=_file(archive, key, layout.VOLUMES_JSON),
    )


def _file(archive: ImagingArchive, key: StudyKey, name: str) -> SourceFile:
    return SourceFile(archive.where(key, name), archive.fingerprint(key, name), partial(archive.read, key, name))


def case_tensor(store: StudyStore, case: Case, recipe: Recipe) -> Tensor:
    """A pair as the networks take it: float32 (study, sequence, i, j, k), study 0 = prior, 1 = current.

    Raises:
        RunError: a study is not in the store.
        ImageError: a study lacks a sequence, and the recipe does not fill it with zeros.
    """
    studies = (store[case.prior_study], store[case.current_study])
    if recipe.missing_sequences is not MissingSequences.ZERO_FILL:
        return torch.from_numpy(np.stack([study.channels(recipe.sequences) for study in studies])).float()
    pair = torch.zeros(2, len(recipe.sequences), *studies[0].brain.shape)
    for which, channel in np.argwhere(acquired(case, store, recipe)):
        pair[which, channel] = torch.from_numpy(studies[which].volume(recipe.sequences[channel]).copy())
    return pair


@dataclass(frozen=True)
class Material:
    """What every fold learns from: aligned studies, and patients.csv as ``cohort.files.read_patients`` gives it.

    ``earlier``: the earlier studies of every case, of a recipe whose network sees the timeline.
    """

    store: StudyStore
    patients: pd.DataFrame
    earlier: Earlier = field(default_factory=dict)


class SampleDataset(Dataset[Sample]):
    """Samples with a class each, drawn anew every epoch when ``seed`` is given.

    What is random of a sample depends on seed, epoch and index alone, so that a resumed training sees what an
    uninterrupted one would have seen. The epoch lives in shared memory: loader processes follow it.
    """

    def __init__(self, classes: list[int], seed: int | None) -> None:
        self.classes = classes
        self.seed = seed
        self.epoch = torch.zeros(1, dtype=torch.int64).share_memory_()

    def __len__(self) -> int:
        return len(self.classes)


class CaseDataset(SampleDataset):
    """Pairs (``case_tensor``), facts (``fact_tensor``) and class indices; augmented when ``seed`` is given.

    Augmented ones also bring tumour labels, uint8 (study, i, j, k), and measures (``measure_change``), where the recipe
    has masks teach. Where its network sees the timeline, a ``History`` comes last: of augmented ones with the studies
    that are drawn for this epoch, else with all of them.
    """

    def __init__(
        self, material: Material, cases: list[Case], recipe: Recipe, scale: FactScale, seed: int | None = None
    ) -> None:
        super().__init__([class_of(case.response, recipe.target) for case in cases], seed)
        self.store = material.store
        self.cases = cases
        self.recipe = recipe
        self.facts = fact_rows(cases, material.patients, material.store, recipe, scale)
        network = recipe.network
        self.most = network.earlier if isinstance(network, TimelineSettings) else 0
        self.earlier = [material.earlier[case.current_study] for case in cases] if self.most else [()] * len(cases)
        self._measures: dict[int, Tensor] = {}

    def __getitem__(self, index: int) -> Sample:
        if self.seed is None:
            return self._whole(index)
        recipe, case = self.recipe, self.cases[index]
        generator = np.random.default_rng([self.seed, int(self.epoch), index])
        earlier = draw_studies(self.earlier[index], self.most, generator) if self.most else ()
        studies = (self.store[case.prior_study], self.store[case.current_study])
        others = tuple(self.store[one.key] for one in besides_prior(earlier))
        change = decide(recipe.augmentation, self._present(case, len(others)), recipe.grid.voxel_mm, generator)
        images = apply((*studies, *others), recipe.sequences, change)
        facts = with_acquired(self.facts[index], change.kept[:2], recipe)
        sample: Sample = (images[:2], facts, self.classes[index])
        if recipe.training.auxiliary.needs_masks:
            if index not in self._measures:
                self._measures[index] = torch.from_numpy(measure_change(*studies))
            sample = (*sample, apply_to_labels(studies, change), self._measures[index])
        return (*sample, make_history(earlier, images[2:])) if self.most else sample

    def _whole(self, index: int) -> Sample:
        """As it is called."""
        sample = (case_tensor(self.store, self.cases[index], self.recipe), self.facts[index], self.classes[index])
        if not self.most:
            return sample
        return (*sample, read_history(self.earlier[index], self.store, self.recipe))

    def _present(self, case: Case, others: int) -> BoolArray:
        """Which sequences each study has, bool (study, sequence): prior, current, and others, which have all."""
        present = np.ones((2 + others, len(self.recipe.sequences)), bool)
        if self.recipe.missing_sequences is MissingSequences.ZERO_FILL:
            present[:2] = acquired(case, self.store, self.recipe)
        return present


class EqualShares(Dataset[Sample]):
    """A data set that divides into equal shares: some of its samples again at its end, their class ``PADDING``.

    Processes that train together take equally many steps. Lightning repeats samples to that end, which would count
    twice in a score; here what is repeated can be told from the rest.
    """

    def __init__(self, dataset: SampleDataset, processes: int) -> None:
        self.dataset = dataset
        self.size = -(-len(dataset) // processes) * processes

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> Sample:
        whole = len(self.dataset)
        if index < whole:
            return self.dataset[index]
        pair, facts, _, *taught = self.dataset[index % whole]
        return pair, facts, PADDING, *taught


def loader(dataset: SampleDataset, recipe: Recipe, processes: int = 1) -> DataLoader[Sample]:
    """Batches in random order for a data set with a seed, in the data set's order otherwise.

    In training an incomplete last batch of one sample is dropped: batch norm cannot learn from it. Without a seed, and
    dealt to several processes, the data set is filled up as ``EqualShares`` says.

    Args:
        dataset: of training, inner or test samples.
        recipe: batch size, sampling and loader processes.
        processes: how many share the samples in a multi-GPU training.
    """
    training = recipe.training
    sampler, lonely = None, False
    if dataset.seed is not None:
        sampler = EpochSampler(dataset.classes, training.imbalance, dataset.seed, dataset.epoch)
        share = -(-len(dataset) // processes)
        lonely = share > training.batch_size and share % training.batch_size == 1
    return DataLoader(
        dataset if dataset.seed is not None else EqualShares(dataset, processes),
        batch_size=training.batch_size,
        sampler=sampler,
        drop_last=lonely,
        num_workers=training.workers,
        collate_fn=collate,
        persistent_workers=training.workers > 0,
        # Its own generator: drawing the workers' seed must not move the one that dropout draws from.
        generator=torch.Generator().manual_seed(0),
        pin_memory=uses_cuda(recipe),
    )


def uses_cuda(recipe: Recipe) -> bool:
    """Whether the recipe's networks run on a CUDA device here."""
    return recipe.training.accelerator != "cpu" and torch.cuda.is_available()
