"""Looking scores up in scores.json, and the table of them for the terminal."""

from __future__ import annotations

from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ranoscope.explaining.methods import METHODS
from ranoscope.explaining.opened import BOTH
from ranoscope.explaining.scores.pooling import ALL
from ranoscope.explaining.scoring import CALLED

WHOLE = "whole tumour"
# Score, its title, and the mask that it is judged against.
HEADLINE = (
    ("pointing", "Pointing", WHOLE), ("mass", "Mass", WHOLE), ("rank", "Rank", WHOLE), ("auc", "AUC", WHOLE),
    ("deletion", "Deletion", ""), ("insertion", "Insertion", ""),
)  # fmt: skip


def find(content: dict[str, Any], **wanted: str) -> dict[str, Any] | None:
    """The pooled score of these names; of the called class over all cases in both studies unless told otherwise.

    Args:
        content: of scores.json.
        wanted: any of method, explained, expert, view, mask, score.
    """
    names = {"explained": CALLED, "expert": ALL, "view": BOTH, **wanted}
    return next((row for row in content["pooled"] if all(row[key] == value for key, value in names.items())), None)


def methods_of(content: dict[str, Any]) -> list[str]:
    """Names of the methods that were scored, in the order of their list."""
    present = {row["method"] for row in content["pooled"]}
    return [str(method) for method in METHODS if method in present]


def render_findings(content: dict[str, Any]) -> RenderableType:
    """Scores of every method against the whole tumour in both studies, for the called class."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1))
    table.add_column("Method", no_wrap=True)
    for _, title, _mask in HEADLINE:
        table.add_column(title, justify="right")
    for method in methods_of(content):
        found = [find(content, method=method, mask=mask, score=score) for score, _, mask in HEADLINE]
        table.add_row(METHODS[method].title, *map(_value_beside_chance, found))
    marks = [Text(content["watermark"], "bold red")] if content["watermark"] else []
    cases = f"{content['cases']} cases of {content['patients']} patients"
    others = [Text(sentence) for sentence in (other_run_sentence(content),) if sentence]
    return Group(
        *marks,
        Text(f"Do the maps of the called class find the whole tumour? {cases}", "bold"),
        table,
        Text("In brackets what chance scores in these cases. Deletion: lower is better; all others: higher.", "dim"),
        *others,
    )


def other_run_sentence(content: dict[str, Any]) -> str | None:
    """How alike the examples' maps are to those of the run that they were compared with; None where there is none."""
    other = content["other_run"]
    if other is None:
        return None
    network = "the same network" if other["same_network"] else "another network"
    who = f"{network} trained on {other['labels']} labels (recipe {other['recipe']}, seed {other['seed']})"
    told = [
        f"{METHODS[row['method']].title} {row['spearman']:.2f} ({row['cases']} cases)"
        for row in other["rows"]
        if row["spearman"] is not None and row["cases"]
    ]
    return f"Rank correlation of the examples' maps with those of {who}: {', '.join(told) or 'no case in common'}."


def _value_beside_chance(found: dict[str, Any] | None) -> str:
    if found is None or found["mean"]["estimate"] is None:
        return "–"
    chance = "" if found["chance"] is None else f" ({found['chance']:.2f})"
    return f"{found['mean']['estimate']:.2f}{chance}"
