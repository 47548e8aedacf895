"""Every kind of page has no violations of the rules of axe-core, in light and dark colours, wide and narrow."""

from __future__ import annotations

import wave
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import torch
from PIL import Image
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
from omnidistill.data.media_kinds import Kind
from omnidistill.encoding.manifests.manifest import Manifest, Row
from omnidistill.report.crossed_page import render_crossed
from omnidistill.report.heatmap import heat_png
from omnidistill.report.items import NamedItems
from omnidistill.report.migration_page import render_migration
from omnidistill.report.page import render_page
from omnidistill.report.paper_page import render_paper
from omnidistill.report.related import RelatedResult
from omnidistill.report.render_content import NearItem, RenderContent, RenderedMedium, RenderedRow
from omnidistill.report.render_page import render_media_page
from omnidistill.report.similarity_view import SimilarityView
from omnidistill.report.theory_page import render_theory
from omnidistill.report.theory_summary import findings
from omnidistill.report.transfer_page import render_transfer


def run_with_media() -> str:
    learned = SimilarityView("Learned.", heat_png(torch.eye(4) + 0.1, 1.0), 1.0, ((0, 3, 0.1),))
    related = RelatedResult("Rendered rows", "3 of 100 rows.", "R/render.html", "R/render.html")
    run = view(with_best(), items=Heard(), cases=cases(), similarities=[learned], related=[related], iteration=20)
    return render_page([replace(run, theory=findings(THEORY))])


def rendered_media() -> str:
    """A page with rendered pictures, sounds and captions next to the nearest real items."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        Image.new("RGB", (24, 16), "teal").save(folder / "a.png")
        with wave.open(str(folder / "a.wav"), "wb") as sound:
            sound.setparams((1, 2, 16_000, 0, "NONE", ""))
            sound.writeframes(bytes(3_200))
        near = (NearItem(id="a", cosine=0.5), NearItem(id="b", cosine=0.25))
        media = {
            "image": RenderedMedium(content="a.png", cosine=0.9, optimised=0.91, nearest=near, pictures=["a.png"] * 2),
            "audio": RenderedMedium(content="a.wav", cosine=0.8, optimised=0.8, nearest=near, pictures=["a.png"] * 2),
            "text": RenderedMedium(content="a <b> & c", cosine=0.7, optimised=None, nearest=near),
        }
        kinds: dict[str, Kind] = {"image": "image", "audio": "audio", "text": "text"}
        content = RenderContent(
            run="RUN",
            data="<b>data</b>",
            size=8,
            encoders={"image": "squares", "audio": "tones", "text": "words"},
            kinds=kinds,
            rows=[RenderedRow(row=number, media=media) for number in (0, 7)],
            settings={},
            seconds={"image": 1.0, "audio": 2.0, "text": 0.0},
            notes=["Not rendered: video."],
        )
        item = {"image": "a.png", "audio": "a.wav", "text": "a real caption"}
        return render_media_page(content, folder, Manifest((Row("a", "a", "train", item),), kinds, folder))


PAGES: dict[str, Callable[[], str]] = {
    "one run with media": run_with_media,
    "two runs": lambda: render_page([view(items=NamedItems()), view(sample("lors", "LoRS", 0.02), cases=cases())]),
    "a run without scores": lambda: render_page([replace(view(), scores=view().scores.evolve(rows={}))]),
    "crossed": lambda: render_crossed(CROSSED),
    "paper": lambda: render_paper(PAPER),
    "theory": lambda: render_theory(THEORY),
    "transfer": lambda: render_transfer(transfer("A", "B")),
    "rendered media": rendered_media,
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
