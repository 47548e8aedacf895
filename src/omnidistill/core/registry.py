"""Registries, which select objects by name. Built-in entries are imported on first use.

To add an entry from another package:

    @objectives.register("margin")                           in Python code that runs before the entry is used
    class Margin(Objective): ...

    [project.entry-points."omnidistill.objectives"]          in pyproject.toml of an installed package
    margin = "my_package.margin:Margin"

A `Registry` holds functions or classes, for example functions that create encoders. A `ComponentRegistry` holds
component classes. It can also be part of the type of a field in a pydantic model. For example, the field
`student: Annotated[Objective, objectives]` accepts an instance, a name, or a table with the key `kind`.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Mapping
from importlib.metadata import EntryPoint
from typing import Any, Generic, TypeVar, cast

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema, to_json

from omnidistill.core.entry_points import entry_points
from omnidistill.core.errors import InputError, nearest
from omnidistill.core.settings import Component

T = TypeVar("T")
C = TypeVar("C", bound=Component)
E = TypeVar("E", bound=Component)


class Registry(Generic[T]):
    """Registry of all objects with one role, such as the encoders.

    Args:
        role: name of the role in the singular, such as "encoder". Error messages use it.
        builtin: {name: module}; importing the module registers the object under this name.
        group: entry-point group through which packages add objects; None if the role has no entry points.
    """

    def __init__(self, role: str, builtin: Mapping[str, str], group: str | None = None) -> None:
        self.role: str = role
        self.group: str | None = group
        self._builtin = dict(builtin)
        self._loaded: dict[str, T] = {}
        self._packages: dict[str, str | None] = {}

    def register(self, name: str) -> Callable[[T], T]:
        """Return a decorator that adds the object under `name`.

        Raises:
            InputError: the object violates the contract of the role, or another object already has this name.
        """

        def add(entry: T) -> T:
            module = getattr(entry, "__module__", "")
            self._add(name, entry, None if self._builtin.get(name) == module else module.partition(".")[0])
            return entry

        return add

    def get(self, name: str) -> T:
        """Return the object with this name, importing it if necessary.

        Raises:
            InputError: no object with this name is installed (the message lists the installed names), or the object
                comes from another package and cannot be imported or registered.
        """
        if name not in self._loaded:
            if name in self._builtin:
                importlib.import_module(self._builtin[name])
            elif (point := self._entry_points().get(name)) is not None:
                self._load(point)
            else:
                raise self.missing(name)
        if name not in self._loaded:  # a mistake in `builtin`, not by the user
            raise LookupError(f"{self.role} '{name}': module {self._builtin[name]} does not register this name")
        return self._loaded[name]

    def package(self, name: str) -> str | None:
        """Return the package that provides the object with this name; None for a built-in object.

        Raises:
            InputError: see `get`.
        """
        self.get(name)
        return self._packages[name]

    def missing(self, name: str, package: str | None = None) -> InputError:
        """Return the error for a name that is not installed. `package` is the package that provides it, if known."""
        known = self.names()
        hint = f"; install the package '{package}', which provides it" if package else nearest(name, known)
        return InputError(f"{self.role} '{name}' is not installed; installed: {', '.join(known)}{hint}")

    def names(self) -> tuple[str, ...]:
        """Return every name that `get` accepts: built-in names first, then all others sorted. Import nothing."""
        others = {*self._loaded, *self._entry_points()} - set(self._builtin)
        return (*self._builtin, *sorted(others))

    def list(self) -> dict[str, str]:
        """Return {name: first line of the documentation, or the error message if the entry fails to load}."""
        return {name: self._summary(name) for name in self.names()}

    def __contains__(self, name: object) -> bool:
        return name in self._builtin or name in self._loaded or name in self._entry_points()

    def _summary(self, name: str) -> str:
        try:
            return (inspect.getdoc(self.get(name)) or "").partition("\n")[0]
        except InputError as error:
            return str(error)

    def _entry_points(self) -> dict[str, EntryPoint]:
        return {} if self.group is None else {point.name: point for point in entry_points(group=self.group)}

    def _load(self, point: EntryPoint) -> None:
        package = point.dist.name if point.dist else point.module.partition(".")[0]
        try:
            entry = point.load()
        except Exception as error:
            why = " ".join(f"{type(error).__name__}: {error}".split())
            raise InputError(
                f"{self.role} '{point.name}' from package '{package}' cannot be loaded ({why}); "
                "update or reinstall the package"
            ) from error
        self._loaded.pop(point.name, None)  # loading may already have registered the class by its decorator
        self._add(point.name, entry, package)

    def _add(self, name: str, entry: T, package: str | None) -> None:
        where = f"{self.role} '{name}'" + (f" from package '{package}'" if package else "")
        self._check(where, entry)
        taken = self._loaded.get(name)
        if (taken is not None and not _same(taken, entry)) or (package and name in self._builtin):
            raise InputError(f"{where}: another {self.role} already has this name; choose a different name")
        self._loaded[name], self._packages[name] = entry, package

    def _check(self, where: str, entry: Any) -> None:
        if not callable(entry):
            raise InputError(f"{where}: {entry!r} is not callable; register a function or a class")


class ComponentRegistry(Registry[type[C]]):
    """Registry of all component classes with one role. It can also annotate a field of a pydantic model.

    Args:
        role: name of the role in the singular, such as "objective".
        base: the class that every component of this role derives from.
        builtin, group: see `Registry`.
    """

    def __init__(self, role: str, base: type[C], builtin: Mapping[str, str], group: str | None = None) -> None:
        super().__init__(role, builtin, group)
        self.base: type[C] = base

    def register(self, name: str) -> Callable[[type[E]], type[E]]:
        """Return a decorator that adds the class under `name`; see `Registry.register`."""
        # A decorator that returned `type[C]` would hide the subclass and its settings from type checkers.
        return cast("Callable[[type[E]], type[E]]", super().register(name))

    def build(self, spec: Any) -> C:
        """Return the component that `spec` describes: a name, a table with the key `kind`, or an instance.

        Raises:
            InputError: the kind is unknown.
            pydantic.ValidationError: a setting is unknown or invalid.
        """
        if isinstance(spec, self.base):
            return spec
        if isinstance(spec, str):
            spec = {"kind": spec}
        if not isinstance(spec, Mapping) or not isinstance(spec.get("kind"), str):
            raise InputError(
                f"{self.role}: expected a name, or a dict (in TOML: a table) with the key 'kind', found {spec!r}"
            )
        kind, package = spec["kind"], spec.get("package")
        if kind not in self:
            raise self.missing(kind, package if isinstance(package, str) else None)
        settings = {name: value for name, value in spec.items() if name not in ("kind", "package")}
        return self.get(kind).model_validate_json(to_json(settings))

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Support `Annotated[Base, registry]` as the type of a settings field."""
        dump = core_schema.plain_serializer_function_ser_schema(
            lambda component, info: component.model_dump(mode="json", context=info.context), info_arg=True
        )
        return core_schema.no_info_plain_validator_function(self.build, serialization=dump)

    def _add(self, name: str, entry: Any, package: str | None) -> None:
        super()._add(name, entry, package)
        entry.kind, entry.package = name, package

    def _check(self, where: str, entry: Any) -> None:
        if not (isinstance(entry, type) and issubclass(entry, self.base)):
            raise InputError(f"{where}: {entry!r} must be a subclass of {self.base.__module__}.{self.base.__name__}")
        if inspect.isabstract(entry):
            lacking = ", ".join(sorted(entry.__abstractmethods__))
            raise InputError(
                f"{where}: class {entry.__name__} does not define {lacking}, which every {self.role} must define"
            )


def _same(one: Any, other: Any) -> bool:
    """Return whether two objects have the same definition: the same qualified name in the same module.

    They may still be different objects, for example after a reload of the module. The module `__main__` counts as equal
    to any other module, because a module that runs as a script can also be imported under its own name.
    """
    modules = {getattr(each, "__module__", None) for each in (one, other)}
    names = {getattr(each, "__qualname__", each) for each in (one, other)}
    return len(names) == 1 and len(modules - {"__main__"}) <= 1
