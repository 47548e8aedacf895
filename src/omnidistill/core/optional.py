"""Packages that only some parts need: imported where they are used, named with their extra where they are missing."""

from __future__ import annotations

import importlib
from typing import Any

from omnidistill.core.errors import InputError


def require(module: str, extra: str) -> Any:
    """The module of that (dotted) name, imported; `module` is always written in the code, never read from data.

    Raises InputError, saying what to install, if it is not there.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise InputError(
            f"needs {error.name or module}, of the extra '{extra}': pip install 'omnidistill[{extra}]' ({error})"
        ) from error
