"""The type of JSON values that are passed on without being interpreted, such as the provenance of a dataset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    Json = None | bool | int | float | str | Sequence["Json"] | Mapping[str, "Json"]
else:
    # Run-time type checkers cannot resolve a recursive name in another module, so they check only one level.
    Json = None | bool | int | float | str | Sequence[Any] | Mapping[str, Any]
