"""Patient-grouped, stratified folds: drawn once, written to a file, the same for every model.

The reference paper's folds, cut by visit, are here too, for comparison alone: their table is marked, only a recipe that
asks for them is trained or scored on them, and whatever comes of it carries ``watermark``.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd

from ranoscope import provenance, runs
from ranoscope.cohort.files import read_cases
from ranoscope.config import FoldProtocol, FoldSettings, Labels
from ranoscope.domain import RESPONSES, Case, Response
from ranoscope.errors import RanoscopeError, RunError, problem

FOLD_COLUMNS = ("seed", "patient", "current", "response", "fold")
# Only in folds of another protocol than the project's own: the mark travels with the rows.
PROTOCOL_COLUMN = "protocol"


def watermark(protocol: FoldProtocol, labels: Labels = Labels.EXPERT) -> str | None:
    """The words on everything made under another protocol than the project's own, or from other labels.

    None for patient-level folds and the expert's labels.
    """
    words = []
    if labels is Labels.PERMUTED:
        words.append("permuted labels: learnt from responses dealt at random; a sanity check of explanations only")
    if protocol is FoldProtocol.AS_PUBLISHED:
        words.append(
            "as published: folds by visit, checkpoint chosen on the reported fold; "
            "optimistic; for comparison with the paper only"
        )
    return "; ".join(words) or None


def draw_folds(cases: list[Case], settings: FoldSettings) -> pd.DataFrame:
    """The folds of the settings' own protocol: ``assign_folds`` or ``assign_folds_as_published``."""
    if settings.protocol is FoldProtocol.PATIENT:
        return assign_folds(cases, settings)
    return assign_folds_as_published(cases, settings)


def assign_folds(cases: list[Case], settings: FoldSettings) -> pd.DataFrame:
    """Deal patients to folds, once per seed, stratified by each patient's rarest class.

    The rarest stratum is dealt first; within it patients with most cases of that class, equals in random order. Each
    goes to the fold with fewest patients of the stratum, then fewest patients, then fewest cases of the class. So folds
    differ by at most one patient, in total and per stratum, also for classes with fewer patients than folds, where
    scikit-learn's splitters refuse.

    Returns:
        One row per seed and case: ``seed, patient, current, response, fold`` (fold 0 to count − 1), sorted by seed,
        patient and visit. Depends on the set of cases and the settings alone.

    Raises:
        RanoscopeError: fewer patients than folds.
    """
    by_patient = _by_patient(cases)
    if len(by_patient) < settings.count:
        raise RanoscopeError(
            problem(f"at least {settings.count} patients", str(len(by_patient)), "the cohort", "use fewer folds")
        )
    rows = []
    for seed in settings.seeds:
        folds = _deal(by_patient, settings.count, seed)
        rows += [
            (seed, case.patient, str(case.current), str(case.response), folds[case.patient])
            for case in sorted(cases, key=_case_order)
        ]
    return pd.DataFrame(rows, columns=list(FOLD_COLUMNS))


def assign_folds_as_published(cases: list[Case], settings: FoldSettings) -> pd.DataFrame:
    """Deal visits to folds as the reference paper does, whatever their patient: a leak, kept for comparison.

    Source: ``partition_dataset_classes`` of MONAI 1.5, which the paper's code calls, with ``num_partitions`` and
    ``shuffle``: inside each class the visits are shuffled with the seed, then dealt to the folds in turn. The paper's
    order of visits and seed are not known; here visits are in order of patient and week.

    Returns:
        The table of ``assign_folds`` with a further column ``protocol``, ``as-published`` in every row.

    Raises:
        RanoscopeError: a class with fewer cases than folds, which MONAI refuses too.
    """
    ordered = sorted(cases, key=_case_order)
    by_class = {response: [c for c in ordered if c.response is response] for response in RESPONSES}
    for response, members in by_class.items():
        if 0 < len(members) < settings.count:
            expected = f"at least {settings.count} cases of {response}"
            raise RanoscopeError(problem(expected, str(len(members)), "the cohort", "use fewer folds"))
    rows = []
    for seed in settings.seeds:
        folds: dict[Case, int] = {}
        for members in by_class.values():
            places = np.arange(len(members))
            np.random.RandomState(seed).shuffle(places)
            folds |= {members[place]: turn % settings.count for turn, place in enumerate(places)}
        rows += [(seed, c.patient, str(c.current), str(c.response), folds[c]) for c in ordered]
    table = pd.DataFrame(rows, columns=list(FOLD_COLUMNS))
    return table.assign(**{PROTOCOL_COLUMN: str(FoldProtocol.AS_PUBLISHED)})


