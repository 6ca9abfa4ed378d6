"""Calls for the terminal: one patient's scans in full, the criteria side by side, or many patients in a line each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ranoscope.response.calls import Call, Category, Evaluation, SizeComparison
from ranoscope.response.criteria import CRITERIA
from ranoscope.response.endpoints import Endpoints
from ranoscope.response.outputs import rating, why_they_differ
from ranoscope.response.timeline import Compartment

_TITLES = {criteria.name: criteria.title for criteria in CRITERIA}
_STYLES = {Category.CR: "bold green", Category.PR: "green", Category.MR: "green", Category.PD: "bold red"}


def render_calls(evaluations: Sequence[Evaluation], endpoints: Sequence[Endpoints]) -> RenderableType:
    """Tables of calls: of one patient scan by scan, of several a line per patient and criteria set.

    Args:
        evaluations: grouped by patient.
        endpoints: one per evaluation, in the same order.
    """
    if len({one.patient for one in evaluations}) > 1:
        body: list[RenderableType] = [_patients(evaluations, endpoints)]
    elif len(evaluations) == 1:
        body = [*_scans(evaluations[0]), _patients(evaluations, endpoints)]
    else:
        body = [*_side_by_side(evaluations), _patients(evaluations, endpoints)]
    return Group(*body, *_remarks(evaluations))


def _scans(evaluation: Evaluation) -> Iterator[RenderableType]:
    unit = evaluation.measure.unit
    yield Text(f"{evaluation.patient} under {_TITLES.get(evaluation.criteria, evaluation.criteria)}", "bold")
    table = _table()
    for heading in ("Scan", "Day", "Call", unit, "vs nadir", "vs base", "Other?"):
        table.add_column(heading, justify="left" if heading in ("Scan", "Call") else "right", no_wrap=True)
    for call in evaluation.calls:
        table.add_row(call.scan, str(call.day), _answer(call), *_numbers(call.size))
        for compartment in Compartment if call.parts else ():
            part = call.part(compartment)
            table.add_row(Text(f"  {compartment}", "dim"), "", _answer(part), *_numbers(part.size))
    yield table
    for call in evaluation.calls:
        if why := _why(call):
            yield Text.assemble((f"{call.scan} ", "bold"), why)


def _side_by_side(evaluations: Sequence[Evaluation]) -> Iterator[RenderableType]:
    yield Text(f"{evaluations[0].patient}: the criteria side by side", "bold")
    table = _table()
    for heading in ("Scan", "Day", *(one.criteria for one in evaluations)):
        table.add_column(heading, no_wrap=True, justify="right" if heading == "Day" else "left")
    reasons = []
    for calls in zip(*(one.calls for one in evaluations), strict=True):
        why = why_they_differ({one.criteria: call for one, call in zip(evaluations, calls, strict=True)})
        table.add_row(calls[0].scan + (" ≠" if why else ""), str(calls[0].day), *(_answer(call) for call in calls))
        reasons += [Text.assemble((f"{calls[0].scan} ", "bold"), why)] if why else []
    yield table
    yield from reasons


def _patients(evaluations: Sequence[Evaluation], endpoints: Sequence[Endpoints]) -> Table:
    table = _table()
    for heading in ("Patient", "Criteria", "Scans", "Best", "Confirmed", "Progression", "Days"):
        table.add_column(heading, justify="right" if heading in ("Scans", "Days") else "left")
    for evaluation, derived in zip(evaluations, endpoints, strict=True):
        first = derived.first
        cells = ["no baseline", "", "", ""] if first is None else [
            first.best_response, first.best_confirmed_response,
            first.progression_scan or (f"{first.pending_progression}?" if first.pending_progression else "none"),
            f"{first.time_to_progression.days}{'' if first.time_to_progression.event else '+'}",
        ]  # fmt: skip
        table.add_row(evaluation.patient, evaluation.criteria, str(len(evaluation.calls)), *cells)
    return table


def _remarks(evaluations: Sequence[Evaluation]) -> list[Text]:
    rated = [call for one in evaluations for call in one.calls if call.category is not None]
    provisional = sum(call.provisional for call in rated)
    lines = [
        "(PR?): waits for confirmation. *: provisional, an unknown fact may change it. Other?: chance that measuring "
        "again gives another category. Best to Days: first series; +: no progression so far.",
        f"{provisional} of {len(rated)} calls are provisional.",
    ]
    return [Text(line, "dim") for line in lines]


def _table() -> Table:
    return Table(box=box.SIMPLE_HEAD, padding=(0, 1))


def _answer(call: Call) -> Text:
    style = "dim" if call.category is None else _STYLES.get(call.category, "")
    return Text(rating(call) + ("*" if call.provisional else ""), style)


def _numbers(size: SizeComparison | None) -> tuple[str, str, str, str]:
    if size is None:
        return "", "", "", ""
    other = "" if size.probability_other is None else f"{100 * size.probability_other:.0f} %"
    return f"{size.now:,.6g}", _change(size.now, size.nadir), _change(size.now, size.baseline), other


def _change(now: float, reference: float) -> str:
    return "" if reference == 0 else f"{100 * (now - reference) / reference:+.1f} %"


def _why(call: Call) -> str:
    told = [call.rule_sentence or "", *(f"{flag[:1].upper()}{flag[1:]}." for flag in call.flags)]
    told += [f"Unknown: {', '.join(call.unknown)}."] if call.provisional and call.unknown else []
    return " ".join(sentence for sentence in told if sentence)
