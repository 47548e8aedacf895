"""The registry of engines. The `--engine` option selects an engine by NAME or NAME:ADDRESS.

@engines.register("slurm")                         in Python
def slurm_engine(address, device): ...

[project.entry-points."omnidistill.engines"]       in pyproject.toml of an installed package
slurm = "my_package:slurm_engine"
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from omnidistill.core.arguments import argument
from omnidistill.core.engines.engine import Engine
from omnidistill.core.errors import InputError
from omnidistill.core.registry import Registry


class EngineFactory(Protocol):
    """An entry of `engines`: a function or class that creates an engine."""

    def __call__(self, address: str | None, device: str) -> Engine:
        """Create the engine.

        Args:
            address: text after the colon in `--engine NAME:ADDRESS`; None if there is no colon.
            device: device on which the engine computes the units of work: "cpu", "cuda" or "cuda:N".

        Raises:
            InputError: the engine cannot use the address or the device.
        """


engines: Registry[EngineFactory] = Registry(
    "engine",
    {"local": "omnidistill.core.engines.local", "ray": "omnidistill.core.engines.ray_cluster"},
    group="omnidistill.engines",
)
"""Engines by name."""


def engine_from(text: str, device: str = "cpu") -> Engine:
    """Create an engine from the text NAME or NAME:ADDRESS: `local`, `ray`, `ray:ADDRESS` or `ray://HOST:PORT`.

    Args:
        text: name of the engine, with or without an address.
        device: device on which the engine's tasks compute.

    Returns:
        The engine. It connects to its workers when it is entered as a context manager.

    Raises:
        InputError: no engine has this name (the message names the closest one), the address is empty, or the engine
            cannot use the address or the device.
    """
    name, colon, address = text.partition(":")
    if colon and not address:
        raise InputError(
            f"{argument('engine', text)}: the address after the colon is missing; "
            f"use {argument('engine', name)} or {name}:ADDRESS"
        )
    try:
        factory = engines.get(name)
    except InputError as error:
        raise InputError(f"{argument('engine', text)}: {error}") from error
    engine = factory(address or None, device)
    if not isinstance(engine, Engine):
        raise InputError(
            f"{argument('engine', text)}: the registered function returned a {type(engine).__name__}, but must return "
            "an engine: a context manager with the members 'here', 'at_once' and 'run'"
        )
    return engine


@contextmanager
def engine_in_use(engine: Engine | str, device: str = "cpu") -> Iterator[Engine]:
    """Yield an open engine for a `with` block.

    Args:
        engine: an Engine object, or a text such as "ray" or "ray:ADDRESS". An Engine object must already be open, and
            it stays open after the block. A text opens a new engine, which is closed at the end of the block.
        device: device on which the tasks of a new engine compute; not used for an Engine object.

    Raises:
        InputError: see `engine_from`. The engine may also raise it while it opens, for example if it cannot connect.
    """
    if isinstance(engine, str):
        with engine_from(engine, device) as opened:
            yield opened
    else:
        yield engine
