"""Batches of prepared items with equal shapes, because padding would change their features slightly."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from torch import Tensor

Batch = list[tuple[int, Tensor]]

_WAITING = 4  # number of batches' worth of items that may wait for others of their shape


def batches(prepared: Iterable[tuple[int, Tensor]], size: int) -> Iterator[Batch]:
    """Yield batches of up to `size` pairs (row, tensor) whose tensors have the same shape and dtype.

    A batch is yielded when it is full; the largest one is yielded when `4 size` items wait; the rest is yielded at the
    end. The order and shapes of the items alone determine which of them share a batch.
    """
    waiting: dict[tuple[object, ...], Batch] = {}
    count = 0
    for row, tensor in prepared:
        batch = waiting.setdefault((tensor.shape, tensor.dtype), [])
        batch.append((row, tensor))
        count += 1
        if len(batch) == size or count == _WAITING * size:
            largest = max(waiting, key=lambda shape: len(waiting[shape]))
            count -= len(waiting[largest])
            yield waiting.pop(largest)
    yield from waiting.values()
