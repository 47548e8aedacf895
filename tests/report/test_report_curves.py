from __future__ import annotations

import itertools
import math
import re
import xml.etree.ElementTree as ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omnidistill.report.curves import line_chart
from omnidistill.report.svg_elements import standalone

LABELS = {"title": "Loss", "x_label": "iteration", "y_label": "loss"}
NUMBER = re.compile(r"-?\d+\.?\d*")


def tree(svg: str) -> ElementTree.Element:
    return ElementTree.fromstring(svg)


def texts(svg: str) -> list[str]:
    return [node.text or "" for node in tree(svg).iter("text")]


def curve(svg: str, width: str = "1.5") -> list[tuple[float, float]]:
    """Coordinates of the first drawn line."""
    path = next(node for node in tree(svg).iter("path") if node.get("stroke-width") == width)
    numbers = [float(number) for number in NUMBER.findall((path.get("d") or "").replace("h0", ""))]
    return list(zip(numbers[::2], numbers[1::2], strict=True))


def tick_heights(svg: str) -> dict[float, float]:
    """Value -> height of the ticks of the y axis."""
    left = [node for node in tree(svg).iter("text") if node.get("text-anchor") == "end" and node.get("x") == "46.0"]
    return {float((node.text or "").replace("−", "-").replace(",", "")): float(node.get("y", "0")) - 4 for node in left}


def test_a_point_lies_where_the_ticks_say() -> None:
    points = [(0.0, 1.7), (10.0, 3.2), (20.0, 0.4)]
    ticks = tick_heights(line_chart({"loss": points}, **LABELS))
    (low, low_y), (high, high_y) = min(ticks.items()), max(ticks.items())
    assert low <= 0.4
    assert high >= 3.2
    for (_, value), (_, y) in zip(points, curve(line_chart({"loss": points}, **LABELS)), strict=True):
        assert math.isclose(y, low_y + (value - low) / (high - low) * (high_y - low_y), abs_tol=0.11)


def test_a_logarithmic_axis_gives_equal_ratios_equal_distances() -> None:
    points = [(float(i), 10.0 ** (i - 2)) for i in range(5)]
    heights = [y for _, y in curve(line_chart({"step": points}, log_y=True, **LABELS))]
    steps = [a - b for a, b in itertools.pairwise(heights)]
    assert max(steps) - min(steps) < 0.25
    assert min(steps) > 0


def test_a_logarithmic_axis_of_x_gives_equal_ratios_equal_distances_and_leaves_out_zero() -> None:
    points = [(0.0, 9.0), *((10.0 ** (i - 2), float(i)) for i in range(5))]
    svg = line_chart({"a": points}, log_x=True, **LABELS)
    places = [x for x, _ in curve(svg)]
    steps = [b - a for a, b in itertools.pairwise(places)]
    assert len(places) == 5
    assert max(steps) - min(steps) < 0.25
    assert {"0.01", "1", "100"} <= set(texts(svg))


def test_the_floor_is_drawn_named_and_inside_the_picture() -> None:
    svg = line_chart({"loss": [(0.0, 3.0), (9.0, 2.0)]}, floor=0.06, **LABELS)
    dashed = [node for node in tree(svg).iter("path") if node.get("stroke-dasharray")]
    assert len(dashed) == 1
    height = float(NUMBER.findall(dashed[0].get("d") or "")[1])
    assert height > max(y for _, y in curve(svg))
    assert "floor 0.06" in texts(svg)
    assert "Floor: 0.06." in (tree(svg).findtext("desc") or "")
    assert not any(
        node.get("stroke-dasharray") for node in tree(line_chart({"a": [(0.0, 1.0)]}, **LABELS)).iter("path")
    )


def test_it_is_named_and_described_for_those_who_do_not_see_it() -> None:
    svg = line_chart({"image": [(0.0, 3.0), (9.0, 2.0)], "text": [(0.0, 1.0), (9.0, 0.5)]}, **LABELS)
    root = tree(svg)
    assert root.get("role") == "img"
    assert root.get("aria-label") == root.findtext("title") == "Loss"
    assert "image: from 3 at 0 to 2 at 9, lowest 2, highest 3." in (root.findtext("desc") or "")
    assert {"image", "text"} <= set(texts(svg))


@pytest.mark.parametrize("far", [0.0, 9.0])
def test_names_at_line_ends_neither_overlap_nor_leave_the_picture(far: float) -> None:
    series = {f"modality {i}": [(0.0, 1.0), (1.0, 1.0 - 1e-4 * i)] for i in range(6)} | {"far": [(0.0, far)]}
    root = tree(line_chart(series, **LABELS))
    heights = sorted(float(node.get("y", "0")) for node in root.iter("text") if node.text in series)
    assert len(heights) == len(series)
    assert min(b - a for a, b in itertools.pairwise(heights)) >= 13.9
    assert min(heights) > 20
    assert max(heights) < 270


