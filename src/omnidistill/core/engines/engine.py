"""The protocol for engines. An engine calls a function (the task) for every unit of work.

    (task, units) --run--> Done, Done, ...             one `Done` object per finished unit

Units may run in parallel and in any order, unless a unit must wait for earlier units. A task writes its output to a
folder and returns only a small value. A unit may be processed twice, so a task writes atomically or resumes from
partial output.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar, runtime_checkable

Unit = TypeVar("Unit")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Done(Generic[Result]):
    """A unit of work that an engine has finished, successfully or not.

    Attributes:
        number: index of the unit in the argument `units` of `Engine.run`.
        result: function without arguments. It returns what the task returned for this unit. If the unit failed, it
            raises the exception of the task, or an exception of the engine, for example because a worker died.
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
        """Whether the engine processes the units of work in this process, in order.

        If True, the task (the function that processes a unit) may be a closure and may report progress. If False, it
        must be picklable. Each worker process then unpickles it once and calls it for all its units.
        """
        ...

    def at_once(self, helpers: int = 0) -> int:
        """Return the number of units of work that the engine processes in parallel. Call it inside the `with` block.

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
        """Call the task for every unit, and yield a `Done` object whenever a unit is finished.

        Args:
            task: function that processes one unit. The engine calls it with the unit as the only argument.
            units: units of work.
            after: {index of a unit: indices of earlier units that must be finished first}. If one of these fails, an
                engine may skip the waiting unit; `Done.result` of the waiting unit then raises the same exception.
            helpers: number of helper processes that the task uses for each unit, for example to load data. Each needs a
                CPU, in addition to the CPUs for the compute threads of the unit.
        """
        ...

    def __enter__(self) -> Engine: ...

    def __exit__(self, *error: object) -> None: ...
