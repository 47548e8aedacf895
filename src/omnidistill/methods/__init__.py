"""Methods that produce a synthetic set. Each method has its own file, and the registry `methods` lists all by name.

    learn        rows learned by the outer loop (HoPA, LoRS, RepBlend, MTT, TESLA, PTM-ST, task loss ...)
    select       real rows, or averages of real rows (coresets, prototypes)
    covmatch     rows computed in closed form; they have the same cross-covariances as the data
    apm          rows computed in closed form; least squares gives the same heads on them as on the data
    anchor       rows learned so that ridge regression on them gives good heads

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
    """Return the class of the method with this name. Import it if necessary.

    Raises:
        InputError: no method with this name is installed (the message lists the installed methods), or its package
            fails to load.
    """
    return methods.get(name)


def names() -> tuple[str, ...]:
    """Return the names of all methods, without importing them. Built-in methods come first; the others are sorted."""
    return methods.names()


def list() -> dict[str, str]:
    """Return {name: description} for all methods. For a method that fails to load, the description is the error."""
    return methods.list()


def register(name: str) -> Callable[[type[M]], type[M]]:
    """Return a decorator that registers a method class under `name`.

    Raises:
        InputError: the class does not meet the requirements on methods, or another method has this name.
    """
    return methods.register(name)
