"""What a scorecard says of its cohort, its protocol and its target, besides scores."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from ranoscope.config import EvaluationSettings, FoldProtocol
from ranoscope.domain import RESPONSES
from ranoscope.evaluation.predictions import Predictions

# With n patients the bootstrap's variance is too small by the factor 1 - 1/n: below five by a quarter and more.
_FEW_PATIENTS = 5
TWO_CLASSES = (
    "The model learnt PD against the rest: only figures of PD against the rest are meaningful, its rivals' too; "
    "calls.csv deals what is not PD out to SD, PR and CR as they are among the training cases."
)


def describe_cohort(predictions: Predictions) -> dict[str, Any]:
    """Counts of cases and patients."""
    cases = predictions.cases
    return {
        "cases": len(cases),
        "patients": len(set(predictions.patients)),
        "cases_per_response": {str(r): sum(case.response is r for case in cases) for r in RESPONSES},
        "cases_per_class": {
            name: int((predictions.truth == place).sum()) for place, name in enumerate(predictions.classes)
        },
        "patients_per_response": {
            str(r): len({case.patient for case in cases if case.response is r}) for r in RESPONSES
        },
        "first_progression_cases": int(predictions.first_progression.sum()),
        "prior_ratings": dict(sorted(Counter(str(case.prior_rating) for case in cases).items())),
        "seeds": list(predictions.seeds),
        "folds": [len(np.unique(folds)) for folds in predictions.folds],
    }


def rare_classes(predictions: Predictions) -> list[str]:
    """A sentence for each class whose recall rests on so few people that resampling them says little."""
    holders = {r: {case.patient for case in predictions.cases if case.response is r} for r in RESPONSES}
    return [
        f"{response} occurs in {len(names)} patient{'' if len(names) == 1 else 's'}: the interval of its recall is too "
        "narrow, and so is that of balanced accuracy."
        for response, names in holders.items()
        if 0 < len(names) < _FEW_PATIENTS
    ]


def describe_protocol(settings: EvaluationSettings, seeds: int, protocol: FoldProtocol) -> dict[str, Any]:
    """How answers were pooled and intervals made."""
    return {
        "folds": str(protocol),
        "unit": "patient",
        "bootstrap": settings.bootstrap,
        "coverage": settings.coverage,
        "seed": settings.seed,
        "predictions": "pooled out of fold" + (f", scores averaged over {seeds} seeds" if seeds > 1 else ""),
        "intervals": "percentile intervals over resamples of patients; differences are paired on the same resamples",
        "absent_classes": (
            "A resample that lacks a class a score needs gives no value and is left out of that score's interval "
            "(counted in left_out); with fewer than half of the resamples left there is no interval."
        ),
    }