@pytest.mark.parametrize("width", [480.0, 350.0])
def test_long_names_are_complete_in_a_list_above_the_curves_with_a_sample_each(width: float) -> None:
    names = ["compact, 178 rows (first)", "compact, 178 rows (second)", "a name " * 20]
    svg = line_chart({name: [(0.0, 1.0), (1.0, 2.0)] for name in names}, marks={names[0]: 1.0}, width=width, **LABELS)
    shown = [node for node in tree(svg).iter("text") if (node.get("fill") or "").startswith("var(--series")]
    assert " ".join(node.text or "" for node in shown) == " ".join(" ".join(names).split())
    assert {node.get("text-anchor") for node in shown} == {"start"}
    assert all(float(node.get("x", "")) + 6.6 * len(node.text or "") <= width for node in shown)
    heights = [float(node.get("y", "")) for node in tree(svg).iter("text") if node.get("x") in ("4.0", "26.0")]
    assert min(after - before for before, after in itertools.pairwise(sorted(heights))) >= 13.9
    drawn = [node.get("d") or "" for node in tree(svg).iter("path") if node.get("fill") == "none"]
    assert max(heights) < min(float(y) for path in drawn for y in NUMBER.findall(path.replace("h0", ""))[1::2])
    samples = [node for node in tree(svg).iter("path") if node.get("stroke-width") == "1.5" and not node.get("fill")]
    assert [node.get("stroke") for node in samples] == list(dict.fromkeys(node.get("fill") for node in shown))


@pytest.mark.parametrize("largest", [900.0, 1e6, 1e-4])
def test_labels_of_axes_are_inside_the_picture(largest: float) -> None:
    svg = line_chart({"loss": [(0.0, 0.0), (1e5, largest)]}, width=350.0, **LABELS)
    ends = {"start": (0.0, 1.0), "middle": (-0.5, 0.5), "end": (-1.0, 0.0)}
    for node in tree(svg).iter("text"):
        for end in ends[node.get("text-anchor", "")]:
            assert 0 <= float(node.get("x", "")) + 6.6 * end * len(node.text or "") <= 350


def test_more_lines_than_colours_are_told_apart_by_dashes() -> None:
    """All 24 curves differ in colour or dash, and each label follows a sample of its curve."""
    names = [f"method {number}" for number in range(24)]
    root = tree(line_chart({name: [(0.0, 1.0), (1.0, float(i))] for i, name in enumerate(names)}, **LABELS))
    drawn = [node for node in root.iter("path") if node.get("stroke-width") == "1.5"]
    lines = [(node.get("stroke"), node.get("stroke-dasharray")) for node in drawn if node.get("fill") == "none"]
    samples = [(node.get("stroke"), node.get("stroke-dasharray")) for node in drawn if node.get("fill") is None]
    assert len(set(lines)) == 24
    assert sorted(samples, key=str) == sorted(lines, key=str)
    heights = sorted(float(node.get("y", "0")) for node in root.iter("text") if node.text in names)
    *_, height = (float(number) for number in (root.get("viewBox") or "").split())
    assert (len(heights), min(heights) > 20, max(heights) < height - 20) == (24, True, True)
    assert min(b - a for a, b in itertools.pairwise(heights)) >= 13.9


def test_a_file_of_its_own_follows_the_colour_scheme() -> None:
    chart = line_chart({f"m{i}": [(0.0, 1.0), (1.0, float(i))] for i in range(7)}, **LABELS)
    file = standalone(chart)
    root = tree(file)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    style = root.findtext("{http://www.w3.org/2000/svg}style") or ""
    light, dark = style.split("@media(prefers-color-scheme:dark)")
    assert "color:" in light
    assert "color:" in dark
    used = set(re.findall(r"var\((--series-\d),", chart))
    assert used == {f"--series-{number}" for number in range(1, 7)}
    assert all(f"{name}:#" in dark for name in used)
    assert root.findtext("{http://www.w3.org/2000/svg}title") == "Loss"


def test_text_is_escaped() -> None:
    svg = line_chart({"<b>": [(0.0, 1.0)], "a&b": [(0.0, 2.0)]}, title="<script>", x_label="<i>", y_label='"&"')
    assert "<script>" not in svg
    assert {"<b>", "a&b", "<i>", '"&"'} <= set(texts(svg))


def test_colours_follow_the_page() -> None:
    svg = line_chart({"a": [(0.0, 1.0), (1.0, 2.0)]}, floor=0.5, **LABELS)
    for attribute in ("fill", "stroke"):
        values = {node.get(attribute) for node in tree(svg).iter() if node.get(attribute)}
        assert all(value in ("none", "currentColor") or value.startswith("var(--series-") for value in values if value)


