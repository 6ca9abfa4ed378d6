"""Seconds from the files of one full-size pair to its call, on two cores: ours beside the paper's best network.

The pair: two visits of LUMIERE's shape, 182 x 218 x 182 voxels of 1 mm, gzipped NIfTI, four sequences (three for the
paper's recipe), brain and tumour mask. Both go through the store's preparation (decode, z-score inside the brain, bring
to the recipe's grid) and are called as ``crossval`` calls them, untrained networks, bf16 as in the recipes:

* change-aware on its recipe's grid (2 mm), and on 1 mm;
* DenseNet264, T1+T2+FLAIR, on the paper's grid of 240 x 240 x 155 voxels of 1 mm.

Networks take turns, the least of the rounds counts, as other programs only ever add; the studies are prepared one after
the other. Goal: a pair in under 10 s with ours.

Run: ``python benchmarks/inference.py [--rounds N] [--threads N]``; about two minutes.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from ranoscope.benchmarking.rehearsal import make_source
from ranoscope.config import Recipe, load_recipe
from ranoscope.domain import Case, Response, Visit
from ranoscope.imaging.store import StudyStore, build_store
from ranoscope.learning.data import case_tensor
from ranoscope.learning.module import answer
from ranoscope.learning.networks import PairNetwork, build_network

GOAL_S = 10.0
CASE = Case("Patient-000", Visit(0), Visit(10), Response.SD, 10, Response.SD, False)
ENTRANTS = {
    "ours, 2 mm": ("change-aware", ()),
    "ours, 1 mm": ("change-aware", ("grid.voxel_mm=1",)),
    "the paper's, 1 mm": ("comparison/1-paper/by-patient", ()),
}
STAGES = ("files to store", "store to tensor", "call")


@dataclass
class Entrant:
    """A recipe, its network, and the least seconds of each stage so far, by the clock and of the processor."""

    recipe: Recipe
    network: PairNetwork
    clock: dict[str, float]
    processor: dict[str, float]

    def least(self, stage: str, work: Callable[[], object]) -> object:
        """What the work gives, its time noted."""
        began = time.perf_counter(), time.process_time()
        result = work()
        taken = time.perf_counter() - began[0], time.process_time() - began[1]
        for least, seconds in zip((self.clock, self.processor), taken, strict=True):
            least[stage] = min(least.get(stage, float("inf")), seconds)
        return result


def run_round(entrant: Entrant) -> None:
    """A pair from its files to its call."""
    recipe = entrant.recipe
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)

        sources = [make_source(key, recipe.sequences) for key in (CASE.prior_study, CASE.current_study)]

        def prepare() -> None:
            failures = build_store(folder, sources, recipe.grid, lambda *_: None)
            assert not failures, failures

        entrant.least(STAGES[0], prepare)
        pair = entrant.least(STAGES[1], lambda: case_tensor(StudyStore(folder, recipe.grid), CASE, recipe)[None])
        entrant.least(STAGES[2], lambda: call(entrant, pair))


@torch.inference_mode()
def call(entrant: Entrant, pair: torch.Tensor) -> torch.Tensor:
    with torch.autocast("cpu", torch.bfloat16, enabled=entrant.recipe.training.precision == "bf16-mixed"):
        return answer(entrant.network, pair, torch.zeros(1, 0)).float().softmax(dim=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3, help="pairs per network")
    parser.add_argument("--threads", type=int, default=2, help="of PyTorch; 1 on a busy machine, where two wait")
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    entrants = {}
    for name, (recipe_name, changes) in ENTRANTS.items():
        recipe = load_recipe(recipe_name, changes)
        entrants[name] = Entrant(recipe, build_network(recipe).eval(), {}, {})
    print(f"One pair of 182x218x182 voxels, {chosen.threads} threads; load {os.getloadavg()[0]:.1f} before the start")
    for _ in range(chosen.rounds):
        for entrant in entrants.values():
            run_round(entrant)
    for title, which in (("by the clock", "clock"), ("of the processor, whatever else runs", "processor")):
        print(f"Seconds {title}:")
        seconds = {name: getattr(entrant, which) for name, entrant in entrants.items()}
        theirs = sum(seconds["the paper's, 1 mm"].values())
        print(f"  {'':20s}" + "".join(f"{stage:>18s}" for stage in STAGES) + f"{'together':>12s}{'paper / ours':>14s}")
        for name, stages in seconds.items():
            total = sum(stages.values())
            print(f"  {name:20s}" + "".join(f"{stages[stage]:18.2f}" for stage in STAGES), end="")
            print(f"{total:12.2f}{theirs / total:14.1f}")
    ours = sum(entrants["ours, 2 mm"].clock.values())
    verdict = "within" if ours < GOAL_S else "NOT within"
    print(f"{verdict} {GOAL_S:g} s for a pair: ours on its recipe's grid, {ours:.1f} s by the clock")


if __name__ == "__main__":
    main()
