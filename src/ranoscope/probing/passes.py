"""The forward passes: every held-out case of a fold under every probe, in batches, kept in a file per fold."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ranoscope import runs
from ranoscope.domain import Case
from ranoscope.explaining.trained import TrainedFold, trained_from
from ranoscope.imaging.store import StudyStore
from ranoscope.learning.memory import naming_memory
from ranoscope.probing.features import answers_and_features
from ranoscope.probing.probes import MARGIN_MM, Probe, Shown, show, told

_FORMAT = 1
Told = Callable[[int], None]


@dataclass(frozen=True)
class FoldAnswers:
    """``probabilities``: float64 (probe, case, class), rows summing to 1; ``features``: float32 (case, feature), of the
    first probe; ``lesions``: bool (case,), whether either study has any tumour.
    """

    probabilities: NDArray[np.float64]
    features: NDArray[np.float32]
    lesions: NDArray[np.bool_]


def ask_fold(
    trained: TrainedFold, store: StudyStore, cases: list[Case], probes: tuple[Probe, ...], step: Told
) -> FoldAnswers:
    """Ask a fold's network about its held-out cases under every probe, ``training.batch_size`` cases at a time.

    Args:
        trained: the fold's network.
        store: of the run.
        cases: n held-out cases.
        probes: p probes, the unchanged case first: its features are kept.
        step: told how many cases each batch had.
    """
    size = trained.recipe.training.batch_size
    probabilities, features, lesions = [], [], []
    for start in range(0, len(cases), size):
        shown = [show(trained, store, case) for case in cases[start : start + size]]
        asked = [_ask(trained, [probe.change(one) for one in shown]) for probe in probes]
        probabilities.append(np.stack([answers for answers, _ in asked]))
        features.append(asked[0][1])
        lesions += [bool(one.tumour.any()) for one in shown]
        step(len(shown))
    return FoldAnswers(np.concatenate(probabilities, axis=1), np.concatenate(features), np.array(lesions))


def _ask(trained: TrainedFold, shown: list[Shown]) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """Probabilities (case, class) and features (case, feature), at the precision the calls were made with."""
    recipe, device = trained.recipe, trained.device
    pairs = torch.stack([one.pair for one in shown])
    facts = torch.stack([told(one, recipe) for one in shown])
    with (
        naming_memory(recipe, "ranoscope audit-shortcuts"),
        torch.autocast(device.type, torch.bfloat16, enabled=recipe.training.precision == "bf16-mixed"),
    ):
        logits, features = answers_and_features(trained.network, pairs, facts)
    answers = logits.double().softmax(dim=1).cpu().numpy()
    return answers, features.float().cpu().numpy()


def fold_key(run: Path, place: tuple[int, int], cases: list[Case], probes: list[str]) -> str:
    """Fingerprint of what a fold's answers are made from: weights, training, cases, probes.

    Args:
        run: the run folder.
        place: seed and fold.
        cases: that are asked about.
        probes: their names.
    """
    content = [_FORMAT, MARGIN_MM, *trained_from(run, *place), probes, [str(case) for case in cases]]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]


def write_answers(path: Path, key: str, answers: FoldAnswers) -> None:
    """Write a fold's answers under their key, whole or not at all."""
    stream = io.BytesIO()
    np.savez_compressed(stream, key=np.array(key), **vars(answers))
    runs.write_bytes(path, stream.getvalue())


def read_answers(path: Path, key: str) -> FoldAnswers | None:
    """The answers in a file of this key; None where there is none, another's, or a damaged one."""
    try:
        # Numpy leaves a damaged file open that it opened itself.
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as content:
            if str(content["key"]) != key:
                return None
            return FoldAnswers(content["probabilities"], content["features"], content["lesions"])
    except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile):
        return None
