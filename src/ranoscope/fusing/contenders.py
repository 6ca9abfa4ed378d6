"""The rows of the scoreboard that fusing adds: the stack of each level, the plain mean, the network, the rule."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ranoscope.config import Recipe
from ranoscope.domain import RESPONSES, InformationLevel
from ranoscope.evaluation.predictions import FloatArray, Predictions
from ranoscope.evaluation.scorecard import Contender
from ranoscope.fusing.nesting import Nest
from ranoscope.fusing.opinions import are_measured, at_equal_frequencies, gather_opinions, one_hot, rule_calls
from ranoscope.fusing.stacking import BLOCKS, fit_stack, plain_mean
from ranoscope.scoreboard.criteria import as_response
from ranoscope.scoreboard.disagreements import CHOSEN
from ranoscope.scoreboard.entrants import Entry
from ranoscope.scoreboard.examination import calls_file
from ranoscope.scoreboard.models import LEVELS, Model

NETWORK = "network"
PAIR_RULE = "rano_hgg_pair"


@dataclass(frozen=True)
class Ingredients:
    """What is fused: the run's ``recipe``, what is known of its cases, its ``network``'s calls of the outer folds, the
    ``nests``, and per nest the probabilities that inner networks give its training cases, (n, 4).
    """

    recipe: Recipe
    entry: Entry
    network: Predictions
    nests: list[Nest]
    inside: list[FloatArray]


@dataclass(frozen=True)
class Measured:
    """A level's measured-change model: its answers to the outer folds, and per nest to the training cases."""

    model: Model
    outside: Predictions
    inside: list[Predictions]


@dataclass(frozen=True)
class Fused:
    """A level's rows, and ``about``: how its opinions were weighed, fold by fold and on average."""

    stack: Contender
    mean: Contender
    about: dict[str, Any]


def fuse_level(ingredients: Ingredients, measured: Measured) -> Fused:
    """Fit a stack in every nest, call its test cases, and do the same by the plain mean."""
    network, level = ingredients.network, measured.model.level
    outside = at_equal_frequencies(measured.outside)
    rule = one_hot(rule_calls(ingredients.entry, level), len(network.cases))
    known, truth, names = are_measured(ingredients.entry), network.truth, np.array(network.patients)
    stacked = (np.zeros_like(network.probabilities), np.zeros_like(network.calls))
    averaged = (np.zeros_like(network.probabilities), np.zeros_like(network.calls))
    weighed = []
    for nest, images, volumes in zip(ingredients.nests, ingredients.inside, measured.inside, strict=True):
        seed = network.seeds.index(nest.seed)
        nested = gather_opinions(
            nest, (images, network.probabilities[seed]), (at_equal_frequencies(volumes)[0], outside[seed]), rule, known
        )
        learnt = truth[nest.training]
        stack = fit_stack(nested.training, learnt, tuple(names[nest.training]), nest.folds, LEVELS[level].discount)
        weighed.append({"seed": nest.seed, "fold": nest.fold, **stack.describe()})
        for (probabilities, calls), answer in (
            (stacked, stack.answer(nested.test)), (averaged, plain_mean(nested.test, learnt))
        ):  # fmt: skip
            probabilities[seed, nest.test], calls[seed, nest.test] = answer
    about = {"level": str(level), "model": measured.model.title, **_on_average(weighed), "folds": weighed}
    return Fused(*_rows(ingredients.recipe, measured.model, network, stacked, averaged), about)


def network_contender(recipe: Recipe, predictions: Predictions) -> Contender:
    """The network alone, as the run's own scorecard has it."""
    knew, title = f"Knew images: {recipe.description}.", f"Network: {recipe.name}"
    return Contender(NETWORK, title, "model", recipe.level, knew, predictions, calls_file(NETWORK), {})


def rule_contender(entry: Entry, predictions: Predictions) -> Contender | None:
    """The chosen criteria on two studies alone, as the stack of level ``pair`` is told them; None without volumes.

    Where they cannot say, the row calls PD, as the criteria's other rows do; the stack is told that they cannot.
    """
    calls = rule_calls(entry, InformationLevel.PAIR)
    if calls is None:
        return None
    answers = [as_response(call) for call in calls]
    rows = np.eye(len(RESPONSES))[[response.class_index for response, _ in answers]]
    shape = predictions.probabilities.shape
    hard = np.array(np.broadcast_to(rows, shape))
    fallbacks = [fallback for _, fallback in answers if fallback is not None]
    return Contender(
        PAIR_RULE,
        f"{CHOSEN.criteria.title}, by volume, two studies",
        "rival",
        InformationLevel.PAIR,
        "Knew the enhancing volume and the weeks of the two studies; without confirmation, as the ratings are.",
        replace(predictions, probabilities=hard, calls=hard.argmax(axis=2)),
        calls_file(PAIR_RULE),
        {name: fallbacks.count(name) for name in sorted(set(fallbacks))},
    )


def _rows(
    recipe: Recipe, model: Model, network: Predictions, stacked: tuple[Any, Any], averaged: tuple[Any, Any]
) -> tuple[Contender, Contender]:
    level, shown = model.level, LEVELS[model.level]
    volumes = shown.knew.removeprefix("Knew ")
    rule = PAIR_RULE if level is InformationLevel.PAIR else CHOSEN.name
    made = {
        "fused": ("Fused", stacked, "weighed with the response criteria inside each fold's training patients",
                  (f"mean_{level}", NETWORK, model.name, rule)),
        "mean": ("Plain mean", averaged, "the mean of both log-probabilities, without learning", (NETWORK, model.name)),
    }  # fmt: skip
    rows = []
    for kind, (title, (probabilities, calls), how, beside) in made.items():
        name = f"{kind}_{level}"
        knew = f"Knew images + measurements: what {recipe.name} saw, and {volumes}; {how}."
        answers = replace(network, probabilities=probabilities, calls=calls)
        rows.append(
            Contender(name, f"{title}, {shown.title}", "model", level, knew, answers, calls_file(name), {}, beside)
        )
    return rows[0], rows[1]


def _on_average(weighed: list[dict[str, Any]]) -> dict[str, Any]:
    """Means over the folds; of penalty and temperature, which are ratios, the median."""
    return {
        "shares": {name: float(np.mean([one["shares"][name] for one in weighed])) for name in BLOCKS},
        **{name: float(np.median([one[name] for one in weighed])) for name in ("penalty_c", "temperature")},
        **{name: float(np.mean([one[name] for one in weighed])) for name in ("ece_before", "ece_after")},
    }
