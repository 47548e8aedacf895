"""How long units of work take where an engine does them side by side."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass

from omnidistill.core.engines import Engine
from omnidistill.experiments.dry_run.cost_estimate import Stage


@dataclass(frozen=True)
class Spread:
    """at_once: units that are done side by side. opening: seconds before the first of them begin and after the last
    has ended. here: whether they are done in this process.
    """

    at_once: int = 1
    opening: float = 0.0
    here: bool = True

    @staticmethod
    def of(engine: Engine, helpers: int = 0) -> Spread:
        """Opens the engine, has as many processes begin as there will be, and closes it. helpers: of a unit.

        Raises InputError where the engine cannot be opened.
        """
        if engine.here:
            return Spread()
        begun = time.monotonic()
        with engine:
            at_once = engine.at_once(helpers)
            with closing(engine.run(_begin, range(at_once))) as finished:
                for done in finished:
                    done.result()
        return Spread(at_once, time.monotonic() - begun, here=False)

    def seconds(self, units: Mapping[str, float], after: Mapping[str, Sequence[str]] | None = None) -> float:
        """From the begin of the first to the end of the last. Each begins, in this order, when those that it comes
        after have ended and there is room.
        """
        free, ends = [0.0] * self.at_once, dict[str, float]()
        for name, took in units.items():
            place = free.index(min(free))
            ready = max((ends[each] for each in (after or {}).get(name, ())), default=0.0)
            free[place] = ends[name] = max(free[place], ready) + took
        return max(free)

    def stage(self) -> Stage:
        """The stage that opens the engine, and closes it."""
        return Stage("engine", self.at_once, "workers", self.opening)

    def notes(self) -> tuple[str, ...]:
        """What is to be said beside the seconds."""
        if self.here:
            return ()
        return (f"processes that work side by side: {self.at_once}, each with as much memory",)


def _begin(unit: int) -> None:
    """Loads what units need: this program."""
    import omnidistill.experiments.comparison  # noqa: F401
