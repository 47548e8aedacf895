"""Every table says which variation its intervals cover."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console
from test_report_comparison import read as read_comparison
from test_report_comparison import sample as sample_comparison
from test_report_tables import read, sample

from omnidistill.evaluation.intervals import Coverage
from omnidistill.report.comparison_table import to_markdown as comparison_to_markdown
from omnidistill.report.interval_notes import coverage_notes, covered
from omnidistill.report.latex import to_latex
from omnidistill.report.layouts import comparison_table
from omnidistill.report.page import RunView, render_page
from omnidistill.report.run_table import scoring_facts, to_markdown, to_rich

ONE_SET = "Intervals of methods cover queries only (one set)."
WARNING = "An interval of one set does not cover how much sets of other seeds differ."
SETS = "Intervals of methods cover queries and sets (3 sets)."


def scored() -> dict[str, Any]:
    """The content of scores.json with one set, and ten runs of every baseline but one."""
    tree = sample()
    for name in tree["lines"]:
        runs = 1 if name in ("zero_shot", "low_rank") else 10
        tree[name]["coverage"] = {"variation": "queries and runs" if runs > 1 else "queries only", "number": runs}
    tree["distilled"]["coverage"] = {"variation": "queries only", "number": 1}
    return tree


def compared(layout: str = "retrieval", *numbers: int) -> dict[str, Any]:
    """The content of comparison.json; `numbers` are the sets of the methods, in turn (3 for the others)."""
    tree, left = sample_comparison(layout), list(numbers)
    for line in tree["lines"]:
        if line["recall"] is not None:
            number = (left.pop(0) if left else 3) if line["kind"] == "method" else 5
            unit = "sets" if line["kind"] == "method" else "runs"
            variation = f"queries and {unit}" if number > 1 else "queries only"
            line["coverage"] = {"variation": variation, "number": number}
    return tree


def test_most_rows_come_first_and_the_others_are_named() -> None:
    three, one = Coverage.of_sets(3), Coverage.of_sets(1)
    assert coverage_notes([("a", three), ("b", three)], []) == [SETS]
    assert coverage_notes([("a", one)], [("c", Coverage.of_runs(1)), ("d", Coverage.of_runs(5))]) == [
        f"{ONE_SET} {WARNING}",
        "Intervals of baselines cover queries only (one run); d: queries and runs (5 runs).",
    ]
    [note] = coverage_notes([("a", one), ("b", three), ("c", three)], [])
    assert note == f"{SETS.rstrip('.')}; a: queries only (one set). {WARNING}"
    assert coverage_notes([], []) == []


def test_the_table_of_an_evaluation_says_queries_only() -> None:
    scores = read(scored())
    baselines = (
        "Intervals of baselines cover queries and runs (10 runs); rank-100 heads, all rows: queries only (one run)."
    )
    assert scoring_facts(scores)[-2:] == [f"{ONE_SET} {WARNING}", baselines]
    assert f"- {ONE_SET} {WARNING}\n- {baselines}\n" in to_markdown(scores)
    console = Console(width=300, record=True, file=io.StringIO())
    console.print(to_rich(scores))
    assert "queries only (one set)" in " ".join(console.export_text().split())
    assert covered(scores) == "queries only (one set)"


def test_scores_of_version_0_1_say_nothing_of_coverage() -> None:
    assert covered(read(sample())) == ""
    assert not [fact for fact in scoring_facts(read(sample())) if "cover" in fact]
    assert "cover" not in " ".join(comparison_table(read_comparison(sample_comparison())).notes)


def test_the_page_says_it_at_the_claim_and_at_the_tables() -> None:
    html = render_page([RunView(read(scored()))])
    assert "Brackets contain the 95 % interval, which covers queries only (one set)." in html
    assert f"<li>{ONE_SET} {WARNING}</li>" in html
    both = render_page([RunView(read(scored())), RunView(read(scored()))])
    assert "Gain retained by each set with its interval (queries only (one set)), size of the set" in both
    assert "Brackets contain the 95 % interval." in render_page([RunView(read(sample()))])


@pytest.mark.parametrize(
    ("layout", "said"), [("retrieval", True), ("curve", True), ("variants", True), ("cost", False)]
)
def test_tables_of_a_comparison_with_intervals_or_daggers_say_it(layout: str, said: bool) -> None:
    comparison = read_comparison(compared(layout))
    assert (SETS in comparison_table(comparison).notes) == said
    assert (f"- {SETS}\n" in comparison_to_markdown(comparison)) == said
    assert (f"{SETS}\\par" in to_latex(comparison)) == said


def test_a_method_of_which_seeds_failed_is_named() -> None:
    notes = comparison_table(read_comparison(compared("retrieval", 1))).notes
    assert f"{SETS.rstrip('.')}; HoPA, 10 rows: queries only (one set). {WARNING}" in notes
