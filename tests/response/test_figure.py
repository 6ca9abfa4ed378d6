"""The figure of a timeline: what it draws is where arithmetic says, its words are text, its bytes are the same."""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure

from ranoscope.domain import RESEARCH_USE_ONLY
from ranoscope.response import figure as module
from ranoscope.response.calls import Call, Category, Evaluation, Stage
from ranoscope.response.criteria import CRITERIA, MRANO, RANO_2, RANO_HGG, RANO_LGG
from ranoscope.response.engine import evaluate
from ranoscope.response.figure import draw_timeline
from ranoscope.response.repeatability import product_sd
from ranoscope.response.strip import Clock, arrange
from ranoscope.response.timeline import Disease, Measure, Scan, Sizes, Surgery, Timeline

SURGERY = [None, *Surgery]


def timeline(*sizes: float | None, step: int = 35, **more) -> Timeline:
    scans = [Scan(id=f"s{place}", day=place * step, enhancing=Sizes(spd_mm2=size)) for place, size in enumerate(sizes)]
    return Timeline(patient="P-1", scans=tuple(scans), recurrent=True, **more)


@pytest.fixture
def drawn(monkeypatch):
    """The figure before it becomes SVG."""

    def run(of: Timeline, criteria=RANO_HGG, measure=Measure.AREA) -> Figure:
        kept = []
        monkeypatch.setattr(module, "svg_bytes", lambda figure: kept.append(figure) or b"")
        draw_timeline(of, criteria, evaluate(of, criteria, measure))
        return kept[0]

    return run


def lines(axes, dashes: str | None = None):
    """Points of the drawn lines that are not a single mark, dashed in any way ("--") or solid ("-")."""
    return [
        np.column_stack(line.get_data()).astype(float)
        for line in axes.lines
        if line.get_linestyle() == dashes and len(line.get_xdata()) > 1 and line.get_transform() == axes.transData
    ]


def words(svg: bytes) -> list[str]:
    root = ET.fromstring(svg)
    return ["".join(one.itertext()).strip() for one in root.iter("{http://www.w3.org/2000/svg}text")]


def test_thresholds_stand_where_arithmetic_puts_them(drawn):
    panel = drawn(timeline(800, 500, 390, 480, 500)).axes[1]
    steps = next(one for one in lines(panel, "--") if len(one) == 8)
    # 25 % above the nadir before each scan: 800, 500, 390, 390. Follow-up of 140 days or more is shown in weeks.
    assert steps[:, 1].tolist() == [1000, 1000, 625, 625, 487.5, 487.5, 487.5, 487.5]
    assert steps[:, 0].tolist() == [0, 5, 5, 10, 10, 15, 15, 20]
    response = next(one for one in lines(panel, "--") if len(one) == 2)
    assert response.tolist() == [[0, 400], [20, 400]]


def test_burden_and_its_band(drawn):
    panel = drawn(timeline(800, 500, None, 480)).axes[1]
    burden = next(one for one in lines(panel, "-") if len(one) == 4)
    assert burden[[0, 1, 3], 1].tolist() == [800, 500, 480]
    assert math.isnan(burden[2, 1])
    bars = panel.collections[1].get_segments()
    expected = [size * math.exp(side * 1.96 * product_sd(size)) for size in (800, 500) for side in (-1, 1)]
    assert [end[1] for bar in bars[:2] for end in bar] == pytest.approx(expected)
    # What is not known is marked at zero.
    marks = [line for line in panel.lines if line.get_marker() == "x"]
    assert [line.get_xdata() for line in marks] == [[70]]


def test_short_follow_up_is_in_days_and_zero_is_shown(drawn):
    figure = drawn(timeline(800, 500, step=30))
    assert figure.axes[-1].get_xlabel() == "Days since the first scan"
    assert figure.axes[1].get_ylim()[0] < 0
    assert figure.axes[1].get_yscale() == "linear"
    wide = drawn(timeline(8000, 90, 0, step=100)).axes[1]
    assert wide.get_yscale() == "symlog"
    assert wide.get_ylim()[0] < 0


def test_a_threshold_needs_a_nadir_above_zero(drawn):
    panel = drawn(timeline(800, 0, 0)).axes[1]
    steps = next(one for one in lines(panel, "--") if len(one) == 4)
    assert steps[:2, 1].tolist() == [1000, 1000]
    assert np.isnan(steps[2:, 1]).all()


def test_operations_radiotherapy_and_the_early_window(drawn):
    scans = (
        Scan(id="pre", day=0, surgery=Surgery.PRE_OP, enhancing=Sizes(spd_mm2=900)),
        Scan(id="post", day=4, surgery=Surgery.POST_OP, enhancing=Sizes(spd_mm2=100)),
        Scan(id="a", day=80, enhancing=Sizes(spd_mm2=90)),
        Scan(id="post2", day=400, surgery=Surgery.POST_OP, enhancing=Sizes(spd_mm2=50)),
    )
    panel = drawn(Timeline(patient="P", scans=scans, radiotherapy_end_day=49)).axes[1]
    upright = {round(line.get_xdata()[0] * 7, 3): line.get_linestyle() for line in panel.lines
               if line.get_transform() == panel.get_xaxis_transform()}  # fmt: skip
    # Between pre- and post-operative scan, and at a post-operative one without the other; the window lasts 84 days.
    assert upright == {2: "-", 49: "-.", 400: "-"}
    (window,) = panel.patches
    assert (window.get_x() * 7, (window.get_x() + window.get_width()) * 7) == pytest.approx((49, 133))
    assert window.get_hatch()
    told = [text.get_text() for text in panel.texts]
    assert told.count("surgery") == 2
    assert "end of radiotherapy" in told
    assert (told.count("B"), told.count("N")) == (2, 0)


