"""The result of `crossed`: its content, tables and page, and the files in which they are saved."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from omnidistill.io.artifacts import write_atomic
from omnidistill.report.crossed_content import CrossedContent
from omnidistill.report.crossed_page import render_crossed
from omnidistill.report.crossed_table import to_markdown


@dataclass(frozen=True, repr=False)
class CrossedTable:
    """The result of `crossed`.

    Attributes:
        content: all measurements; the content of crossed.json.
        failures: {title of a work item: error message} for all work items that failed.
        folder: the folder of the table; None if nothing was stored.
    """

    content: CrossedContent
    failures: Mapping[str, str]
    folder: Path | None = None

    def table(self) -> str:
        """Return all tables as Markdown."""
        return to_markdown(self.content).rstrip("\n")

    def to_json(self) -> dict[str, Any]:
        """Return the content of crossed.json."""
        return self.content.to_json()

    def page(self) -> str:
        """Return the heat maps as a self-contained HTML page."""
        return render_crossed(self.content)

    def file(self, suffix: str) -> Path | None:
        """Return the path of the table (.md, .json) or page (.html); None if nothing was stored."""
        return None if self.folder is None else self.folder / f"{self.content.name}{suffix}"

    def save(self, folder: str | Path) -> CrossedTable:
        """Write the table to a folder as .json, .md and .html. Return a copy whose `folder` is this folder."""
        saved = replace(self, folder=Path(folder))
        contents = {".json": json.dumps(self.to_json(), indent=1, allow_nan=False), ".md": to_markdown(self.content)}
        for suffix, text in {**contents, ".html": self.page()}.items():
            path = saved.file(suffix)
            assert path is not None
            write_atomic(path, text.encode())
        return saved

    def __repr__(self) -> str:
        failed = f", {len(self.failures)} failed" if self.failures else ""
        return f"CrossedTable({self.content.data.name}: {len(self.content.cells)} cells{failed})"
