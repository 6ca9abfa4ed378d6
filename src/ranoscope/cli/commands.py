"""Commands of the journey from a folder of scans to a report, in its order.

Heavy libraries are imported inside the stages, so that --help is instant.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ranoscope.cli import stages
from ranoscope.cli.app import DATA, DEMO, JOURNEY, SPLITS, OutOption, RunArgument, app
from ranoscope.cli.terminal import OUT
from ranoscope.config import (
    CohortSettings,
    Difficulty,
    DuplicatePolicy,
    FoldProtocol,
    FoldSettings,
    KeptMaps,
    MethodName,
    PairRule,
    PhantomSettings,
    parse_settings,
)
from ranoscope.domain import RESEARCH_USE_ONLY, SEQUENCES

# Exit code of an audit that found a leak or a shortcut: not that of an error, so that a CI can tell them apart.
_FOUND_CODE = 3


@app.command(rich_help_panel=DEMO)
def demo(
    out: Annotated[Path, typer.Option("--out", metavar="RUN", help="Run folder to write.")] = Path("runs/demo"),
    seed: Annotated[int, typer.Option(help="Seed of the synthetic cohort.")] = 0,
) -> None:
    """The whole journey on a synthetic cohort, in minutes: all commands below, in order."""
    stages.run_demo(out, seed)


@app.command(rich_help_panel=DATA)
def phantom(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder to fill.", show_default=False)],
    patients: Annotated[int, typer.Option(min=1, max=999, help="Number of synthetic patients.")] = 12,
    voxel_mm: Annotated[float, typer.Option(min=1, max=6, help="Voxel edge, mm; 1 = LUMIERE's own grids.")] = 3.0,
    seed: Annotated[int, typer.Option(help="Same seed, same bytes.")] = 0,
    difficulty: Annotated[
        Difficulty, typer.Option(help="hard: other anatomy, untidier tumours, worse scans, readers who err more.")
    ] = Difficulty.STANDARD,
    reader_noise: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            help="Chance that a rating is replaced by a neighbouring category. Of itself "
            f"{PhantomSettings().reader_noise:g}, hard {PhantomSettings(difficulty=Difficulty.HARD).reader_noise:g}.",
        ),
    ] = None,
    planted_mark: Annotated[
        float,
        typer.Option(
            metavar="SHARE",
            help="Plant a shortcut: a bright mark far from tumours in this share of the visits rated PD and in the "
            "remaining share of the others. 0 = none; else 0.5 (says nothing) to 1 (gives PD away).",
        ),
    ] = 0.0,
) -> None:
    """Make a synthetic cohort: a folder of LUMIERE's exact shape, from nothing but a seed."""
    content = {
        "patients": patients,
        "voxel_mm": voxel_mm,
        "seed": seed,
        "difficulty": difficulty,
        "planted_mark": planted_mark,
    }
    if reader_noise is not None:
        content["reader_noise"] = reader_noise
    stages.run_phantom(out, parse_settings(PhantomSettings, content, "the options of `ranoscope phantom`"))


@app.command(rich_help_panel=DATA)
def download(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder to fill.", show_default=False)],
    accept_licence: Annotated[
        bool, typer.Option("--accept-licence", help="I have read the licence note and agree (no question asked).")
    ] = False,
) -> None:
    """Fetch the published LUMIERE files (33 GB): licence note first, resumable, sizes verified."""
    stages.run_download(out, accept_licence)


@app.command(rich_help_panel=JOURNEY)
def cohort(
    lumiere: Annotated[
        Path, typer.Argument(metavar="LUMIERE", help="Folder (or zip) as published; tables alone will do.")
    ],
    out: OutOption,
    pair_rule: Annotated[
        PairRule, typer.Option(help="Which earlier study is the prior; previous_row is the paper's.")
    ] = PairRule.PREVIOUS_SCAN,
    duplicates: Annotated[DuplicatePolicy, typer.Option(help="Two ratings of one visit.")] = DuplicatePolicy.DROP,
    sequences: Annotated[str, typer.Option(help="Sequences a study must have.")] = "+".join(SEQUENCES),
    keep_under_3_months: Annotated[
        bool, typer.Option("--keep-under-3-months", help="Keep visits marked as under 3 months (column and rationale).")
    ] = False,
    keep_non_rano: Annotated[
        bool, typer.Option("--keep-non-rano", help="Keep visits whose rationale says they are no RANO timepoint.")
    ] = False,
) -> None:
    """1. Select the cases: RUN/cohort.csv with every exclusion named, and the flow diagram."""
    chosen: dict[str, Any] = {
        "pair_rule": pair_rule,
        "duplicates": duplicates,
        "required_sequences": [part for part in sequences.split("+") if part],
        "exclude_under_3_months_column": not keep_under_3_months,
        "exclude_under_3_months_rationale": not keep_under_3_months,
        "exclude_not_a_rano_timepoint": not keep_non_rano,
    }
    stages.run_cohort(lumiere, parse_settings(CohortSettings, chosen, "the options of `ranoscope cohort`"), out)