def test_marks_of_baseline_and_of_every_nadir(drawn):
    panel = drawn(timeline(800, 500, 600, 400, 450)).axes[1]
    marked = {line.get_marker(): [] for line in panel.lines}
    for line in panel.lines:
        marked[line.get_marker()] += list(line.get_ydata())
    assert marked["s"] == [800]
    # 500 is the nadir of scans 2 and 3, 400 that of scan 4.
    assert marked["v"] == [500, 400]


def test_calls_stand_in_letters_with_their_marks():
    made = evaluate(timeline(800, 390, 380, 500), RANO_HGG)
    svg = draw_timeline(timeline(800, 390, 380, 500), RANO_HGG, made)
    told = words(svg)
    for text in ("base", "SD* (PR?)", "PR*", "PD*", "P-1 under RANO-HGG 2010", "B", "N", "PD: nadir + 25 %"):
        assert text in told
    assert "PR: baseline − 50 %" in told
    assert any("waits for confirmation" in line for line in told)
    assert RESEARCH_USE_ONLY in told
    assert not any("dated back" in line for line in told)


def test_thresholds_are_named_though_nothing_is_left_after_an_operation():
    of = timeline(800, 390, 380, 0, 0)
    after = of.scans[3].model_copy(update={"surgery": Surgery.POST_OP})
    of = of.model_copy(update={"scans": (*of.scans[:3], after, of.scans[4])})
    told = words(draw_timeline(of, RANO_HGG, evaluate(of, RANO_HGG)))
    assert told.count("PD: nadir + 25 %") == told.count("PR: baseline − 50 %") == 1


def test_a_progression_that_is_dated_back_is_told():
    of = timeline(600, 800, 1010)
    told = words(draw_timeline(of, MRANO, evaluate(of, MRANO)))
    assert "Progression at s2 dated back to s1" in told


def test_two_panels_of_a_mixed_tumour_share_the_calls(drawn):
    scans = tuple(
        Scan(id=f"s{day}", day=day, enhancing=Sizes(spd_mm2=one), nonenhancing=Sizes(spd_mm2=other))
        for day, one, other in ((0, 600, 2000), (60, 250, 2100), (120, 240, 1900))
    )
    of = Timeline(patient="P", scans=scans, disease=Disease.MIXED, recurrent=True)
    _, enhancing, other = drawn(of, RANO_2).axes
    assert enhancing.get_ylabel() == "Enhancing, sum of products (mm²)"
    assert other.get_ylabel() == "Non-enhancing, sum of products (mm²)"
    # Each panel has the limits of its own compartment, from its own nadir.
    steps = [next(one for one in lines(panel, "--") if len(one) == 4)[:, 1].tolist() for panel in (enhancing, other)]
    assert steps == [[750, 750, 312.5, 312.5], [2500, 2500, 2500, 2500]]
    assert "MR: baseline − 25 %" in [text.get_text() for text in other.texts]
    assert len(drawn(of, RANO_LGG).axes) == 2


def test_the_same_bytes_and_real_text():
    of = timeline(800, 390, 380, 500)
    svg = draw_timeline(of, RANO_HGG, evaluate(of, RANO_HGG))
    assert svg == draw_timeline(of, RANO_HGG, evaluate(of, RANO_HGG))
    assert b"<dc:date>" not in svg
    assert b"DejaVu Sans" in svg


def test_a_patient_may_be_called_anything():
    of = timeline(800, 500).model_copy(update={"patient": "a$_{<b>&$"})
    assert "a$_{<b>&$ under RANO-HGG 2010" in words(draw_timeline(of, RANO_HGG, evaluate(of, RANO_HGG)))


def test_letters_never_cover_each_other():
    """Of scans ever so close, letters in one lane keep their distance and the first lane is used first."""
    of = timeline(*[500] * 12, step=3)
    calls = [
        Call(scan=scan.id, day=scan.day, stage=Stage.ASSESSED, category=Category.SD, preliminary=Category.PR)
        for scan in of.scans
    ]
    lanes = arrange(calls, Clock(of))
    assert lanes[0] == 0
    clock = Clock(of)
    for lane in set(lanes):
        places = [clock.share(call.day) for call, its in zip(calls, lanes, strict=True) if its == lane]
        assert (np.diff(places) >= 2 * 0.85 * 0.052 - 1e-12).all()
    apart = timeline(500, 500, 500, step=300)
    assert arrange(evaluate(apart, RANO_HGG).calls, Clock(apart)) == [0, 0, 0]


@given(
    st.lists(st.tuples(st.none() | st.sampled_from([0.0, 3.0, 150.0, 9e5]), st.integers(0, 200),
                       st.sampled_from(SURGERY)), min_size=1, max_size=6),
    st.sampled_from(CRITERIA), st.none() | st.integers(-300, 300),
)  # fmt: skip
@settings(max_examples=8, deadline=None)
def test_any_timeline_can_be_drawn(drawn_scans, criteria, radiotherapy):
    day, scans = 0, []
    for place, (size, step, surgery) in enumerate(drawn_scans):
        day += step
        both = Sizes(spd_mm2=size, volume_mm3=size)
        scans.append(Scan(id=f"s{place}", day=day, surgery=surgery, enhancing=both, nonenhancing=both))
    of = Timeline(patient="P", scans=tuple(scans), radiotherapy_end_day=radiotherapy, disease=Disease.MIXED)
    made = evaluate(of, criteria, Measure.VOLUME)
    assert isinstance(made, Evaluation)
    told = words(draw_timeline(of, criteria, made))
    letters = [text for text in told if re.fullmatch(r"(CR|PR|MR|SD|PD|NE)\*?( \(..\?\))?", text)]
    assert len(letters) == sum(call.category is not None for call in made.calls)
