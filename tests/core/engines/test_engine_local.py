from __future__ import annotations

import pytest

from omnidistill.core.engines import Engine, LocalEngine
from omnidistill.core.engines.ray_cluster import RayEngine


def test_units_are_done_in_order_when_they_are_asked_for() -> None:
    begun: list[int] = []

    def double(unit: int) -> int:
        begun.append(unit)
        return 2 * unit

    with LocalEngine() as engine:
        running = engine.run(double, [3, 1, 2])
        assert begun == []
        first = next(running)
        assert begun == [3]
        assert [(done.number, done.result()) for done in [first, *running]] == [(0, 6), (1, 2), (2, 4)]


def test_what_a_unit_raises_is_its_result_and_the_others_go_on() -> None:
    error = ValueError("two")

    def task(unit: int) -> int:
        if unit == 2:
            raise error
        return unit

    first, second, third = LocalEngine().run(task, [1, 2, 3])
    assert (first.result(), third.result()) == (1, 3)
    for _ in range(2):
        with pytest.raises(ValueError, match="two") as raised:
            second.result()
        assert raised.value is error


def test_an_interruption_ends_the_run() -> None:
    def interrupted(unit: int) -> int:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        next(LocalEngine().run(interrupted, [1]))


def test_both_are_engines() -> None:
    assert isinstance(LocalEngine(), Engine)
    assert isinstance(RayEngine(), Engine)
    assert (LocalEngine().here, RayEngine().here) == (True, False)
