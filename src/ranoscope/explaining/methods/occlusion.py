"""What the output loses when a part of the images is covered: a cube of one study, a study, a sequence."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from ranoscope.domain import RESPONSES, Response
from ranoscope.explaining.methods.question import Question

Cube = tuple[slice, slice, slice]


def occlusion(question: Question) -> dict[Response, Tensor]:
    """Occlusion (Zeiler 2014) by cubes in rows, in one study at a time, all its sequences together.

    Covered voxels take the neutral fill. Cubes without any brain change nothing and are left out.

    Returns:
        Class → (study, 1, i, j, k), signed: what the logit loses, averaged over the cubes that cover a voxel; 0 where
        none does.
    """
    places = [(study, cube) for study in (0, 1) for cube in _cubes(question, study)]
    sums = {response: torch.zeros_like(question.pair[:, :1]) for response in question.classes}
    covers = torch.zeros_like(question.pair[:, :1])
    whole = logits_of(question, [question.pair])[0]
    found = [_covered_logits(question, study, [cube for of, cube in places if of == study]) for study in (0, 1)]
    for (study, cube), logits in zip(places, torch.cat(found), strict=True):
        covers[(study, 0, *cube)] += 1
        for response in question.classes:
            sums[response][(study, 0, *cube)] += (whole - logits)[response.class_index]
    return {response: total / covers.clamp_min(1) for response, total in sums.items()}


def volume_drops(question: Question) -> dict[Response, Tensor]:
    """What each class's logit loses when whole volumes take the neutral fill.

    Returns:
        Class → (study + 1, sequence + 1): prior, current, both; the sequences, then all of them.
    """
    studies, sequences = question.pair.shape[:2]
    fill, whole = question.fill, logits_of(question, [question.pair])[0]
    places = list(itertools.product(_each_and_all(studies), _each_and_all(sequences)))
    filled = (_with_volumes(question.pair, fill, study, sequence) for study, sequence in places)
    drops = whole - logits_of(question, filled)
    shape = (studies + 1, sequences + 1)
    return {response: drops[:, response.class_index].reshape(shape) for response in question.classes}


@torch.no_grad()
def logits_of(question: Question, pairs: Iterable[Tensor]) -> Tensor:
    """Logits (n, 4) on the CPU of pairs that are made when their batch is due, so that no more are held."""
    found = [torch.empty(0, len(RESPONSES))]
    with question.passes(gradients=False):
        for batch in _batches(pairs, question.batch):
            found.append(question.network(torch.stack(batch)).float().cpu())
    return torch.cat(found)


@torch.no_grad()
def _covered_logits(question: Question, study: int, cubes: list[Cube]) -> Tensor:
    """Logits (n, 4) on the CPU with each of the cubes covered in this study.

    A network that sees studies apart looks at the other one once.
    """
    network, covered = question.network, _covered(question, study, cubes)
    if not network.sees_apart:
        return logits_of(question, (_with_study(question.pair, study, volumes) for volumes in covered))
    found = [torch.empty(0, len(RESPONSES))]
    with question.passes(gradients=False):
        other = network.see(question.pair[1 - study][None])
        for batch in _batches(covered, question.batch):
            seen = network.see(torch.stack(batch))
            same = [part.expand_as(like) for part, like in zip(other, seen, strict=True)]
            found.append(network.judge(*((seen, same) if study == 0 else (same, seen))).float().cpu())
    return torch.cat(found)


def _batches(volumes: Iterable[Tensor], size: int) -> Iterator[list[Tensor]]:
    waiting = iter(volumes)
    while batch := list(itertools.islice(waiting, size)):
        yield batch


def _cubes(question: Question, study: int) -> list[Cube]:
    """The cubes that hold some of the study's brain."""
    edge = max(1, round(question.settings.window_mm / question.voxel_mm))
    step = max(1, round(question.settings.stride_mm / question.voxel_mm))
    axes = [_spans(size, edge, step) for size in question.pair.shape[2:]]
    cubes = ((i, j, k) for i in axes[0] for j in axes[1] for k in axes[2])
    return [cube for cube in cubes if bool(question.brains[(study, *cube)].any())]


def _spans(size: int, edge: int, step: int) -> list[slice]:
    """Spans of ``edge`` voxels every ``step`` voxels, the last flush with the end."""
    edge = min(edge, size)
    starts = [*range(0, size - edge, step), size - edge]
    return [slice(start, start + edge) for start in starts]


def _covered(question: Question, study: int, cubes: list[Cube]) -> Iterator[Tensor]:
    """The study's volumes (sequence, i, j, k) with one cube after the other covered."""
    volumes, fill = question.pair[study], question.fill[study]
    for cube in cubes:
        changed = volumes.clone()
        changed[(slice(None), *cube)] = fill[(slice(None), *cube)]
        yield changed


def _with_study(pair: Tensor, study: int, volumes: Tensor) -> Tensor:
    changed = pair.clone()
    changed[study] = volumes
    return changed


def _each_and_all(count: int) -> list[slice]:
    return [*(slice(place, place + 1) for place in range(count)), slice(None)]


def _with_volumes(pair: Tensor, fill: Tensor, study: slice, sequence: slice) -> Tensor:
    changed = pair.clone()
    changed[study, sequence] = fill[study, sequence]
    return changed
