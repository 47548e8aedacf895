"""How many threads an outer loop is worth.

Below a few hundred million multiply-adds an iteration its work is many small operations: a second thread gains
nothing on a quiet machine, and on a busy one every operation waits for the slower of the two. The count follows from
the sizes alone, so results do not depend on how busy the machine is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch

_WORTH_THREADS = 5e8  # multiply-adds of an iteration's big products


@contextmanager
def threads_for(num_rows: int, widths: Mapping[str, int], width: int) -> Iterator[None]:
    """Within the block, one thread where the products X W_0^T and X D^T (forward and backward) are small; restored
    after.
    """
    before = torch.get_num_threads()
    if 4 * num_rows * sum(widths.values()) * width < _WORTH_THREADS:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
