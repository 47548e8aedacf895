"""The sections about one run, as plain values for the templates; items are numbered in `shown` as they are met."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from typing import Any

from markupsafe import Markup

from omnidistill.report.cases import COMPARED
from omnidistill.report.charts import Chart, run_charts
from omnidistill.report.claims import claim, differences, further, made_of, matching
from omnidistill.report.instances import Instance
from omnidistill.report.items import Items
from omnidistill.report.page_items import ShownItems
from omnidistill.report.run_facts import run_facts
from omnidistill.report.run_table import score_lines
from omnidistill.report.run_view import RunView
from omnidistill.report.similarity_view import SimilarityView


def run_sections(run: RunView, label: str, shown: ShownItems) -> dict[str, Any]:
    """What the templates show of a run, apart from its instances. Raises InputError where scores are damaged."""
    scores = run.scores
    return {
        "label": label,
        "scored": run.scored,
        "claim": claim(scores) if run.scored else "This run was not scored: what its rows keep is not known yet.",
        "further": further(scores) if run.scored else "",
        "made_of": made_of(scores),
        "notes": [*(differences(scores) if run.scored else ()), *([matching(scores)] if matching(scores) else ())],
        "charts": safe_charts(run_charts(scores, run.metrics)),
        "similarities": [_similarity(view, run, shown) for view in run.similarities],
        "cases": _cases(run.cases, run, shown),
        "num_instances": len(run.instances),
        "num_agreeing": sum(instance.agrees for instance in run.instances),
        "num_staying": sum(_stays(instance) for instance in run.instances),
        "begun": any(instance.start is not None for instance in run.instances),
        "commands": [command for command in run.commands if command],
        "facts": run_facts(scores, run.facts),
    }


def _stays(instance: Instance) -> bool:
    """Whether the item that it began as is still the nearest in every modality."""
    return all(trace.nearest[0].id == instance.start for trace in instance.traces.values())


def _similarity(view: SimilarityView, run: RunView, shown: ShownItems) -> dict[str, Any]:
    names = {instance.index: _caption(instance, run.items, shown) for instance in run.instances}
    return {
        "sentence": view.sentence,
        "picture": None if view.picture is None else base64.b64encode(view.picture.data).decode("ascii"),
        "scale": f"{view.scale:.2g}",
        "pairs": [
            (f"{value:+.2g}".replace("-", "−"), i, j, names.get(i, ""), names.get(j, "")) for i, j, value in view.pairs
        ],
    }


def _caption(instance: Instance, items: Items, shown: ShownItems) -> str:
    """A row by the captions of what is nearest to it, each once."""
    texts = (shown.texts[shown.number(items, t.nearest[0].id, m, False)] for m, t in instance.traces.items())
    return " · ".join(dict.fromkeys(texts))


def _cases(cases: Cases | None, run: RunView, shown: ShownItems) -> dict[str, Any] | None:
    if cases is None:
        return None
    lines = score_lines(run.scores) if run.scored else {}
    labels = {name: str(lines.get(name, {}).get("label") or name) for name in COMPARED}

    def item(name: str, modality: str) -> dict[str, Any]:
        number = shown.number(run.items, name, modality)
        return {"number": number, "text": shown.texts[number]}

    def seen(rose: bool) -> list[dict[str, Any]]:
        return [
            {
                "query": item(case.query, case.query_modality),
                "asking": case.query_modality,
                "asked": case.gallery_modality,
                "lines": [
                    {
                        "label": labels[name],
                        "rank": f"{case.ranks[name]:.4g}",
                        "found": [
                            {**item(found.id, case.gallery_modality), "hit": found.hit}
                            for found in case.retrieved[name]
                        ],
                    }
                    for name in COMPARED
                ],
            }
            for case in cases.cases
            if case.rose == rose
        ]

    return {
        "rose": cases.rose,
        "fell": cases.fell,
        "stayed": cases.stayed,
        "groups": [("Ranks that rose most", seen(True)), ("Ranks that fell most", seen(False))],
    }


def safe_charts(charts: Iterable[Chart]) -> list[dict[str, Any]]:
    """Charts for a template: `line_chart` escapes what it draws."""
    return [{"title": chart.title, "svg": Markup(chart.svg)} for chart in charts]
