"""The local engine, which processes units of work one after another in this process."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence

from omnidistill.core.arguments import argument
from omnidistill.core.engines.engine import Done, Result, Unit
from omnidistill.core.engines.engine_registry import engines
from omnidistill.core.errors import InputError


@engines.register("local")
def local_engine(address: str | None = None, device: str = "cpu") -> LocalEngine:
    """Return an engine that processes units of work in this process, one after another.

    Raises:
        InputError: an address is given.
    """
    if address is not None:
        raise InputError(f"the 'local' engine takes no address; use {argument('engine', 'local')}")
    return LocalEngine()


class LocalEngine:
    """Processes units of work in order, in this process."""

    here = True

    def at_once(self, helpers: int = 0) -> int:
        """Return 1, because units are processed one after another."""
        return 1

    def run(
        self,
        task: Callable[[Unit], Result],
        units: Sequence[Unit],
        *,
        after: Mapping[int, Sequence[int]] | None = None,
        helpers: int = 0,
    ) -> Generator[Done[Result], None, None]:
        """Process one unit of work each time the generator advances. `after` has no effect, as units run in order."""
        for number, unit in enumerate(units):
            yield Done(number, _outcome(task, unit))

    def __enter__(self) -> LocalEngine:
        return self

    def __exit__(self, *error: object) -> None:
        """Do nothing, because the local engine has nothing to close."""


def _outcome(task: Callable[[Unit], Result], unit: Unit) -> Callable[[], Result]:
    try:
        result = task(unit)
    except Exception as error:
        raised = error

        def fail() -> Result:
            raise raised

        return fail
    return lambda: result
