"""Every kind of page has no violations of the rules of axe-core, in light and dark colours, wide and narrow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from test_report_browser import Heard
from test_report_crossed import CONTENT as CROSSED
from test_report_page import cases, view
from test_report_paper import CONTENT as PAPER
from test_report_tables import sample, with_best
from test_report_theory import CONTENT as THEORY
from test_report_transfer import content as transfer

from axe import axe
from browser import Browser
from migration_problems import small
from omnidistill.report.crossed_page import render_crossed
from omnidistill.report.heatmap import heat_png
from omnidistill.report.items import NamedItems
from omnidistill.report.migration_page import render_migration
from omnidistill.report.page import render_page
from omnidistill.report.paper_page import render_paper
from omnidistill.report.related import RelatedResult
from omnidistill.report.similarity_view import SimilarityView
from omnidistill.report.theory_page import render_theory
from omnidistill.report.theory_summary import findings
from omnidistill.report.transfer_page import render_transfer


def run_with_media() -> str:
    learned = SimilarityView("Learned.", heat_png(torch.eye(4) + 0.1, 1.0), 1.0, ((0, 3, 0.1),))
    related = RelatedResult("Rendered rows", "3 of 100 rows.", "R/render.html", "R/render.html")
    run = view(with_best(), items=Heard(), cases=cases(), similarities=[learned], related=[related], iteration=20)
    return render_page([replace(run, theory=findings(THEORY))])


PAGES: dict[str, Callable[[], str]] = {
    "one run with media": run_with_media,
    "two runs": lambda: render_page([view(items=NamedItems()), view(sample("lors", "LoRS", 0.02), cases=cases())]),
    "a run without scores": lambda: render_page([replace(view(), scores=view().scores.evolve(rows={}))]),
    "crossed": lambda: render_crossed(CROSSED),
    "paper": lambda: render_paper(PAPER),
    "theory": lambda: render_theory(THEORY),
    "transfer": lambda: render_transfer(transfer("A", "B")),
    "migration": lambda: render_migration(small().content),
}


@pytest.mark.parametrize("name", PAGES)
def test_a_page_has_no_violations(chromium: Browser, tmp_path: Path, name: str) -> None:
    path = tmp_path / "page.html"
    path.write_text(PAGES[name](), "utf-8")
    for width, dark in ((1200, False), (390, True)):
        chromium.size(width, 900, dark)
        chromium.open(path)
        passes, violations = axe(chromium)
        assert violations == []
        assert passes > 15
        assert chromium.run("document.documentElement.scrollWidth") <= width
        assert chromium.heard() == []
