"""A called case opened for explanation: its images, its fold's network, and what that is asked."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from ranoscope.config import ExplanationSettings, MethodName
from ranoscope.domain import Tissue
from ranoscope.explaining.cases import STUDIES, CalledCase
from ranoscope.explaining.methods import Question, methods_for
from ranoscope.explaining.trained import TrainedFold
from ranoscope.imaging.store import AlignedStudy, StudyStore

BOTH = "both"
MASKS = {"enhancing": (Tissue.ENHANCING,), "whole tumour": tuple(t for t in Tissue if t is not Tissue.BACKGROUND)}


@dataclass(frozen=True)
class Images:
    """A case's images and masks: prior and current study, on one grid."""

    prior: AlignedStudy
    current: AlignedStudy

    @cached_property
    def brains(self) -> NDArray[np.bool_]:
        """(study, i, j, k)."""
        return np.stack([self.prior.brain, self.current.brain])

    @cached_property
    def tumours(self) -> NDArray[np.uint8]:
        """``Tissue`` labels (study, i, j, k)."""
        return np.stack([self.prior.tumour, self.current.tumour])

    @property
    def either_brain(self) -> NDArray[np.bool_]:
        """The voxels that are brain in one of the studies, (i, j, k)."""
        return self.prior.brain | self.current.brain

    def view(self, name: str, mask: str) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """A mask and the brain it is judged in, (i, j, k): of one study, or of both together."""
        chosen = slice(None) if name == BOTH else slice(STUDIES.index(name), STUDIES.index(name) + 1)
        tissue: NDArray[np.bool_] = np.isin(self.tumours[chosen], MASKS[mask])
        return np.any(tissue, axis=0, keepdims=True)[0], np.any(self.brains[chosen], axis=0, keepdims=True)[0]


@dataclass(frozen=True)
class OpenCase:
    """What every step of an explanation works on.

    ``question``: asks for the called class, and for the true one where it differs. ``methods``: those wanted that the
    network has a layer for.
    """

    called: CalledCase
    trained: TrainedFold
    images: Images
    question: Question
    methods: tuple[MethodName, ...]
    settings: ExplanationSettings


def open_case(called: CalledCase, trained: TrainedFold, store: StudyStore, settings: ExplanationSettings) -> OpenCase:
    """Read a case's studies and put its question.

    Raises:
        RunError: a study is not in the store.
        ImageError: a study lacks a sequence that the recipe does not fill.
    """
    case = called.case
    images = Images(store[case.prior_study], store[case.current_study])
    network = trained.subject(store, case)
    name = f"{settings.seed} {called.folder_name}"
    question = Question(
        network=network,
        pair=trained.pair(store, case),
        brains=torch.from_numpy(images.brains).to(trained.device),
        voxel_mm=trained.recipe.grid.voxel_mm,
        classes=called.explained,
        settings=settings.method,
        seed=int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big"),
    )
    return OpenCase(called, trained, images, question, methods_for(network, settings.methods), settings)
