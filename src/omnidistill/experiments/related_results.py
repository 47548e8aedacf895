"""Find results of other commands that belong to a run, so that its report page can link to them.

The search covers the run folder, its parent folder, and the folders directly inside these two. All results in the run
folder belong to the run. For results elsewhere, the rule depends on the kind of result. A crossed table may have any
file name, but needs an .html page of the same name next to it.

    render.json        output of `render`      belongs to the run that it names
    theory.json        output of `diagnose`    belongs to the run that it names
    transfer.json      output of `transfer`    belongs to runs with the same data, method and size
    *.json             output of `crossed`     belongs to runs on the same data
    *-report.json      report of `migrate`     belongs to every run, because it does not name its data
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from omnidistill.core.errors import InputError
from omnidistill.evaluation.run_scores import RunScores
from omnidistill.evaluation.theory.theory_content import TheoryContent
from omnidistill.io.artifacts import JsonContent
from omnidistill.report.claims import enumerated
from omnidistill.report.crossed_content import CrossedContent
from omnidistill.report.migration_content import MigrationContent
from omnidistill.report.related import RelatedResult
from omnidistill.report.render_content import RenderContent
from omnidistill.report.transfer_content import TransferContent

TABLE = "*.json"
"""Pattern of tables, which have an .html page of the same name."""


@dataclass(frozen=True)
class _Kind:
    """A kind of result.

    Attributes:
        pattern: pattern of the file names.
        title: name of this kind on the report page.
        content: class of the file content.
        summary: function that summarises the content in one sentence.
        belongs: function that decides whether a result outside the run folder belongs to the run. Its arguments are the
            content, the name of the run folder, and the scores of the run.
    """

    pattern: str
    title: str
    content: type[JsonContent]
    summary: Callable[[Any], str]
    belongs: Callable[[Any, str, RunScores], bool]


_KINDS = (
    _Kind(
        "render.json",
        "Rendered rows",
        RenderContent,
        lambda content: f"{len(content.rows)} of {content.size} rows as {enumerated(content.encoders)}.",
        lambda content, run, scores: content.run == run,
    ),
    _Kind(
        "theory.json",
        "Diagnosis of the theory",
        TheoryContent,
        lambda content: f"The theory of HoPA, compared with measurements at {len(content.steps)} steps of a student.",
        lambda content, run, scores: content.run == run,
    ),
    _Kind(
        "transfer.json",
        "Transfer to other encoders",
        TransferContent,
        lambda content: f"Sets with the same settings, used with {enumerated(each.name for each in content.targets)}.",
        lambda content, run, scores: (
            (content.data, content.method, content.size) == (scores.data.name, scores.method, scores.size)
        ),
    ),
    _Kind(
        TABLE,
        "Crossed table",
        CrossedContent,
        lambda content: f"{len(content.sets)} sets and {len(content.references)} models on the same data.",
        lambda content, run, scores: content.data.name == scores.data.name,
    ),
    _Kind(
        "*-report.json",
        "Migration of embeddings",
        MigrationContent,
        lambda content: f"A map from {content.old} to {content.new}.",
        lambda content, run, scores: True,
    ),
)


def related_results(folder: Path, scores: RunScores, page: Path) -> list[RelatedResult]:
    """Return the results of other commands that belong to a run.

    Damaged files, and files with other content, are ignored.

    Args:
        folder: the run folder.
        scores: scores and facts of the run.
        page: path of the report page, to which the links are relative.
    """
    results = []
    for kind in _KINDS:
        for path in _files(folder.resolve(), kind.pattern):
            try:
                content = kind.content.from_file(path)
            except InputError:
                continue
            inside = path.is_relative_to(folder.resolve())
            if inside or kind.belongs(content, folder.resolve().name, scores):
                results.append(_result(kind, content, path, page))
    return results


def _files(folder: Path, pattern: str) -> Iterator[Path]:
    """Yield the files with this name pattern, without repetitions."""
    found = (
        path for place in (folder, folder.parent) for deep in ("", "*/") for path in sorted(place.glob(deep + pattern))
    )
    complete = (path for path in found if pattern != TABLE or path.with_suffix(".html").is_file())
    yield from dict.fromkeys(path for path in complete if path.is_file())


def _result(kind: _Kind, content: JsonContent, path: Path, page: Path) -> RelatedResult:
    html = path.with_suffix(".html")
    shown = Path(os.path.relpath(html if html.is_file() else path, page.resolve().parent)).as_posix()
    return RelatedResult(kind.title, kind.summary(content), shown, quote(os.fsencode(shown)) if html.is_file() else "")
