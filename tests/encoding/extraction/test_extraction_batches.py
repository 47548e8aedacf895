from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from omnidistill.encoding.extraction.batches import batches


@given(st.lists(st.integers(1, 9), max_size=60), st.integers(1, 5))
def test_every_row_comes_once_with_others_of_its_shape(lengths: list[int], size: int) -> None:
    waiting = 0
    pulled = 0

    def rows():
        nonlocal pulled, waiting
        for number, length in enumerate(lengths):
            pulled, waiting = pulled + 1, waiting + 1
            assert waiting <= 4 * size
            yield number, torch.full((length,), number)

    seen: list[int] = []
    for batch in batches(rows(), size):
        assert 1 <= len(batch) <= size
        assert len({tensor.shape for _, tensor in batch}) == 1
        assert all((tensor == number).all() for number, tensor in batch)
        assert [number for number, _ in batch] == sorted(number for number, _ in batch)
        seen += [number for number, _ in batch]
        waiting -= len(batch)
    assert sorted(seen) == list(range(len(lengths)))


def test_the_fullest_goes_when_too_many_wait() -> None:
    lengths = [1, 2, 3, 4, 5, 6, 7, 8, 9, 5, 10, 11, 12]
    rows = [(number, torch.zeros(length)) for number, length in enumerate(lengths)]
    found = [[number for number, _ in batch] for batch in batches(rows, 3)]
    assert found == [[4, 9], [0], [1], [2], [3], [5], [6], [7], [8], [10], [11], [12]]
