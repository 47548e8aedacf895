"""The printed numbers: each belongs to a row of a comparison, so that none is lost, and gives the known gains."""

from __future__ import annotations

import pytest

from omnidistill.evaluation.baselines import baselines
from omnidistill.experiments.config import load_comparison
from omnidistill.experiments.paper.paper_tables import TABLES
from omnidistill.experiments.paper.printed_numbers import (
    printed,
    printed_gain,
    printed_numbers,
    printed_references,
    reference_note,
)

NOT_SHOWN = {("4", "zero-shot"), ("7", "without SVD")}
"""The zero point of the gain, and the control for which the paper does not say what it is."""


def test_every_number_belongs_to_a_row_of_a_table() -> None:
    rows = set()
    for table in TABLES.values():
        _, comparison = load_comparison(preset=table.preset)
        rows |= {(table.number, entry.label) for entry in comparison.methods}
        rows |= {(table.number, baseline.kind) for baseline in comparison.baselines}
    places = {(each.table, each.row) for each in printed_numbers()}
    assert places - rows == NOT_SHOWN
    assert all(baselines.build(row) for _, row in places if row in baselines)


def test_no_row_is_there_twice_and_recalls_are_percentages() -> None:
    numbers = printed_numbers()
    keys = [(each.table, each.benchmark, each.row, each.size) for each in numbers]
    assert len(set(keys)) == len(keys)
    for each in numbers:
        values = [*each.recall.values(), *(value for of in each.directions.values() for value in of.values())]
        assert all(5 < value < 70 for value in values)
        assert each.recall.get("R@1", 0) < each.recall.get("R@5", 100)
        assert values or each.seconds is not None


def test_a_number_is_found_by_its_place_only() -> None:
    found = printed("1", "msrvtt", "HoPA", 500)
    assert found is not None
    assert found.recall == {"R@1": 22.1, "R@5": 42.9}
    for place in (
        ("1", "msrvtt", "HoPA", 50),
        ("1", "didemo", "HoPA", 100),
        ("10", "msrvtt", "rank 2", 100),
        ("1", "msrvtt", "LoRS (pairs)", 500),
        ("1", "msrvtt", "random", 200),
    ):
        assert printed(*place) is None, place
    assert printed("1", "msrvtt", "full", None) is not None


@pytest.mark.parametrize(
    ("benchmark", "zero", "full"), [("msrvtt", 20.3, 22.6), ("vggsound", 12.25, 13.7), ("didemo", 16.0, 19.2)]
)
def test_the_gain_of_the_paper(benchmark: str, zero: float, full: float) -> None:
    first, last = printed_references(benchmark)
    assert (first["R@1"], last["R@1"]) == (zero, full)
    assert printed_gain({"R@1": full, "R@10": 3.0}, benchmark) == {"R@1": 1.0}
    assert printed_gain({"R@1": zero}, benchmark) == {"R@1": 0.0}
    what = "initial heads (R@1 12.25" if benchmark == "vggsound" else f"100 random rows (R@1 {zero}"
    assert what in reference_note(benchmark)