@app.command(rich_help_panel=JOURNEY)
def crossval(
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="A YAML file, or the name of a recipe shipped here.")],
    cohort_run: Annotated[Path, typer.Option("--cohort", metavar="RUN", help="Folder that `ranoscope cohort` wrote.")],
    out: OutOption,
    images: Annotated[
        Path | None, typer.Option(metavar="LUMIERE", help="Where the images are now, if they have moved.")
    ] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change one setting, e.g. training.devices=2; repeatable."),
    ] = None,
) -> None:
    """2. Train and call: every case by a network that never saw its patient; RUN/calls.csv. Resumes."""
    stages.run_crossval(recipe, changes or [], cohort_run, out, images)


@app.command(rich_help_panel=JOURNEY)
def evaluate(run: RunArgument) -> None:
    """3. Score the calls beside their rivals, with intervals over patients; RUN/scorecard.json."""
    stages.run_evaluate(run)


@app.command(rich_help_panel=JOURNEY)
def explain(
    run: RunArgument,
    methods: Annotated[
        str | None, typer.Option(help=f"Comma-separated, of: {', '.join(MethodName)}. All if not given.")
    ] = None,
    cases: Annotated[
        str | None,
        typer.Option(help="all; a number drawn of each class; or names: Patient-042,Patient-042/week-061."),
    ] = None,
    maps: Annotated[
        KeptMaps | None, typer.Option(help="Whose maps are kept as NIfTI: of the example cases, or of all scored ones.")
    ] = None,
    against: Annotated[
        Path | None,
        typer.Option(
            metavar="OTHER",
            help="Another run of the same cases, e.g. of labels=permuted: do its networks give the same maps?",
        ),
    ] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change one setting, e.g. method.steps=32; repeatable."),
    ] = None,
) -> None:
    """4. Show what the network looked at, and measure it: maps, scores and figures; RUN/explanations. Resumes."""
    chosen = [f"methods=[{methods}]"] if methods else []
    chosen += [f"maps={maps}"] if maps else []
    stages.run_explain(run, cases, [*chosen, *(changes or [])], against)


@app.command("audit-shortcuts", rich_help_panel=JOURNEY)
def audit_shortcuts(run: RunArgument) -> None:
    """Is it right for the wrong reason? Its networks, shown what should not do; RUN/shortcuts.json. Exit code 3 if so.

    Resumes. Shown: a study twice, studies exchanged, weeks alone, the tumour covered, only the tumour, the brain's
    outline, left and right mirrored, sequences dropped one by one; read from its features: patient and weeks.
    """
    if stages.run_audit_shortcuts(run):
        raise typer.Exit(_FOUND_CODE)


@app.command(rich_help_panel=JOURNEY)
def report(run: RunArgument) -> None:
    """5. One self-contained page that opens offline; RUN/report.html."""
    stages.run_report(run)
    OUT.print(f"[dim]{RESEARCH_USE_ONLY}[/]")


@app.command(rich_help_panel=SPLITS)
def folds(
    cohort_run: Annotated[
        Path, typer.Argument(metavar="COHORT", help="Folder that `ranoscope cohort` wrote.", show_default=False)
    ],
    out: Annotated[
        Path, typer.Option("--out", metavar="FILE_OR_RUN", help="A .csv file, or a run folder.", show_default=False)
    ],
    protocol: Annotated[
        FoldProtocol, typer.Option(help="as-published is the paper's own rule: by visit, so that patients leak.")
    ] = FoldProtocol.PATIENT,
    count: Annotated[int, typer.Option(min=2, help="Folds per seed.")] = FoldSettings().count,
    seeds: Annotated[int, typer.Option(min=1, help="Repetitions, with seeds 0, 1, …")] = len(FoldSettings().seeds),
) -> None:
    """Deal the cases to folds without training: by patient, unless another protocol is named."""
    stages.run_folds(cohort_run, FoldSettings(count=count, seeds=tuple(range(seeds)), protocol=protocol), out)


@app.command(rich_help_panel=SPLITS)
def audit(
    split: Annotated[
        Path,
        typer.Argument(metavar="FOLDS", help="CSV with patient, visit, fold, or a run folder.", show_default=False),
    ],
    cohort_run: Annotated[Path, typer.Option("--cohort", metavar="RUN", help="Folder that `ranoscope cohort` wrote.")],
    out: Annotated[Path | None, typer.Option("--out", metavar="RUN", help="Folder for audit.json.")] = None,
) -> None:
    """Does a split leak? What test visits share with training, and how sure its scores are. Exit code 3 if it does."""
    if stages.run_audit(split, cohort_run, out):
        raise typer.Exit(_FOUND_CODE)
