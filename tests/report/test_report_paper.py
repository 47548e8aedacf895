"""Tables and page of the paper, from content that is written by hand."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from browser import Browser
from omnidistill.core.errors import InputError
from omnidistill.report.comparison_content import ComparisonData
from omnidistill.report.paper_content import PaperContent, PaperNumbers, PaperRow, PaperSection
from omnidistill.report.paper_page import render_paper
from omnidistill.report.paper_table import paper_chart, paper_views, to_markdown

PAIR = ("a->b", "b->a")


def numbers(first: float | None = None, gain: float | None = None, **more: Any) -> PaperNumbers:
    recall = {} if first is None else {"R@1": first, "R@5": first + 0.2}
    return PaperNumbers(recall=recall, gain={} if gain is None else {"R@1": gain}, **more)


def row(label: str, size: int | None, ours: PaperNumbers, printed: PaperNumbers, **more: Any) -> PaperRow:
    return PaperRow(**{"label": label, "size": size, "is_method": True, "ours": ours, "printed": printed, **more})


def section(number: str, *rows: PaperRow) -> PaperSection:
    return PaperSection(
        number=number,
        benchmark="msrvtt",
        title=f"Table {number}",
        comparison=f"msrvtt/paper-table-{number}",
        data=ComparisonData(name="<b>data</b>", widths={"a": 3, "b": 4}, rows={"train": 9000, "test": 1000}),
        levels=("R@1", "R@5"),
        directions=PAIR,
        rows=rows,
        notes=("A note.",),
    )


BY_DIRECTION = {"a->b": {"R@1": 0.1, "R@5": 0.2}}
FULL = row("all rows", None, numbers(0.3, 1.0), numbers(0.226, 1.0), is_method=False)
HOPA = row("HoPA", 100, numbers(0.25, -0.004, directions=BY_DIRECTION, seconds=0.0214), numbers(0.2178, 0.565))
BROKEN = row("<i>broken</i>", 100, numbers(), numbers(seconds=0.875), error="seed 0: no | luck")
CONTENT = PaperContent(sections=(section("1", FULL, HOPA, BROKEN), section("7", HOPA, BROKEN)), notes=("Last.",))


def test_our_numbers_are_next_to_the_printed_ones() -> None:
    mean, *by_direction = paper_views(CONTENT.sections[0])
    assert mean.groups == ("R@1 %", "R@5 %", "gain R@1 %", "gain R@5 %")
    assert [(label, cells) for label, _, cells in mean.rows] == [
        ("all rows", ("30.0", "22.6", "50.0", "42.6", "100", "100", "n/a", "–")),
        ("HoPA, N = 100", ("25.0", "21.78", "45.0", "41.78", "0", "56", "n/a", "–")),
        ("<i>broken</i>, N = 100", ("failed", "–", "failed", "–", "failed", "–", "failed", "–")),
    ]
    assert [view.title for view in by_direction] == ["R@1 by direction, in %", "R@5 by direction, in %"]
    assert by_direction[0].groups == ("a → b", "b → a")
    assert by_direction[0].rows[1][2] == ("10.0", "–", "n/a", "–")


def test_seconds_belong_to_table_seven_and_directions_to_tables_one_to_three() -> None:
    (view,) = paper_views(CONTENT.sections[1])
    assert view.groups[-1] == "seconds per iteration"
    assert [cells[-2:] for _, _, cells in view.rows] == [("0.021", "–"), ("failed", "0.875")]
    assert len(list(paper_views(section("10", HOPA)))) == 1


def test_markdown_has_all_tables_and_notes() -> None:
    text = to_markdown(CONTENT)
    assert "## Table 1\n\n**Mean recall over directions, and gain retained**\n\n|  | R@1 % ours | R@1 % paper |" in text
    assert "| HoPA, N = 100 | 25.0 | 21.78 | 45.0 | 41.78 | 0 | 56 | n/a | – |" in text
    notes = ["<b>data</b>: 9,000 train, 1,000 test rows.", "A note.", "<i>broken</i>, N = 100: seed 0: no | luck"]
    assert "\n".join(f"- {note}" for note in notes) in text
    assert text.endswith("\n\n- Last.\n")


def test_the_page_has_all_tables_and_escapes_names() -> None:
    page = render_paper(CONTENT)
    assert page == render_paper(CONTENT)
    for name in ("<b>data", "<i>broken"):
        assert name not in page
    assert "&lt;i&gt;broken" in page
    assert page.count("<table>") == 4
    assert page.count("<td>failed</td>") == 2 * 4 + 2 * 2 * 1 + 1
    assert 'href="msrvtt/paper-table-7.md"' in page
    assert page.count("<script") == 1  # of the page itself
    assert "No table is finished yet" in render_paper(PaperContent())
    ids = re.findall(r' id="([^"]+)"', page)
    assert len(set(ids)) == len(ids)


def test_the_figure_shows_both_curves() -> None:
    at_200 = HOPA.evolve(size=200, ours=numbers(0.27), printed=numbers(0.219))
    figure = section("figure-2", FULL, at_200, HOPA, BROKEN)
    chart = paper_chart(figure)
    assert chart is not None
    for part in ("HoPA", "HoPA, paper", "number of synthetic rows N", "mean R@1, %"):
        assert part in chart
    assert "all rows" not in chart
    assert chart in render_paper(PaperContent(sections=(figure,)))
    assert paper_chart(section("1", HOPA)) is None
    assert paper_chart(section("figure-2", BROKEN)) is None


def test_content_survives_the_file_and_damage_is_one_line() -> None:
    tree = CONTENT.to_json()
    assert PaperContent.from_json(tree, "paper.json").to_json() == tree
    for damage, message in (
        ({"sections": [{**tree["sections"][0], "rows": 3}]}, "paper.json: invalid content: field sections.0.rows is 3"),
        ({"schema": 9}, "schema is 9, but this version reads 1; run the tables again in another folder"),
    ):
        with pytest.raises(InputError) as caught:
            PaperContent.from_json({**tree, **damage}, "paper.json")
        assert message in str(caught.value)


def test_the_page_opens_without_errors_and_fits_a_phone(chromium: Browser, tmp_path: Path) -> None:
    path = tmp_path / "paper.html"
    path.write_text(render_paper(CONTENT), "utf-8")
    for width in (1200, 390):
        chromium.size(width, 900)
        chromium.open(path)
        assert chromium.heard() == []
        assert chromium.run("document.documentElement.scrollWidth") <= width
    assert chromium.run("document.querySelectorAll('nav a').length") == 2
