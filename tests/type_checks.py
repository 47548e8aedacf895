"""Types and shapes of arguments and results are checked in calls of the library, as jaxtyping's import hook does.

The hook decorates each function with `jaxtyping.jaxtyped`, which binds the arguments to the signature and checks them
twice: before the call and, with the result, after it. `checked` takes its place and needs less time: beartype checks
arguments and result once, and only a function whose annotations have shapes gets a scope for the sizes that their names
stand for. In each test, only the first calls of a function are checked, because a loop repeats the same types.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable
from types import FunctionType
from typing import Any, get_type_hints

import jaxtyping
from beartype import BeartypeConf, beartype

FIRST_CALLS = 5
"""Calls of a function that are checked in each test. Those of a function within another are counted together."""
_jaxtyped = jaxtyping.jaxtyped
_calls: dict[tuple[str, str], list[int]] = {}
"""The test in which a function (module, name) was last called, and how many of its calls are checked there."""
_test = 0
_typed = beartype(conf=BeartypeConf(violation_type=jaxtyping.TypeCheckError))  # a TypeError, as jaxtyping raises


def start_test() -> None:
    """Check the first calls of every function again."""
    global _test
    _test += 1


def checked(target: Any = None, *, typechecker: Callable[..., Any]) -> Any:
    """Decorate a function or class, as `jaxtyping.jaxtyped` does."""
    if target is None:
        return functools.partial(checked, typechecker=typechecker)
    if isinstance(target, type):
        made = dataclasses.is_dataclass(target) and not hasattr(target.__init__, "__wrapped__")
        if made:  # by the decorator of the class; a method of the source is decorated already
            target.__init__ = checked(target.__init__, typechecker=typechecker)
        return target
    if not isinstance(target, FunctionType):
        return _jaxtyped(target, typechecker=typechecker)
    return _first_calls(target, typechecker)


def _first_calls(target: FunctionType, typechecker: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function `target`, whose first calls in a test are checked. Checks are made when they are needed."""
    checks: Callable[..., Any] | None = None
    counted = _calls.setdefault((target.__module__, target.__qualname__), [0, 0])

    @functools.wraps(target)
    def limited(*arguments: Any, **named: Any) -> Any:
        __tracebackhide__ = True
        nonlocal checks
        if counted[0] != _test:
            counted[:] = _test, 0
        if counted[1] >= FIRST_CALLS:
            return target(*arguments, **named)
        counted[1] += 1
        if checks is None:
            checks = _with_checks(target, typechecker)
        return checks(*arguments, **named)

    limited.__code__ = limited.__code__.replace(co_name=target.__name__)  # a code of its own, by which frames are told
    return limited


def _with_checks(target: FunctionType, typechecker: Callable[..., Any]) -> Callable[..., Any]:
    annotations = target.__annotations__
    resolved = {name: _resolved(each, target.__globals__) for name, each in annotations.items()}
    text = repr(resolved)
    if _suspends(target) or "{" in text[1:]:  # braces: a size that an argument gives
        checks: Callable[..., Any] = _jaxtyped(target, typechecker=typechecker)
        return checks
    target.__annotations__ = resolved
    checks = _typed(target)
    target.__annotations__ = checks.__annotations__ = annotations  # whoever reads them sees those of the source
    return _scoped(checks) if "jaxtyping" in text else checks


def _scoped(checks: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(checks)
    def scoped(*arguments: Any, **named: Any) -> Any:
        __tracebackhide__ = True
        with _jaxtyped("context"):
            return checks(*arguments, **named)

    return scoped


def _resolved(annotation: Any, namespace: dict[str, Any]) -> Any:
    """Return what a string stands for. What is imported for checkers of types only may be anything."""
    holder = lambda: None  # noqa: E731
    holder.__annotations__ = {"value": annotation}
    try:
        return get_type_hints(holder, namespace, include_extras=True)["value"]
    except Exception:
        return Any


def _suspends(function: FunctionType) -> bool:
    """Whether a call returns before the body ran: beartype would check its arguments too late."""
    return inspect.isgeneratorfunction(function) or inspect.iscoroutinefunction(function)
