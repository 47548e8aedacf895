"""What an engine is: it does a task for every unit of a piece of work, and tells as units are done.

    (task, units) --run--> Done, Done, ...

Units are independent but for what is said to come after what. A unit leaves what it makes on disk, in a folder that is
written whole or gone on with, so a unit may be done again; what the task returns is small.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar, runtime_checkable

Unit = TypeVar("Unit")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Done(Generic[Result]):
    """A unit that is done: its number, and what gives what the task returned, or raises what it raised."""

    number: int
    result: Callable[[], Result]


@runtime_checkable
class Engine(Protocol):
    """Where units are done. Use it in a `with`, and close what `run` gives: units under way are then ended."""

    @property
    def here(self) -> bool:
        """Whether units are done in this process, in order: then a task may close over anything and tell how far it
        is. Elsewhere it must be one that can be pickled; each process keeps one copy of it for all its units.
        """
        ...

    def at_once(self, helpers: int = 0) -> int:
        """How many units are done side by side, each with work for so many helpers; asked within the `with`."""
        ...

    def run(
        self,
        task: Callable[[Unit], Result],
        units: Sequence[Unit],
        *,
        after: Mapping[int, Sequence[int]] | None = None,
        helpers: int = 0,
    ) -> Generator[Done[Result], None, None]:
        """Every unit once, as it is done.

        after: {number of a unit: numbers of earlier ones that it waits for}; where one of those raises, so may the unit
        that waits. helpers: processes that a unit has work for besides the threads that it computes with.
        """
        ...

    def __enter__(self) -> Engine: ...

    def __exit__(self, *error: object) -> None: ...
