"""The first figure: gain retained of every row; and the strongest baseline that needs no more bytes than the set."""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ElementTree
from typing import Any

import pytest
from test_report_page import Page, view
from test_report_tables import KS, RECALLS, read, sample

from omnidistill.evaluation.intervals import Interval
from omnidistill.report.claims import rivalry
from omnidistill.report.dot_chart import Dot, dot_chart
from omnidistill.report.gain_dots import gain_dots
from omnidistill.report.page import render_page
from omnidistill.report.rivals import fits, strongest_rival, total_bytes
from omnidistill.report.run_table import percent

CHART: dict[str, Any] = {"title": "Gain", "x_label": "gain, %", "lines": {"none": 0.0, "all": 100.0}}


def rivals(set_bytes: int, /, **changes: dict[str, Any]) -> dict[str, Any]:
    """Scores with a set of this many bytes, initial heads of 1,000 bytes, and other changes to rows."""
    scores = sample()
    scores["bytes"]["initial_heads"] = 1_000
    for name in scores["lines"]:
        scores[name] |= {"bytes": set_bytes if name == "distilled" else 10**6, "needs_start": True}
        scores[name] |= changes.get(name, {})
    return scores


@pytest.mark.parametrize(
    ("changes", "rival"),
    [
        ({}, None),
        ({"random": {"bytes": 500}}, "random"),
        ({"random": {"bytes": 500}, "low_rank": {"bytes": 501}}, "random"),
        ({"random": {"bytes": 500}, "low_rank": {"bytes": 500}}, "low_rank"),  # the stronger one
        ({"random": {"bytes": 500}, "full": {"bytes": 1_500, "needs_start": False}}, "full"),  # needs no initial heads
        ({"zero_shot": {"bytes": 0}, "distilled": {"needs_start": False}}, None),
        ({"random": {"bytes": None}}, None),
    ],
)
def test_the_rival_is_the_strongest_baseline_that_needs_no_more_bytes(
    changes: dict[str, dict[str, Any]], rival: str | None
) -> None:
    scores = read(rivals(500, **changes))
    found = strongest_rival(scores, "R@1")
    assert (found is None) == (rival is None)
    if rival is None:
        assert rivalry(scores) == "No baseline in the table needs as few bytes."
    else:
        assert found == scores.rows[rival]
        assert fits(scores, scores.rows[rival])
        gain = scores.rows[rival].gain("R@1")
        assert gain is not None
        assert f"“{RECALLS[rival][0]}”, retains {percent(gain.mean, 0)}" in rivalry(scores)


def test_bytes_that_are_not_recorded_name_no_rival() -> None:
    scores = sample()
    for name in scores["lines"]:
        scores[name].pop("bytes", None)
    assert total_bytes(read(scores), read(scores).distilled) is None
    assert rivalry(read(scores)) == ""


def test_the_headline_names_the_rival() -> None:
    page = Page(render_page([view(rivals(500, equal_bytes={"bytes": 400}))]))
    assert (
        "at R@1. The strongest baseline that needs no more bytes, “full update, same bytes”, retains 27 %" in page.text
    )


def test_every_row_of_the_table_has_a_dot_at_its_gain_and_the_largest_is_at_the_top() -> None:
    scores = read(sample())
    charts = gain_dots(scores)
    assert [chart.level for chart in charts] == list(KS)
    for chart in charts:
        for svg in (chart.wide, chart.narrow):
            root = ElementTree.fromstring(svg)
            circles = list(root.iter("circle"))
            gains = sorted((row.gain(chart.level) for row in scores.rows.values() if row.gain(chart.level)), key=mean)
            assert [float(circle.get("cy", "")) for circle in circles] == sorted(
                float(circle.get("cy", "")) for circle in circles
            )
            places = [float(circle.get("cx", "")) for circle in circles]
            step = (places[0] - places[-1]) / (mean(gains[-1]) - mean(gains[0]))
            for place, gain in zip(places, reversed(gains), strict=True):
                assert place == pytest.approx(places[-1] + step * (mean(gain) - mean(gains[0])), abs=0.2)
    described = ElementTree.fromstring(charts[0].wide).findtext("desc") or ""
    assert all(label in described for label, _ in RECALLS.values())


def mean(gain: Interval | None) -> float:
    assert gain is not None
    return gain.mean


def test_a_baseline_that_needs_more_bytes_is_a_ring_and_the_set_is_coloured() -> None:
    (chart, *_) = gain_dots(read(rivals(500, random={"bytes": 400}, low_rank={"bytes": 501})))
    root = ElementTree.fromstring(chart.wide)
    names = [node.text for node in root.iter("text") if node.text in {label for label, _ in RECALLS.values()}]
    fills = dict(zip(names, (circle.get("fill", "") for circle in root.iter("circle")), strict=True))
    assert fills[RECALLS["random"][0]] == "currentColor"
    assert fills[RECALLS["low_rank"][0]] == "var(--page, #fff)"
    assert fills[RECALLS["distilled"][0]].startswith("var(--series-1")


@pytest.mark.parametrize("width", [760.0, 350.0])
@pytest.mark.parametrize("value", [0.0, 12_345.6, -300.0])
def test_texts_are_complete_and_inside_the_picture(width: float, value: float) -> None:
    name = "a very long name of a method, with settings, that does not fit into a line of the narrow chart"
    dots = [
        Dot(name, Interval(value, value - 1, value + 1), "text [1, 2]", True),
        Dot("b", Interval(1.0, 0.0, 2.0), "1"),
    ]
    svg = dot_chart(dots, width=width, **CHART)
    ends = {"start": (0.0, 1.0), "middle": (-0.5, 0.5), "end": (-1.0, 0.0)}
    texts = list(ElementTree.fromstring(svg).iter("text"))
    assert name in " ".join(node.text or "" for node in texts)
    for node in texts:
        for end in ends[node.get("text-anchor", "")]:
            assert -0.1 <= float(node.get("x", "")) + 6.6 * end * len(node.text or "") <= width + 0.1
    for path in ElementTree.fromstring(svg).iter("path"):
        assert all(0 <= float(x) <= width for x in re.findall(r"[ML](-?[\d.]+)", path.get("d", "")))


def test_values_that_cannot_be_drawn_are_omitted_and_text_is_escaped() -> None:
    dots = [Dot("<b>", Interval(1.0, 0.0, 2.0), "<i>"), Dot("nan", Interval(math.nan, 0.0, 1.0), "n/a")]
    svg = dot_chart(dots, width=400.0, **CHART)
    assert [node.text for node in ElementTree.fromstring(svg).iter("text")].count("<b>") == 1
    assert "nan" not in svg
    assert "<b>" not in svg
    assert "No data." in dot_chart([], width=400.0, **CHART)


def test_without_a_defined_gain_there_is_no_figure() -> None:
    scores = sample()
    for name in scores["lines"]:
        scores[name]["gain_retained"] = None
    assert gain_dots(read(scores)) == []
    assert "Gain retained" not in Page(render_page([view(scores)])).inside("h2")
