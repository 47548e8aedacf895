"""From results to the content of a table: every number as plain numpy has it from the ranks."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import permutations
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from comparison_problems import line_of, planned, tiny
from omnidistill.data.featureset import FeatureSet
from omnidistill.evaluation.hits import mean_hits
from omnidistill.evaluation.intervals import Interval, gain_retained, paired_difference
from omnidistill.evaluation.ranking import Ranking
from omnidistill.experiments.comparison.cells import Result
from omnidistill.experiments.comparison.plan import AnyCell, Cell, plan_cells
from omnidistill.experiments.comparison.summary import summarise
from omnidistill.experiments.config import ComparisonConfig, load_config
from omnidistill.experiments.config.budgets import run_bytes
from omnidistill.report.comparison_content import Comparison
from omnidistill.report.layouts import comparison_table
from omnidistill.report.run_table import human_bytes
from small_runs import ROWS, features

Array = NDArray[np.float64]
CUT_OFFS = (1, 5, 10)
MODALITIES = ("a", "b", "c")
DIRECTIONS = list(permutations(MODALITIES, 2))
COMPARISON = tiny("hopa", {"preset": "apm", "label": "ours"}, "herding", sizes=(8, 12), seeds=(4, 2))
WIDTH = 10
"""Of the heads: a rank of 8 restricts them, one of 12 does not, so there is one row `low-rank`."""
WORST = {"zero-shot": 200, "full": 8, "best": 5, "random": 10}
"""Ranks are drawn from 1 to this; the best method is another one at each size, and random rows are better."""
WORST_OF = {
    ("hopa", 8): 20,
    ("apm", 8): 40,
    ("herding", 8): 100,
    ("hopa", 12): 60,
    ("apm", 12): 12,
    ("herding", 12): 90,
}


def drawn(worst: int, num_runs: int, seed: int) -> Array:
    """Ranks (runs x directions x queries), of which some are ties."""
    generator = np.random.default_rng(seed)
    return generator.integers(2, 2 * worst + 1, size=(num_runs, len(DIRECTIONS), ROWS["test"])) / 2


def ranking(ranks: Array) -> Ranking:
    """A rank of 2.5: one item is above the only positive, and one ties with it."""
    above, tied = torch.from_numpy(np.floor(ranks) - 1), torch.from_numpy(2 * (ranks % 1))
    return Ranking(above, tied, torch.ones_like(above), 1 / (above + 1), 1 / (above + 2))


def result(ranks: Array, **meta: Any) -> Result:
    runs = [dict(zip(DIRECTIONS, map(ranking, run), strict=True)) for run in ranks]
    usual = {"seconds": {"students": 0.5}, "bytes": 100, "peak_bytes": 10, "judged": 7, "label": "as kept"}
    return Result(runs, {**usual, **meta})


def checked(content: Comparison) -> dict[str, Any]:
    """The content of comparison.json, which reads back as the same."""
    tree: dict[str, Any] = json.loads(json.dumps(content.to_json()))
    assert Comparison.from_json(tree, "comparison.json") == content
    return tree


@dataclass(frozen=True)
class Made:
    """Cells, baselines and hand-made results."""

    data: FeatureSet
    comparison: ComparisonConfig
    results: Mapping[AnyCell, Result]

    @property
    def cells(self) -> list[Cell]:
        return plan_cells(self.comparison, self.data)

    def summary(self, *without: str, failures: Mapping[str, str] | None = None, **changed: Result) -> dict[str, Any]:
        """The table without these lines' results ("method" or "method@size"); failures by name of the line."""
        fitted = planned(self.comparison, self.data, width=WIDTH)
        every: list[AnyCell] = [*fitted, *self.cells]
        kept = {cell: self.results[cell] for cell in every if not {method_of(cell), name_of(cell)} & set(without)}
        kept = {cell: changed.get(method_of(cell).replace("-", "_"), found) for cell, found in kept.items()}
        failed = {cell: (failures or {})[name_of(cell)] for cell in every if name_of(cell) in (failures or {})}
        return checked(summarise(self.comparison, fitted, self.cells, kept, failed, self.data))

    def ranks(self, name: str) -> Array:
        """All runs of a line, seeds one after the other."""
        found = [run for cell, each in self.results.items() if name_of(cell) == name for run in each.rankings]
        return np.array([[run[direction].ranks().numpy() for direction in DIRECTIONS] for run in found])


