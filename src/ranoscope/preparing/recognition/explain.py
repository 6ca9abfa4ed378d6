"""The decisions as rows, for a terminal and for a CSV. Series facts hold no identifiers, nor do these rows."""

from __future__ import annotations

from collections.abc import Sequence as Sequential

from rich.table import Table
from rich.text import Text

from ranoscope.preparing.recognition.decision import Recognition
from ranoscope.preparing.series import SeriesFacts

COLUMNS = ("number", "name", "decision", "set_aside", "reasons")


def rows(recognition: Recognition, series: Sequential[SeriesFacts]) -> list[dict[str, str]]:
    """A row of ``COLUMNS`` per series, by number and name.

    ``decision``: the sequence, empty where the series is set aside, ``set_aside`` then says why; ``reasons`` with
    semicolons between them.
    """
    made = [
        {
            "number": "" if facts.number is None else str(facts.number),
            "name": facts.description or facts.protocol or facts.file_name,
            "decision": str(one.sequence or ""),
            "set_aside": str(one.set_aside or ""),
            "reasons": "; ".join(one.reasons),
        }
        for one, facts in zip(recognition.decisions, series, strict=True)
    ]
    return sorted(made, key=lambda row: (row["number"] == "", int(row["number"] or 0), row["name"]))


def explain(recognition: Recognition, series: Sequential[SeriesFacts]) -> Table:
    """The same for a terminal; the title names the sequences that were not found."""
    missing = ", ".join(recognition.missing)
    title = f"Series of the study; not found: {missing}" if missing else "Series of the study"
    table = Table(title=title, header_style="bold", box=None, pad_edge=False)
    table.add_column("Number", justify="right")
    for heading in ("Name", "Decision", "Reasons"):
        table.add_column(heading)
    for row in rows(recognition, series):
        style = "bold" if row["decision"] else "dim"
        answer = row["decision"] or row["set_aside"]
        table.add_row(*(Text(value, style=style) for value in (row["number"], row["name"], answer, row["reasons"])))
    return table
