"""The shortcut audit for the terminal."""

from __future__ import annotations

from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ranoscope.probing.sentences import percent, points
from ranoscope.probing.verdicts import Verdict

_STYLES = {
    Verdict.AS_IT_SHOULD: "green",
    Verdict.NOTEWORTHY: "yellow",
    Verdict.SHORTCUT: "bold red",
    Verdict.UNCERTAIN: "dim",
}


def render_shortcuts(content: dict[str, Any]) -> RenderableType:
    """A row per probe, a sentence per finding.

    Args:
        content: content of shortcuts.json.
    """
    title = f"{content['cases']} cases of {content['patients']} patients; as called: balanced accuracy "
    mark = [Text(content["watermark"], "bold red")] if content["watermark"] else []
    return Group(
        Text(title + percent(content["balanced_accuracy"]), "bold"), *mark, _probes(content["probes"]),
        *(_line(title, entry) for title, entry in findings(content)), _conclusion(content),
    )  # fmt: skip


def findings(content: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Title and entry of everything that has a verdict, probes first."""
    probes = [(entry["title"], entry) for entry in content["probes"]]
    alone = [(f"A model of the {entry['fact']} alone", entry) for entry in content["yardsticks"]]
    decoded = [(f"{entry['fact'].capitalize()} in the features", entry) for entry in content["weeks"]]
    return [*probes, *alone, *decoded, ("Patient in the features", content["identity"])]


def _probes(entries: list[dict[str, Any]]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1))
    table.add_column("Probe")
    for heading in ("Balanced accuracy", "Change", "Calls changed"):
        table.add_column(heading, justify="right")
    table.add_column("Verdict")
    for entry in entries:
        numbers = (percent(entry["balanced_accuracy"]), points(entry), percent(entry["changed"]))
        table.add_row(entry["title"], *numbers, Text(entry["verdict"], _STYLES[Verdict(entry["verdict"])]))
    return table


def _line(title: str, entry: dict[str, Any]) -> Text:
    return Text.assemble(("• ", _STYLES[Verdict(entry["verdict"])]), (f"{title}: ", "bold"), entry["sentence"])


def _conclusion(content: dict[str, Any]) -> Text:
    count = content["verdicts"][Verdict.SHORTCUT]
    if count:
        return Text(f"{count} of the probes found a shortcut.", _STYLES[Verdict.SHORTCUT])
    return Text("No probe found a shortcut; what is uncertain may still hide one.", _STYLES[Verdict.AS_IT_SHOULD])
