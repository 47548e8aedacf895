"""`evaluate` and `compare` show the same numbers under the same label: one list of baselines, one rule for each."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from comparison_problems import tiny
from omnidistill.distillation.shipped_bytes import real_rows_bytes
from omnidistill.evaluation.run_scores import RunScores
from omnidistill.experiments.run import open_run
from omnidistill.report.run_table import human_bytes, scoring_facts, to_markdown
from small_runs import cli, features, packed

SEED, STUDENTS = 3, 3
WIDTH = 10
"""Of the heads: a rank below it restricts them."""


@dataclass(frozen=True)
class Tables:
    """The same run as `evaluate` and as `compare` show it, as JSON."""

    run: Path
    scores: dict[str, Any]
    content: dict[str, Any]

    def row_of_comparison(self, key: str) -> dict[str, Any]:
        """The row of the comparison for a key of scores.json."""
        method = key.replace("_", "-")
        if key == "full_own":
            (row,) = (row for row in self.content["lines"] if row["method"].startswith("full-"))
        else:
            (row,) = (
                row
                for row in self.content["lines"]
                if (row["kind"] == "method" if key == "distilled" else row["method"] == method)
            )
        return dict(row)


def tables(folder: Path, method: str, *amount: object) -> Tables:
    """Distil and evaluate a run, and compare the one method; no setting differs."""
    packed(folder / "SET", features(3))
    settings = [*tiny(method).settings, f"heads.width={WIDTH}"]
    flags = [part for setting in settings for part in ("--set", setting)]
    name, value = amount
    one = cli("distill", folder / "SET", "--preset", method, name, value, "--seed", SEED, *flags, "-o", folder / "RUN")
    assert one.code == 0, one
    evaluated = cli("evaluate", folder / "RUN", "--seeds", STUDENTS, "--json")
    assert evaluated.code == 0, evaluated
    several = {"--size": "--sizes", "--bytes": "--bytes"}[str(name)]
    options = ("--seeds", SEED, "--students", STUDENTS, *flags)
    compared = cli(
        "compare", folder / "SET", "--methods", method, several, value, *options, "-o", folder / "C", "--json"
    )
    assert compared.code == 0, compared
    return Tables(folder / "RUN", json.loads(evaluated.out), json.loads(compared.out))


@pytest.fixture(
    scope="module",
    params=[("hopa", "--size", 9), ("hopa", "--bytes", "29%"), ("lors-separate", "--size", 12), ("apm", "--size", 12)],
    ids=["by size", "by budget", "pairs", "closed form"],
)
def both(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Tables:
    return tables(tmp_path_factory.mktemp("both"), *request.param)


def test_both_tables_have_the_same_rows(both: Tables) -> None:
    assert len(both.scores["lines"]) == len(both.content["lines"])
    shown = [both.row_of_comparison(key)["name"] for key in both.scores["lines"]]
    assert sorted(shown) == sorted(row["name"] for row in both.content["lines"])
    assert {"zero_shot", "random", "equal_bytes", "equal_bytes_4_bit", "cca", "distilled", "full"} <= set(both.scores)


def test_every_row_has_the_same_recall_and_gain(both: Tables) -> None:
    """To the last digit: the heads are the same bits."""
    for key in both.scores["lines"]:
        here, there = both.scores[key], both.row_of_comparison(key)
        assert here["recall"] == there["recall"], key
        assert here["gain_retained"] == there["gain_retained"], key
        assert here["bytes"] == there["bytes"], key
        if key != "distilled":
            assert here["label"] == there["label"], key


def test_the_seconds_of_a_set_include_experts_and_distillation(both: Tables) -> None:
    spent = both.scores["seconds"]
    before = spent.get("experts", 0.0) + spent["distill"]
    assert ("experts" in spent) == open_run(both.run).config.distill.uses_experts
    assert both.scores["distilled"]["seconds"] > before > 0
    stages = both.row_of_comparison("distilled")["seconds"]
    assert stages["distill"] > 0
    assert (stages["experts"] > 0) == ("experts" in spent)


def test_a_rank_that_does_not_restrict_the_heads_is_not_shown(both: Tables) -> None:
    """12 rows are more than the heads are wide; 9 rows, and the float32 rows of 29 % of the bytes, are fewer."""
    restricts = both.scores["size"] == 9 or both.content["lines"][-1]["budget"] is not None
    methods = [row["method"] for row in both.content["lines"]]
    assert ("low_rank" in both.scores) == ("low-rank" in methods) == restricts


def test_the_amount_decides_what_sized_baselines_may_use(both: Tables) -> None:
    budget = both.content["lines"][-1]["budget"]
    limit = both.scores["distilled"]["bytes"] if budget is None else budget
    for key in ("equal_bytes", "equal_bytes_4_bit"):
        assert 0 < both.scores[key]["bytes"] <= limit
    data = features(3)
    sizes = [real_rows_bytes(rows, data.widths, data.preprocessing) for rows in range(1, 65)]
    rows = both.scores["size"] if budget is None else sum(size <= budget for size in sizes)
    assert both.scores["random"]["bytes"] == sizes[rows - 1]


def test_both_tables_state_the_initial_heads_and_which_rows_need_them(both: Tables) -> None:
    """Those of ridge CCA do not start from them; every other row does."""
    start = both.run / "heads"
    size = both.scores["bytes"]["initial_heads"]
    (tensors,) = start.glob("*.safetensors")
    assert tensors.stat().st_size < size < tensors.stat().st_size + 500
    for key in both.scores["lines"]:
        assert both.scores[key]["needs_start"] == both.row_of_comparison(key)["needs_start"] == (key != "cca"), key
    needed = "A receiver needs them as well, except for: ridge CCA"
    note = f"Not included: the initial heads ({human_bytes(size)}). {needed}"
    assert any(line.startswith(note) for line in both.content["protocol"])
    scores = RunScores.from_json(both.scores, "scores.json")
    assert any(line.startswith(note) for line in scoring_facts(scores))
    assert note in to_markdown(scores)


def test_a_run_records_its_budget(both: Tables) -> None:
    budgets = {row["budget"] for row in both.content["lines"]} - {None}
    assert open_run(both.run).budget == ("29%" if budgets else None)
