"""A cohort taken over by a run: its tables copied, without the cases that the recipe's sequences rule out."""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd

from ranoscope import runs
from ranoscope.cohort.exclusions import exclude_cases, recount
from ranoscope.cohort.files import PATIENTS, SOURCE
from ranoscope.cohort.pairing import COHORT_COLUMNS
from ranoscope.cohort.timeline import Exclusion
from ranoscope.config import MissingSequences, Recipe
from ranoscope.domain import Case
from ranoscope.errors import RunError, problem
from ranoscope.learning.studies import STORE, incomplete_cases


def choose_cases(
    recipe: Recipe, cohort_run: Path, cases: list[Case], images: Path | None
) -> tuple[list[Case], list[Case]]:
    """The cases to learn from, and those left out under ``missing_sequences: exclude``.

    Raises:
        RunError: no case is left, or the images are no longer where they were.
    """
    left_out: list[Case] = []
    if recipe.missing_sequences is MissingSequences.EXCLUDE:
        left_out = incomplete_cases(recipe, cohort_run, cases, images)
    kept = [case for case in cases if case not in set(left_out)]
    if not kept:
        got = f"none ({len(left_out)} left out for a missing sequence)" if left_out else "none"
        do = "choose other sequences for the recipe" if left_out else "read flow.json for the exclusions"
        raise RunError(problem("at least one kept case", got, str(cohort_run), do))
    return kept, left_out


def require_own_cohort(cohort_run: Path, out: Path, left_out: list[Case]) -> None:
    """Raise RunError where ``out`` holds the table of another cohort, or of this one with other cases left out."""
    mine = out / runs.COHORT
    if out.resolve() == cohort_run.resolve() or not mine.is_file():
        return
    if mine.read_bytes() != _table_bytes(_table(cohort_run, left_out)):
        do = "choose another --out for this cohort"
        raise RunError(problem("this cohort's table", "another cohort", str(mine), do))


def adopt_cohort(recipe: Recipe, cohort_run: Path, out: Path, left_out: list[Case]) -> None:
    """Copy the cohort's tables, so that ``out`` explains itself, and note where the store and the images are.

    Cases left out become excluded rows with the reason ``missing-sequences``, are taken from the counts of flow.json,
    and are named there. Where ``out`` is the cohort's own folder its tables are changed in place; a cohort that several
    recipes share is best given another ``out`` for each.
    """
    elsewhere = out.resolve() != cohort_run.resolve()
    for name in (runs.STUDIES, runs.FLOW, PATIENTS):
        if elsewhere and (cohort_run / name).is_file():
            runs.write_bytes(out / name, (cohort_run / name).read_bytes())
    table = _table(cohort_run, left_out)
    if left_out:
        flow = runs.read_json(cohort_run / runs.FLOW, "ranoscope cohort")
        runs.write_json(out / runs.FLOW, recount(flow, table, _note(recipe, left_out)))
    if elsewhere or left_out:
        runs.write_bytes(out / runs.COHORT, _table_bytes(table))
    source = runs.read_json(cohort_run / SOURCE, "ranoscope cohort")
    if source.get("images"):
        place = (cohort_run / source["images"]).resolve()
        source["images"] = Path(os.path.relpath(place, out.resolve())).as_posix()
    source["store"] = Path(os.path.relpath((cohort_run / STORE).resolve(), out.resolve())).as_posix()
    runs.write_json(out / SOURCE, source)


def _table(cohort_run: Path, left_out: list[Case]) -> pd.DataFrame:
    """cohort.csv as this run has it."""
    table = runs.read_csv(cohort_run / runs.COHORT, "ranoscope cohort", COHORT_COLUMNS)
    return exclude_cases(table, left_out, Exclusion.MISSING_SEQUENCES)


def _table_bytes(table: pd.DataFrame) -> bytes:
    return table.to_csv(index=False, lineterminator="\n").encode()


def _note(recipe: Recipe, left_out: list[Case]) -> str:
    several = "s" if len(left_out) > 1 else ""
    return (
        f"Recipe {recipe.name} leaves out {len(left_out)} case{several} with a study that lacks one of "
        f"{', '.join(recipe.sequences)}: {', '.join(map(str, left_out))}."
    )