def method_of(cell: AnyCell) -> str:
    return cell.method if isinstance(cell, Cell) else cell.name


def name_of(cell: AnyCell) -> str:
    return method_of(cell) + ("" if cell.size is None else f"@{cell.size}")


@pytest.fixture(scope="module")
def made() -> Made:
    data = features(3)
    results: dict[AnyCell, Result] = {}
    for number, baseline in enumerate(planned(COMPARISON, data, width=WIDTH)):
        num_runs = 1 if baseline.name in ("zero-shot", "cca") else 2
        results[baseline] = result(drawn(WORST.get(baseline.name, 50), num_runs, number), label=baseline.name.upper())
    for number, cell in enumerate(plan_cells(COMPARISON, data)):
        first = cell.config.seed == 4
        meta = {
            "seconds": {"experts": 3.0 if first else 5.0, "distill": 1.0, "students": 0.25 * cell.size},
            "bytes": 10 * cell.size,
            "peak_bytes": 1000 + cell.size if not first else 900 if cell.method == "hopa" else None,
            "judged": 24 if first else 40 + cell.size,
        }
        results[cell] = result(drawn(WORST_OF[cell.method, cell.size], 2, 100 + number), **meta)
    return Made(data, COMPARISON, results)


@pytest.fixture(scope="module")
def content(made: Made) -> dict[str, Any]:
    return made.summary()


METHOD_LINES = [f"{method}@{size}" for method, size in WORST_OF]
SIZED = [f"{name}@{size}" for name in ("random", "equal-bytes", "equal-bytes-4-bit") for size in (8, 12)]
LINES = [
    "zero-shot",
    "full",
    *SIZED[:2],
    "low-rank@8",
    *SIZED[2:],
    "cca",
    "cca-infonce",
    "cca-stacked",
    "full-hopa",
    "best",
    *METHOD_LINES,
]


@pytest.mark.parametrize("name", LINES)
def test_recall_is_over_the_students_of_all_seeds(name: str, made: Made, content: dict[str, Any]) -> None:
    ranks, recall = made.ranks(name), line_of(content, name)["recall"]
    assert len(ranks) == (1 if name in ("zero-shot", "cca") else 4 if name in METHOD_LINES else 2)
    assert list(recall) == ["mean", *("->".join(direction) for direction in DIRECTIONS)]
    for k in CUT_OFFS:
        by_run = hit(ranks, k).mean(-1)  # runs x directions
        for at, direction in enumerate(DIRECTIONS):
            agrees(recall["->".join(direction)][f"R@{k}"], by_run[:, at])
        agrees(recall["mean"][f"R@{k}"], by_run.mean(1))


def agrees(spread: dict[str, float], runs: Array) -> None:
    assert spread["mean"] == pytest.approx(runs.mean(), abs=1e-12)
    assert spread["std"] == pytest.approx(runs.std(ddof=1) if len(runs) > 1 else 0.0, abs=1e-12)


def hit(ranks: Array, k: int) -> Array:
    """Two tied items stand at 2 and 3 for a rank of 2.5, which is a hit at 2 in half of all orders."""
    return np.where(ranks % 1 == 0, ranks <= k, ((ranks - 0.5 <= k) + 0.0 + (ranks + 0.5 <= k)) / 2).astype(float)


def hits(ranks: Array) -> list[torch.Tensor]:
    """By direction: runs x queries x cut-offs."""
    every = np.stack([hit(ranks, k) for k in CUT_OFFS], axis=-1)
    return [torch.from_numpy(every[:, direction]) for direction in range(len(DIRECTIONS))]


