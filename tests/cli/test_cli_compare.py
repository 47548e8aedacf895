"""The commands `compare` and `presets`: printed results, exit codes, and the tables of the paper."""

from __future__ import annotations

import csv
import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from comparison_problems import FLAGS, counted, line_of, tiny
from omnidistill.data.planted import planted
from omnidistill.distillation.shipped_bytes import real_rows_bytes
from omnidistill.experiments.config import describe_comparisons, describe_presets
from omnidistill.experiments.run import heads_fingerprint
from omnidistill.methods import methods as registry
from omnidistill.methods.apm import Apm
from omnidistill.methods.learn import Learn
from omnidistill.models.heads import save_heads
from omnidistill.report.comparison_content import Comparison
from omnidistill.report.gain_figure import gain_figure
from small_runs import cli, features, packed, small_heads

FEW = ("--methods", "apm,hopa", "--sizes", "8", "--seeds", "0", "--students", "2", *FLAGS)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return packed(tmp_path_factory.mktemp("data") / "SET", features(2))


def content(folder: Path, name: str = "comparison") -> dict[str, Any]:
    return dict(json.loads((folder / f"{name}.json").read_text("utf-8")))


# presets


def test_every_preset_and_comparison_takes_one_line() -> None:
    outcome = cli("presets")
    assert (outcome.code, outcome.err) == (0, "")
    methods, rest = outcome.out.split("comparisons (for compare --preset)\n")
    comparisons, *components = re.split(r"^components: (.*)\n", rest, flags=re.MULTILINE)
    title, *lines = methods.splitlines()
    assert title == "methods (for distill --preset and compare --methods)"
    for described, listed in ((describe_presets(), lines), (describe_comparisons(), comparisons.splitlines())):
        assert [tuple(line.split(maxsplit=1)) for line in listed] == list(described.items())
        assert all(line.startswith("  ") for line in listed)
    assert any(line.startswith("  paper/hopa-msrvtt-100 ") for line in lines)
    listed = {
        place: [line.split()[0] for line in text.splitlines()]
        for place, text in zip(components[::2], components[1::2], strict=True)
    }
    assert listed["distill.kind"] == list(registry.names())
    assert listed["--tracker"] == ["tensorboard", "wandb", "trackio", "mlflow"]


# compare


def test_compare_prints_the_table_and_its_path(data: Path, tmp_path: Path) -> None:
    command = ("compare", data, "--methods", "apm, hopa", "--sizes", "8,12", "--seeds", "1,0", "--students", 3, *FLAGS)
    outcome = cli(*command, "-o", tmp_path / "C")
    assert outcome.code == 0, outcome
    for part in ("planted: comparison", "APM", "HoPA", "random, 12 rows", "8 rows", "12 rows", "R@10 %"):
        assert part in outcome.out
    assert f"files    {tmp_path / 'C' / 'comparison.md'} (also .csv, .tex, .json)" in outcome.out
    assert {path.suffix for path in (tmp_path / "C").glob("comparison.*") if ".lock" not in path.name} == {
        *(".md", ".csv", ".tex", ".json")
    }
    result = content(tmp_path / "C")
    assert (result["seeds"], result["num_students"], result["layout"]) == ([1, 0], 3, "retrieval")
    assert result["command"].startswith("omnidistill")
    assert {line["name"] for line in result["lines"] if line["kind"] == "method"} == {
        *("apm@8", "apm@12", "hopa@8", "hopa@12")
    }


