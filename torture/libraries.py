"""Imports of modules that commands import when they need them: forks of this process then start in milliseconds."""

from __future__ import annotations

import importlib
import os

LAZY = ("torch._dynamo", "huggingface_hub.hf_api", "omnidistill.api", "omnidistill.encoding.encoders.convert")
"""Not pyarrow, which starts a thread: a fork of a process with threads may hang."""


def import_libraries() -> None:
    """Import the modules.

    Raises:
        RuntimeError: one of them has started a thread.
    """
    for name in LAZY:
        importlib.import_module(name)
    if (threads := len(os.listdir("/proc/self/task"))) > 1:
        raise RuntimeError(f"{threads} threads run after the imports; remove the library that starts them from LAZY")
