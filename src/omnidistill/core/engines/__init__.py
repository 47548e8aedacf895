"""Engines, which process independent units of work in this process or on a Ray cluster.

`engine_from` opens an engine by name. `engines` is the registry; other packages can add their own engines to it.
"""

from omnidistill.core.engines.engine import Done, Engine
from omnidistill.core.engines.engine_registry import EngineFactory, engine_from, engine_in_use, engines
from omnidistill.core.engines.local import LocalEngine

__all__ = ["Done", "Engine", "EngineFactory", "LocalEngine", "engine_from", "engine_in_use", "engines"]
