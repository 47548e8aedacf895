"""Searches for how to train, which validation ends, tried: epochs that they judge, and that the best training takes.

They depend on the data alone: a step size took from 15 to 100 epochs on three kinds of data. So each is tried in turn,
for 15 s in all; what time cuts off, and what comes after it, is taken to go on as long as the last that ended. Where
epochs are too long for that, 24 count for each, as on the bundled set.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from omnidistill.evaluation.full_training import best_epoch

USUAL_EPOCHS = 24
"""Epochs until validation stops rising."""

TRIED_SECONDS = 15.0
"""How long a search is tried at most."""

_FEWEST = 8  # epochs of a step size; fewer within these seconds say nothing

Run = tuple[Iterable[int], Callable[[], float]]
"""Epochs of one step size, and the score after each."""


@dataclass(frozen=True)
class Searched:
    """judged: epochs at all step sizes. chosen: epochs of the best training."""

    judged: int
    chosen: int


def tried_search(runs: Iterable[Run], count: int, longest: int, each: float) -> Searched:
    """What a search takes. count: step sizes. longest: epochs that one may take. each: seconds of an epoch."""
    usual = min(USUAL_EPOCHS, longest)
    if count * _FEWEST * each > TRIED_SECONDS:
        return Searched(count * usual, usual)
    end = time.monotonic() + TRIED_SECONDS
    best, judged = (-1.0, usual), list[int]()
    for epochs, score in runs:
        found, epoch, seen = best_epoch(_until(end, epochs), score)
        best = max(best, (found, epoch), key=lambda choice: choice[0])
        if time.monotonic() > end:
            judged.append(max(seen, judged[-1] if judged else usual))
            break
        judged.append(seen)
    return Searched(sum(judged) + judged[-1] * (count - len(judged)), best[1])


def _until(end: float, epochs: Iterable[int]) -> Iterator[int]:
    for epoch in epochs:
        yield epoch
        if time.monotonic() > end:
            return
