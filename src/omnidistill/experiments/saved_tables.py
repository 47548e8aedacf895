"""Base class of results that consist of tables. A result can be saved as three files.

FOLDER/NAME.json    all numbers
FOLDER/NAME.md      the tables as Markdown
FOLDER/NAME.html    a self-contained page
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic, TypeVar

from omnidistill.io.artifacts import JsonContent, write_atomic

C = TypeVar("C", bound=JsonContent)
T = TypeVar("T", bound="SavedTables[Any]")


@dataclass(frozen=True, repr=False)
class SavedTables(ABC, Generic[C]):
    """Tables that can be saved.

    Attributes:
        content: all numbers; the content of the .json file.
        failures: {name of a part that failed: error message}.
        folder: the folder of the files; None if nothing was stored.
    """

    content: C
    failures: Mapping[str, str]
    folder: Path | None = None

    @property
    @abstractmethod
    def name(self) -> str:
        """Name of the files, without suffix."""

    @abstractmethod
    def table(self) -> str:
        """Return all tables as Markdown."""

    @abstractmethod
    def page(self) -> str:
        """Return a self-contained HTML page."""

    def to_json(self) -> dict[str, Any]:
        """Return the content of the .json file."""
        return self.content.to_json()

    def file(self, suffix: str) -> Path | None:
        """Return the path of the file with this suffix (.json, .md or .html); None if nothing was stored."""
        return None if self.folder is None else self.folder / f"{self.name}{suffix}"

    def save(self: T, folder: str | Path) -> T:
        """Write the files to `folder`, and return a copy of this object that records the folder."""
        saved = replace(self, folder=Path(folder))
        tree = json.dumps(self.to_json(), indent=1, allow_nan=False)
        for suffix, text in {".json": tree, ".md": self.table() + "\n", ".html": self.page()}.items():
            write_atomic(Path(folder) / f"{self.name}{suffix}", text.encode())
        return saved
