"""A file as memory, larger than memory if need be: pages are read when touched, and given up when memory is short.

The mapping is private: what is written to it stays in this process, page by page, and never reaches the file. It is
made without reserve: Linux refuses a private mapping of more than memory unless told that no swap is to be set aside
for pages that may be written to, which is what `safetensors.torch.load_file` runs into.
"""

from __future__ import annotations

import mmap
from pathlib import Path

_NO_RESERVE = getattr(mmap, "MAP_NORESERVE", 0x4000)  # named from Python 3.13 on; other systems ignore the bit


def map_file(path: Path) -> mmap.mmap:
    """The bytes of a file that is not empty. Raises OSError or ValueError if it cannot be mapped.

    Holds a file handle for as long as anything refers to it.
    """
    with path.open("rb") as file:
        return mmap.mmap(file.fileno(), 0, flags=mmap.MAP_PRIVATE | _NO_RESERVE, prot=mmap.PROT_READ | mmap.PROT_WRITE)
