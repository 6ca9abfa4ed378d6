"""The look of every drawing, and how it becomes bytes: the same drawing is the same bytes."""

from __future__ import annotations

import io
from typing import Any

from matplotlib.figure import Figure

# Draw inside ``mpl.rc_context(STYLE)``.
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "ranoscope",
    "font.family": "sans-serif",
    # One measured face, then whatever the reader's system calls sans-serif.
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.axisbelow": True,
    "axes.grid.axis": "x",
    "grid.color": "#dddddd",
}


def svg_bytes(figure: Figure) -> bytes:
    """The figure as SVG."""
    stream = io.BytesIO()
    # Without a date the same figure is the same bytes.
    figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
    return stream.getvalue()


def png_bytes(figure: Figure, dots_per_inch: int) -> bytes:
    """The figure as PNG."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=dots_per_inch, metadata={"Software": None})
    return stream.getvalue()


def inline_svg(drawing: bytes) -> str:
    """An SVG without its XML prologue, which HTML does not allow inside a page."""
    text = drawing.decode("utf-8")
    return text[text.index("<svg") :]
