"""omnidistill: compress a paired multimodal dataset into a few hundred synthetic instances.

    features -> experts -> distilled set -> heads trained on it -> scores

The public names are those of `omnidistill.api`. They are loaded on first use, so importing the package is fast.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from omnidistill.api import *  # noqa: F403
else:  # hidden from type checkers, which would otherwise accept any name

    def __getattr__(name: str) -> Any:
        if name == "__all__":  # for `from omnidistill import *`
            return list(_public().__all__)
        if not name.startswith("_"):
            public = _public()
            if name in getattr(public, "__all__", ()):  # the module has no __all__ while it is being imported
                return getattr(public, name)
        raise AttributeError(f"module 'omnidistill' has no attribute {name!r}")


def __dir__() -> list[str]:
    return list(_public().__all__)


def _public() -> ModuleType:
    import omnidistill.api  # noqa: F401

    return sys.modules["omnidistill.api"]
