"""Can the scores tell a network that uses the tumour from one that cannot? Three networks whose truth is known.

Run alone: ``python benchmarks/shortcuts.py [--patients N] [--epochs N] [--voxel-mm V] [--cases N] [--out FOLDER]``. All
three are trained by the demo's recipe, PD against the rest, on synthetic cohorts that differ in one thing:

- ``expert``: the expert's labels, tumours, nothing else to go by;
- ``permuted``: the same images, the training cases' labels dealt at random;
- ``mark``: the expert's labels, and a bright mark in the cerebellum of every visit rated PD.

Each is audited, and maps of a drawn subset of its cases are scored against the tumour and against the mark's place.
What they say of a network is decided by intervals over patients alone (``reading``). Prints a table; ``--out`` keeps
the runs, ``shortcuts.json`` and the figure ``shortcuts.svg``; what is finished there is not made again.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import PercentFormatter

from ranoscope import runs
from ranoscope.cohort.files import write_cohort
from ranoscope.cohort.pairing import build_cohort
from ranoscope.config import CohortSettings, MethodName, PhantomSettings, Recipe, load_recipe
from ranoscope.drawing import STYLE, svg_bytes
from ranoscope.explaining.methods import METHODS
from ranoscope.explaining.opened import BOTH
from ranoscope.explaining.scores.pooling import ALL
from ranoscope.explaining.tables import WHOLE
from ranoscope.learning.crossval import cross_validate
from ranoscope.phantom.cohort import make_phantom
from ranoscope.phantom.mark import in_mark
from ranoscope.probing.audit import audit_shortcuts
from ranoscope.probing.regions import score_regions
from ranoscope.probing.verdicts import Verdict

METHOD_NAMES = (MethodName.SALIENCY, MethodName.INTEGRATED_GRADIENTS, MethodName.GRADCAM_FINER)
AS_IT_IS, NO_TUMOUR, ONLY_TUMOUR = "as-it-is", "no-tumour", "only-tumour"
SHOWN = {AS_IT_IS: "as it is", NO_TUMOUR: "tumour covered", ONLY_TUMOUR: "all but the tumour covered"}
USES, SHORTCUT, NOTHING, UNCLEAR = "uses the tumour", "takes a shortcut", "has learnt nothing", "cannot be told"
_TUMOUR, _MARK = "tumour", "mark"
_REGIONS = {
    _TUMOUR: lambda images: images.view(BOTH, WHOLE)[0],
    _MARK: lambda images: in_mark(images.current.brain.shape, images.current.affine),
}
_COHORTS = {"plain": 0.0, "marked": 1.0}
_LOOKS = (("#1b4f8f", "o"), ("#e69f00", "s"), ("#009e73", "D"))
_CHANCE = "#b3261e"
# The share at the right edge of the last panel, of the highest interval's end.
_REACH = 1.1


@dataclass(frozen=True)
class Network:
    """``cohort``: of ``_COHORTS``; ``changes``: of the recipe."""

    title: str
    cohort: str
    changes: tuple[str, ...] = ()


NETWORKS = {
    "expert": Network("Expert's labels", "plain"),
    "permuted": Network("Permuted labels", "plain", ("labels=permuted",)),
    "mark": Network("Expert's labels\nand a planted mark", "marked"),
}


@dataclass(frozen=True)
class Size:
    """``voxel_mm``: of the phantom; ``cases``: explained of each of the four responses; ``changes``: of the recipe."""

    patients: int = 72
    voxel_mm: float = 3.0
    cases: int = 10
    seed: int = 0
    changes: tuple[str, ...] = ()


def experiment(out: Path, size: Size, told: Callable[[str], None]) -> dict[str, Any]:
    """Make both cohorts, train, audit and explain the three networks: network → what ``examine`` says of it."""
    for cohort, mark in _COHORTS.items():
        told(f"cohort {cohort}")
        settings = PhantomSettings(patients=size.patients, voxel_mm=size.voxel_mm, seed=size.seed, planted_mark=mark)
        make_phantom(out / cohort / "LUMIERE", settings, 1, _silent)
        write_cohort(out / cohort, build_cohort(out / cohort / "LUMIERE", CohortSettings()), CohortSettings())
    found = {}
    for name, network in NETWORKS.items():
        told(f"training {name}")
        recipe = load_recipe("demo", ["target=pd-versus-rest", *size.changes, *network.changes])
        cross_validate(recipe, out / network.cohort, out / name, _silent)
        told(f"audit and maps of {name}")
        found[name] = examine(out / name, recipe, size.cases)
    return found


def examine(run: Path, recipe: Recipe, cases: int) -> dict[str, Any]:
    """What audit and maps say of a trained run: scores with intervals over patients, verdicts, and what they amount to.

    Args:
        run: a folder that ``ranoscope crossval`` finished.
        recipe: it was trained by.
        cases: to explain, of each of the expert's four responses.
    """
    settings = recipe.explanation.model_copy(update={"methods": METHOD_NAMES, "cases_per_class": cases})
    audited = audit_shortcuts(run, recipe.evaluation, _silent)
    probes = {entry["name"]: entry for entry in audited["probes"]}
    places = {(of.mask, of.score, of.method): of for of in score_regions(run, settings, _REGIONS) if of.expert == ALL}
    content = {
        "cases": audited["cases"],
        "patients": audited["patients"],
        "explained": places[_TUMOUR, "auc", METHOD_NAMES[0]].cases,
        "chance": audited["chance"],
        "score": {
            AS_IT_IS: audited["balanced_accuracy"],
            **{name: probes[name]["balanced_accuracy"] for name in (NO_TUMOUR, ONLY_TUMOUR)},
        },
        "above_chance": probes[NO_TUMOUR]["above_chance_before"],
        "change": {name: probes[name]["difference"] for name in (NO_TUMOUR, ONLY_TUMOUR)},
        "verdict": {name: probes[name]["verdict"] for name in (NO_TUMOUR, ONLY_TUMOUR)},
        "auc": {name: places[_TUMOUR, "auc", name].as_dict() for name in METHOD_NAMES},
        "mark": {name: places[_MARK, "mass", name].as_dict() for name in METHOD_NAMES},
    }
    return {**content, "reading": reading(content)}


def reading(content: dict[str, Any]) -> str:
    """What audit and score say of a network, by the audit's verdicts and the score's interval alone."""
    verdicts = content["verdict"]
    if verdicts[NO_TUMOUR] == Verdict.SHORTCUT:
        return SHORTCUT
    if content["above_chance"]["low"] <= 0:
        return NOTHING
    return USES if set(verdicts.values()) == {Verdict.AS_IT_SHOULD} else UNCLEAR


def table(found: dict[str, Any]) -> str:
    """Markdown, a column per network."""
    networks = list(found.values())
    rows = [(f"balanced accuracy, {SHOWN[key]}", [_interval(of["score"][key]) for of in networks]) for key in SHOWN]
    rows += [(f"verdict, {SHOWN[key]}", [of["verdict"][key] for of in networks]) for key in (NO_TUMOUR, ONLY_TUMOUR)]
    for title, key, words in (
        ("AUC on the tumour", "auc", lambda entry: _interval(entry["mean"])),
        ("relevance in the mark's place", "mark", _times_chance),
    ):
        rows += [
            (f"{title}, {METHODS[name].title}", [words(of[key][name]) for of in networks]) for name in METHOD_NAMES
        ]
    rows.append(("reading", [f"**{of['reading']}**" for of in networks]))
    heads = [NETWORKS[name].title.replace("\n", " ") for name in found]
    lines = [["", *heads], ["---"] * (1 + len(heads)), *([name, *cells] for name, cells in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _interval(found: dict[str, Any]) -> str:
    value, low, high = (found[name] for name in ("estimate", "low", "high"))
    if value is None:
        return "–"
    return f"{value:.2f}" + ("" if low is None else f" ({low:.2f}–{high:.2f})")


def _times_chance(found: dict[str, Any]) -> str:
    share = found["mean"]["estimate"]
    return "–" if share is None else f"{100 * share:.1f} % ({share / found['chance']:.0f} × chance)"


def draw(found: dict[str, Any]) -> bytes:
    """Three panels, a band per network: score as it is and covered, AUC on the tumour, relevance in the mark."""
    networks = list(found.values())
    panels = {
        "Balanced accuracy": {
            title: [(of["score"][key], of["chance"]) for of in networks] for key, title in SHOWN.items()
        },
        **{
            title: {
                METHODS[name].title: [(of[key][name]["mean"], of[key][name]["chance"]) for of in networks]
                for name in METHOD_NAMES
            }
            for key, title in (("auc", "Localisation AUC, whole tumour"), ("mark", "Relevance in the mark's place"))
        },
    }
    some = networks[0]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(11, 4.4), layout=ConstrainedLayoutEngine(wspace=0.06))
        for axes, (title, rows) in zip(figure.subplots(1, 3, sharey=True), panels.items(), strict=True):
            _draw_panel(axes, rows)
            axes.set_title(title)
        figure.axes[0].set_yticks(range(len(found)), [NETWORKS[name].title for name in found])
        figure.axes[-1].xaxis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=" %"))
        figure.axes[-1].set_xlim(
            -0.01, _REACH * max(of["mark"][name]["mean"]["high"] for of in networks for name in METHOD_NAMES)
        )
        figure.suptitle(
            f"Synthetic cohort: {some['patients']} patients, {some['cases']} cases, {some['explained']} explained; PD "
            "against the rest. Bars: intervals over patients; dashed: chance.",
            fontsize=9,
        )
        return svg_bytes(figure)


def _draw_panel(axes: Axes, rows: dict[str, list[tuple[dict[str, Any], float]]]) -> None:
    """``rows``: title → of every network, a mean with its interval, and chance."""
    for number, ((title, entries), (colour, marker)) in enumerate(zip(rows.items(), _LOOKS, strict=True)):
        for place, (mean, chance) in enumerate(entries):
            y = place + 0.22 * (number - (len(rows) - 1) / 2)
            axes.plot([chance, chance], [place - 0.4, place + 0.4], color=_CHANCE, linestyle="--", linewidth=1)
            if mean["low"] is not None:
                axes.plot([mean["low"], mean["high"]], [y, y], color=colour, linewidth=2)
            if mean["estimate"] is not None:
                axes.plot(mean["estimate"], y, marker, color=colour, label=None if place else title, clip_on=False)
    axes.set(xlim=(-0.02, 1.02), ylim=(len(entries) - 0.5, -0.5))
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=True, axis="x")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.08), frameon=False, fontsize=8.5)


def _silent(*_: object) -> None:
    """Stages tell how far they are; three networks would be too much of it."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--patients", type=int, default=Size.patients)
    parser.add_argument("--epochs", type=int, help="the demo's unless given")
    parser.add_argument("--voxel-mm", type=float, default=Size.voxel_mm, help="of the phantom's images")
    parser.add_argument("--cases", type=int, default=Size.cases, help="explained, of each response")
    parser.add_argument("--seed", type=int, default=Size.seed)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="changes of the recipe")
    parser.add_argument("--out", type=Path, help="keep runs, table and figure here")
    chosen = parser.parse_args()
    changes = (*chosen.set, *([f"training.epochs={chosen.epochs}"] if chosen.epochs else []))
    size = Size(chosen.patients, chosen.voxel_mm, chosen.cases, chosen.seed, changes)
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as scratch:
        out = chosen.out or Path(scratch)
        found = experiment(out, size, lambda what: print(f"{time.perf_counter() - began:6.0f} s  {what}", flush=True))
        runs.write_json(out / "shortcuts.json", found)
        runs.write_bytes(out / "shortcuts.svg", draw(found))
    print(f"{time.perf_counter() - began:6.0f} s  done\n\n{table(found)}")


if __name__ == "__main__":
    main()
