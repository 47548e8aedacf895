"""The number of torch threads for an outer loop.

Below a few hundred million multiply-adds per iteration, the work consists of many small operations. A second thread
then gains nothing on an idle machine, and on a busy machine every operation waits for the slower thread. The number of
threads depends only on the sizes of the data, so results do not depend on the load of the machine.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch

_MULTITHREADED_FROM = 5e8  # multiply-adds in the large products of one iteration


@contextmanager
def threads_for(num_rows: int, widths: Mapping[str, int], width: int) -> Iterator[None]:
    """Use one thread within the block if the matrix products with the synthetic rows X are small.

    These products are X W_0^T and X D^T, in the forward and the backward pass. W_0 (d x p_m) is an initial head, and D
    is its difference from the target head. The previous number of threads is restored after the block.

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
