"""Identity of a run: fingerprints of its inputs, and versions of the packages that created it."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Mapping
from importlib import metadata

import torch
from torch import Tensor


def heads_fingerprint(heads: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 digest of the names and matrices of heads, as a hex string."""
    digest = hashlib.sha256()
    for name, matrix in sorted(heads.items()):
        digest.update(name.encode())
        digest.update(matrix.cpu().contiguous().numpy().data)
    return digest.hexdigest()


def versions() -> dict[str, str]:
    """Return the versions of the packages and of Python, the platform, and the number of threads.

    All of these can affect a result.
    """
    packages = ("omnidistill", "torch", "numpy", "safetensors", "pydantic")
    return {
        **{name: metadata.version(name) for name in packages},
        "python": platform.python_version(),
        "platform": platform.platform(),
        "threads": str(torch.get_num_threads()),
    }