def make_folds(cohort_run: Path, settings: FoldSettings, out: Path) -> Path:
    """Deal a cohort's cases to folds and write them.

    Args:
        cohort_run: folder that ``ranoscope cohort`` wrote.
        settings: number of folds, seeds, and the protocol: by patient, or the paper's.
        out: a file that ends in ``.csv``, or a run folder, which gets folds.csv, settings and provenance.

    Returns:
        Path of the table.

    Raises:
        RunError: no cohort, or other folds are already there: what was trained on them would lose its meaning.
        RanoscopeError: too few patients or cases for the folds.
        StorageError: the disk is full or not writable.
    """
    table = draw_folds(read_cases(cohort_run), settings)
    path = out if out.suffix == ".csv" else out / runs.FOLDS
    if path.is_file():
        known = runs.read_csv(path, "ranoscope folds", ())
        if not known.equals(table.astype(str)):
            raise RunError(problem("no other folds", "another table", str(path), "choose another --out"))
    if out != path:
        chosen = {"warning": settings.protocol.warning, **settings.model_dump(mode="json")}
        inputs = {runs.COHORT: provenance.file_hash(cohort_run / runs.COHORT)}
        provenance.record(out, "folds", chosen, inputs, settings.seeds[0])
    write_fold_table(path, table)
    return path


def fold_warnings(cases: list[Case], settings: FoldSettings) -> list[str]:
    """A sentence for each class that cannot be in every fold because it has fewer patients than there are folds."""
    patients = {response: {case.patient for case in cases if case.response is response} for response in RESPONSES}
    return [
        f"{response} occurs in {len(names)} patient{'' if len(names) == 1 else 's'} for {settings.count} folds: "
        "some folds have none, and its recall rests on few people."
        for response, names in patients.items()
        if len(names) < settings.count
    ]


