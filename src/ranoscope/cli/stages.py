"""What each command does: call one room, show its progress, print what it found and where it lies.

Rooms are imported when their command runs: torch alone takes seconds, and --help should not wait for it.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import typer
from rich.markup import escape

from ranoscope import runs
from ranoscope.cli.terminal import OUT, progress_bar, say, warn
from ranoscope.cohort.folds import fold_warnings, make_folds
from ranoscope.config import (
    CohortSettings,
    ExplanationSettings,
    FoldSettings,
    PhantomSettings,
    load_recipe,
    overlay,
    parse_change,
    parse_settings,
)
from ranoscope.domain import RESEARCH_USE_ONLY

# Sized so that the whole demo takes about eight minutes on two CPU cores; the cohort is large enough that every class
# is in every fold.
_DEMO_PATIENTS = 72
_DEMO_VOXEL_MM = 3.0
_DEMO_RECIPE = "demo"


def run_phantom(out: Path, settings: PhantomSettings) -> None:
    """Make the synthetic cohort."""
    from ranoscope.phantom.cohort import make_phantom

    with progress_bar("phantom") as told:
        make_phantom(out, settings, min(os.cpu_count() or 1, 8), told)
    say(f"Synthetic cohort of {settings.patients} patients: {out}. No patient is in it; see its README.md.")


def run_download(out: Path, accept_licence: bool) -> None:
    """Fetch LUMIERE after showing its licence note."""
    from ranoscope.cohort.download import LICENCE_NOTE, download

    say(escape(LICENCE_NOTE))
    agreed = accept_licence or typer.confirm("I have read this and agree", default=False)
    with progress_bar("download") as told:
        paths = download(out, agreed, progress=told)
    for path in paths:
        say(f"{path}")


def run_cohort(lumiere: Path, settings: CohortSettings, out: Path) -> None:
    """Select the cases and print the flow diagram."""
    from ranoscope.cohort.files import render_flow, write_cohort
    from ranoscope.cohort.pairing import build_cohort

    with OUT.status("Reading tables and folders"):
        cohort = build_cohort(lumiere, settings)
        write_cohort(out, cohort, settings)
    OUT.print(render_flow(cohort.flow))
    warn(cohort.warnings)
    say(f"Cohort: {out / runs.COHORT}")


def run_folds(cohort_run: Path, settings: FoldSettings, out: Path) -> None:
    """Deal the cases to folds."""
    from ranoscope.cohort.files import read_cases

    path = make_folds(cohort_run, settings, out)
    warning = settings.protocol.warning
    warn([warning] if warning else fold_warnings(read_cases(cohort_run), settings))
    say(f"Folds: {path}")


def run_audit(folds: Path, cohort_run: Path, out: Path | None) -> bool:
    """Audit folds and print the findings; True when patients leak."""
    from ranoscope.auditing.audit import audit_folds
    from ranoscope.auditing.tables import render_audit

    with OUT.status("Looking for leaks"):
        content = audit_folds(folds, cohort_run, out)
    OUT.print(render_audit(content))
    if out is not None:
        say(f"Audit: {out / runs.AUDIT}")
    return bool(content["patients_leak"])


def run_crossval(recipe: str, changes: list[str], cohort_run: Path, out: Path, images: Path | None) -> None:
    """Train every fold and write the calls."""
    settings = load_recipe(recipe, changes)
    from ranoscope.cohort.files import read_cases
    from ranoscope.learning.crossval import cross_validate

    warning = settings.folds.protocol.warning
    warn([settings.labels.warning] if settings.labels.warning else [])
    warn([warning] if warning else fold_warnings(read_cases(cohort_run), settings.folds))
    with progress_bar("crossval") as told:
        calls = cross_validate(settings, cohort_run, out, told, images)
    whose = "that never saw them" if warning is None else "trained on other visits of theirs"
    patients = calls["patient"].nunique()
    say(f"Calls: {out / runs.CALLS} ({len(calls)} calls of {patients} patients, each by a network {whose})")


def run_evaluate(run: Path) -> None:
    """Score the calls and print the scoreboard."""
    from ranoscope.evaluation.scorecard import evaluate_run
    from ranoscope.evaluation.tables import render_scoreboard
    from ranoscope.learning.checkpoints import load_run_recipe

    with progress_bar("evaluate") as told:
        scorecard = evaluate_run(run, load_run_recipe(run).evaluation, told)
    OUT.print(render_scoreboard(scorecard))
    say(f"Scorecard: {run / runs.SCORECARD}")


def run_explain(run: Path, cases: str | None, changes: list[str], against: Path | None = None) -> None:
    """Score the maps of a run's cases, keep examples of them, and print how good the maps are.

    Args:
        run: a trained run.
        cases: ``all``, a number per class, or names with commas between; None for the recipe's choice.
        changes: settings of the explanation laid over the recipe's, each ``key.sub=value``.
        against: another run, with whose networks' maps the examples' are compared.
    """
    from ranoscope.explaining.explain import explain_run
    from ranoscope.explaining.outputs import read_findings
    from ranoscope.explaining.tables import render_findings
    from ranoscope.learning.checkpoints import load_run_recipe

    names: tuple[str, ...] = ()
    if cases == "all" or (cases or "").isdecimal():
        changes = [*changes, f"cases_per_class={'null' if cases == 'all' else cases}"]
    elif cases:
        names = tuple(name.strip() for name in cases.split(",") if name.strip())
    content = load_run_recipe(run).explanation.model_dump(mode="json")
    for change in changes:
        content = overlay(content, parse_change(change))
    settings = parse_settings(ExplanationSettings, content, "the options of `ranoscope explain`")
    with progress_bar("explain") as told:
        examples = explain_run(run, settings, told, names, against)
    OUT.print(render_findings(read_findings(run)))
    say(f"Explanations: {run / runs.EXPLANATIONS} (maps and a figure of {len(examples)} example cases)")


def run_audit_shortcuts(run: Path) -> bool:
    """Probe a run's networks and print the findings; True when a probe found a shortcut."""
    from ranoscope.learning.checkpoints import load_run_recipe
    from ranoscope.probing.audit import SHORTCUTS, audit_shortcuts
    from ranoscope.probing.tables import render_shortcuts
    from ranoscope.probing.verdicts import Verdict

    with progress_bar("shortcuts") as told:
        content = audit_shortcuts(run, load_run_recipe(run).evaluation, told)
    OUT.print(render_shortcuts(content))
    say(f"Shortcuts: {run / SHORTCUTS}")
    return bool(content["verdicts"][Verdict.SHORTCUT])


def run_report(run: Path) -> None:
    """Write the page."""
    from ranoscope.reporting.report import write_report

    with progress_bar("report") as told:
        path = write_report(run, told)
    say(f"Report: {path}")


def run_demo(out: Path, seed: int) -> None:
    """All stages in order on a synthetic cohort; each resumes, so the demo does too."""
    began = time.monotonic()
    lumiere = out / "synthetic-lumiere"
    run_phantom(lumiere, PhantomSettings(patients=_DEMO_PATIENTS, voxel_mm=_DEMO_VOXEL_MM, seed=seed))
    run_cohort(lumiere, CohortSettings(), out)
    run_crossval(_DEMO_RECIPE, [], out, out, None)
    run_evaluate(out)
    run_explain(out, None, [])
    run_audit_shortcuts(out)
    run_report(out)
    say(
        f"[dim]The whole journey took {(time.monotonic() - began) / 60:.1f} minutes. The cohort is synthetic: these "
        f"figures say nothing about patients. {RESEARCH_USE_ONLY}[/]"
    )
