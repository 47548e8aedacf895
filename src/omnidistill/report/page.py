"""One self-contained HTML page about runs on the same data: summary, tables, charts and examples.

All texts from a run (captions, labels, settings) are escaped. A content security policy allows only embedded media and
the page's own style and script, which it identifies by their hashes. Descriptions of the synthetic rows (instances) are
stored as lists of numbers, from which the script builds HTML elements. Media are embedded as long as the page is
smaller than `MAX_BYTES`.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from omnidistill.core.errors import InputError
from omnidistill.core.printable import printable
from omnidistill.evaluation.run_scores import RunScores
from omnidistill.report.charts import shared_charts
from omnidistill.report.gain_dots import GainDots, gain_dots
from omnidistill.report.interval_notes import covered
from omnidistill.report.page_items import ShownItems, as_script_data, instance_numbers
from omnidistill.report.page_tables import HeatTable, comparison_table, heat_tables
from omnidistill.report.rivals import fits, is_set
from omnidistill.report.run_facts import plain
from omnidistill.report.run_table import TextTable, combine, metric_rows, score_rows, scoring_facts
from omnidistill.report.run_view import RunView, run_labels
from omnidistill.report.sections import run_sections, safe_charts

__all__ = ["MAX_BYTES", "RunView", "render_page"]

MAX_BYTES = 4_900_000
"""Intended maximum size of a page; media that would exceed it are omitted."""
_STYLES = ("base.css", "tables.css", "figures.css")  # of all pages
_FRAME_BYTES = 150_000  # estimated size of style, script, tables and curves, per run


def render_page(runs: Sequence[RunView]) -> str:
    """Return the page as HTML; the same input gives the same bytes.

    Args:
        runs: one or more runs on the same data.

    Raises:
        InputError: no run is given, or the runs were not evaluated on the same data (see `run_table.combine`).
    """
    if not runs:
        raise InputError("report page: there is no run to show; pass at least one run")
    shown = ShownItems()
    labels = run_labels(runs)
    numbers = [instance_numbers(run.instances, run.items, shown) for run in runs]
    views = [run_sections(run, label, shown) for run, label in zip(runs, labels, strict=True)]
    texts = as_script_data({"texts": shown.texts, "runs": numbers})
    media = shown.embed(max(0, MAX_BYTES - len(texts.encode()) - _FRAME_BYTES * len(runs)))
    content = {
        "texts": shown.texts,
        "pictureOf": _places(media.picture_of),
        "soundOf": _places(media.sound_of),
        "pictures": media.pictures.uris,
        "sounds": media.sounds.uris,
        "runs": numbers,
    }
    data = runs[0].scores.data
    tables = _shared_tables([run.scores for run in runs if run.scored])
    together = list(zip(labels, runs, strict=True)) if len(runs) > 1 else []
    return render_template(
        "page.html.jinja",
        styles=("items.css",),
        scripts=("items.js", "instances.js"),
        data_name=data.name or "data",
        rows=data.rows,
        widths=data.widths,
        licences=[plain(entry) for entry in data.licence],
        gain_dots=tables.gain_dots,
        marks_larger=tables.marks_larger,
        scores_table=tables.scores,
        has_best=tables.has_best,
        emphasised=tables.emphasised,
        recall_levels=tables.levels,
        heat=tables.heat,
        metrics_table=tables.metrics,
        scoring_facts=tables.facts,
        interval_covers=tables.interval_covers,
        num_seeds=tables.num_seeds,
        compared=comparison_table({label: run.scores for label, run in together}),
        shared_charts=safe_charts(
            shared_charts(
                {label: run.metrics for label, run in together},
                {label: run.iteration for label, run in together if run.iteration is not None},
            )
        ),
        runs=views,
        media_note=media.note(),
        data=as_script_data(content),
    )


@dataclass(frozen=True)
class _SharedTables:
    """The tables that cover all evaluated runs.

    Attributes:
        emphasised: indices of the table rows that belong to distilled sets.
        gain_dots: the charts of gain retained, one per recall level.
        marks_larger: whether the captions of these charts explain the mark of large baselines. True if a baseline needs
            more bytes than the largest set, or if its bytes are not recorded.
        interval_covers: which variation the intervals of distilled sets include, such as "queries only (one set)".
    """

    gain_dots: Sequence[GainDots] = ()
    marks_larger: bool = False
    scores: TextTable | None = None
    has_best: bool = False
    emphasised: frozenset[int] = frozenset()
    levels: Sequence[str] = ()
    heat: Sequence[HeatTable] = ()
    metrics: TextTable | None = None
    facts: Sequence[str] = ()
    num_seeds: int | None = None
    interval_covers: str = ""


def _shared_tables(evaluated: Sequence[RunScores]) -> _SharedTables:
    if not evaluated:
        return _SharedTables()
    scores = combine(evaluated)
    dots = gain_dots(scores)
    return _SharedTables(
        dots,
        any(not is_set(name) and not fits(scores, row) for name, row in scores.rows.items()),
        score_rows(scores),
        scores.has_best,
        frozenset(number for number, name in enumerate(scores.rows) if is_set(name)),
        [*scores.levels, *scores.undefined],
        heat_tables(scores),
        metric_rows(scores),
        scoring_facts(scores),
        scores.num_seeds,
        covered(scores),
    )


def _places(numbers: dict[int, int | None]) -> dict[int, int]:
    return {item: place for item, place in numbers.items() if place is not None}


def render_template(name: str, *, styles: Sequence[str] = (), scripts: Sequence[str] = (), **content: object) -> str:
    """Return a page as HTML. Control characters and lone surrogates in the content are shown as escapes.

    Args:
        name: file of the template, which extends base.html.jinja.
        styles: names of style files in the templates folder, to insert after the style that all pages share.
        scripts: names of script files in the templates folder, to insert after the script that all pages share.
        content: values for the template.
    """
    style, script = (Markup("\n").join(map(_source, files)) for files in ((*_STYLES, *styles), ("base.js", *scripts)))
    return printable(_environment().get_template(name).render(style=style, script=script, **content))


def _source(name: str) -> Markup:
    """Return the content of a file in the templates folder, unchanged."""
    environment = _environment()
    assert environment.loader is not None
    return Markup(environment.loader.get_source(environment, name)[0])


def _environment() -> Environment:
    """Return the Jinja environment of all pages. It escapes values, and raises an error if a value is missing."""
    environment = Environment(
        loader=PackageLoader("omnidistill.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["csp_hash"] = csp_hash
    return environment


def csp_hash(content: str) -> str:
    """Return the hash of an inline style or script, in the format of a content security policy."""
    digest = hashlib.sha256(str(content).encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode('ascii')}'"
