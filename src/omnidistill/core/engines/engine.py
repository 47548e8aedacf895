"""The protocol for engines. An engine applies a task to every unit of work and yields the results as they finish.

    (task, units) --run--> Done, Done, ...             one `Done` object per finished unit

Units are independent, except that a unit may have to wait for earlier units. A task writes the output of a unit to a
folder. It either writes atomically or can resume from partial output, so it is safe to process a unit twice. A task
returns only a small value.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar, runtime_checkable

Unit = TypeVar("Unit")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Done(Generic[Result]):
    """A finished unit of work.

    Attributes:
        number: position of the unit in the sequence given to `run`.
        result: function that returns the task's return value, or raises the exception that the task raised.
    """

    number: int
    result: Callable[[], Result]


@runtime_checkable
class Engine(Protocol):
    """Processes units of work. Use it as a context manager.

    Closing the generator that `run` returns stops the units that are still running.
    """

    @property
    def here(self) -> bool:
        """Whether the engine processes units in this process, in order.

        If it does, the task may be a closure and may report progress. Otherwise the task must be picklable. Each worker
        process then loads one copy of the task and uses this copy for all units that it processes.
        """
        ...

    def at_once(self, helpers: int = 0) -> int:
        """Return how many units the engine processes in parallel. Call it inside the `with` block.

        Args:
            helpers: number of helper processes per unit; see `run`.
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
        """Process every unit once, and yield each unit when it is finished.

        Args:
            task: called with each unit.
            units: units of work.
            after: {number of a unit: numbers of earlier units that it waits for}. If one of the earlier units raises
                an exception, the waiting unit may raise the same exception.
            helpers: number of helper processes that each unit keeps busy, in addition to its compute threads.
        """
        ...

    def __enter__(self) -> Engine: ...

    def __exit__(self, *error: object) -> None: ...
