"""Imports optional dependencies where they are used. If one is missing, the error names the extra to install."""

from __future__ import annotations

import importlib
from typing import Any

from omnidistill.core.errors import InputError
from omnidistill.core.memory import out_of_memory


def require(module: str, extra: str) -> Any:
    """Import and return an optional module.

    Args:
        module: dotted name of the module. It is always a literal in the code, never read from data.
        extra: the omnidistill extra that installs the module.

    Raises:
        InputError: the module is not installed. The message names the extra.
        MemoryError: there is too little memory to load the module.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        if out_of_memory(error):
            raise MemoryError(str(error)) from error
        raise InputError(
            f"{error.name or module} is not installed ({error}); run: pip install 'omnidistill[{extra}]'"
        ) from error
