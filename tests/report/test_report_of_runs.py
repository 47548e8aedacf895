"""`report`: the page of run folders, before and after evaluation, for one run and for several."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from urllib.parse import unquote_to_bytes

import pytest
from PIL import Image
from test_report_crossed import CONTENT as CROSSED
from test_report_page import Page, content
from test_report_theory import CONTENT as THEORY
from test_report_transfer import content as transfer

from migration_problems import small
from omnidistill.io.artifacts import JsonContent
from omnidistill.report.render_content import RenderContent, RenderedMedium, RenderedRow
from small_runs import SMALL, cli, features, packed


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SET, A and B (evaluated) and C (not) of the same data, and other data."""
    folder = tmp_path_factory.mktemp("runs")
    packed(folder / "SET", features(2))
    for name, size in (("A", 8), ("B", 6), ("C", 5)):
        heads = () if name == "A" else ("--heads", folder / "A" / "heads")
        assert cli("distill", folder / "SET", "-o", folder / name, "--size", size, *heads, *SMALL).code == 0
    for name in ("A", "B"):
        assert cli("evaluate", folder / name, "--seeds", 2).code == 0
    return folder


def page(path: Path) -> Page:
    return Page(path.read_text("utf-8"))


def test_the_page_of_an_evaluated_run_is_the_one_that_evaluate_wrote(folder: Path, tmp_path: Path) -> None:
    outcome = cli("report", folder / "A", "-o", tmp_path / "page.html")
    assert outcome.code == 0
    assert f"page   {tmp_path / 'page.html'} (0." in outcome.out
    assert (tmp_path / "page.html").read_bytes() == (folder / "A" / "report.html").read_bytes()
    told = content((tmp_path / "page.html").read_text("utf-8"))
    start = {told["texts"][instance[1]] for instance in told["runs"][0]}
    provenance = json.loads((folder / "A" / "distilled" / "provenance.json").read_text("utf-8"))
    assert start == set(provenance["initial_ids"])
    text = page(tmp_path / "page.html").text
    assert "Commands that reproduce the run" in text
    assert "the rank of the first positive improves after training on the set for" in text


def test_a_run_that_was_not_scored_has_a_page_too(folder: Path) -> None:
    outcome = cli("report", folder / "C")
    assert outcome.code == 0
    assert f"omnidistill evaluate {folder / 'C'}" in outcome.out
    shown = page(folder / "C" / "report.html")
    assert "This run has not been evaluated" in shown.text
    assert len(content((folder / "C" / "report.html").read_text("utf-8"))["runs"][0]) == 5


def test_runs_side_by_side(folder: Path, tmp_path: Path) -> None:
    assert cli("report", folder / "A", folder / "B", folder / "C", "-o", tmp_path / "page.html").code == 0
    shown = page(tmp_path / "page.html")
    assert shown.inside("h2")[:2] == ["Comparison of runs", "Scores"]
    assert {"smoke, 8 rows", "smoke, 6 rows", "smoke, 5 rows"} <= set(shown.inside("th"))


def test_media_of_a_manifest_are_on_the_page(folder: Path, tmp_path: Path) -> None:
    ids = features(2).ids
    Image.new("RGB", (30, 20), "red").save(tmp_path / "red.png")
    lines = [f"{name},red.png,item {number},5" for number, name in enumerate(ids)]
    (tmp_path / "items.csv").write_text("\n".join(["id,a:image,b:text,rating", *lines]), "utf-8")
    outcome = cli("report", folder / "A", "--media", tmp_path / "items.csv", "-o", tmp_path / "page.html")
    assert outcome.code == 0, outcome.err
    told = content((tmp_path / "page.html").read_text("utf-8"))
    assert len(told["pictures"]) == 1
    assert told["pictures"][0].startswith("data:image/webp;base64,")
    assert all(text.startswith("item ") for text in told["texts"])


def write_content(path: Path, content: JsonContent, page: bool = True) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"schema": 1, **content.to_json()}), "utf-8")
    if page:
        path.with_suffix(".html").write_text("a page", "utf-8")


