"""How good the maps are, shaped for the page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ranoscope.domain import RESPONSES
from ranoscope.drawing import inline_svg
from ranoscope.explaining.methods import METHODS
from ranoscope.explaining.outputs import read_charts, read_findings
from ranoscope.explaining.tables import HEADLINE, find, methods_of, other_run_sentence

_CAPTIONS = {
    "localisation": "Do maps of the called class lie on the whole tumour of either study?",
    "spread": "The same, case by case: no single picture stands for a method.",
    "paths": "Does the called class's probability change as soon as what a map calls important goes, or comes?",
    "volumes": "What the called class's output loses when a study or a sequence gives way to its own mean.",
    "randomisation": "A map that stays while the network forgets does not depend on what was learnt.",
}
# What a map is scored on besides the whole tumour of both studies.
_FURTHER = (
    ("Enhancing tumour, both studies", {"mask": "enhancing"}),
    ("Whole tumour, prior study", {"mask": "whole tumour", "view": "prior"}),
    ("Whole tumour, current study", {"mask": "whole tumour", "view": "current"}),
    ("Whole tumour, maps of the true class", {"mask": "whole tumour", "explained": "true"}),
    *((f"Whole tumour, expert's {name}", {"mask": "whole tumour", "expert": str(name)}) for name in RESPONSES),
)


def describe_explanations(run: Path) -> dict[str, Any]:
    """What the section shows of scores.json and its charts.

    Raises:
        RunError: the run was not explained.
    """
    content = read_findings(run)
    charts = read_charts(run)
    methods = methods_of(content)
    drawn = content["drawn_per_class"]
    which = "All" if drawn is None else f"Up to {drawn} drawn at random of each of the expert's classes:"
    return {
        "lead": f"{which} {content['cases']} cases of {content['patients']} patients, each explained by the network of "
        f"its own fold. Scores use what speaks for the class, inside the brain; intervals are of "
        f"{100 * content['coverage']:.0f} % over patients. Chance is what a map that knows nothing scores on these "
        "cases, the ceiling what the cells of the layer that a map is read from allow.",
        "columns": [title for _, title, _ in HEADLINE],
        "rows": [
            {
                "title": METHODS[method].title,
                "reading": METHODS[method].reading,
                "cells": [_cell(find(content, method=method, mask=mask, score=score)) for score, _, mask in HEADLINE],
            }
            for method in methods
        ],
        "methods": [METHODS[method].title for method in methods],
        "further": [
            {
                "title": title,
                "cells": [_cell(find(content, **{"method": method, "score": "auc", **names})) for method in methods],
            }
            for title, names in _FURTHER
        ],
        "charts": [(inline_svg(charts[name]), text) for name, text in _CAPTIONS.items() if name in charts],
        "other_run": other_run_sentence(content),
        "undefined": _undefined(content),
    }


def _cell(found: dict[str, Any] | None) -> dict[str, Any]:
    """A score, its interval, and what chance and the layer's cells would score, as text; a dash where undefined."""
    if found is None or found["mean"]["estimate"] is None:
        return {"value": "–", "interval": "", "bounds": []}
    mean = found["mean"]
    told = [f"{name} {found[name]:.2f}" for name in ("chance", "ceiling") if found[name] is not None]
    return {
        "value": f"{mean['estimate']:.2f}",
        "interval": "" if mean["low"] is None else f"{mean['low']:.2f} to {mean['high']:.2f}",
        # A ceiling of 1 is no ceiling: it goes without saying.
        "bounds": [text for text in told if text != "ceiling 1.00"],
    }


def _undefined(content: dict[str, Any]) -> list[str]:
    """Sentences on what could not be scored, each reason once per score with the most cases that it held for."""
    most: dict[tuple[str, str], int] = {}
    for row in content["pooled"]:
        for reason, count in row["undefined"].items():
            place = (row["mask"] or row["score"], reason)
            most[place] = max(most.get(place, 0), count)
    return [f"{what}: {reason} (up to {count} cases of a method and study)" for (what, reason), count in most.items()]
