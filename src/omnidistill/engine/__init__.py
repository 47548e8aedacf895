"""Engines: where independent units of work are done, in this process or by a Ray."""

from omnidistill.engine.local import LocalEngine
from omnidistill.engine.on_ray import RayEngine, WorkerDiedError
from omnidistill.engine.opening import engine_from
from omnidistill.engine.protocol import Done, Engine

__all__ = ["Done", "Engine", "LocalEngine", "RayEngine", "WorkerDiedError", "engine_from"]
