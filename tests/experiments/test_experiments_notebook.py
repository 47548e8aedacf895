"""What notebooks show: figures of results, and objects as small tables whose texts are escaped."""

from __future__ import annotations

from dataclasses import replace
from html.parser import HTMLParser

import pytest

from omnidistill.experiments.comparison import Compared
from omnidistill.experiments.config import load_config
from omnidistill.experiments.crossed import CrossedTable
from omnidistill.experiments.evaluation_result import Evaluation
from omnidistill.experiments.paper import PaperTables
from omnidistill.experiments.plot import plot
from omnidistill.experiments.run import DistillResult
from omnidistill.experiments.transfer import Transfer
from plot_sources import comparison, crossed, golden_run, learned_run, paper_tables, transfer
from small_runs import features

NAME = '<img src=x onerror="alert(1)">'


def evaluation() -> Evaluation:
    scores = golden_run().scores
    assert scores is not None
    scores = scores.evolve(data=scores.data.evolve(name=NAME))
    return Evaluation(scores, {}, None, distilled(), features())


def distilled() -> DistillResult:
    return DistillResult(load_config(), learned_run().parts, {}, "0", 1, {})


def test_results_have_figures() -> None:
    results = {
        "gain retained at R@5, %": Compared(comparison(), {}),
        "gain retained at R@1, %": CrossedTable(crossed(), {}),
        "share of direct distillation at R@1, %": Transfer(transfer(), {}),
        "mean R@1, %": PaperTables(paper_tables(), {}),
        "gain retained at R@5": evaluation(),
        "outer iteration": distilled(),
    }
    for text, result in results.items():
        figure = result.plot()
        drawn = figure.encoded("svg")
        assert f">{text}" in drawn.decode()
        assert drawn == plot(result).encoded("svg")
    assert figure._repr_png_().startswith(b"\x89PNG")


class Tags(HTMLParser):
    """Collects the tags and the texts of HTML."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.texts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.add(tag)

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


@pytest.mark.parametrize("kind", ["FeatureSet", "DistilledSet", "Evaluation", "Compared", "CrossedTable", "Transfer"])
def test_objects_are_tables_with_escaped_texts(kind: str) -> None:
    cells, encoders = crossed(), transfer()
    data, rows, content = features(), golden_run().parts[0].distilled, comparison()
    shown = {
        "FeatureSet": (replace(data, provenance={"name": NAME}), ["a 12, b 14, c 16", "192 (heads"]),
        "DistilledSet": (
            replace(rows, provenance=replace(rows.provenance, method=NAME)),
            ["a 12, b 14, c 16", "low-rank", "bytes"],
        ),
        "Evaluation": (evaluation(), ["Method", "R@1 %", "gain retained R@1"]),
        "Compared": (
            Compared(content.evolve(data=content.data.evolve(name=NAME)), {}),
            ["Method", "anchor", "HoPA $x_1$", "30 [20, 40]"],
        ),
        "CrossedTable": (
            CrossedTable(cells.evolve(cells=[each.evolve(set=f"{NAME} {each.set}") for each in cells.cells]), {}),
            ["own", "105/52", "failed"],
        ),
        "Transfer": (
            Transfer(encoders.evolve(targets=[each.evolve(name=NAME) for each in encoders.targets]), {}),
            ["mixture, learned", "60 [50, 70]"],
        ),
    }
    result, texts = shown[kind]
    html = result._repr_html_()
    tags = Tags(html)
    assert tags.tags <= {"table", "caption", "thead", "tbody", "tr", "th", "td", "p", "br"}
    assert "color" not in html
    assert any(NAME in text for text in tags.texts)
    for text in texts:
        assert any(text in cell for cell in tags.texts), (text, tags.texts)
