"""Charts of a run and of several runs: which are drawn, and when an axis is logarithmic or a share of the run."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping

from test_report_tables import read, sample

from omnidistill.io.tracking import MetricsRecord
from omnidistill.report.axes import log_axis_helps
from omnidistill.report.charts import run_charts, shared_charts


def records(name: str, values: Mapping[int, float]) -> list[MetricsRecord]:
    return [MetricsRecord(iteration, {name: value}) for iteration, value in values.items()]


def texts(svg: str) -> set[str]:
    return {node.text or "" for node in ElementTree.fromstring(svg).iter("text")}


def test_an_axis_is_logarithmic_if_a_few_values_are_much_larger_and_all_are_positive() -> None:
    assert log_axis_helps([100.0, 2.0, 1.5, 1.2, 1.0])
    assert not log_axis_helps([5.0, 4.0, 3.0, 2.0])
    assert not log_axis_helps([100.0, 2.0, 1.0, 0.0])
    assert not log_axis_helps([])
    for first, label in ((100.0, "loss, log scale"), (1.5, "loss")):
        (chart,) = run_charts(read(sample()), records("loss", {0: first, 1: 1.2, 2: 1.1, 3: 1.0}))
        assert label in texts(chart.svg)


def test_step_sizes_are_shown_only_if_they_were_learned() -> None:
    for last, shown in ((3.0, []), (2.5, ["Learned step sizes"])):
        charts = run_charts(read(sample()), records("step_size/a", {0: 3.0, 1: last}))
        assert [chart.title for chart in charts] == shown


def test_runs_of_very_different_lengths_share_an_axis_of_their_shares() -> None:
    long, short = records("loss", {0: 3.0, 1000: 2.0}), records("loss", {0: 5.0, 50: 4.0})
    (chart,) = shared_charts({"long": long, "short": short}, {"long": 500, "short": 50})
    assert "iterations done, % of the run" in texts(chart.svg)
    description = ElementTree.fromstring(chart.svg).findtext("desc") or ""
    assert "long: from 3 at 0 to 2 at 100" in description
    assert "short: from 5 at 0 to 4 at 100" in description
    assert "the returned set is at 50." in description
    (chart,) = shared_charts({"long": long, "other": long})
    assert "outer iteration" in texts(chart.svg)
