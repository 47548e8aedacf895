"""The number of torch threads for small computations.

If an iteration has few multiply-adds, its work consists of many small operations. A second thread then gains nothing on
an idle machine, and on a busy machine every operation waits for the slower thread. Small computations therefore use one
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
    """Context manager that uses one thread if the matrix products of synthetic rows and heads are small.

    The products are small if one iteration needs few multiply-adds: for each modality, two products of rows (N x p_m)
    and head (d x p_m), each with a forward and a backward pass. The previous number of threads is restored after the
    block.

    Args:
        num_rows: number of synthetic rows N.
        widths: {modality: feature width p_m}.
        width: embedding width d.
    """
    before = torch.get_num_threads()
    if 4 * num_rows * sum(widths.values()) * width < _MULTITHREADED_FROM:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
