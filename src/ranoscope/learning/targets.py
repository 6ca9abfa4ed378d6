"""What is learnt: the four responses, or PD against the rest; how two probabilities become a row of calls.csv."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from ranoscope.config import Labels, Recipe, Target
from ranoscope.domain import RESPONSES, Case, Response

_PERMUTATION = 1
_REST = tuple(response for response in RESPONSES if response is not Response.PD)


def class_names(target: Target) -> tuple[str, ...]:
    """The network's classes in the order of its logits, PD first."""
    return tuple(RESPONSES) if target is Target.FOUR_CLASSES else (str(Response.PD), "rest")


def class_count(recipe: Recipe) -> int:
    """Number of logits of the recipe's network: 4, or 2 for PD against the rest."""
    return len(class_names(recipe.target))


def class_of(response: Response, target: Target) -> int:
    """Index of the logit that stands for a response."""
    return response.class_index if target is Target.FOUR_CLASSES else int(response is not Response.PD)


def as_called(response: Response, target: Target) -> Response:
    """The response as a model of this target can call it: SD stands for the rest."""
    return response if target is Target.FOUR_CLASSES or response is Response.PD else Response.SD


def as_taught(cases: list[Case], labels: Labels, seed: int) -> list[Case]:
    """The training cases of a fold, in their order, with the responses that are learnt.

    Permuted, all responses stay, dealt to cases at random: counts of classes are kept, those of patients are not.

    Args:
        cases: the training cases, those that choose the epoch among them; never test cases.
        labels: whose responses.
        seed: of the fold's training; same seed, same permutation.
    """
    if labels is Labels.EXPERT:
        return cases
    # A stream of its own: the seed alone also deals the inner set.
    order = np.random.default_rng([seed, _PERMUTATION]).permutation(len(cases))
    return [replace(case, response=cases[place].response) for case, place in zip(cases, order, strict=True)]


def rest_shares(cases: list[Case]) -> dict[Response, float]:
    """Shares of SD, PR and CR among the training cases that are not PD; a third each where there is none."""
    counts = {response: sum(case.response is response for case in cases) for response in _REST}
    total = sum(counts.values())
    return {response: count / total if total else 1 / len(_REST) for response, count in counts.items()}


def four_probabilities(answers: Tensor, shares: dict[Response, float]) -> Tensor:
    """PD and rest as the four columns of calls.csv: PD as predicted, the rest dealt out by ``shares``.

    Args:
        answers: probabilities (case, 2).
        shares: of SD, PR and CR, summing to 1.

    Returns:
        (case, 4) in the order PD, SD, PR, CR. Only what it says of PD is learnt.
    """
    portions = torch.tensor([shares[response] for response in _REST], dtype=answers.dtype)
    return torch.cat([answers[:, :1], answers[:, 1:] * portions], dim=1)
