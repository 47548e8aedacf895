"""The commands from feature files to scores, for two and four modalities, and the speed of help."""

from __future__ import annotations

import csv
import json
import math
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from omnidistill.cli.command_list import make_parser
from omnidistill.data.planted import planted
from omnidistill.data.raw import RawFeatures
from omnidistill.data.store import load_features
from omnidistill.experiments.run import open_run, versions
from omnidistill.io.tracking import trackers
from omnidistill.models.heads import load_heads
from plugins import installed
from small_runs import ROWS, SMALL, Outcome, cli, contents, features, packed, shipped, widths

BASELINES = (
    "zero_shot",
    "random",
    "low_rank",
    "equal_bytes",
    "equal_bytes_4_bit",
    *("cca", "cca_infonce", "cca_stacked"),
    "distilled",
    "full_own",
    "full",
    "best",
)
REQUIRED = {"zero_shot", "random", "full", "equal_bytes", "low_rank", "distilled"}
COMMANDS = [name for group in make_parser().command_groups for name in group.parsers]


def write_npz(folder: Path, raw: RawFeatures) -> None:
    """Write the files that a user has: one array per modality, and a table in the same row order."""
    np.savez(folder / "features.npz", **{name: x.numpy() for name, x in raw.features.items()})
    with (folder / "rows.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("id", "group", "split"))
        writer.writerows(zip(raw.ids, raw.groups, raw.splits, strict=True))


@dataclass(frozen=True)
class Pipeline:
    """The outcomes of the commands in their usual order on one set."""

    folder: Path
    raw: RawFeatures
    outcomes: Mapping[str, Outcome]

    @property
    def modalities(self) -> tuple[str, ...]:
        return tuple(self.raw.features)

    @property
    def scores(self) -> dict[str, Any]:
        return dict(json.loads(self.outcomes["evaluate"].out))


@pytest.fixture(scope="module", params=[2, 4], ids=["M=2", "M=4"])
def pipeline(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    folder = tmp_path_factory.mktemp("cli")
    raw = planted(widths(request.param), ROWS, latent=6, positives_per_group=2)
    write_npz(folder, raw)
    data, heads, experts, run = (folder / name for name in ("SET", "HEADS", "EXPERTS", "RUN"))
    tables = ("--features", folder / "features.npz", "--table", folder / "rows.csv")
    outcomes = {
        "pack": cli("pack", *tables, "-o", data),
        "heads": cli("heads", data, *SMALL, "-o", heads),
        "experts": cli("experts", data, *SMALL, "--heads", heads, "-o", experts),
        "distill": cli("distill", data, *SMALL, "--size", 7, "--heads", heads, "--experts", experts, "-o", run),
        "evaluate": cli("evaluate", run, "--json"),
    }
    return Pipeline(folder, raw, outcomes)


def test_every_command_succeeds_and_prints_the_next_one(pipeline: Pipeline) -> None:
    assert {name: outcome.code for name, outcome in pipeline.outcomes.items()} == dict.fromkeys(pipeline.outcomes, 0), (
        pipeline
    )
    for command in ("pack", "heads", "experts"):
        assert f"next   {'  ' if command == 'experts' else ''}omnidistill distill {pipeline.folder / 'SET'}" in (
            pipeline.outcomes[command].out
        )
    assert f"omnidistill evaluate {pipeline.folder / 'RUN'}" in pipeline.outcomes["distill"].out
    assert "7 rows" in pipeline.outcomes["distill"].out
    assert "rank floor of 7 rows" in pipeline.outcomes["distill"].out


def test_pack_reports_its_input_and_saves_every_row(pipeline: Pipeline) -> None:
    report = pipeline.outcomes["pack"].out
    assert f"{sum(ROWS.values())} rows" in report
    assert all(f"{split} {count}" in report for split, count in ROWS.items())
    assert all(f"{name} {width} wide (float32)" in report for name, width in widths(len(pipeline.modalities)).items())
    data = load_features(pipeline.folder / "SET")
    assert (data.ids, data.groups, data.splits) == (pipeline.raw.ids, pipeline.raw.groups, pipeline.raw.splits)
    train = [row for row, split in enumerate(pipeline.raw.splits) if split == "train"]
    for name, x in pipeline.raw.features.items():
        rows = x.double().numpy()
        rows = (rows - rows.mean(1, keepdims=True)) / rows.std(1, keepdims=True)
        mean = data.preprocessing.means[name].numpy()
        np.testing.assert_allclose(data.features[name].numpy(), rows - mean, atol=1e-3)
        np.testing.assert_allclose(mean, rows[train].mean(0), atol=0.02)  # rounded, so that it is stored in 8 bits


def test_the_experts_and_students_start_from_the_given_heads(pipeline: Pipeline) -> None:
    data = load_features(pipeline.folder / "SET")
    given = load_heads(pipeline.folder / "HEADS", data.widths)[0]
    run = open_run(pipeline.folder / "RUN")
    assert all(torch.equal(given[name], matrix) for name, matrix in run.heads(data).items())
    assert not (pipeline.folder / "RUN" / "experts").exists()


def test_json_has_every_baseline_with_recall_by_direction(pipeline: Pipeline) -> None:
    scores = pipeline.scores
    assert scores["lines"] == list(BASELINES)
    assert set(scores) > REQUIRED
    directions = {"->".join(pair) for pair in permutations(pipeline.modalities, 2)}
    for name in BASELINES:
        line = scores[name]
        assert set(line["recall"]) == directions | {"mean"}
        for recall in line["recall"].values():
            assert set(recall) == {"R@1", "R@5", "R@10"}
            assert all(set(spread) == {"mean", "std"} for spread in recall.values())
            assert all(0 <= spread["mean"] <= 1 and spread["std"] >= 0 for spread in recall.values())
            assert recall["R@1"]["mean"] <= recall["R@5"]["mean"] <= recall["R@10"]["mean"]
        for k in ("R@1", "R@5", "R@10"):
            by_direction = [line["recall"][direction][k]["mean"] for direction in directions]
            assert line["recall"]["mean"][k]["mean"] == pytest.approx(sum(by_direction) / len(by_direction))
        assert line["seconds"] >= 0
        assert line["bytes"] >= 0
        assert line["label"]
        assert set(line["gain_retained"]) == {"R@1", "R@5", "R@10"}
    for line in [scores, *(scores[name] for name in BASELINES)]:
        for interval in line["gain_retained"].values():
            assert interval is None or set(interval) == {"mean", "low", "high"}
    assert scores["gain_retained"] == scores["distilled"]["gain_retained"]


def test_json_has_costs_versions_and_command(pipeline: Pipeline) -> None:
    scores = pipeline.scores
    assert set(scores["seconds"]) == {"heads", "experts", "distill", "evaluate"}
    assert all(seconds >= 0 for seconds in scores["seconds"].values())
    total = sum(widths(len(pipeline.modalities)).values())
    assert scores["bytes"]["features"] == 4 * ROWS["train"] * total
    files = shipped(pipeline.folder / "RUN" / "distilled")
    # rows, diagonal, two factors of rank 2 and means
    assert scores["bytes"]["distilled"] == scores["distilled"]["bytes"] == files > 4 * 7 * (total + 1 + 2 * 2) + total
    assert files > scores["random"]["bytes"] > 4 * 7 * (total + 1) + total
    assert scores["equal_bytes"]["bytes"] <= scores["bytes"]["distilled"]
    assert scores["versions"] == versions()
    assert scores["command"].startswith("omnidistill")
    assert scores["size"] == 7
    assert scores["num_seeds"] == 2
    assert scores["data"]["widths"] == widths(len(pipeline.modalities))
    assert scores["data"]["rows"] == ROWS
    assert set(scores["floor"]) == set(pipeline.modalities)
    assert math.isfinite(scores["matching_loss"])


def test_the_printed_scores_are_the_saved_ones(pipeline: Pipeline) -> None:
    """`--json` prints one line only; the run folder holds the same scores, the table and the page."""
    assert pipeline.outcomes["evaluate"].out.count("\n") == 1
    run = pipeline.folder / "RUN"
    assert json.loads((run / "scores.json").read_text("utf-8")) == pipeline.scores
    assert "distilled" in (run / "scores.csv").read_text("utf-8")
    assert (run / "report.html").read_text("utf-8").startswith("<!DOCTYPE html>")


def test_the_table_for_people(pipeline: Pipeline) -> None:
    outcome = cli("evaluate", pipeline.folder / "RUN", "--seeds", 3)
    assert outcome.code == 0
    assert "R@10" in outcome.out
    assert f"page     {pipeline.folder / 'RUN' / 'report.html'}" in outcome.out
    assert json.loads((pipeline.folder / "RUN" / "scores.json").read_text("utf-8"))["num_seeds"] == 3


# missing heads and experts, and resuming


def test_distill_alone_trains_heads_and_experts_and_can_be_repeated(tmp_path: Path) -> None:
    packed(tmp_path / "SET")
    distil = ("distill", tmp_path / "SET", *SMALL, "--seed", 3, "-o", tmp_path / "RUN")
    first = cli(*distil)
    assert first.code == 0, first
    assert open_run(tmp_path / "RUN").config.seed == 3
    before = contents(tmp_path / "RUN")
    assert {name.split("/")[0] for name in before} >= {"heads", "experts", "distilled"}
    again = cli(*distil, "--resume")
    assert (again.code, again.out) == (0, first.out)
    assert contents(tmp_path / "RUN") == before


def test_a_budget_determines_the_rows_and_is_printed(tmp_path: Path) -> None:
    """It replaces the size of a preset; the summary has rows, bits, bytes and the share of the training features."""
    packed(tmp_path / "SET")
    whole = 4 * ROWS["train"] * sum(widths(3).values())
    distil = ("distill", tmp_path / "SET", *SMALL, "--set", "distill.storage.bits=8", "--bytes", "40%", "-o")
    outcome = cli(*distil, tmp_path / "RUN")
    assert outcome.code == 0, outcome
    row = sum(widths(3).values()) + 3 * 4 + 4 * (1 + 2 * 2)  # a byte a number, steps; diagonal and two factors
    distilled = open_run(tmp_path / "RUN").distilled()
    size, files = distilled.size, shipped(tmp_path / "RUN" / "distilled")
    assert distilled.bytes == files <= 0.4 * whole < files + row + 8
    line = f"({size} rows of 8 bits, {files:,} bytes, {100 * files / whole:.3g} % of the training features)"
    assert line in outcome.out
    assert "similarity.rank" not in outcome.out
    assert cli(*distil, tmp_path / "RUN", "--resume").out == outcome.out


def test_a_rank_that_a_budget_reduces_is_reported(tmp_path: Path) -> None:
    packed(tmp_path / "SET")
    options = (*SMALL, "--set", "distill.similarity.rank=20", "--bytes", "30%")
    outcome = cli("distill", tmp_path / "SET", *options, "-o", tmp_path / "RUN")
    assert outcome.code == 0, outcome
    size = open_run(tmp_path / "RUN").distilled().size
    assert size < 20
    assert (
        f"note     distill.similarity.rank reduced from 20 to {size}, the number of rows that fit the budget\n"
        in outcome.out
    )


def test_a_budget_of_pairs_is_shared_by_their_sets(tmp_path: Path) -> None:
    packed(tmp_path / "SET")
    whole = 4 * ROWS["train"] * sum(widths(3).values())
    outcome = cli("distill", tmp_path / "SET", *SMALL, "--set", "joint=false", "--bytes", "90%", "-o", tmp_path / "RUN")
    assert outcome.code == 0, outcome
    total = sum(each.bytes for each in open_run(tmp_path / "RUN").sets())
    line = f"total    3 sets, {total:,} bytes, {100 * total / whole:.3g} % of the training features"
    assert line in outcome.out
    assert 0.8 * whole < total <= 0.9 * whole


def test_evaluate_rejects_an_unfinished_run(tmp_path: Path) -> None:
    packed(tmp_path / "SET")
    settings = (*SMALL, "--set", "distill.optimiser.rows=1e30")
    assert cli("distill", tmp_path / "SET", *settings, "-o", tmp_path / "RUN").code == 3
    before = contents(tmp_path)
    outcome = cli("evaluate", tmp_path / "RUN", "--json")
    assert (outcome.code, outcome.out, outcome.err.count("\n")) == (2, "", 1)
    assert "not finished" in outcome.err
    assert "--resume" in outcome.err
    assert contents(tmp_path) == before


def test_without_a_heads_split_retrieval_starts_at_random(tmp_path: Path) -> None:
    rows = {split: count for split, count in ROWS.items() if split != "heads"}
    write_npz(tmp_path, planted(widths(2), rows, latent=6, positives_per_group=2))
    tables = ("--features", tmp_path / "features.npz", "--table", tmp_path / "rows.csv")
    report = cli("pack", *tables, "-o", tmp_path / "SET")
    assert "no 'heads' split" in report.out
    assert cli("distill", tmp_path / "SET", *SMALL, "-o", tmp_path / "RUN").code == 0
    assert load_heads(tmp_path / "RUN" / "heads", widths(2))[1]["origin"] == "random"
    outcome = cli("evaluate", tmp_path / "RUN", "--json")
    assert outcome.code == 0
    assert "heads" not in json.loads(outcome.out)["data"]["rows"]


def test_evaluate_takes_the_new_location_of_the_data(tmp_path: Path) -> None:
    packed(tmp_path / "SET")
    assert cli("distill", tmp_path / "SET", *SMALL, "-o", tmp_path / "RUN").code == 0
    (tmp_path / "SET").rename(tmp_path / "MOVED")
    lost = cli("evaluate", tmp_path / "RUN")
    assert lost.code == 2
    assert "no such folder" in lost.err
    packed(tmp_path / "OTHER", features(seed=5))
    other = cli("evaluate", tmp_path / "RUN", "--data", tmp_path / "OTHER")
    assert other.code == 2
    assert "not the data of" in other.err
    assert cli("evaluate", tmp_path / "RUN", "--data", tmp_path / "MOVED", "--json").code == 0


def test_config_prints_and_explains_the_settings() -> None:
    shown = json.loads(cli("config", "--preset", "smoke", "--set", "distill.size=7", "--seed", "4").out)
    assert (shown["distill"]["size"], shown["seed"], shown["experts"]["num_experts"]) == (7, 4, 2)
    explained = cli("config", "--explain").out
    assert "distill.iterations" in explained
    assert "Number of outer iterations" in explained


def test_config_explains_the_values_that_would_run() -> None:
    default = json.loads(cli("config", "--explain", "--json").out)
    assert default["method"]["default"] == '"anchor"'
    assert default["distill.learning_rate"]["default"] == "0.01"  # of "anchor", although "learn" has this setting too
    assert default["distill (kind = anchor)"]["explanation"].startswith("[selected] ")
    hopa = json.loads(cli("config", "--preset", "hopa", "--set", "distill.iterations=7", "--explain", "--json").out)
    assert (hopa["distill.iterations"]["default"], hopa["method"]["default"]) == ("7", '"HoPA"')
    assert next(key for key in hopa if key.startswith("distill (")) == "distill (kind = learn)"
    printed = cli("config", "--preset", "hopa", "--explain").out
    assert "distill (kind = learn): [selected] " in printed
    assert "distill (kind = anchor): [selected] " not in printed


# a new process


def test_the_module_prints_its_version() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "omnidistill", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"omnidistill {versions()['omnidistill']}\n"


def test_help_names_every_command() -> None:
    text = cli("--help").out
    assert all(name in text for name in COMMANDS)


@pytest.mark.parametrize("arguments", [("distil",), ("evaluate",), ("distill", "SET", "--siz", "3", "-o", "R")])
def test_a_wrong_command_is_reported_in_one_line(arguments: tuple[str, ...]) -> None:
    outcome = cli(*arguments)
    assert (outcome.code, outcome.out, outcome.err.count("\n")) == (2, "", 1)
    assert outcome.err.startswith("omnidistill: ")
    assert "--help" in outcome.err


class Recorder:
    """A tracker of another package."""

    last_step = -1

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        self.file = folder / "recorded.txt"
        self.file.write_text("")

    def log(self, step: int, values: Mapping[str, float]) -> None:
        self.file.write_text(f"{self.file.read_text()}{step}\n")

    def close(self) -> None:
        pass


def test_a_tracker_of_another_package_is_named_as_the_built_in_ones_are(pipeline: Pipeline, tmp_path: Path) -> None:
    command = ("distill", pipeline.folder / "SET", *SMALL, "--size", 6, "-o", tmp_path / "RUN", "--tracker")
    unknown = cli(*command, "recordr")
    assert (unknown.code, unknown.err.count("\n")) == (2, 1)
    assert "tracker 'recordr' is not installed; installed: tensorboard, wandb, trackio, mlflow" in unknown.err
    assert not (tmp_path / "RUN").exists()
    with installed(trackers, {"recorder": f"{__name__}:Recorder"}):
        assert "did you mean 'recorder'?" in cli(*command, "recordr").err
        assert cli(*command, "recorder").code == 0
    assert (tmp_path / "RUN" / "recorded.txt").read_text().split() == [str(step) for step in range(7)]
