"""Settings: frozen, strict pydantic models; and components, which are settings that have behaviour.

A component is one alternative of a role (an objective, a similarity, a method ...). Its fields are its settings, each
documented by the string below it; its methods are what it does; `cites` names the works it rests on. In a settings
tree it stands as a table with the key `kind`, or as its name alone where every setting keeps its default:

    student = {kind = "infonce", tau = 0.05}          student = "infonce"

`core.registry` maps names to components. Importing this module loads no torch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, ClassVar, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    model_serializer,
)

from omnidistill.core.errors import InputError

Positive = Annotated[float, Field(gt=0, le=1e30)]  # above, float32 overflows
Count = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]

S = TypeVar("S", bound="Settings")  # not typing.Self, which beartype accepts in decorated classes only


class Settings(BaseModel):
    """A group of settings: frozen, every field of its own type, no unknown fields, no NaN or Inf."""

    model_config: ClassVar[ConfigDict] = ConfigDict(
        frozen=True, strict=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True
    )
    cites: ClassVar[tuple[str, ...]] = ()
    """Keys of `citations/works.bib`, or complete BibTeX entries, of the works that these settings rest on."""

    def citations(self) -> tuple[str, ...]:
        """Return the works to cite for these settings, without those of the settings below them."""
        return self.cites

    def __str__(self) -> str:
        return repr(self)

    def evolve(self: S, **changes: Any) -> S:
        """Return a copy with some fields changed, validated like a new one.

        Raises:
            InputError: a changed value is not valid, alone or together with the others.
        """
        try:
            return type(self).model_validate({**dict(self), **changes})
        except ValidationError as error:
            problem = error.errors()[0]
            where = ".".join(str(part) for part in problem["loc"]) or type(self).__name__
            message = problem["msg"].removeprefix("Value error, ")
            raise InputError(message if problem["type"] == "value_error" else f"{where}: {message}") from None


class Component(Settings):
    """Base of every component: settings with behaviour, known by a name in the registry of its role.

    `kind` is the name it was registered under, `package` the distribution that provides it (None for built-in ones);
    both are written next to the settings, so that a reader without the package can say what is missing.
    """

    kind: ClassVar[str] = ""
    package: ClassVar[str | None] = None

    @model_serializer(mode="wrap")
    def _with_kind(self, handler: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
        package = {"package": self.package} if self.package else {}
        return {"kind": self.kind, **package, **handler(self)}
