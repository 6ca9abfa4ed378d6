"""Training steps per second at 3 mm on the same synthetic cohort: ours beside the paper's best network.

A sample-step is one case's share of a training step: making the augmented sample, forward, backward and the step of the
optimiser, by the very data set and module that ``crossval`` trains with, on two cores. Batches of four, in turns; the
least of the rounds counts. Ours: change-aware taught the responses alone, and with all parts; the paper's: DenseNet264,
T1+T2+FLAIR, stacked.

Run: ``python benchmarks/training.py [--rounds N] [--threads N]``; about two minutes.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from ranoscope.cohort.files import read_cases, read_patients, write_cohort
from ranoscope.cohort.pairing import build_cohort
from ranoscope.config import CohortSettings, PhantomSettings, load_recipe
from ranoscope.learning.data import CaseDataset, Material, loader
from ranoscope.learning.facts import FactScale
from ranoscope.learning.losses import class_weights
from ranoscope.learning.module import ResponseModule
from ranoscope.learning.networks import build_network
from ranoscope.learning.studies import prepare_store
from ranoscope.learning.targets import class_count
from ranoscope.phantom.cohort import make_phantom

PATIENTS, BATCH = 4, 4
ENTRANTS = {
    "ours, responses alone": "comparison/2-ours/responses-alone",
    "ours, all parts": "comparison/2-ours/all-parts",
    "the paper's": "comparison/1-paper/by-patient",
}
CHANGES = ("grid.voxel_mm=3", f"training.batch_size={BATCH}", "training.accelerator=cpu")


def make_step(recipe_name: str, run: Path) -> Callable[[], None]:
    """One training step on the cohort, whatever makes its batch included."""
    recipe = load_recipe(recipe_name, CHANGES)
    cases = read_cases(run)[: 2 * BATCH]
    material = Material(prepare_store(recipe, run, cases, lambda *_: None), read_patients(run))
    dataset = CaseDataset(material, cases, recipe, FactScale.fit(cases, material.patients, recipe), seed=0)
    network = build_network(recipe)
    module = ResponseModule(network, recipe.training, class_weights(dataset.classes, class_count(recipe))).train()
    module.log = lambda *_, **__: None  # type: ignore[method-assign]
    optimiser = torch.optim.AdamW(network.parameters(), lr=recipe.training.learning_rate)
    batches = loader(dataset, recipe)

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=recipe.training.precision == "bf16-mixed"):
            loss = module.training_step(next(iter(batches)), 0)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        module.on_train_batch_end(None, None, 0)

    return step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, help="steps per network")
    parser.add_argument("--threads", type=int, default=2, help="of PyTorch; 1 on a busy machine, where two wait")
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    with tempfile.TemporaryDirectory() as name:
        lumiere, run = Path(name) / "LUMIERE", Path(name) / "run"
        make_phantom(lumiere, PhantomSettings(patients=PATIENTS, voxel_mm=3.0), 2, lambda *_: None)
        write_cohort(run, build_cohort(lumiere, CohortSettings()), CohortSettings())
        steps = {entrant: make_step(recipe, run) for entrant, recipe in ENTRANTS.items()}
        print(f"Training at 3 mm, {chosen.threads} threads; load {os.getloadavg()[0]:.1f} before the start")
        clocks = {"by the clock": time.perf_counter, "of the processor": time.process_time}
        seconds = {name: dict.fromkeys(steps, float("inf")) for name in clocks}
        for _ in range(chosen.rounds + 1):
            for entrant, step in steps.items():
                began = {name: clock() for name, clock in clocks.items()}
                step()
                for name, clock in clocks.items():
                    seconds[name][entrant] = min(seconds[name][entrant], clock() - began[name])
    for name, least in seconds.items():
        print(f"Seconds {name}:")
        theirs = least["the paper's"]
        for entrant, taken in least.items():
            rate = f"{BATCH / taken:7.2f} sample-steps/s  {taken:6.2f} s a step"
            print(f"  {entrant:22s} {rate}  {theirs / taken:5.1f} x the paper's")


if __name__ == "__main__":
    main()
