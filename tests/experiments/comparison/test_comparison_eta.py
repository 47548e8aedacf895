"""How long a comparison will take, and how its progress names what it is at."""

from __future__ import annotations

import pytest

from comparison_problems import Cut
from omnidistill.experiments.comparison.remaining_time import LabelledProgress, RemainingTime
from omnidistill.io.tracking import Progress


def test_nothing_is_told_before_a_cell_is_done() -> None:
    assert RemainingTime(["a", "b"]).estimate() == ""


def test_what_is_left_is_counted_by_the_mean_of_its_kind() -> None:
    remaining = RemainingTime(["a", "a", "a", "b", "b"])
    remaining.record("a", 10.0)
    remaining.record("a", 20.0)
    remaining.record("b", 3.0)
    assert remaining.estimate() == "(about 18 s left)"  # one a of 15, one b of 3


def test_a_kind_that_was_not_seen_counts_as_the_mean_of_all_cells() -> None:
    remaining = RemainingTime(["a", "a", "b", "c"])
    remaining.record("a", 2.0)
    remaining.record("a", 4.0)
    remaining.record("b", 12.0)
    assert remaining.estimate() == "(about 6 s left)"


def test_cells_from_before_an_interruption_are_known_at_once() -> None:
    assert RemainingTime(["a", "b"], [("a", 10.0), ("a", 20.0)]).estimate() == "(about 30 s left)"


@pytest.mark.parametrize(("seconds", "told"), [(59.0, "59 s"), (60.0, "1 min"), (7200.0, "120 min")])
def test_minutes_from_a_minute_on(seconds: float, told: str) -> None:
    remaining = RemainingTime(["a", "a"])
    remaining.record("a", seconds)
    assert remaining.estimate() == f"(about {told} left)"


def test_at_the_end_nothing_is_left() -> None:
    remaining = RemainingTime(["a"])
    remaining.record("a", 5.0)
    assert remaining.estimate() == "(about 0 s left)"


def test_a_stage_is_named_by_the_cell_that_it_is_of() -> None:
    shown = Cut()
    with LabelledProgress(shown, "2/9 hopa-n8-s0") as progress:
        progress.start(3, "experts")
        progress.advance(2, loss=0.5)
        progress.start(5, "distill", done=1)
    assert isinstance(progress, Progress)
    assert shown.seen == ["2/9 hopa-n8-s0: experts", "2/9 hopa-n8-s0: distill"]
    assert shown.told == [("start", 3, 0), ("advance", 2, {"loss": 0.5}), ("start", 5, 1), ("stop",)]
