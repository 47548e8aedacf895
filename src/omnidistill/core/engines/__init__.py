"""Engines: where independent units of work are done, in this process or by a Ray."""

from omnidistill.core.engines.engine import Done, Engine
from omnidistill.core.engines.factory import engine_from
from omnidistill.core.engines.local import LocalEngine
from omnidistill.core.engines.ray_cluster import RayEngine, WorkerDiedError

__all__ = ["Done", "Engine", "LocalEngine", "RayEngine", "WorkerDiedError", "engine_from"]
