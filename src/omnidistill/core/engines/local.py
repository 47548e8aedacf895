"""The engine of this process: one unit after the other."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence

from omnidistill.core.engines.engine import Done, Result, Unit


class LocalEngine:
    """Units in order, here."""

    here = True

    def at_once(self, helpers: int = 0) -> int:
        """One."""
        return 1

    def run(
        self,
        task: Callable[[Unit], Result],
        units: Sequence[Unit],
        *,
        after: Mapping[int, Sequence[int]] | None = None,
        helpers: int = 0,
    ) -> Generator[Done[Result], None, None]:
        """Each unit when it is asked for; what comes after what is in order already."""
        for number, unit in enumerate(units):
            yield Done(number, _outcome(task, unit))

    def __enter__(self) -> LocalEngine:
        return self

    def __exit__(self, *error: object) -> None:
        """Nothing to end."""


def _outcome(task: Callable[[Unit], Result], unit: Unit) -> Callable[[], Result]:
    try:
        found = task(unit)
    except Exception as error:
        raised = error

        def fail() -> Result:
            raise raised

        return fail
    return lambda: found
