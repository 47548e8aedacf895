"""Group prepared items of equal shape into batches. Items are not padded, because padding would change features."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from torch import Tensor

Batch = list[tuple[int, Tensor]]

_WAITING = 4  # at most `4 * size` items wait for other items with the same shape


def batches(prepared: Iterable[tuple[int, Tensor]], size: int) -> Iterator[Batch]:
    """Yield batches of up to `size` pairs (row, tensor) whose tensors have the same shape and dtype.

    A batch is yielded as soon as it is full. If `4 * size` items are waiting in incomplete batches, the largest of
    these batches is yielded. The remaining batches are yielded at the end. Which items share a batch depends only on
    the order, shapes and dtypes of the items.
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
