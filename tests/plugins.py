"""Plugins of other packages in tests: entry points that seem to be installed, and components that are removed again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import EntryPoint
from typing import Any

import pytest

from omnidistill.core import registry as core_registry
from omnidistill.core.registry import Registry


@contextmanager
def installed(registry: Registry[Any], points: Mapping[str, str] | None = None) -> Iterator[None]:
    """Let `registry` find the entry points {name: "module:object"}; at the end, remove everything not built in."""
    found = [EntryPoint(name, value, str(registry.group)) for name, value in (points or {}).items()]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(core_registry, "entry_points", lambda group: found if group == registry.group else [])
        try:
            yield
        finally:
            for name in set(registry._loaded) - set(registry._builtin):
                del registry._loaded[name]