def units(name: str, ranks: Array) -> list[torch.Tensor]:
    """Hits by direction: of the mean of both students of each set, or of every run of a baseline."""
    every = hits(ranks)
    if name not in METHOD_LINES:
        return every
    return [torch.stack([each[:2].mean(0), each[2:].mean(0)]) for each in every]


def same(found: dict[str, Any], expected: list[Interval] | list[Interval | None]) -> None:
    for k, interval in zip(CUT_OFFS, expected, strict=True):
        assert interval is not None
        assert found[f"R@{k}"] == pytest.approx(vars(interval), abs=1e-9)


@pytest.mark.parametrize("name", LINES)
def test_gain_retained_is_the_share_of_what_all_rows_gain(name: str, made: Made, content: dict[str, Any]) -> None:
    found = line_of(content, name)["gain_retained"]
    zero, full, method = (made.ranks(each) for each in ("zero-shot", "full", name))
    for k in CUT_OFFS:
        low, high, here = (hit(ranks, k).mean() for ranks in (zero, full, method))
        assert found[f"R@{k}"]["mean"] == pytest.approx((here - low) / (high - low), abs=1e-12)
    groups = [made.data.split("test").group_codes] * len(DIRECTIONS)
    same(found, gain_retained(hits(zero[:1]), hits(full), units(name, method), groups))


@pytest.mark.parametrize("name", LINES)
def test_gain_is_also_a_share_of_what_the_best_on_all_rows_gains(
    name: str, made: Made, content: dict[str, Any]
) -> None:
    found = line_of(content, name)["gain_retained_best"]
    zero, best, method = (made.ranks(each) for each in ("zero-shot", "best", name))
    groups = [made.data.split("test").group_codes] * len(DIRECTIONS)
    same(found, gain_retained(hits(zero[:1]), hits(best), units(name, method), groups))
    assert found != line_of(content, name)["gain_retained"] or name == "zero-shot"


def test_without_the_best_on_all_rows_there_is_no_share_of_it(made: Made) -> None:
    content = made.summary("best", failures={"best": "no luck"})
    assert not any("gain_retained_best" in line for line in content["lines"])
    assert "Gain of best" not in " ".join(content["protocol"])
    assert "Gain of best" in " ".join(made.summary()["protocol"])


@pytest.mark.parametrize(("size", "best"), [(8, "hopa"), (12, "apm")])
def test_difference_is_to_the_method_of_the_size_with_the_highest_mean(
    size: int, best: str, made: Made, content: dict[str, Any]
) -> None:
    """Mean over R@1, R@5 and R@10; a reference may be higher."""
    top = made.ranks(f"{best}@{size}")
    groups = [made.data.split("test").group_codes] * len(DIRECTIONS)
    for method in ("hopa", "apm", "herding"):
        found = line_of(content, f"{method}@{size}")["difference_to_best"]
        if method == best:
            assert found is None
            continue
        here = made.ranks(f"{method}@{size}")
        assert mean_hits(hits(here)).mean() < mean_hits(hits(top)).mean()
        for k in CUT_OFFS:
            assert found[f"R@{k}"]["mean"] == pytest.approx(hit(here, k).mean() - hit(top, k).mean(), abs=1e-12)
        both = units(f"{method}@{size}", here), units(f"{best}@{size}", top)
        same(found, paired_difference(*both, groups))
    assert all(line["difference_to_best"] is None for line in content["lines"] if line["kind"] == "reference")


