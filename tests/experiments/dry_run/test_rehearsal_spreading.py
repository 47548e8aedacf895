from __future__ import annotations

from omnidistill.core.engines import LocalEngine
from omnidistill.experiments.dry_run.parallel_estimate import Spread


def test_one_after_the_other_takes_the_sum() -> None:
    assert Spread.of(LocalEngine()) == Spread(1, 0.0, here=True)
    assert Spread().seconds({"a": 1.0, "b": 2.0, "c": 4.0}) == 7.0
    assert Spread().notes() == ()


def test_side_by_side_takes_as_long_as_the_busiest() -> None:
    two = Spread(2, 3.0, here=False)
    assert two.seconds({"a": 1.0, "b": 2.0, "c": 4.0}) == 5.0
    assert two.seconds({}) == 0.0
    assert Spread(8, here=False).seconds({"a": 1.0, "b": 2.0}) == 2.0
    assert two.stage().seconds == 3.0
    assert "2" in two.notes()[0]


def test_a_unit_waits_for_those_that_it_comes_after() -> None:
    two = Spread(2, here=False)
    assert two.seconds({"experts": 4.0, "other": 1.0, "cell": 2.0}, {"cell": ["experts"]}) == 6.0
