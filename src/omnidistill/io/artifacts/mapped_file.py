"""Memory-mapped files, which may be larger than memory: pages are read on access and dropped when memory is short.

The mapping is private (copy-on-write), so writes never reach the file. It is created with MAP_NORESERVE. Without this
flag, Linux reserves swap for every page that might be written, and refuses private mappings that are larger than
memory. `safetensors.torch.load_file` fails on such files because it does not set the flag.
"""

from __future__ import annotations

import mmap
from pathlib import Path

_NO_RESERVE = getattr(mmap, "MAP_NORESERVE", 0x4000)  # only Python 3.13 and later name it; other systems ignore the bit


def map_file(path: Path) -> mmap.mmap:
    """Map a non-empty file into memory. The file stays open as long as the mapping exists.

    Raises:
        OSError, ValueError: the file cannot be mapped.
    """
    with path.open("rb") as file:
        return mmap.mmap(file.fileno(), 0, flags=mmap.MAP_PRIVATE | _NO_RESERVE, prot=mmap.PROT_READ | mmap.PROT_WRITE)
