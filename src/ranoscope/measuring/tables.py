"""What `ranoscope measure` shows at a terminal."""

from __future__ import annotations

from rich.table import Table

from ranoscope.response.criteria import RANO_HGG
from ranoscope.response.repeatability import band_95
from ranoscope.response.targets import gone, measurable
from ranoscope.response.timeline import Compartment, Lesion, Timeline


def render_lesions(timeline: Timeline) -> Table:
    """A row per enhancing lesion and scan; the non-enhancing ones are in lesions.csv."""
    table = Table(title=f"Enhancing lesions of {timeline.patient}", header_style="bold", box=None, pad_edge=False)
    for heading in ("Scan", "Lesion"):
        table.add_column(heading)
    for heading in ("Volume, ml", "Diameters, mm", "Product, mm²", "95 % band"):
        table.add_column(heading, justify="right")
    table.add_column("Measurable")
    for scan in timeline.scans:
        lesions = [one for one in scan.lesions or () if one.compartment is Compartment.ENHANCING and not gone(one)]
        if not lesions:
            table.add_row(scan.id, "not measured" if scan.lesions is None else "none")
        for place, lesion in enumerate(lesions):
            table.add_row("" if place else scan.id, lesion.id, *_numbers(lesion))
    return table


def _numbers(lesion: Lesion) -> tuple[str, str, str, str, str]:
    volume, product = lesion.volume_mm3 or 0.0, lesion.product_mm2 or 0.0
    low, high = band_95(product, lesion.product_sd or 0.0)
    answer = "yes" if measurable(lesion, RANO_HGG.parts[Compartment.ENHANCING]) else "no"
    diameters = f"{lesion.longest_mm or 0:.1f} × {lesion.perpendicular_mm or 0:.1f}"
    return f"{volume / 1000:.2f}", diameters, f"{product:.0f}", f"{low:.0f}–{high:.0f}", answer