def inner_split(cases: list[Case], fraction: float, seed: int) -> tuple[list[Case], list[Case]]:
    """Split training cases by patient into (training, inner validation).

    Held-out patients are taken at equal steps along the patients sorted by stratum, so each stratum gives its share;
    the only patient of a stratum is never held out. Input order is kept within each side.

    Args:
        cases: the training cases of one fold.
        fraction: share of patients to hold out, above 0 and at most a half; at least one patient is.
        seed: same seed, same split.

    Raises:
        RanoscopeError: fewer than two patients.
    """
    by_patient = _by_patient(cases)
    if len(by_patient) < 2:
        raise RanoscopeError(
            problem("at least 2 patients", str(len(by_patient)), "the training cases of a fold", "use fewer folds")
        )
    generator = np.random.default_rng(seed)
    strata = _strata(by_patient)
    sizes = Counter(strata.values())
    eligible = [name for name in strata if sizes[strata[name]] > 1] or list(strata)
    order = [eligible[place] for place in generator.permutation(len(eligible))]
    order.sort(key=lambda name: strata[name].class_index)
    wanted = int(np.clip(round(fraction * len(by_patient)), 1, max(1, len(order) // 2)))
    places = np.floor((np.arange(wanted) + generator.random()) * len(order) / wanted).astype(int)
    held_out = {order[place] for place in places}
    return [c for c in cases if c.patient not in held_out], [c for c in cases if c.patient in held_out]


def first_cases(cases: list[Case], count: int | None, seed: int) -> list[Case]:
    """So many of a fold's training cases, patient by patient in an order in which every stratum comes at equal steps.

    Of two counts the smaller one's cases are among the larger one's. The last patient's later visits may be left out.
    Input order is kept.

    Args:
        cases: the training cases of one fold.
        count: how many are wanted; None, or more than there are, for all.
        seed: same seed, same order.
    """
    if count is None or count >= len(cases):
        return cases
    by_patient = _by_patient(cases)
    strata = _strata(by_patient)
    generator = np.random.default_rng(seed)
    place: dict[str, float] = {}
    for stratum in sorted(set(strata.values()), key=lambda response: response.class_index):
        members = [name for name in by_patient if strata[name] is stratum]
        start = generator.random()
        place |= {
            members[one]: (turn + start) / len(members) for turn, one in enumerate(generator.permutation(len(members)))
        }
    ordered = [case for name in sorted(place, key=lambda name: place[name]) for case in by_patient[name]]
    wanted = set(ordered[:count])
    return [case for case in cases if case in wanted]


def write_folds(run: Path, folds: pd.DataFrame) -> None:
    """Write the run's folds.csv.

    Raises:
        StorageError: the disk is full or not writable.
    """
    write_fold_table(run / runs.FOLDS, folds)


def write_fold_table(path: Path, folds: pd.DataFrame) -> None:
    """Write a table of folds, with its mark if it has one.

    Raises:
        StorageError: the disk is full or not writable.
    """
    mark = [PROTOCOL_COLUMN] if PROTOCOL_COLUMN in folds else []
    runs.write_csv(path, folds[[*FOLD_COLUMNS, *mark]])


def read_folds(run: Path, protocol: FoldProtocol = FoldProtocol.PATIENT) -> pd.DataFrame:
    """folds.csv, seed and fold as integers.

    Args:
        run: the run folder.
        protocol: what the run's recipe asks for; folds cut by another are refused.

    Raises:
        RunError: there are no folds yet, or they are marked as cut by another protocol.
    """
    table = runs.read_csv(run / runs.FOLDS, "ranoscope crossval", FOLD_COLUMNS)
    marks = {mark or str(FoldProtocol.PATIENT) for mark in table.get(PROTOCOL_COLUMN, [""])}
    if marks != {str(protocol)}:
        got = f"folds of the protocol {', '.join(sorted(marks))}"
        asked = "patient-level folds" if protocol is FoldProtocol.PATIENT else f"folds of the protocol {protocol}"
        do = "choose another --out, or a recipe whose folds.protocol is that of the folds"
        raise RunError(problem(asked, got, str(run / runs.FOLDS), do))
    return table.assign(seed=table["seed"].astype(int), fold=table["fold"].astype(int))


def _deal(by_patient: dict[str, list[Case]], count: int, seed: int) -> dict[str, int]:
    generator = np.random.default_rng(seed)
    strata = _strata(by_patient)
    sizes = Counter(strata.values())
    patients = np.zeros(count, int)
    folds: dict[str, int] = {}
    for stratum in sorted(sizes, key=lambda response: (sizes[response], -response.class_index)):
        weight = {
            name: sum(case.response is stratum for case in by_patient[name])
            for name in strata
            if strata[name] is stratum
        }
        names = list(weight)
        order = sorted((names[place] for place in generator.permutation(len(names))), key=lambda name: -weight[name])
        in_stratum, cases = np.zeros(count, int), np.zeros(count, int)
        for name in order:
            # lexsort: the last key decides first.
            fold = int(np.lexsort((generator.random(count), cases, patients, in_stratum))[0])
            folds[name] = fold
            in_stratum[fold] += 1
            patients[fold] += 1
            cases[fold] += weight[name]
    return folds


def _strata(by_patient: dict[str, list[Case]]) -> dict[str, Response]:
    """Each patient's rarest class: the one that fewest patients have; of equals the one nearer to CR."""
    shared = Counter(response for cases in by_patient.values() for response in {case.response for case in cases})
    return {
        name: min((case.response for case in cases), key=lambda response: (shared[response], -response.class_index))
        for name, cases in by_patient.items()
    }


def _by_patient(cases: list[Case]) -> dict[str, list[Case]]:
    """Cases by patient, patients sorted: nothing drawn may depend on the order of rows."""
    grouped: dict[str, list[Case]] = {}
    for case in sorted(cases, key=_case_order):
        grouped.setdefault(case.patient, []).append(case)
    return grouped


def _case_order(case: Case) -> tuple[object, ...]:
    return (case.patient, case.current)
