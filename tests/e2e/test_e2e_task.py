"""Task-loss matching from data to page: planted signal is found, none is invented, and no page calls it matching."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from comparison_problems import compare_in, tiny
from omnidistill.data.featureset import prepare
from omnidistill.data.planted import planted
from omnidistill.data.store import save_features
from omnidistill.distillation import DistilledSet
from omnidistill.evaluation import validation as choosing
from omnidistill.evaluation.baselines import default_baselines
from omnidistill.experiments.comparison.cells import ComparisonContext, load_result, num_compared_students, run_cell
from omnidistill.experiments.comparison.plan import plan_cells
from omnidistill.experiments.comparison.result_store import FolderStore
from omnidistill.experiments.config import load_config
from omnidistill.experiments.run import Run, open_run
from omnidistill.io.tracking import SilentProgress
from small_runs import (
    evaluate_run,
    features,
    packed,
    random_rows_trained_fully,
    records,
    run_distill,
    small_config,
    small_heads,
)

WIDTHS = {"a": 24, "b": 28, "c": 32}
ROWS = {"heads": 32, "train": 240, "validation": 48, "test": 120}
ALONE = (
    "distill.outer.kind=task",
    "distill.size=10",
    "distill.iterations=6",
    "distill.num_student_steps=4",
    "distill.validate_every=3",
    "distill.similarity.rank=2",
    "distill.outer.rows=20",
)
METHOD = {"preset": "hopa", "label": "task loss", "settings": ["distill.outer.kind=task", "distill.outer.rows=32"]}


# planted data


def scores_of(folder: Path, seed: int, shuffle_pairs: bool = False) -> dict[str, Any]:
    """A set of 20 rows and a line of as many random ones, from heads pre-trained on few rows."""
    data = planted(WIDTHS, ROWS, latent=8, noise=1.0, seed=seed, shuffle_pairs=shuffle_pairs)
    save_features(prepare(data), folder / "SET")
    settings = (
        "heads.width=16",
        "distill.outer.kind=task",
        "distill.student.kind=infonce",
        "distill.size=20",
        "distill.batch_size=12",
        "distill.iterations=150",
        "distill.validate_every=50",
        "distill.num_student_steps=8",
        "distill.similarity.rank=4",
        "distill.outer.rows=64",
        "evaluate.num_seeds=3",
        "evaluate.max_epochs=8",
        "evaluate.learning_rates=[0.3, 3.0]",
        "evaluate.batch_size=48",
    )
    run = run_distill(str(folder / "SET"), load_config(preset="smoke", overrides=settings, seed=seed), folder / "RUN")
    with random_rows_trained_fully():
        return evaluate_run(run, baselines=default_baselines(["random"])).scores.to_json()


def test_a_set_learned_by_the_task_finds_the_planted_signal(tmp_path: Path) -> None:
    """Better on unseen rows than random rows and than the heads it starts from; its loss falls by much."""
    scores = scores_of(tmp_path, 0)
    for other in ("random", "zero_shot"):
        difference = scores["distilled"][f"difference_to_{other}"]
        assert all(difference[at]["low"] > 0 for at in ("R@5", "R@10")), (other, difference)
    assert scores["gain_retained"]["R@10"]["mean"] > 0.4
    losses = [record["loss"] for record in records(tmp_path / "RUN") if "loss" in record]
    assert sum(losses[-10:]) < 0.7 * sum(losses[:10])


def test_without_signal_it_finds_none(tmp_path: Path) -> None:
    """Pairs shuffled within each split: R@K is at chance, K / 120."""
    scores = scores_of(tmp_path, 0, shuffle_pairs=True)
    for at, chance in (("R@1", 1 / 120), ("R@5", 5 / 120), ("R@10", 10 / 120)):
        found = scores["distilled"]["recall"]["mean"][at]["mean"]
        assert abs(found - chance) < 3 * (chance * (1 - chance) / 120) ** 0.5, at


# what a run leaves and its page says


def made(folder: Path, *settings: str) -> Run:
    packed(folder / "SET")
    return run_distill(str(folder / "SET"), small_config(*settings), folder / "RUN")


def captions(run: Run) -> list[str]:
    """Of the curves: those of other figures have a legend within."""
    page = (run.folder / "report.html").read_text("utf-8")
    return [title for title in re.findall(r"<figcaption>([^<]*)</figcaption>", page) if "Gain retained" not in title]


def test_a_run_trains_no_experts_and_its_page_tells_of_no_matching(tmp_path: Path) -> None:
    run = made(tmp_path, *ALONE)
    assert {path.name for path in run.folder.iterdir()} & {"experts", "floor.json", "checkpoint"} == set()
    assert run.seconds().keys() == {"heads", "distill"}
    scores = evaluate_run(run).scores
    assert scores.matching_loss is scores.floor is None
    assert scores.bytes.experts == 0
    assert captions(run) == [
        "Task loss: the trained student on real rows",
        "Mean recall on the validation split",
        "Learned step sizes",
    ]
    page = (run.folder / "report.html").read_text("utf-8").lower()
    assert "matching loss" not in page
    assert "rank floor" not in page


def test_beside_matched_trajectories_each_loss_has_its_curve(tmp_path: Path) -> None:
    """The sum is called neither; the floor bounds the matched part alone and is drawn there and nowhere else."""
    run = made(tmp_path, "distill.outer.task_weight=0.5")
    scores = evaluate_run(run).scores
    matched = [sum(record[f"loss/{name}"] for name in "abc") for record in records(run.folder)[1:]]
    kept = run.distilled().provenance.iteration  # its loss is in the record after it
    assert scores.matching_loss == pytest.approx(matched[min(kept, len(matched) - 1)], rel=1e-6)
    assert scores.matching_loss < records(run.folder)[min(kept + 1, len(matched))]["loss"] - 0.1
    assert sum(scores.floor.values()) <= scores.matching_loss
    assert captions(run)[:4] == [
        "Outer loss: matching and task loss",
        "Matching loss, summed over modalities, and its rank floor",
        "Matching loss by modality",
        "Task loss: the trained student on real rows",
    ]
    assert len(re.findall(r"<text[^>]*>floor ", (run.folder / "report.html").read_text("utf-8"))) == 1


def test_by_pairs_every_pair_has_its_set(tmp_path: Path) -> None:
    run = made(tmp_path, *ALONE, "joint=false")
    assert [each.modalities for each in run.sets()] == [("a", "b"), ("a", "c"), ("b", "c")]
    assert evaluate_run(run).scores.matching_loss is None
    assert not list(tmp_path.rglob("experts"))


def test_any_number_of_modalities_is_evaluated(tmp_path: Path) -> None:
    for num_modalities in (2, 4):
        folder = tmp_path / str(num_modalities)
        packed(folder / "SET", features(num_modalities))
        run = run_distill(str(folder / "SET"), small_config(*ALONE), folder / "RUN")
        assert len(evaluate_run(run, baselines=()).scores.distilled.recall) == num_modalities**2 - num_modalities + 1


def test_a_modality_may_be_called_task(tmp_path: Path) -> None:
    packed(tmp_path / "SET", prepare(planted({"task": 12, "b": 14}, {**ROWS, "train": 40}, latent=6)))
    run = run_distill(str(tmp_path / "SET"), small_config("distill.outer.task_weight=0.5"), tmp_path / "RUN")
    last = records(run.folder)[-1]
    assert {name for name in last if name.startswith("loss/")} == {"loss/task", "loss/b", "loss/task/infonce"}
    assert evaluate_run(run, baselines=()).scores.matching_loss == last["loss/task"] + last["loss/b"]
    assert {"Matching loss by modality", "Task loss: the trained student on real rows"} <= set(captions(run))


# in a comparison


def test_a_comparison_counts_every_student_that_validation_compared(tmp_path: Path) -> None:
    data = features()
    store = FolderStore(tmp_path / "C")
    place = ComparisonContext(data, small_heads(data), store)
    (cell,) = plan_cells(tiny(METHOD), data)
    score, calls = choosing.mean_score, list[int]()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(choosing, "mean_score", lambda *given: calls.append(1) or score(*given))
        run_cell(place, cell, "", SilentProgress())
    run = open_run(store.run_folder(cell))
    assert num_compared_students(run.result(data)) == load_result(place, cell).meta["judged"] == len(calls) > 1
    assert load_result(place, cell).meta["seconds"]["experts"] == 0


def test_a_comparison_runs_it_beside_the_others(tmp_path: Path) -> None:
    packed(tmp_path / "SET")
    content = compare_in(tmp_path / "SET", tiny(METHOD, "apm"), tmp_path / "C").content.to_json()
    (line,) = (line for line in content["lines"] if line["label"].startswith("task loss"))
    assert line["kind"] == "method"
    assert line["recall"]["mean"]["R@10"]["mean"] > 0
    assert not (tmp_path / "C" / "experts").exists()
    (loaded,) = [
        DistilledSet.load(path)
        for path in (tmp_path / "C").glob("cells/*/run/distilled")
        if json.loads((path.parent / "run.json").read_text())["config"]["distill"].get("outer", {}).get("kind")
        == "task"
    ]
    assert len(loaded) == 8
