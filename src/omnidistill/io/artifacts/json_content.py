"""Typed content of JSON files: frozen pydantic models that are validated once, when a file is read.

Code that builds the content passes values of the declared types, and code that uses the content reads attributes. Only
`from_json` and `to_json` handle JSON trees.
"""

from __future__ import annotations

import json
import reprlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from omnidistill.core.errors import InputError
from omnidistill.io.input_files import read_json

C = TypeVar("C", bound="JsonContent")
_HALF_CHARACTER = "a text contains half of a surrogate pair, which is not a character"


class JsonContent(BaseModel):
    """Base class for the content of JSON files. It is frozen, checks the type of every field, and rejects NaN and Inf.

    Unknown fields, such as fields that a later version adds, are ignored.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, strict=True, allow_inf_nan=False)
    remedy: ClassVar[str] = "restore the file"
    """What the user can do about a damaged file; the end of the error message."""
    layout_version: ClassVar[int | None] = None
    """Version of the file's layout, stored in its field "schema" and required when the file is read; None: the file has
    no such field."""

    def evolve(self: C, **changes: Any) -> C:
        """Return a copy with some fields changed. The copy is validated like new content."""
        return type(self)(**{**dict(self), **changes})

    def to_json(self) -> dict[str, Any]:
        """Return the content as a JSON tree with the layout of the file."""
        version = {} if self.layout_version is None else {"schema": self.layout_version}
        return {**version, **self.model_dump(mode="json")}

    @classmethod
    def from_file(cls: type[C], path: Path) -> C:
        """Read the content from a JSON file.

        Raises:
            InputError: the file cannot be read, is not JSON, or its content is invalid. The message says what to do.
        """
        return cls.from_json(read_json(path, cls.remedy), str(path))

    @classmethod
    def from_json(cls: type[C], tree: Mapping[str, Any], where: str) -> C:
        """Create the content from a JSON tree with the layout that `to_json` returns.

        Args:
            tree: JSON content of the file.
            where: name of the file in error messages.

        Raises:
            InputError: a field is missing or has an invalid value. The message names the first such field.
        """
        if cls.layout_version is not None:
            cls.require_schema(tree, cls.layout_version, where)
        try:
            return cls.model_validate_json(json.dumps(tree))
        except ValidationError as error:
            first = error.errors()[0]
            if first["type"] == "json_invalid":  # the tree comes from JSON, so only a text can be invalid
                raise InputError(f"{where}: invalid content: {_HALF_CHARACTER}; {cls.remedy}") from None
            field = ".".join(cls._path([part for part in first["loc"] if part != "[key]"]))
            if first["type"] == "missing":
                raise cls.damaged(where, f"{field} is missing") from None
            raise cls.damaged(where, f"{field} is {reprlib.repr(first['input'])}: {first['msg']}") from None

    @classmethod
    def require_schema(cls, tree: Mapping[str, Any], expected: int, where: str) -> None:
        """Check that the field "schema", the version of a file's layout, is the expected one.

        Raises:
            InputError: the field is missing or names a different version.
        """
        if "schema" not in tree:
            raise cls.damaged(where, "schema is missing")
        if tree["schema"] != expected:
            raise cls.damaged(where, f"schema is {tree['schema']!r}, but this version reads {expected}")

    @classmethod
    def damaged(cls, where: str, problem: str) -> InputError:
        """Return the error for a file with damaged content. `problem` starts with the name of the field."""
        return InputError(f"{where}: invalid content: field {' '.join(problem.split())}; {cls.remedy}")

    @classmethod
    def _path(cls, parts: Iterable[int | str]) -> list[str]:
        """Return the path of a field in the JSON file, such as ["rows", "0", "name"], for error messages.

        Override this method in a class whose attributes are arranged differently from the JSON file.

        Args:
            parts: path of the field in the class, such as ("rows", 0, "name").
        """
        return [str(part) for part in parts]
