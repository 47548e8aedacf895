"""Runs whose files were altered: one line, and before any training."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_hostile_files import forge

from omnidistill.core.errors import InputError
from omnidistill.core.printable import printable
from omnidistill.distillation import DistilledSet
from omnidistill.experiments.inspection import inspect
from omnidistill.experiments.run import open_run
from small_runs import SMALL, InterruptAfter, Outcome, cli, evaluate_run, features, packed, run_distill, small_config


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A packed set, an evaluated run over it, and experts."""
    folder = tmp_path_factory.mktemp("made")
    packed(folder / "SET", features(2))
    assert cli("distill", folder / "SET", *SMALL, "-o", folder / "RUN").code == 0
    evaluate_run(open_run(folder / "RUN"), num_seeds=2, baselines=())
    assert cli("experts", folder / "SET", *SMALL, "-o", folder / "EXPERTS").code == 0
    return folder


@pytest.fixture
def run(made: Path, tmp_path: Path) -> Path:
    return shutil.copytree(made / "RUN", tmp_path / "RUN")


def refused(outcome: Outcome, *told: str) -> None:
    assert (outcome.code, outcome.out) == (2, ""), outcome
    assert outcome.err.startswith("omnidistill: ")
    assert outcome.err.count("\n") == 1
    for part in told:
        assert part in outcome.err, outcome.err


def alter(path: Path, *keys: str | int, value: Any) -> None:
    tree = json.loads(path.read_text("utf-8"))
    section = tree
    for key in keys[:-1]:
        section = section[key]
    section[keys[-1]] = value
    path.write_text(json.dumps(tree), "utf-8")


def test_a_good_run_has_a_page(run: Path, tmp_path: Path) -> None:
    assert cli("report", run, "-o", tmp_path / "page.html").code == 0
    assert inspect(run, verify=True).verified is True


@pytest.mark.parametrize(
    ("file", "keys", "value"),
    [
        ("scores.json", ("distilled", "recall", "mean"), {"R@1": {"mean": 0.5, "std": None}}),
        ("scores.json", ("distilled", "recall", "mean", "R@1", "mean"), 1e308),
        ("scores.json", ("distilled", "metrics"), {"a->b": {"MRR": {"mean": 0.5, "std": None}}}),
        ("scores.json", ("full", "label"), ["x"]),
        ("scores.json", ("full", "label"), "\ud800"),
        ("scores.json", ("data", "widths"), {"a": "wide"}),
        ("scores.json", ("data", "licence"), "text"),
        ("scores.json", ("bytes", "distilled"), -1),
        ("scores.json", ("extra",), [[[[[[[[[[[[[[]]]]]]]]]]]]]] * 2),
        ("cases.json", ("cases", 0, "query"), "nobody"),
        ("cases.json", ("cases", 0, "query_modality"), "smell"),
        ("cases.json", ("cases", 0, "ranks"), {}),
        ("cases.json", ("cases", 0, "retrieved", "full", 0), {"id": "nobody", "hit": True}),
        ("cases.json", ("rose",), "many"),
        ("floor.json", ("floor",), {"smell": 1.0}),
        ("floor.json", ("floor",), {"a": -1.0, "b": 1.0}),
        ("floor.json", ("floor",), {"a": 1e308, "b": 1e308}),
        ("timings.json", ("distill",), -1.0),
        ("timings.json", ("distill",), "long"),
        ("run.json", ("modalities",), ["a", "a\ud800"]),
        ("run.json", ("modalities",), ["a"]),
        ("run.json", ("config", "seed"), 10**25),
    ],
    ids=str,
)
def test_an_altered_value_has_no_page(
    file: str, keys: tuple[str | int, ...], value: Any, run: Path, tmp_path: Path
) -> None:
    alter(run / file, *keys, value=value)
    outcome = cli("report", run, "-o", tmp_path / "page.html")
    if keys == ("extra",):  # fields that a later version adds are ignored
        assert outcome.code == 0, outcome
        return
    refused(outcome)
    assert not (tmp_path / "page.html").exists()


@pytest.mark.parametrize("line", ['{"iteration": -1}', '{"loss": 1e301}', "[" * 5000, '{"loss": 1, "loss": 2}', "[1]"])
def test_an_altered_log_has_no_page(line: str, run: Path, tmp_path: Path) -> None:
    (run / "metrics.jsonl").write_text(line + "\n")
    refused(cli("report", run, "-o", tmp_path / "page.html"), "metrics.jsonl")


def test_extreme_numbers_still_have_a_page(run: Path, tmp_path: Path) -> None:
    lines = [{"iteration": i, "loss": (-1) ** i * 1e300, "loss/a": 5e-324 * i, "validation": 1e300} for i in range(9)]
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    alter(run / "scores.json", "distilled", "label", value="\x1b[2J\u202e")
    outcome = cli("report", run, "-o", tmp_path / "page.html")
    assert outcome.code == 0, outcome
    assert "\\u001b[2J\\u202e" in (tmp_path / "page.html").read_text("utf-8")


