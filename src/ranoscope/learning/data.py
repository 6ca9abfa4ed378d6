"""Cases to tensors: the store's sources from the archive, the data set, and its loaders."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ranoscope.cohort import layout
from ranoscope.cohort.archive import ImagingArchive
from ranoscope.config import Recipe
from ranoscope.domain import Case, Sequence, StudyKey
from ranoscope.imaging.store import SourceFile, StudySource, StudyStore
from ranoscope.learning.transforms import apply, decide


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


def case_tensor(store: StudyStore, case: Case, sequences: tuple[Sequence, ...]) -> Tensor:
    """A pair as the networks take it: float32 (study, sequence, i, j, k), study 0 = prior, 1 = current.

    Raises:
        RunError: a study is not in the store.
        ImageError: a study lacks a sequence.
    """
    pair = np.stack([store[key].channels(sequences) for key in (case.prior_study, case.current_study)])
    return torch.from_numpy(pair).float()


class CaseDataset(Dataset[tuple[Tensor, int]]):
    """Pairs and class indices; augmented when ``seed`` is given.

    A sample's augmentation depends on seed, epoch and index alone, so that a resumed training sees what an
    uninterrupted one would have seen. The epoch lives in shared memory: loader processes follow it.
    """

    def __init__(self, store: StudyStore, cases: list[Case], recipe: Recipe, seed: int | None = None) -> None:
        self.store = store
        self.cases = cases
        self.recipe = recipe
        self.seed = seed
        self.epoch = torch.zeros(1, dtype=torch.int64).share_memory_()

    def __len__(self) -> int:
        return len(self.cases)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        case = self.cases[index]
        sequences = self.recipe.sequences
        if self.seed is None:
            return case_tensor(self.store, case, sequences), case.response.class_index
        generator = np.random.default_rng([self.seed, int(self.epoch), index])
        change = decide(self.recipe.augmentation, len(sequences), self.recipe.grid.voxel_mm, generator)
        studies = (self.store[case.prior_study], self.store[case.current_study])
        return apply(studies, sequences, change), case.response.class_index


class EpochSampler(torch.utils.data.Sampler[int]):
    """A random order that depends on the data set's seed and epoch alone."""

    def __init__(self, dataset: CaseDataset) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __iter__(self) -> Iterator[int]:
        generator = np.random.default_rng([self.dataset.seed or 0, int(self.dataset.epoch)])
        return iter(generator.permutation(len(self.dataset)).tolist())


def loader(dataset: CaseDataset, recipe: Recipe) -> DataLoader[tuple[Tensor, int]]:
    """Batches in random order for an augmented data set, in the data set's order otherwise.

    In training an incomplete last batch of one sample is dropped: batch norm cannot learn from it.
    """
    training = recipe.training
    sampler = None if dataset.seed is None else EpochSampler(dataset)
    lonely = sampler is not None and len(dataset) > training.batch_size and len(dataset) % training.batch_size == 1
    return DataLoader(
        dataset,
        batch_size=training.batch_size,
        sampler=sampler,
        drop_last=lonely,
        num_workers=training.workers,
        # Its own generator: drawing the workers' seed must not move the one that dropout draws from.
        generator=torch.Generator().manual_seed(0),
        pin_memory=torch.cuda.is_available(),
    )
