"""Transfer tables as Markdown and as a page; texts from the data are escaped."""

from __future__ import annotations

from omnidistill.evaluation.intervals import Coverage, Interval
from omnidistill.report.transfer_content import TransferContent, TransferRow, TransferTarget
from omnidistill.report.transfer_page import render_transfer
from omnidistill.report.transfer_table import transfer_markdown, transfer_tables


def row(name: str, recall: float, share: float | None = None) -> TransferRow:
    value = Interval(recall, recall - 0.01, recall + 0.01)
    part = None if share is None else Interval(share, share - 0.1, share + 0.1)
    return TransferRow(
        name=name,
        recall={"R@1": value, "R@5": value},
        directions={},
        improvement=None if share is None else {"R@1": value, "R@5": None},
        share=None if share is None else {"R@1": part, "R@5": None},
        coverage=Coverage.of_runs(1),
        bytes=1234,
        needs="9 items",
        seconds=1.25,
        settings=[{}],
    )


def content(*names: str) -> TransferContent:
    rows = [row("random rows", 0.1), row("mixture | a", 0.25, 0.75)]
    widths, split_rows, levels, facts = {"a": 3, "b": 4}, {"train": 9}, ["R@1", "R@5"], ["9 items."]
    targets = [
        TransferTarget(name=name, widths=widths, split_rows=split_rows, levels=levels, facts=facts, rows=rows)
        for name in names
    ]
    return TransferContent(data="old", method="anchor", size=6, seeds=[0], recipe="anchor", targets=targets)


def test_a_row_shows_recall_improvement_share_and_cost() -> None:
    (table,) = transfer_tables(content("new"))
    assert table.rows == (
        ("random rows", "10.0/10.0 [9.0, 11.0]", "–", "–", "1.2 kB", "1.2", "9 items"),
        ("mixture | a", "25.0/25.0 [24.0, 26.0]", "+25.0 [+24.0, +26.0]", "75 [65, 85]", "1.2 kB", "1.2", "9 items"),
    )
    text = transfer_markdown(content("new"))
    assert "| mixture \\| a |" in text
    assert "- Set: anchor, 6 rows, distilled from old (seeds 0)." in text
    assert "For transferred and directly distilled sets, they cover queries only." in text
    assert text.count("- 9 items.") == 1


def test_several_encoders_have_an_overview() -> None:
    overview, *_ = transfer_tables(content("one", "two"))
    assert overview.columns == ("heads trained on", "one", "two")
    assert overview.rows[1] == ("mixture | a", "25.0 (75 %)", "25.0 (75 %)")


def test_the_page_escapes_names() -> None:
    page = render_transfer(content("<script>alert(1)</script>"))
    assert page == render_transfer(content("<script>alert(1)</script>"))
    assert page.count("<script") == 1  # of the page itself
    assert "&lt;script&gt;" in page
    assert 'class="h10">25.0/25.0' in page
    assert "<td>75 [65, 85]</td>" in page
