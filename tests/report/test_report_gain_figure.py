"""The figure of gain against bytes: its curves, and the coordinates of their points."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from typing import Any

import pytest
from test_report_comparison import by_level, line, read, sample

from omnidistill.core.errors import InputError
from omnidistill.report.gain_figure import gain_figure

SVG = "{http://www.w3.org/2000/svg}"


def measured(method: str, label: str, budget: int | None, weight: int, gain: float, **other: Any) -> dict[str, Any]:
    estimates = by_level((0.0, 0.0, 0.0), (gain, gain - 0.1, gain + 0.1), (0.0, 0.0, 0.0))
    made = line(f"{method}@{budget}", method, label, None, (0.2, 0.3, 0.4), gain_retained=estimates, bytes=weight)
    return {**made, "budget": budget, **other}


def curve() -> dict[str, Any]:
    """A comparison on 1,000,000 bytes; sets are smaller than their budget, and the larger set is listed first."""
    comparison = sample("curve")
    comparison["data"]["bytes"] = 1_000_000
    comparison["lines"] = [
        measured("zero-shot", "zero-shot heads", None, 0, 0.0, kind="reference"),
        measured("full", "all rows", None, 1_000_000, 1.0, kind="reference"),
        measured("cca", "ridge CCA heads, all rows", None, 100_000, 0.95, kind="reference"),
        measured("random", "random, 3 rows", 10_000, 9_900, 0.0, kind="reference"),
        measured("equal-bytes", "heads of equal bytes (rank 0)", 1_000, 0, 0.0, kind="reference"),
        measured("equal-bytes", "heads of equal bytes (rank 2)", 10_000, 10_000, 0.5, kind="reference"),
        measured("equal-bytes", "heads of equal bytes (rank 9)", 50_000, 40_000, 0.75, kind="reference"),
        measured("hopa", "HoPA", 50_000, 50_000, 0.625),
        measured("hopa", "HoPA", 10_000, 8_000, 0.25),
        {**measured("dm", "matching", 10_000, 8_000, 0.25), "gain_retained": None},
    ]
    return comparison


def described(comparison: dict[str, Any]) -> str:
    return ElementTree.fromstring(gain_figure(read(comparison))).findtext(f"{SVG}desc") or ""


def test_it_has_methods_heads_of_equal_bytes_and_the_point_of_cca() -> None:
    """x is the size of the set, not its budget; rows without gain or bytes have no point."""
    assert described(curve()) == (
        "gain retained at R@5, % against bytes, % of the training features (log scale). "
        "ridge CCA heads: from 95 at 10 to 95 at 10, lowest 95, highest 95. "
        "heads of equal bytes: from 50 at 1 to 75 at 4, lowest 50, highest 75. "
        "HoPA: from 25 at 0.8 to 62.5 at 5, lowest 25, highest 62.5."
    )


def test_the_axis_of_bytes_is_logarithmic_and_text_is_text() -> None:
    root = ElementTree.fromstring(gain_figure(read(curve())))
    assert root.findtext(f"{SVG}title") == "emoji: gain retained at R@5 against bytes"
    assert {"HoPA", "ridge CCA heads", "heads of equal bytes"} <= {node.text for node in root.iter(f"{SVG}text")}
    path = next(node for node in root.iter(f"{SVG}path") if node.get("stroke") == "var(--series-3, #1f7a4d)")
    (x0, _), (x1, _) = re.findall(r"([\d.]+) ([\d.]+)", path.get("d") or "")
    ticks = {
        node.text: float(node.get("x", "0")) for node in root.iter(f"{SVG}text") if node.get("text-anchor") == "middle"
    }
    decade = ticks["10"] - ticks["1"]
    assert float(x1) - float(x0) == pytest.approx(decade * 0.79588, abs=0.2)  # log10(5 / 0.8)


def test_where_all_failed_there_is_no_line() -> None:
    comparison = curve()
    for one in comparison["lines"]:
        one["recall"] = one["gain_retained"] = None
    assert described(comparison) == "No data."


def test_a_comparison_that_does_not_tell_the_bytes_of_its_data() -> None:
    comparison = curve()
    del comparison["data"]["bytes"]
    with pytest.raises(InputError, match=r"field data\.bytes is missing; run the comparison again"):
        gain_figure(read(comparison))