def test_every_line_says_what_its_intervals_cover(made: Made, content: dict[str, Any]) -> None:
    covered = {line["name"]: line["coverage"] for line in content["lines"]}
    for name in METHOD_LINES:
        assert covered[name] == {"variation": "queries and sets", "number": 2}
    assert covered["zero-shot"] == covered["cca"] == {"variation": "queries only", "number": 1}
    assert covered["full"] == covered["random@8"] == {"variation": "queries and runs", "number": 2}
    single = tiny("hopa", seeds=(4,))
    fitted, cells = planned(single, made.data, width=WIDTH), plan_cells(single, made.data)
    results: dict[AnyCell, Result] = {
        cell: result(drawn(60, 2, number)) for number, cell in enumerate([*fitted, *cells])
    }
    one = summarise(single, fitted, cells, results, {}, made.data)
    assert line_of(checked(one), "hopa@8")["coverage"] == {"variation": "queries only", "number": 1}
    assert "queries only (one set)" in " ".join(comparison_table(one).notes)


def test_costs_are_those_of_one_set(content: dict[str, Any]) -> None:
    """Seconds: mean over seeds; memory and choices: the most."""
    for name, size in (("hopa@8", 8), ("herding@12", 12)):
        line = line_of(content, name)
        assert line["seconds"] == {"distill": 1.0, "experts": 4.0, "students": 0.25 * size}
        assert (line["bytes"], line["peak_bytes"], line["choices"]) == (10 * size, 1000 + size, 40 + size)
    assert line_of(content, "full")["seconds"] == {"students": 0.5}


def test_memory_that_was_not_told_is_none(made: Made) -> None:
    silent = result(made.ranks("full"), peak_bytes=None)
    assert line_of(made.summary(full=silent), "full")["peak_bytes"] is None


def test_lines_are_named_by_method_and_size_and_labelled_for_readers(content: dict[str, Any]) -> None:
    labels = {line["name"]: line["label"] for line in content["lines"]}
    assert labels["apm@8"] == labels["apm@12"] == "ours"
    assert labels["hopa@8"] == "HoPA"
    assert labels["random@12"] == "RANDOM"
    names = [line["name"] for line in content["lines"]]
    assert names == LINES[:-6] + names[-6:]
    assert names[-6:] == ["hopa@8", "apm@8", "herding@8", "hopa@12", "apm@12", "herding@12"]


def test_the_protocol_is_told_in_numbers(content: dict[str, Any], made: Made) -> None:
    assert (content["seeds"], content["num_students"]) == ([4, 2], 2)
    text = " ".join(content["protocol"])
    assert "2 sets per size, one per seed, 2 students per set" in text
    assert "with 24 to 52 students compared" in text
    assert "no students compared" in " ".join(made.summary("hopa", "apm", "herding")["protocol"])
    one = summarise(
        tiny("apm"),
        planned(tiny("apm"), made.data, width=WIDTH),
        plan_cells(tiny("apm"), made.data),
        {},
        {},
        made.data,
    )
    assert "1 set per size" in one.protocol[0]


# budgets


def test_lines_at_a_budget_are_named_by_it_and_compared_within_it(made: Made) -> None:
    """Sizes differ within a budget; at the least one APM alone fits, in few bits."""
    few = {"preset": "apm", "settings": ["distill.storage.bits=2"]}
    smallest = load_config(preset="apm", overrides=["distill.storage.bits=2", "distill.size=2"])
    least = run_bytes(smallest, made.data.widths, made.data.preprocessing)
    comparison = tiny("hopa", few, "herding", bytes=[f"{least}", "90%"], seeds=(4, 2), settings=())
    fitted, cells = planned(comparison, made.data, width=WIDTH), plan_cells(comparison, made.data)
    worst = {"hopa": 20, "herding": 100}
    results: dict[AnyCell, Result] = {
        cell: result(drawn(worst.get(method_of(cell), 60), 2, number)) for number, cell in enumerate([*fitted, *cells])
    }
    content = checked(summarise(comparison, fitted, cells, results, {}, made.data))
    whole = made.data.split("train").bytes
    half = whole * 9 // 10
    assert content["data"]["bytes"] == whole
    (apm,) = {cell.method for cell in cells if cell.method.startswith("apm")}
    assert [line["name"] for line in content["lines"]] == [
        *("zero-shot", "full", f"random@{half}B", f"equal-bytes@{least}B", f"equal-bytes@{half}B"),
        *(
            f"equal-bytes-4-bit@{least}B",
            f"equal-bytes-4-bit@{half}B",
            *("cca", "cca-infonce", "cca-stacked"),
            *("full-hopa", "best"),
            f"{apm}@{least}B",
            f"hopa@{half}B",
            f"{apm}@{half}B",
            f"herding@{half}B",
        ),
    ]
    for line in content["lines"]:
        assert line["budget"] == (least if f"@{least}B" in line["name"] else half if "@" in line["name"] else None)
    sizes = {cell.method: cell.size for cell in cells if cell.budget == half}
    assert {method: line_of(content, f"{method}@{half}B")["size"] for method in sizes} == sizes
    assert len(set(sizes.values())) > 1
    without_difference = {line["name"] for line in content["lines"] if line["difference_to_best"] is None}
    assert {f"hopa@{half}B", f"{apm}@{least}B"} == {name for name in without_difference if name.split("@")[0] in sizes}
    assert content["protocol"][0] == (
        f"Left out, because fewer than 2 rows fit: HoPA ({human_bytes(least)}), herding ({human_bytes(least)})."
    )
    assert "2 sets per budget, one per seed" in content["protocol"][1]


