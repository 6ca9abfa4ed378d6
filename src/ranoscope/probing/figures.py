"""The figure of the shortcut audit: what each probe does to the score, with intervals over patients."""

from __future__ import annotations

from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import PercentFormatter

from ranoscope.drawing import STYLE, svg_bytes
from ranoscope.evaluation.figures import stamp
from ranoscope.probing.verdicts import Verdict

# Okabe and Ito's colours; shapes tell verdicts apart in print.
_LOOKS = {
    Verdict.AS_IT_SHOULD: ("#009e73", "o"),
    Verdict.NOTEWORTHY: ("#e69f00", "s"),
    Verdict.SHORTCUT: ("#d55e00", "X"),
    Verdict.UNCERTAIN: ("#7f7f7f", "D"),
}
_WIDTH, _HEAD, _ROW = 9.0, 1.4, 0.34
_PANELS = (("balanced_accuracy", "Balanced accuracy"), ("changed", "Calls changed"))


def draw_changes(content: dict[str, Any]) -> bytes:
    """Two panels beside each other, a row per probe: balanced accuracy, with what it was and chance, and changed calls.

    Args:
        content: content of shortcuts.json.
    """
    probes = content["probes"]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(_WIDTH, _HEAD + _ROW * len(probes)), layout=ConstrainedLayoutEngine(wspace=0.06))
        for axes, (name, title) in zip(figure.subplots(1, 2, sharey=True), _PANELS, strict=True):
            for place, entry in enumerate(probes):
                colour, marker = _LOOKS[Verdict(entry["verdict"])]
                found = entry[name]
                if found["estimate"] is None:
                    continue
                if found["low"] is not None:
                    axes.plot([found["low"], found["high"]], [place, place], color=colour, linewidth=2)
                axes.plot(found["estimate"], place, marker=marker, color=colour, markersize=7, linestyle="none")
            axes.set(xlim=(-0.02, 1.02), ylim=(len(probes) - 0.5, -0.5), title=title)
            axes.xaxis.set_major_formatter(PercentFormatter(1, symbol=" %"))
            axes.grid(visible=True)
        score, _ = figure.axes
        score.set_yticks(range(len(probes)), [entry["title"] for entry in probes])
        score.axvline(content["chance"], color="#444444", linestyle="--", linewidth=1, label="chance")
        before = content["balanced_accuracy"]["estimate"]
        if before is not None:
            score.axvline(before, color="#1b4f8f", linewidth=1.2, label="as called")
        used = [one for one in Verdict if any(entry["verdict"] == one for entry in probes)]
        for one in used:
            colour, marker = _LOOKS[one]
            score.plot([], [], marker=marker, color=colour, linewidth=2, label=str(one))
        handles, labels = score.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False, fontsize=8.5)
        stamp(figure, content["watermark"])
        return svg_bytes(figure)
