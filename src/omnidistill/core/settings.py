"""Settings, which are frozen and strict pydantic models, and components, which are settings with behaviour.

A component implements a role (an objective, a similarity, a method ...). Its fields are its settings; the string below
each field documents it. Its methods are its behaviour, and `cites` names the works that it is based on. In a settings
tree, a component is a table with the key `kind`, or only its name if all settings have their defaults:

    student = {kind = "infonce", tau = 0.05}          student = "infonce"

`core.registry` maps names to components. This module does not import torch.
"""

from __future__ import annotations

import ast
import functools
import inspect
import textwrap
from collections.abc import Callable
from itertools import pairwise
from typing import Annotated, Any, ClassVar, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    model_serializer,
)

from omnidistill.core.errors import InputError

Positive = Annotated[float, Field(gt=0, le=1e30)]  # larger values overflow in float32
Count = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]

_COMPLETE = {"settings": "all"}

S = TypeVar("S", bound="Settings")  # not typing.Self, which beartype accepts in decorated classes only


class Settings(BaseModel):
    """A group of settings. It is frozen, checks the type of every field, and rejects unknown fields, NaN and Inf."""

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)
    added: ClassVar[tuple[str, ...]] = ()
    """Settings that version 0.1 does not have. `model_dump` omits them while they have their default values, so that
    settings, digests and keys equal those in artifacts of version 0.1."""
    cites: ClassVar[tuple[str, ...]] = ()
    """The works that these settings are based on: keys in `citations/works.bib`, or complete BibTeX entries."""

    def citations(self) -> tuple[str, ...]:
        """Return the works to cite for these settings. Works that nested settings cite are not included."""
        return self.cites

    def __str__(self) -> str:
        return repr(self)

    def evolve(self: S, **changes: Any) -> S:
        """Return a copy with some fields changed. The copy is validated like new settings.

        Raises:
            InputError: a changed value is invalid, by itself or in combination with other values.
        """
        try:
            return type(self).model_validate({**dict(self), **changes})
        except ValidationError as error:
            problem = error.errors()[0]
            where = ".".join(str(part) for part in problem["loc"]) or type(self).__name__
            message = problem["msg"].removeprefix("Value error, ")
            raise InputError(message if problem["type"] == "value_error" else f"{where}: {message}") from None

    def to_json(self) -> dict[str, Any]:
        """Return all settings as JSON values, including the default values that `model_dump` omits."""
        return self.model_dump(mode="json", context=_COMPLETE)

    @model_serializer(mode="wrap")
    def _dump(self, handler: Callable[[Any], dict[str, Any]], info: Any) -> dict[str, Any]:
        tree = handler(self)
        if info.context == _COMPLETE:
            return tree
        fields = type(self).model_fields
        unchanged = [name for name in self.added if getattr(self, name) == fields[name].get_default()]
        return {name: value for name, value in tree.items() if name not in unchanged}


class Component(Settings):
    """Base class for components: settings with behaviour, such as an objective or a storage of rows.

    `kind` is the name under which the component is registered. `package` is the distribution that provides the
    component; None if it is built in. Both are stored with the settings, so that an error can name a missing package.
    """

    kind: ClassVar[str] = ""
    package: ClassVar[str | None] = None

    @model_serializer(mode="wrap")
    def _dump(self, handler: Callable[[Any], dict[str, Any]], info: Any) -> dict[str, Any]:
        package = {"package": self.package} if self.package else {}
        return {"kind": self.kind, **package, **super()._dump(handler, info)}


@functools.cache
def field_docs(model: type) -> dict[str, str]:
    """Return the documentation of the fields of a settings class: the string below each field, by field name.

    The strings are read from the source code when this function is called. Pydantic could collect them while it
    creates the class, but that would account for a third of the import time. A class without source code, for example
    one typed at a prompt, has no documentation.
    """
    docs: dict[str, str] = {}
    for each in reversed(model.__mro__):
        if "__annotations__" not in vars(each):
            continue
        try:
            declared = ast.parse(textwrap.dedent(inspect.getsource(each))).body[0]
        except (OSError, TypeError):
            continue
        for field, below in pairwise(declared.body if isinstance(declared, ast.ClassDef) else ()):
            match field, below:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                    docs[name] = inspect.cleandoc(text)
    return docs
