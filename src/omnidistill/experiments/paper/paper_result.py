"""The result of `paper`: the tables, and the files in which they are saved."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from omnidistill.io.artifacts import write_atomic
from omnidistill.report.paper_content import PaperContent
from omnidistill.report.paper_page import render_paper
from omnidistill.report.paper_table import to_markdown

NAME = "paper"
"""Name of the files."""


@dataclass(frozen=True, repr=False)
class PaperTables:
    """The tables of the HoPA paper on given features.

    Attributes:
        content: all numbers; the content of paper.json.
        failures: error message of each failed method or baseline, by table, dataset and name of its folder.
        folder: the folder of the tables; None if nothing was stored.
    """

    content: PaperContent
    failures: Mapping[str, str]
    folder: Path | None = None

    def table(self) -> str:
        """Return all tables as Markdown."""
        return to_markdown(self.content).rstrip("\n")

    def to_json(self) -> dict[str, Any]:
        """Return the content of paper.json."""
        return self.content.to_json()

    def page(self) -> str:
        """Return all tables as a self-contained HTML page."""
        return render_paper(self.content)

    def file(self, suffix: str) -> Path | None:
        """Return the path of the tables (.md, .json) or of the page (.html); None if nothing was stored."""
        return None if self.folder is None else self.folder / f"{NAME}{suffix}"

    def save(self, folder: str | Path) -> PaperTables:
        """Write the tables to a folder as .json, .md and .html. Return a copy whose `folder` is this folder."""
        saved = replace(self, folder=Path(folder))
        contents = {".json": json.dumps(self.to_json(), indent=1, allow_nan=False), ".md": to_markdown(self.content)}
        for suffix, text in {**contents, ".html": self.page()}.items():
            path = saved.file(suffix)
            assert path is not None
            write_atomic(path, text.encode())
        return saved

    def __repr__(self) -> str:
        failed = f", {len(self.failures)} failed" if self.failures else ""
        return f"PaperTables({', '.join(section.title for section in self.content.sections)}{failed})"
