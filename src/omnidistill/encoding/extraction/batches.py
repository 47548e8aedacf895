"""Batches of prepared items of one shape: padding would change their features, if only a little."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from torch import Tensor

Batch = list[tuple[int, Tensor]]

_WAITING = 4  # batches' worth of items that may wait for others of their shape


def batches(prepared: Iterable[tuple[int, Tensor]], size: int) -> Iterator[Batch]:
    """(row, tensor) in batches of up to `size` tensors of one shape and dtype.

    A batch goes when it is full, the largest one when `4 size` items wait, the rest at the end. Which rows share a
    batch follows from their order and shapes alone.
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
