"""Group prepared items into batches of equal shape, because padding would change their features slightly."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from torch import Tensor

Batch = list[tuple[int, Tensor]]

_WAITING = 4  # at most `4 * size` items wait for other items with the same shape


def batches(prepared: Iterable[tuple[int, Tensor]], size: int) -> Iterator[Batch]:
    """Yield batches of up to `size` pairs (row, tensor) whose tensors have the same shape and dtype.

    A batch is yielded as soon as it is full. When `4 * size` items are waiting, the largest batch is yielded. The
    remaining batches are yielded at the end. Which items share a batch depends only on their order and shapes.
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