def rendering(run: str) -> RenderContent:
    medium = RenderedMedium(content="a <b>caption</b>", cosine=0.5, optimised=None, nearest=[])
    return RenderContent(
        run=run,
        data="planted",
        size=8,
        encoders={"b": "words"},
        kinds={"b": "text"},
        rows=[RenderedRow(row=0, media={"b": medium})],
        settings={},
        seconds={"b": 1.5},
        command="omnidistill render A",
    )


def test_results_of_other_commands_are_linked_if_they_belong_to_the_run(folder: Path, tmp_path: Path) -> None:
    """Those of other runs, on other data, or damaged ones are not; links are relative to the page."""
    data = json.loads((folder / "A" / "scores.json").read_text("utf-8"))["data"]["name"]
    place = tmp_path / "results"
    shutil.copytree(folder / "A", place / "A")
    write_content(place / "A" / "theory" / "theory.json", THEORY)
    write_content(place / "R 1:2" / "render.json", rendering("A"))
    write_content(place / os.fsdecode(b"R \xff") / "render.json", rendering("A"))
    write_content(place / "A" / "R2" / "render.json", rendering("moved"), page=False)
    write_content(place / "R3" / "render.json", rendering("B"))
    write_content(place / "T" / "transfer.json", transfer("wide").evolve(data=data, method="smoke", size=8))
    write_content(place / "T2" / "transfer.json", transfer("wide").evolve(data=data, method="smoke", size=9))
    write_content(place / "C" / "mine.json", CROSSED.evolve(data=CROSSED.data.evolve(name=data)))
    write_content(place / "C2" / "crossed.json", CROSSED)
    write_content(place / "kit-report.json", small().content)
    (place / "damaged-report.json").write_text("{}", "utf-8")
    outcome = cli("report", place / "A", "--data", folder / "SET", "-o", tmp_path / "pages" / "page.html")
    assert outcome.code == 0, outcome.err
    shown = page(tmp_path / "pages" / "page.html")
    links = [each["href"] for each in shown.all("a") if not each["href"].startswith("#")]
    assert links == [
        "../results/R%201%3A2/render.html",
        "../results/R%20%FF/render.html",
        "../results/A/theory/theory.html",
        "../results/T/transfer.html",
        "../results/C/mine.html",
        "../results/kit-report.html",
    ]
    assert all((tmp_path / "pages" / os.fsdecode(unquote_to_bytes(link))).is_file() for link in links)
    assert "1 of 8 rows as b." in shown.text
    assert "../results/A/R2/render.json" in shown.text
    assert shown.inside("h2")[-2:] == ["Further results", "Provenance"]


def test_inspect_describes_a_rendering(tmp_path: Path) -> None:
    write_content(tmp_path / "R" / "render.json", rendering("A"))
    outcome = cli("inspect", tmp_path / "R" / "render.json", "--json")
    assert outcome.code == 0, outcome.err
    described = json.loads(outcome.out)
    assert described["kind"] == "rendering"
    assert described["facts"]["rows"] == "1 of 8"
    assert described["facts"]["encoders"] == {"b": "words"}
    (tmp_path / "R" / "render.json").write_text('{"schema": 1}', "utf-8")
    outcome = cli("inspect", tmp_path / "R")
    assert outcome.code == 2
    assert "render the run again" in outcome.err
    assert outcome.err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("report", "SET"), "not a run folder"),
        (("report", "A", "--data", "emoji"), "not the data of"),
        (("report", "A", "--media", "other.csv"), "have no id in common"),
        (("report", "A", "--media", "absent.csv"), "absent.csv"),
    ],
)
def test_what_cannot_be_shown_is_told_in_one_line(folder: Path, arguments: tuple[str, ...], message: str) -> None:
    (folder / "other.csv").write_text("id,text\nnobody,a text\n", "utf-8")
    places = [str(folder / word) if (folder / word).exists() or word == "absent.csv" else word for word in arguments]
    outcome = cli(*places)
    assert outcome.code == 2
    assert message in outcome.err
    assert outcome.err.count("\n") == 1
