"""omnidistill: compress a paired multimodal data set into a few hundred synthetic instances.

    features -> experts -> distilled set -> heads trained on it -> scores

The public names are those of `omnidistill.api`; they are loaded when first used, so importing the package is instant.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from omnidistill.api import *  # noqa: F403


def __getattr__(name: str) -> Any:
    if not name.startswith("_"):
        # While `api` is being loaded, it imports subpackages, which looks up their names here first.
        public = import_module("omnidistill.api")
        if name in getattr(public, "__all__", ()):
            return getattr(public, name)
    raise AttributeError(f"module 'omnidistill' has no attribute {name!r}")


def __dir__() -> list[str]:
    return list(import_module("omnidistill.api").__all__)