def test_a_peak_in_a_long_series_stays_visible_and_size_stays_bounded() -> None:
    calm = [(float(i), 1.0) for i in range(50_000)]
    peaked = [*calm[:31_000], (31_000.0, 7.0), *calm[31_001:]]
    svg = line_chart({"loss": peaked}, **LABELS)
    assert len(svg) < 20_000
    assert "highest 7" in svg
    band = next(node for node in tree(svg).iter("path") if node.get("fill-opacity"))
    heights = [float(number) for number in NUMBER.findall(band.get("d") or "")[1::2]]
    ticks = tick_heights(svg)
    assert max(ticks) >= 7
    assert min(heights) < ticks[max(ticks)] + 0.5 * abs(ticks[max(ticks)] - ticks[min(ticks)])


def test_values_that_cannot_be_drawn_leave_a_gap() -> None:
    points = [(0.0, 1.0), (1.0, 2.0), (2.0, math.nan), (3.0, math.inf), (4.0, 2.0), (5.0, 1.0)]
    svg = line_chart({"loss": points}, **LABELS)
    path = next(node for node in tree(svg).iter("path") if node.get("stroke-width") == "1.5")
    assert (path.get("d") or "").count("M") == 2
    assert "nan" not in svg.lower()
    assert "no data" in texts(line_chart({"step": [(0.0, 0.0), (1.0, -1.0)]}, log_y=True, **LABELS))
    assert "no data" in texts(line_chart({}, **LABELS))


def test_equal_input_gives_equal_bytes() -> None:
    series = {"loss": [(0.0, 1.0), (1.0, 2.0)]}
    assert line_chart(series, **LABELS) == line_chart(dict(series), **LABELS)


@settings(deadline=None, max_examples=80)
@given(
    st.lists(
        st.tuples(st.floats(0, 1e6), st.one_of(st.floats(-1e9, 1e9), st.floats(1e-9, 1e-6), st.just(math.nan))),
        max_size=30,
    ),
    st.booleans(),
    st.booleans(),
    st.one_of(st.none(), st.floats(-1e3, 1e3)),
)
def test_any_points_give_a_well_formed_picture_within_its_frame(
    points: list[tuple[float, float]], log_x: bool, log_y: bool, floor: float | None
) -> None:
    svg = line_chart({"a": sorted(points), "b": sorted(points)[:3]}, floor=floor, log_x=log_x, log_y=log_y, **LABELS)
    _, _, width, height = (float(number) for number in (tree(svg).get("viewBox") or "").split())
    for node in tree(svg).iter("path"):
        numbers = [float(number) for number in NUMBER.findall((node.get("d") or "").replace("h0", ""))]
        assert all(0 <= x <= width for x in numbers[::2])
        assert all(0 <= y <= height for y in numbers[1::2])
    assert len([label for label in texts(svg) if label != "no data"]) <= 30


def rings(svg: str) -> list[tuple[float, float]]:
    return [(float(node.get("cx", "")), float(node.get("cy", ""))) for node in tree(svg).iter("circle")]


def test_a_mark_is_a_ring_on_the_curve_with_a_legend() -> None:
    points = [(float(i), float((i - 6) ** 2)) for i in range(0, 21, 2)]
    svg = line_chart({"loss": points}, marks={"loss": 6.0, "not drawn": 3.0}, **LABELS)
    assert rings(svg) == [curve(svg)[3]]
    assert "○ returned set, iteration 6" in texts(svg)
    description = next(node.text or "" for node in tree(svg).iter("desc"))
    assert "; the returned set is at 6." in description
    plain = line_chart({"loss": points}, **LABELS)
    assert (rings(plain), "returned" in plain) == ([], False)


def test_a_mark_between_points_is_at_the_nearest_one() -> None:
    """The log has no loss of iteration 0, and curves of many points are drawn with fewer."""
    svg = line_chart({"loss": [(1.0, 2.0), (2.0, 1.0)]}, marks={"loss": 0.0}, **LABELS)
    assert rings(svg) == [curve(svg)[0]]
    many = line_chart({"loss": [(float(i), 1.0 + i % 7) for i in range(4000)]}, marks={"loss": 1999.0}, **LABELS)
    (ring,) = rings(many)
    assert ring in curve(many)


def test_every_curve_has_its_own_mark() -> None:
    curves = {name: [(0.0, height), (10.0, height)] for name, height in (("a", 1.0), ("b", 2.0), ("c", 3.0))}
    svg = line_chart(curves, marks={"a": 0.0, "c": 10.0}, **LABELS)
    (left, low), (right, high) = rings(svg)
    assert left < right
    assert low > high
    assert "○ returned sets" in texts(svg)
