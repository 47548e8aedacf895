"""The heads that experts start from, each with the training that it takes from there to the end of its full training.

    experts 0, 2, 4, ...      from the run's own heads
    experts 1, 3, 5, ...      from the other starts, in turns

A set that is matched with them is seen half of the time by the heads that it is made for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from omnidistill.core.errors import InputError
from omnidistill.models.heads import Heads

OWN = 0
"""The number of the start that is the run's own heads."""


@dataclass(frozen=True)
class Start:
    """Heads, and how experts train from them: SGD step size, and epochs after which they stand still."""

    heads: Heads
    learning_rate: float
    num_epochs: int


def starts_of_experts(num_experts: int, num_starts: int) -> list[int]:
    """The number of the start of every expert."""
    others = num_starts - 1
    return [1 + expert // 2 % others if others and expert % 2 else OWN for expert in range(num_experts)]


def require_alike(starts: Sequence[Start]) -> None:
    """Raise InputError unless all heads are of the same modalities and shapes."""
    shapes = [{name: tuple(matrix.shape) for name, matrix in start.heads.items()} for start in starts]
    for number, found in enumerate(shapes):
        if found != shapes[OWN]:
            raise InputError(
                f"start {number}: heads have the shapes {found}, those of the run {shapes[OWN]}; "
                "give heads of the same modalities and widths"
            )