def test_json_prints_the_saved_comparison_only(data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "C"
    assert cli("compare", data, *FEW, "-o", folder).code == 0
    with counted() as calls:
        outcome = cli("compare", data, *FEW, "--resume", "--json", "-o", folder)
    assert (outcome.code, outcome.out.count("\n"), calls) == (0, 1, [])
    assert json.loads(outcome.out) == content(folder)


def test_a_comparison_from_a_file_with_layout_and_heads(data: Path, tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    settings = json.dumps(list(tiny("apm").settings))
    file.write_text(f'methods = ["apm"]\nsizes = [8]\nseeds = [0, 1]\nbaselines = []\nsettings = {settings}\n')
    heads = small_heads(features(2), seed=5)
    save_heads(heads, tmp_path / "H", {})
    arguments = ("--config", file, "--layout", "cost", "--students", 2, "--heads", tmp_path / "H")
    outcome = cli("compare", data, *arguments, "-o", tmp_path / "C")
    assert outcome.code == 0, outcome
    assert "students" in outcome.out
    result = content(tmp_path / "C", "mine")
    assert (result["name"], result["layout"], result["seeds"]) == ("mine", "cost", [0, 1])
    assert result["heads"] == heads_fingerprint(heads)
    assert [line["name"] for line in result["lines"]] == ["zero-shot", "full", "apm@8"]


def test_budgets_have_their_own_rows_and_a_figure(data: Path, tmp_path: Path) -> None:
    few = ("--seeds", "0", "--students", "2", *FLAGS, "-o", tmp_path / "C")
    command = ("compare", data, "--methods", "apm,hopa", "--bytes", "50%, 3kB", "--layout", "curve", *few)
    outcome = cli(*command)
    assert outcome.code == 0, outcome
    for part in ("50 % (3.3 kB)", "45.1 % (3.0 kB)", "heads of equal", "APM", "HoPA", "per budget"):
        assert part in outcome.out, outcome.out
    assert f"files    {tmp_path / 'C' / 'comparison.md'} (also .csv, .tex, .json, .svg)" in outcome.out
    result = content(tmp_path / "C")
    assert (tmp_path / "C" / "comparison.svg").read_text("utf-8") == gain_figure(Comparison.from_json(result, "here"))
    sizes = {line["name"]: line["size"] for line in result["lines"]}
    small = features(2)
    rows = sum(real_rows_bytes(rows, small.widths, small.preprocessing) <= 3328 for rows in range(1, 65))
    assert any(line["label"] == f"random, {rows} rows" for line in result["lines"])
    assert (sizes["apm@3328B"], sizes["random@3328B"], sizes["equal-bytes@3328B"]) == (13, None, None)
    assert 2 < sizes["hopa@3328B"] < 3328 // (4 * (26 + 1 + 2 * 2)) - 5
    with counted() as calls:
        by_size = cli("compare", data, "--methods", "apm,hopa", "--sizes", "13", *few, "--resume")
    assert by_size.code == 0, by_size
    assert calls == [("learn", 0)]
    assert "(also .csv, .tex, .json)" in by_size.out


def no_luck(*_: Any) -> Any:
    raise RuntimeError("no luck")


def test_a_failed_method_is_reported_with_exit_code_one(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ("compare", data, *FEW, "-o", tmp_path / "C")
    with monkeypatch.context() as patch:
        patch.setattr(Apm, "run", no_luck)
        outcome = cli(*command)
        as_json = cli(*command, "--resume", "--json")
    for result in (outcome, as_json):
        assert result.code == 1
        (line,) = (line for line in result.err.splitlines() if "no luck" in line)
        assert line.startswith("omnidistill: apm-n8-s0-")
        assert line.endswith(": RuntimeError no luck")
    assert "APM, 8 rows, seed 0: RuntimeError no luck" in " ".join(outcome.out.split())
    assert line_of(json.loads(as_json.out), "apm@8")["recall"] is None
    again = cli(*command, "--resume")
    assert again.code == 0
    assert "no luck" not in again.out + again.err


def test_resume_continues_an_interrupted_comparison(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: Any) -> Any:
        raise KeyboardInterrupt

    command = ("compare", data, *FEW, "-o", tmp_path / "C")
    with monkeypatch.context() as patch:
        patch.setattr(Learn, "run", interrupted)
        outcome = cli(*command)
    assert (outcome.code, outcome.out) == (130, "")
    assert outcome.err.endswith("omnidistill: interrupted; finished work is saved: repeat the command with --resume\n")
    with counted() as calls:
        assert cli(*command, "--resume").code == 0
    assert calls == [("learn", 0)]


def test_a_signal_during_a_method(data: Path, tmp_path: Path) -> None:
    """A separate process receives the signal in the middle of a method."""
    endless = [part.replace("distill.iterations=4", "distill.iterations=100000") for part in FEW]
    command = [sys.executable, "-m", "omnidistill", "compare", str(data), *endless, "-o", str(tmp_path / "C")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            while not list((tmp_path / "C").glob("cells/hopa-*/run/metrics.jsonl")) and process.poll() is None:
                time.sleep(0.05)
            process.send_signal(signal.SIGINT)
            out, err = process.communicate()
        finally:
            process.kill()
    assert (process.returncode, out) == (130, ""), err
    assert "--resume" in err
    assert "Traceback" not in err
    assert len(list((tmp_path / "C").glob("cells/apm-*/ranking/manifest.json"))) == 1


# the tables of the paper

SHORTER = (
    "heads.width=6",
    "heads.num_epochs=1",
    "experts.num_experts=1",
    "experts.num_epochs=2",
    "distill.iterations=1",
    "distill.step_size_space=log",  # published rates belong to other features, and beta may become negative here
    "distill.validate_every=1",
    "distill.num_student_steps=1",
    "distill.outer.max_start_epoch=1",
    "distill.outer.num_expert_epochs=1",
    "evaluate.max_epochs=1",
    "evaluate.learning_rates=[1.0]",
)
SHAPES: dict[str, tuple[tuple[str, ...], dict[str, int], int]] = {
    "two": (("video", "text"), {"train": 110, "validation": 12, "test": 20}, 1),
    "msrvtt": (("video", "audio", "text"), {"train": 110, "validation": 12, "test": 20}, 1),
    "vggsound": (("video", "audio", "text"), {"heads": 16, "train": 110, "validation": 12, "test": 40}, 6),
    "didemo": (("text", "video", "audio"), {"train": 104, "validation": 13, "test": 12}, 1),
}
"""Modalities of one width, rows, rows of one group (in VGGSound those of a class share their text)."""


@pytest.mark.parametrize(
    ("shape", "number"), [("two", 1), ("msrvtt", 1), ("vggsound", 2), ("didemo", 3)], ids=lambda value: str(value)
)
def test_tables_one_to_three_from_feature_files(shape: str, number: int, tmp_path: Path) -> None:
    names, rows, group = SHAPES[shape]
    raw = planted(dict.fromkeys(names, 9), rows, latent=4, positives_per_group=group)
    np.savez(tmp_path / "features.npz", **{name: x.numpy() for name, x in raw.features.items()})
    with (tmp_path / "rows.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("id", "group", "split"), *zip(raw.ids, raw.groups, raw.splits, strict=True)])
    files = ("--features", tmp_path / "features.npz", "--table", tmp_path / "rows.csv")
    assert cli("pack", *files, "--no-centre", "-o", tmp_path / "SET").code == 0  # as in the paper
    flags = [part for setting in SHORTER for part in ("--set", setting)]
    less = ("--sizes", "100", "--seeds", "0", "--students", 2, *flags)
    outcome = cli("compare", tmp_path / "SET", "--preset", f"paper-table-{number}", *less, "-o", tmp_path / "C")
    assert outcome.code == 0, outcome
    result = content(tmp_path / "C", f"paper-table-{number}")
    methods = [line for line in result["lines"] if line["kind"] == "method"]
    labels = ["MTT (pairs)", "TESLA (pairs)", "LoRS (pairs)", "RepBlend (pairs)", "HoPA"]
    assert [line["label"] for line in methods] == labels
    assert all(len(line["recall"]) == 1 + len(names) * (len(names) - 1) for line in methods)
    assert all(label in outcome.out for label in labels)
