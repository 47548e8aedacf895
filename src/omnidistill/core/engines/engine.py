"""The protocol of engines: an engine applies a task to every unit of work, and yields the results as they finish.

    (task, units) --run--> Done, Done, ...

Units are independent, except that one may have to wait for others. A unit leaves its output on disk, in a folder that
is written atomically or resumed, so it can safely be processed again. The return value of the task is small.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar, runtime_checkable

Unit = TypeVar("Unit")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Done(Generic[Result]):
    """A finished unit.

    Attributes:
        number: position of the unit in the sequence given to `run`.
        result: returns what the task returned, or raises what the task raised.
    """

    number: int
    result: Callable[[], Result]


@runtime_checkable
class Engine(Protocol):
    """Processes units of work. Use it as a context manager; closing the generator of `run` ends running units."""

    @property
    def here(self) -> bool:
        """Whether units are processed in this process, in order.

        If so, a task may use any closure and report progress. Otherwise it must be picklable, and each worker process
        has one copy of it for all of its units.
        """
        ...

    def at_once(self, helpers: int = 0) -> int:
        """Return how many units are processed in parallel; call it inside the `with` block.

        Args:
            helpers: helper processes per unit, see `run`.
        """
        ...

    def run(
        self,
        task: Callable[[Unit], Result],
        units: Sequence[Unit],
        *,
        after: Mapping[int, Sequence[int]] | None = None,
        helpers: int = 0,
    ) -> Generator[Done[Result], None, None]:
        """Process every unit once, and yield each when it is finished.

        Args:
            task: called with each unit.
            units: units of work.
            after: {number of a unit: numbers of earlier units that it waits for}. If one of those raises an exception,
                the waiting unit may raise it too.
            helpers: helper processes that each unit keeps busy, in addition to its compute threads.
        """
        ...

    def __enter__(self) -> Engine: ...

    def __exit__(self, *error: object) -> None: ...
