"""The audit of a split: figures per seed and overall, and a plain sentence for each finding."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ranoscope import provenance, runs
from ranoscope.auditing.leaks import Leaks, find_leaks
from ranoscope.auditing.sampling import sampling_error
from ranoscope.auditing.splits import Split, read_split
from ranoscope.domain import RESEARCH_USE_ONLY, RESPONSES
from ranoscope.evaluation.identity import identity_probabilities
from ranoscope.evaluation.predictions import FloatArray, IntArray, Predictions
from ranoscope.evaluation.scores import confusion, median_of_folds, recalls
from ranoscope.evaluation.weighting import whole_sample

LEAKS = {
    "patient_in_training": "have the same patient in training",
    "shares_a_scan": "share an input scan with a training case",
    "previous_visit_trained_on": "follow a visit that is a labelled training case",
}
_CHANCE = 1 / len(RESPONSES)


def audit_folds(folds: Path, cohort_run: Path, out: Path | None = None) -> dict[str, Any]:
    """Audit a table of folds and, with ``out``, write audit.json, settings and provenance there.

    Raises:
        RunError, TableError: see ``read_split``.
        StorageError: the disk is full or not writable.
    """
    split = read_split(folds, cohort_run)
    path = folds / runs.FOLDS if folds.is_dir() else folds
    content = audit_split(split)
    if out is not None:
        inputs = {"folds": provenance.file_hash(path), runs.COHORT: provenance.file_hash(cohort_run / runs.COHORT)}
        settings = {"protocol": split.protocol, "sampling_error": content["sampling_error"]}
        provenance.record(out, "audit", settings, inputs)
        runs.write_json(out / runs.AUDIT, content)
    return content


def audit_split(split: Split) -> dict[str, Any]:
    """Content of audit.json. Scores and shares are fractions; ``overall`` takes the mean over seeds.

    ``patients_leak``: some test case has its patient in training. A patient's class is not looked at for that.
    """
    counts = _class_counts(split)
    per_seed = _audit_seeds(split, counts)
    content: dict[str, Any] = {
        "protocol": split.protocol,
        "warning": split.warning,
        "cases": len(split.cases),
        "patients": len({case.patient for case in split.cases}),
        "folds": len(split.labels),
        "cases_per_response": _by_response(np.bincount(split.truth, minlength=len(RESPONSES))),
        "patients_leak": any(seed["leaks"]["patient_in_training"]["cases"] for seed in per_seed),
        "overall": _overall(per_seed),
        "seeds": per_seed,
        "sampling_error": sampling_error(counts).as_dict(),
        "note": RESEARCH_USE_ONLY,
    }
    return {**content, "findings": _findings(content)}


def _audit_seeds(split: Split, counts: IntArray) -> list[dict[str, Any]]:
    probabilities = identity_probabilities(split.cases, split.folds)
    per_seed = []
    for place, seed in enumerate(split.seeds):
        of_seed = slice(place, place + 1)
        answers = Predictions(
            split.cases,
            (seed,),
            split.folds[of_seed],
            probabilities[of_seed],
            probabilities[of_seed].argmax(axis=2),
        )
        per_seed.append(
            {
                "seed": seed,
                "leaks": _count(find_leaks(split.cases, split.folds[place])),
                "patient_and_week": _score(answers),
                "folds": [
                    {"fold": label, **_by_response(row)}
                    for label, row in zip(split.labels, counts[place], strict=True)
                    if row.any()
                ],
            }
        )
    return per_seed


def _count(leaks: Leaks) -> dict[str, dict[str, float]]:
    found = zip(LEAKS, (leaks.patient, leaks.scan, leaks.previous), strict=True)
    return {name: {"cases": int(leak.sum()), "share": float(leak.mean())} for name, leak in found}


def _score(answers: Predictions) -> dict[str, float]:
    """Pooled over the classes the cohort holds, as scikit-learn does, and the median over folds."""
    matrix = confusion(answers.truth, answers.calls[0], whole_sample(len(answers.cases)))
    each: FloatArray = recalls(matrix)
    return {
        "balanced_accuracy": float(np.nanmean(each)),
        "median_of_folds": median_of_folds(answers)["estimate"],
    }


def _class_counts(split: Split) -> IntArray:
    """Cases per seed, fold and class, shape (s, f, 4)."""
    classes = np.eye(len(RESPONSES), dtype=np.int64)[split.truth]
    members = split.folds[:, None, :] == np.arange(len(split.labels))[:, None]
    counts: IntArray = members.astype(np.int64) @ classes
    return counts


def _by_response(counts: IntArray) -> dict[str, int]:
    return {str(response): int(counts[response.class_index]) for response in reversed(RESPONSES)}


def _overall(per_seed: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    shares = {name: float(np.mean([seed["leaks"][name]["share"] for seed in per_seed])) for name in LEAKS}
    names = per_seed[0]["patient_and_week"]
    scores = {name: float(np.mean([seed["patient_and_week"][name] for seed in per_seed])) for name in names}
    return {"leaks": shares, "patient_and_week": scores}


def _findings(content: dict[str, Any]) -> list[str]:
    """One plain sentence per finding."""
    leaks, known = content["overall"]["leaks"], content["overall"]["patient_and_week"]
    error = content["sampling_error"]
    found = [f"{_percent(leaks[name])} of test visits {what}." for name, what in LEAKS.items()]
    if not content["patients_leak"]:
        found = ["No patient is on both sides: no test visit shares patient, scan or earlier label with training."]
    found.append(
        f"Patient id and week alone, with no image, score {_percent(known['balanced_accuracy'])} balanced accuracy "
        f"pooled, {_percent(known['median_of_folds'])} as the median of folds; chance is {_percent(_CHANCE)}."
    )
    lacking = sum(0 in fold.values() for seed in content["seeds"] for fold in seed["folds"])
    total = sum(len(seed["folds"]) for seed in content["seeds"])
    if lacking:
        found.append(f"{lacking} of {total} folds lack a class: their balanced accuracy is over fewer classes.")
    found.append(
        f"At a true recall of {error['true_recall']} in every class, 95 % of fold scores lie between "
        f"{_range(error['fold'])}, of medians of folds between {_range(error['median_of_folds'])}, of pooled scores "
        f"between {_range(error['pooled'])}, by chance alone and if visits were independent."
    )
    found.append(f"One visit more or less right moves a fold's score by up to {100 * error['one_visit']:.1f} points.")
    return found


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _range(found: dict[str, float]) -> str:
    return f"{100 * found['low']:.0f} and {100 * found['high']:.0f} %"
