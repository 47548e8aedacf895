"""The number of torch threads for small computations.

An iteration with few multiply-adds consists of many small operations. On an idle machine, a second thread does not make
them faster. On a busy machine, every operation waits for the slower thread. Small computations therefore use one
thread.

The number of threads affects rounding, because it determines the order of additions in a matrix product. The choice of
one thread depends only on the sizes of the data, not on the load of the machine. Small computations therefore give
bit-identical results, whatever number of threads torch is set to use.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch

_MULTITHREADED_FROM = 5e8  # multiply-adds in the large products of one iteration


@contextmanager
def threads_for(num_rows: int, widths: Mapping[str, int], width: int) -> Iterator[None]:
    """Use one torch thread in the block if an iteration is small. Restore the number of threads after the block.

    An iteration is small if its large matrix products need fewer than 5e8 multiply-adds. For each modality, these are
    two products of the rows (N x p_m) and the head (d x p_m), each with a forward and a backward pass. Together they
    need 4 N d sum_m p_m multiply-adds.

    Args:
        num_rows: number of rows N in a product, such as the synthetic rows or the rows of a mini-batch.
        widths: {modality: feature width p_m}.
        width: number of outputs d per row, such as the embedding width.
    """
    before = torch.get_num_threads()
    if 4 * num_rows * sum(widths.values()) * width < _MULTITHREADED_FROM:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