def test_a_method_called_like_a_reference_has_a_line_of_its_own(made: Made) -> None:
    """Random rows are both: one draw, and the mean of many."""
    comparison = tiny("random", baselines=["random"])
    fitted, cells = planned(comparison, made.data, width=WIDTH), plan_cells(comparison, made.data)
    results: dict[AnyCell, Result] = {
        cell: result(drawn(60, 2, number)) for number, cell in enumerate([*fitted, *cells])
    }
    content = checked(summarise(comparison, fitted, cells, results, {}, made.data))
    kinds = {line["name"]: line["kind"] for line in content["lines"]}
    assert kinds == {
        "zero-shot": "reference",
        "full": "reference",
        "random@8": "reference",
        "random-set@8": "method",
    }
    assert line_of(content, "random-set@8")["label"] == "random choice"
    assert line_of(content, "random@8")["recall"] != line_of(content, "random-set@8")["recall"]


# what failed


def test_a_line_of_which_all_runs_failed_has_failures_and_no_numbers(made: Made) -> None:
    line = line_of(made.summary("hopa@8", failures={"hopa@8": "no luck"}), "hopa@8")
    assert line["failures"] == [{"seed": seed, "error": "no luck"} for seed in (4, 2)]
    numbers = ("recall", "gain_retained", "difference_to_best", "coverage", "seconds", "bytes", "peak_bytes", "choices")
    assert {key for key, value in line.items() if value is None} == {"budget", *numbers}
    assert line["label"] == "HoPA"


def test_the_best_is_the_best_of_those_that_did_not_fail(made: Made) -> None:
    content = made.summary("hopa@8")
    assert line_of(content, "apm@8")["difference_to_best"] is None
    assert line_of(content, "herding@8")["difference_to_best"] is not None


def test_a_reference_that_failed_has_its_seed(made: Made) -> None:
    content = made.summary("cca", failures={"cca": "no luck"})
    assert line_of(content, "cca")["failures"] == [{"seed": 2, "error": "no luck"}]
    assert line_of(content, "cca")["label"] == "cca"


@pytest.mark.parametrize("missing", ["zero-shot", "full"])
def test_without_zero_shot_or_full_no_gain_is_told(missing: str, made: Made) -> None:
    content = made.summary(missing)
    assert all(line["gain_retained"] is None for line in content["lines"])
    assert line_of(content, "apm@8")["difference_to_best"] is not None


def test_where_all_rows_gain_nothing_there_is_no_share_of_it(made: Made) -> None:
    content = made.summary(full=result(made.ranks("zero-shot").repeat(2, 0)))
    assert line_of(content, "apm@8")["gain_retained"] == {f"R@{k}": None for k in CUT_OFFS}
