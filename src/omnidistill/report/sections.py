"""Content of the page sections about one run, as plain values for the templates.

Real items are added to the items of the page (`shown`) when they are first used.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from markupsafe import Markup

from omnidistill.report.cases import COMPARED, Case, Cases
from omnidistill.report.charts import Chart, run_charts
from omnidistill.report.claims import claim, differences, further, matching, origin, rivalry
from omnidistill.report.instances import Instance
from omnidistill.report.items import Items
from omnidistill.report.membership_table import ShownMembership, shown_membership
from omnidistill.report.page_items import ShownItems
from omnidistill.report.related import RelatedResult
from omnidistill.report.run_facts import Facts, run_facts
from omnidistill.report.run_view import RunView
from omnidistill.report.similarity_view import SimilarityView
from omnidistill.report.theory_summary import Finding


@dataclass(frozen=True)
class ShownItem:
    """A real item: its number on the page, its caption, and whether it is a positive of the query."""

    number: int
    text: str
    hit: bool = False


@dataclass(frozen=True)
class ShownRanking:
    """The items that the heads of one table row rank highest for a query, and the rank of the first positive item."""

    label: str
    rank: str
    items: tuple[ShownItem, ...]


@dataclass(frozen=True)
class ShownCase:
    """A query, its retrieval direction, and a ranking of items for each table row in `COMPARED`."""

    query: ShownItem
    query_modality: str
    gallery_modality: str
    rankings: tuple[ShownRanking, ...]


@dataclass(frozen=True)
class ShownCases:
    """Changes in the rank of the first positive, from the initial heads to the heads of the set, with examples.

    Attributes:
        rose: number of queries with a better rank.
        fell: number of queries with a worse rank.
        stayed: number of queries with the same rank.
        groups: title and examples of each group of queries.
    """

    rose: int
    fell: int
    stayed: int
    groups: tuple[tuple[str, tuple[ShownCase, ...]], ...]


@dataclass(frozen=True)
class ShownSimilarity:
    """A similarity matrix.

    Attributes:
        sentence: description of the matrix.
        picture: heat map as PNG in base64; None if there is none.
        scale: the largest magnitude off the diagonal, as text such as "0.25"; "0" if there is no heat map. Entries with
            at least this magnitude are opaque in the heat map.
        pairs: the off-diagonal entries with the largest magnitude, each as (value, row i, column j, caption of row i,
            caption of row j).
    """

    sentence: str
    picture: str | None
    scale: str
    pairs: tuple[tuple[str, int, int, str, str], ...]


@dataclass(frozen=True)
class RunSections:
    """Content of the sections about a run, except the descriptions of synthetic rows (instances)."""

    label: str
    scored: bool
    claim: str
    rivalry: str
    further: str
    origin: str
    notes: tuple[str, ...]
    charts: tuple[Chart, ...]
    similarities: tuple[ShownSimilarity, ...]
    cases: ShownCases | None
    membership: ShownMembership | None
    num_instances: int
    num_agreeing: int
    num_staying: int
    starts_from_items: bool
    moves: bool
    commands: tuple[str, ...]
    facts: Facts
    theory: tuple[Finding, ...]
    related: tuple[RelatedResult, ...]


def run_sections(run: RunView, label: str, shown: ShownItems) -> RunSections:
    """Return the content of the sections about a run, except the descriptions of synthetic rows (instances).

    Args:
        run: the run.
        label: label of the run on the page.
        shown: the real items of the page. The items of this run are added to it.
    """
    scores = run.scores
    sentences = [*(differences(scores) if run.scored else ()), matching(scores)]
    return RunSections(
        label=label,
        scored=run.scored,
        claim=claim(scores) if run.scored else "This run has not been evaluated, so its gain is not known yet.",
        rivalry=rivalry(scores) if run.scored else "",
        further=further(scores) if run.scored else "",
        origin=origin(scores),
        notes=tuple(sentence for sentence in sentences if sentence),
        charts=safe_charts(run_charts(scores, run.metrics, run.iteration)),
        similarities=tuple(_similarity(view, run, shown) for view in run.similarities),
        cases=None if run.cases is None else _cases(run.cases, run, shown),
        membership=None if scores.membership is None else shown_membership(scores.membership),
        num_instances=len(run.instances),
        num_agreeing=sum(instance.agrees for instance in run.instances),
        num_staying=sum(instance.stays for instance in run.instances),
        starts_from_items=any(instance.start is not None for instance in run.instances),
        moves=any(instance.moves for instance in run.instances),
        commands=tuple(command for command in run.commands if command),
        facts=run_facts(scores, run.facts),
        theory=tuple(run.theory),
        related=tuple(run.related),
    )


def safe_charts(charts: Iterable[Chart]) -> tuple[Chart, ...]:
    """Mark the SVG of charts as safe HTML. `line_chart` has already escaped all text in the SVG."""
    return tuple(replace(chart, svg=Markup(chart.svg)) for chart in charts)


def _similarity(view: SimilarityView, run: RunView, shown: ShownItems) -> ShownSimilarity:
    names = {instance.index: _caption(instance, run.items, shown) for instance in run.instances}
    return ShownSimilarity(
        view.sentence,
        None if view.picture is None else base64.b64encode(view.picture.data).decode("ascii"),
        f"{view.scale:.2g}",
        tuple(
            (f"{value:+.2g}".replace("-", "−"), i, j, names.get(i, ""), names.get(j, "")) for i, j, value in view.pairs
        ),
    )


def _caption(instance: Instance, items: Items, shown: ShownItems) -> str:
    """Return the captions of the items nearest to a synthetic row in each modality, without repetitions."""
    texts = (shown.texts[shown.number(items, t.nearest[0].id, m, False)] for m, t in instance.traces.items())
    return " · ".join(dict.fromkeys(texts))


def _cases(cases: Cases, run: RunView, shown: ShownItems) -> ShownCases:
    rows = run.scores.rows
    labels = {name: rows[name].label if name in rows else name for name in COMPARED}

    def item(name: str, modality: str, hit: bool = False) -> ShownItem:
        number = shown.number(run.items, name, modality)
        return ShownItem(number, shown.texts[number], hit)

    def ranking(case: Case, name: str) -> ShownRanking:
        retrieved = (item(each.id, case.gallery_modality, each.hit) for each in case.retrieved[name])
        return ShownRanking(labels[name], f"{case.ranks[name]:.4g}", tuple(retrieved))

    def shown_cases(chosen: Sequence[Case]) -> tuple[ShownCase, ...]:
        return tuple(
            ShownCase(
                item(case.query, case.query_modality),
                case.query_modality,
                case.gallery_modality,
                tuple(ranking(case, name) for name in COMPARED),
            )
            for case in chosen
        )

    return ShownCases(
        cases.rose,
        cases.fell,
        cases.stayed,
        (
            ("Largest improvements in rank", shown_cases([case for case in cases.cases if case.rose])),
            ("Largest declines in rank", shown_cases([case for case in cases.cases if not case.rose])),
        ),
    )