@pytest.mark.parametrize("file", ["timings.json", "floor.json", "metrics.jsonl"])
def test_a_damaged_file_of_a_finished_run_is_found_when_it_resumes(file: str, made: Path, run: Path) -> None:
    (run / file).write_text('{"distill": "long", "floor": 3, "iteration": "x"}')
    refused(cli("distill", made / "SET", *SMALL, "-o", run, "--resume"), file)


@pytest.mark.parametrize("damage", ["timings", "metrics", "identity", "best", "tensors"])
def test_a_damaged_file_of_an_interrupted_run_is_found_before_the_training(
    damage: str, made: Path, tmp_path: Path
) -> None:
    folder, config = tmp_path / "RUN", small_config("distill.validate_every=2", "distill.iterations=6")
    with pytest.raises(KeyboardInterrupt):
        run_distill(str(made / "SET"), config, folder, progress=_InterruptDistillation(3))
    match damage:
        case "timings":
            (folder / "timings.json").write_text('{"heads": "long"}')
        case "metrics":
            log = folder / "metrics.jsonl"
            log.write_bytes(log.read_bytes().replace(b"{", b"[", 1))
        case "identity" | "best":
            forge(folder / "checkpoint", lambda manifest: manifest["meta"].update({damage: {"x": 1}}))
        case _:
            forge(folder / "checkpoint", lambda manifest: manifest["meta"].pop("last_good"))
            forge(folder / "checkpoint", lambda manifest: manifest["meta"].pop("iteration"))
    training = _NoTraining()
    with pytest.raises(InputError) as caught:
        run_distill(str(made / "SET"), config, folder, resume=True, progress=training)
    assert "\n" not in str(caught.value)
    assert training.steps == 0


class _InterruptDistillation(InterruptAfter):
    """Press Ctrl-C after some outer iterations, not in an earlier stage."""

    def start(self, total: int, label: str, done: int = 0, seconds: float = 0.0) -> None:
        super().start(total, label, done, seconds)
        self.done = done if label.startswith("distill") else -(10**9)


class _NoTraining(InterruptAfter):
    steps = 0

    def advance(self, n: int = 1, **fields: Any) -> None:
        self.steps += n


def test_verify_loads_what_it_verifies(made: Path, run: Path, tmp_path: Path) -> None:
    forge(run / "distilled", lambda manifest: manifest["meta"]["recipe"].update(num_steps=-5))
    inspect(run / "distilled")
    with pytest.raises(InputError, match="num_steps"):
        inspect(run / "distilled", verify=True)
    with pytest.raises(InputError, match="num_steps"):
        DistilledSet.load(run / "distilled")
    data = shutil.copytree(made / "SET", tmp_path / "SET")
    forge(data, lambda manifest: manifest["meta"].update(splits=["train", "train", "train", "trian"]))
    inspect(data)
    with pytest.raises(InputError, match="trian"):
        inspect(data, verify=True)
    (run / "scores.json").write_text("{}")
    with pytest.raises(InputError, match=r"scores\.json"):
        inspect(run, verify=True)


@pytest.mark.parametrize(
    ("field", "value"), [("own", [True]), ("last_epochs", [99, 99]), ("last_epochs", ["x"] * 2), ("modalities", [])]
)
def test_forged_experts_are_refused(field: str, value: Any, made: Path, tmp_path: Path) -> None:
    buffer = shutil.copytree(made / "EXPERTS" / "buffer", tmp_path / "buffer")
    forge(buffer, lambda manifest: manifest["meta"].update({field: value}))
    refused(cli("distill", made / "SET", *SMALL, "--experts", buffer, "-o", tmp_path / "RUN"), str(buffer))


def test_file_names_that_are_not_utf_8(tmp_path: Path) -> None:
    odd = "\udcff\x1b[2J"
    arrays = {name: x.numpy() for name, x in features(2).features.items()}
    np.savez(tmp_path / f"features{odd}.npz", **arrays)
    rows = "".join(f"i{row},{split}\n" for row, split in enumerate(features(2).splits))
    (tmp_path / f"table{odd}.csv").write_text(f"id,split\n{rows}")
    pack = ("pack", "--features", tmp_path / f"features{odd}.npz", "--table", tmp_path / f"table{odd}.csv")
    refused(cli(*pack, "-o", tmp_path / f"SET{odd}"), "this path is not UTF-8")
    assert len(list(tmp_path.iterdir())) == 2
    data, run, page = tmp_path / "SET\x1b[2J", tmp_path / "RUN\x1b[2J", tmp_path / f"page{odd}.html"
    for command in (
        (*pack, "-o", data),
        ("inspect", data, "--verify"),
        ("distill", data, *SMALL, "-o", run),
        ("report", run, "-o", page),
    ):
        outcome = cli(*command)
        assert outcome.code == 0, outcome
        assert printable(outcome.out + outcome.err) == outcome.out + outcome.err
    assert "\x1b" not in page.read_text("utf-8")
