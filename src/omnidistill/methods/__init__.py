"""Methods that produce a set. Each method has its own file; `methods` lists them by name.

    learn        rows learned by the outer loop (HoPA, LoRS, RepBlend, MTT, TESLA, PTM-ST, task loss ...)
    select       real rows, or averages of real rows (coresets, prototypes)
    covmatch     rows computed in closed form, with the same cross-covariances as the data
    apm          rows computed in closed form, on which least squares gives the heads of the data, up to rank N - 1

A published method is a preset: a file in presets/ that names one of these methods and its components.
"""

from collections.abc import Callable
from typing import TypeVar

from omnidistill.methods.method import AnyMethod, Method, methods
from omnidistill.methods.task import Task

__all__ = ["AnyMethod", "Method", "Task", "get", "list", "methods", "names", "register"]

M = TypeVar("M", bound=Method)

# `omnidistill.methods` is also the public namespace for methods, so it exports the functions of the registry.


def get(name: str) -> type[Method]:
    """Return the method with this name, importing it if necessary.

    Raises:
        InputError: no method with this name is installed (the message lists the installed methods), or its package
            fails to load.
    """
    return methods.get(name)


def names() -> tuple[str, ...]:
    """Return the names of all methods: built-in methods first, then the others in sorted order. Imports nothing."""
    return methods.names()


def list() -> dict[str, str]:
    """Return {name: first line of the docstring} for all methods. If a method fails to load, its text is the reason."""
    return methods.list()


def register(name: str) -> Callable[[type[M]], type[M]]:
    """Return a decorator that adds a method under `name`.

    Raises:
        InputError: the class violates the contract of methods, or another method has this name.
    """
    return methods.register(name)
