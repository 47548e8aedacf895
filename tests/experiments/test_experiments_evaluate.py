"""Evaluation of a result in memory: the scores of the same run in a folder, and no file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from omnidistill.core.errors import InputError
from omnidistill.data.featureset import FeatureSet
from omnidistill.evaluation.run_scores import RunScores
from omnidistill.experiments.evaluate_run import evaluate
from omnidistill.experiments.run import DistillResult, distill
from small_runs import features, packed, run_distill, small_config, small_heads

SILENT: dict[str, Any] = {"device": "cpu", "progress": False}
BASELINES = ["random", "cca"]
CONFIG = small_config("evaluate.num_seeds=2", "evaluate.max_epochs=2", "evaluate.learning_rates=[1.0]")


@pytest.fixture(scope="module")
def data() -> FeatureSet:
    return features()


@pytest.fixture(scope="module")
def result(data: FeatureSet) -> DistillResult:
    return distill(data, config=CONFIG, **SILENT)


def without_costs(tree: dict[str, Any]) -> dict[str, Any]:
    rows = {name: {**tree[name], "seconds": None} for name in tree["lines"]}
    return {name: value for name, value in {**tree, **rows}.items() if name not in ("seconds", "bytes", "command")}


def test_scores_in_memory_are_those_of_a_folder(result: DistillResult, data: FeatureSet, tmp_path: Path) -> None:
    run = run_distill(str(packed(tmp_path / "SET", data)), CONFIG, tmp_path / "RUN")
    stored = evaluate(run, baselines=BASELINES, **SILENT)
    by_path = evaluate(tmp_path / "RUN", tmp_path / "SET", baselines=BASELINES, **SILENT)
    evaluation = evaluate(result, data, baselines=BASELINES, **SILENT)
    assert without_costs(evaluation.to_json()) == without_costs(stored.to_json()) == without_costs(by_path.to_json())
    assert (evaluation.folder, stored.folder) == (None, tmp_path / "RUN")
    assert (tmp_path / "RUN" / "report.html").exists()


def test_an_evaluation_tells_itself_and_is_saved_on_request(
    result: DistillResult, data: FeatureSet, tmp_path: Path
) -> None:
    evaluation = evaluate(result, data, baselines=BASELINES, membership=True, **SILENT)
    assert repr(evaluation).startswith("Evaluation(smoke, ")
    assert "gain retained" in repr(evaluation)
    assert evaluation.table().startswith("| Method | R@1 % |")
    table = evaluation.table()
    assert all(f"| {row.label} |" in table for row in evaluation.rows.values())
    saved = evaluation.save(tmp_path / "scores")
    assert {path.name for path in saved.folder.iterdir()} == {"scores.json", "scores.csv", "cases.json", "report.html"}
    scores = RunScores.from_json(json.loads((saved.folder / "scores.json").read_text()), "scores.json")
    assert scores.membership == evaluation.scores.membership
    assert list(scores.membership.auc) == ["loss", "nearest_row", "loss_full", "loss_initial"]
    assert "membership" not in evaluate(result, data, baselines=(), **SILENT).to_json()


def test_other_heads_are_given_as_matrices(result: DistillResult, data: FeatureSet) -> None:
    other = evaluate(result, data, heads=small_heads(data, seed=9), baselines=(), **SILENT)
    own = evaluate(result, data, baselines=(), **SILENT)
    assert other.scores.rows["zero_shot"].recall != own.scores.rows["zero_shot"].recall


def test_what_cannot_be_evaluated_is_one_line(result: DistillResult, data: FeatureSet) -> None:
    with pytest.raises(
        InputError, match="data: the data of this result were not stored on disk; pass them to evaluate"
    ):
        evaluate(result, **SILENT)
    with pytest.raises(InputError, match=r"data: these are not the data of this result \(modalities or rows differ\)"):
        evaluate(result, features(seed=3), **SILENT)
    with pytest.raises(InputError, match=r"data: these are not the data of this result"):
        evaluate(result, features(2), **SILENT)
    with pytest.raises(InputError, match="num_seeds=1: confidence intervals need at least 2"):
        evaluate(result, data, num_seeds=1, **SILENT)
    with pytest.raises(InputError, match=r"heads: the data have no modality 'd' \(found: a, b, c\)"):
        evaluate(result, data, heads={**small_heads(data), "d": small_heads(data)["a"]}, **SILENT)
    without = data.select([row for row, split in enumerate(data.splits) if split != "test"])
    with pytest.raises(InputError, match="split 'test': no rows"):
        evaluate(result, without, **SILENT)
    with pytest.raises(InputError, match="baseline 'cxa' is not installed"):
        evaluate(result, data, baselines=["cxa"], **SILENT)
