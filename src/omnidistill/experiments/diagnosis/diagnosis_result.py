"""The result of `diagnose`: its measurements, summary, charts and page, and the files in which they are saved.

FOLDER/theory.json     all measurements
FOLDER/theory.txt      the summary in plain words
FOLDER/theory.html     the summary, charts and tables
FOLDER/theory-*.svg    the charts
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from omnidistill.evaluation.theory.theory_content import TheoryContent
from omnidistill.io.artifacts import require_new, write_output
from omnidistill.report.svg_elements import standalone
from omnidistill.report.theory_charts import theory_charts
from omnidistill.report.theory_page import render_theory
from omnidistill.report.theory_summary import summary_text

NAME = "theory"


@dataclass(frozen=True, repr=False)
class Diagnosis:
    """The result of `diagnose`: measurements on a run that are compared with the theory of HoPA.

    Attributes:
        content: all measurements; the content of theory.json.
        folder: the folder of the files; None if nothing was stored.
    """

    content: TheoryContent
    folder: Path | None = None

    def summary(self) -> str:
        """Return a summary in plain words: which statements of HoPA's theory hold, and how loose its bounds are."""
        return summary_text(self.content)

    def to_json(self) -> dict[str, Any]:
        """Return the content of theory.json."""
        return self.content.to_json()

    def page(self) -> str:
        """Return the summary, charts and tables as a self-contained HTML page."""
        return render_theory(self.content)

    def save(self, folder: str | Path, *, force: bool = False) -> Diagnosis:
        """Write all files to a folder, and return a copy of the diagnosis whose `folder` is this folder.

        Args:
            folder: output folder; created if missing.
            force: whether to replace the files of an earlier diagnosis.

        Raises:
            InputError: the folder contains one of the files, and `force` is False.
        """
        place, files = Path(folder), self._files()
        refuse_to_overwrite(place, files, force)
        place.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            write_output(place / name, text.encode(), force)
        return replace(self, folder=place)

    def _files(self) -> dict[str, str]:
        charts = {f"{NAME}-{chart.name}.svg": standalone(chart.svg) for chart in theory_charts(self.content)}
        texts = {".txt": self.summary() + "\n", ".html": self.page()}
        tree = json.dumps(self.to_json(), indent=1, allow_nan=False)
        return {**charts, **{NAME + suffix: text for suffix, text in texts.items()}, f"{NAME}.json": tree}

    def __repr__(self) -> str:
        content = self.content
        return f"Diagnosis({content.method}: {len(content.steps)} steps of {content.batch_size} rows)"


def refuse_to_overwrite(folder: Path, names: Iterable[str], force: bool) -> None:
    """Raise InputError if one of these files exists in the folder and `force` is False."""
    for name in sorted(names):
        require_new(folder / name, force)
