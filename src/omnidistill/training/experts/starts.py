"""Starts of experts. A start consists of initial heads, and the step size and number of epochs for these heads.

    experts 0, 2, 4, ...      start from the initial heads of the run
    experts 1, 3, 5, ...      use the other starts in turn; if there are none, the initial heads of the run

At least half of the experts start from the initial heads of the run, because students of the set start there too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from omnidistill.core.errors import InputError
from omnidistill.models.heads import Heads

OWN = 0
"""Index of the start that has the initial heads of the run."""


@dataclass(frozen=True)
class Start:
    """What experts start with: initial heads, the step size of SGD, and the number of epochs."""

    heads: Heads
    learning_rate: float
    num_epochs: int


def starts_of_experts(num_experts: int, num_starts: int) -> list[int]:
    """Return, for each expert, the index of the start (initial heads and training settings) that it uses."""
    others = num_starts - 1
    return [1 + expert // 2 % others if others and expert % 2 else OWN for expert in range(num_experts)]


def require_alike(starts: Sequence[Start]) -> None:
    """Raise InputError unless the initial heads of all `starts` have the same modalities and shapes."""
    shapes = [{name: tuple(matrix.shape) for name, matrix in start.heads.items()} for start in starts]
    for number, start_shapes in enumerate(shapes):
        if start_shapes != shapes[OWN]:
            raise InputError(
                f"experts: starts[{number}] has heads of shapes {start_shapes}, but starts[0] (the initial heads of "
                f"the run) has heads of shapes {shapes[OWN]}; pass initial heads with the same modalities and shapes"
            )
