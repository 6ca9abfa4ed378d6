"""The report: everything a run found on one page that opens offline, with nothing fetched from anywhere."""

from __future__ import annotations

from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2

from ranoscope import __version__, runs
from ranoscope.cohort.files import read_cases, read_flow, read_is_synthetic, read_patients
from ranoscope.config import FoldProtocol, Recipe, Target
from ranoscope.domain import RESEARCH_USE_ONLY, RESPONSES
from ranoscope.drawing import inline_svg
from ranoscope.explaining.record import read_explanations
from ranoscope.learning.checkpoints import load_run_recipe
from ranoscope.reporting.board import describe_board, headline_tiles
from ranoscope.reporting.examples import describe_example
from ranoscope.reporting.explanations import describe_explanations
from ranoscope.reporting.shortcuts import describe_shortcuts
from ranoscope.reporting.summary import summarise

Progress = Callable[[int, int, str], None]

_SECTIONS = (
    ("flow", "From ratings to cases"), ("cohort", "Cohort"), ("scoreboard", "Scoreboard"), ("errors", "Errors"),
    ("explanations", "Explanations"), ("cases", "Example cases"), ("shortcuts", "Shortcuts"),
    ("methods", "Settings and provenance"),
)  # fmt: skip
_CHARTS = (
    ("confusion", "Calls against the expert's responses; each row sums to 100 %."),
    ("recall", "Share of each response that was found, with intervals over patients."),
    ("calibration", "How often the call was right where the network was this sure; on the diagonal it is honest."),
)
_EXAMPLES_LEAD = (
    "Per response the case whose maps find the tumour best, the one in the middle and the worst (by the AUC for the "
    "whole tumour, over all methods): chosen by rule, not by hand. The maps come from the fold that {distance}. They "
    "show what the call depended on, not what is true."
)


def write_report(run: Path, progress: Progress) -> Path:
    """Write RUN/report.html.

    Args:
        run: folder with the outputs of cohort, crossval, evaluate and explain; audit-shortcuts's are shown where there.
        progress: told (done, total, what) after every example case.

    Returns:
        The page.

    Raises:
        RunError: one of those outputs is absent.
        StorageError: the disk is full or not writable.
    """
    recipe = load_run_recipe(run)
    scorecard = runs.read_json(run / runs.SCORECARD, "ranoscope evaluate")
    explained = read_explanations(run)
    examples = []
    for number, entry in enumerate(explained):
        progress(number, len(explained), f"{entry.patient}/{entry.current}")
        examples.append(describe_example(run, recipe, entry))
    page = (
        _environment()
        .get_template("report.html.j2")
        .render(
            **_frame(run, recipe),
            board=describe_board(scorecard),
            tiles=headline_tiles(scorecard),
            watermark=scorecard["watermark"],
            target_note=scorecard["target_note"],
            examples={"lead": _EXAMPLES_LEAD.format(distance=_distance(recipe, "the")), "cases": examples},
            figures={path.stem: inline_svg(path.read_bytes()) for path in (run / runs.FIGURES).glob("*.svg")},
            explanations=describe_explanations(run),
            shortcuts=describe_shortcuts(run),
            facts=_facts(run, scorecard),
        )
    )
    runs.write_text(run / runs.REPORT, page)
    progress(len(explained), len(explained), "page written")
    return run / runs.REPORT


def _frame(run: Path, recipe: Recipe) -> dict[str, Any]:
    """What the page says whatever the model: names, cohort, flow, settings, style and script."""
    cases = read_cases(run)
    return {
        "version": __version__,
        "research_use_only": RESEARCH_USE_ONLY,
        "recipe": recipe,
        "design": _describe_design(recipe),
        "responses": [str(response) for response in RESPONSES],
        "sections": _SECTIONS,
        "charts": _CHARTS,
        "synthetic": read_is_synthetic(run),
        "flow": read_flow(run),
        "summary": summarise(cases, read_patients(run)),
        "settings": (run / runs.SETTINGS).read_text(encoding="utf-8"),
        "provenance": (run / runs.PROVENANCE).read_text(encoding="utf-8"),
        "css": _page_file("report.css"),
        "script": _page_file("viewer.js"),
    }


def _describe_design(recipe: Recipe) -> dict[str, str]:
    """How the cases were called, and on which folds, for the head of the page."""
    times = f", {len(recipe.folds.seeds)} times" if len(recipe.folds.seeds) > 1 else ""
    by_patient = recipe.folds.protocol is FoldProtocol.PATIENT
    kind = "patient-level folds" if by_patient else "folds by visit, as published"
    called_by = f"every case called by a network that {_distance(recipe, 'its')}"
    return {
        "called": "CR, PR, SD or PD" if recipe.target is Target.FOUR_CLASSES else "PD or not",
        "folds": f"{recipe.folds.count} {kind}{times}, {called_by}",
    }


def _distance(recipe: Recipe, whose: str) -> str:
    """How far a fold's network is from a case that it calls."""
    if recipe.folds.protocol is FoldProtocol.PATIENT:
        return f"never saw {whose} patient"
    return f"was trained on other visits of {whose} patient"


def _facts(run: Path, scorecard: dict[str, Any]) -> list[tuple[str, str]]:
    made = runs.read_json(run / runs.PROVENANCE, "ranoscope crossval")["crossval"]
    protocol = scorecard["protocol"]
    return [
        ("ranoscope", f"{made['ranoscope']}, commit {made['git_sha'] or 'unknown (installed from a package)'}"),
        ("Trained", f"{made['made_at']} on {made['machine']['system']} {made['machine']['architecture']}, accelerator: "
                    f"{made['machine']['accelerator']}, seed {made['seed']}"),
        ("Libraries", ", ".join(f"{name} {version}" for name, version in made["versions"].items())),
        ("Calls", protocol["predictions"]),
        ("Intervals", f"{protocol['intervals']}; {protocol['bootstrap']} resamples, seed {protocol['seed']}"),
        ("Absent classes", protocol["absent_classes"]),
    ]  # fmt: skip


def _environment() -> jinja2.Environment:
    loader = jinja2.PackageLoader("ranoscope.reporting", "page")
    return jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )


def _page_file(name: str) -> str:
    return resources.files("ranoscope.reporting").joinpath("page", name).read_text(encoding="utf-8")
