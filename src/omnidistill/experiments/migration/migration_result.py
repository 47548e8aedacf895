"""The result of `migrate`: the kit (maps between old and new embeddings), its report, and the files of both.

KIT/                           the kit: all files that are needed to map embeddings
KIT-report.md, .json, .html    the report
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from omnidistill.experiments.migration.kit import Kit
from omnidistill.io.artifacts import require_new, require_new_folder, write_output
from omnidistill.plotting import Plottable
from omnidistill.report.migration_content import MigrationContent
from omnidistill.report.migration_page import render_migration
from omnidistill.report.migration_table import migration_markdown

SUFFIXES = (".md", ".json", ".html")


@dataclass(frozen=True, repr=False)
class Migration(Plottable):
    """The result of `migrate`.

    Attributes:
        kit: maps embeddings of the old encoder to the new encoder, and back.
        content: the content of the report.
        folder: folder of the kit; None if nothing was stored.
    """

    kit: Kit
    content: MigrationContent
    folder: Path | None = None

    @property
    def plot_source(self) -> MigrationContent:
        """The content of the report, from which `plot` draws a heat map of recall."""
        return self.content

    def table(self) -> str:
        """Return the report as Markdown."""
        return migration_markdown(self.content).rstrip("\n")

    def to_json(self) -> dict[str, Any]:
        """Return the report as a JSON object."""
        return self.content.to_json()

    def page(self) -> str:
        """Return the report as a self-contained HTML page."""
        return render_migration(self.content)

    def save(self, folder: str | Path, *, force: bool = False) -> Migration:
        """Write the kit (maps between old and new embeddings) and the report. Return a copy that knows its folder.

        Args:
            folder: folder of the kit. The report is written next to it.
            force: whether to replace an existing kit and report.

        Raises:
            InputError: the folder is not empty or the report exists, and `force` is False.
        """
        folder = Path(folder)
        require_output(folder, force)
        contents = {
            ".md": migration_markdown(self.content),
            ".json": json.dumps(self.to_json(), indent=1, allow_nan=False) + "\n",
            ".html": self.page(),
        }
        self.kit.save(folder, force=force)
        for suffix, text in contents.items():
            write_output(report_file(folder, suffix), text.encode(), force)
        return replace(self, folder=folder)

    def __repr__(self) -> str:
        return f"Migration({self.kit!r}, {len(self.content.rows)} rows of results)"


def report_file(folder: Path, suffix: str) -> Path:
    """Return the path of the report with this suffix."""
    return folder.with_name(f"{folder.name}-report{suffix}")


def require_output(folder: Path, force: bool) -> None:
    """Check that `migrate` can write its kit (maps between old and new embeddings) and its report.

    Raises:
        InputError: the folder is not empty or the report exists, and `force` is False.
    """
    require_new_folder(folder, force)
    for suffix in SUFFIXES:
        require_new(report_file(folder, suffix), force)
