"""Engines by name, as typed: local, ray, ray:ADDRESS."""

from __future__ import annotations

from omnidistill.core.engines.engine import Engine
from omnidistill.core.engines.local import LocalEngine
from omnidistill.core.engines.ray_cluster import RayEngine
from omnidistill.core.errors import InputError, nearest


def engine_from(text: str, device: str = "cpu") -> Engine:
    """The engine that `local`, `ray`, `ray:ADDRESS` or `ray://HOST:PORT` says. device: where its units compute.

    Raises InputError for an unknown name (with the nearest), and for a GPU by its number where Ray hands GPUs out.
    """
    if text == "local":
        return LocalEngine()
    name, colon, address = text.partition(":")
    if name != "ray" or (colon and not address):
        raise InputError(f"--engine {text}: unknown; known are local, ray and ray:ADDRESS{nearest(name, _NAMES)}")
    if device.startswith("cuda:"):
        raise InputError(f"--device {device}: a Ray gives every task a GPU of its own; give --device cuda")
    return RayEngine(text if address.startswith("//") else address or None, gpus=int(device == "cuda"))


_NAMES = ("local", "ray")
