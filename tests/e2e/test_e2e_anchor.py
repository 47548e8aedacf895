"""A run of the preset "anchor-coded" with every command that shows or shares it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from omnidistill import DistilledSet
from omnidistill.core.errors import InputError
from small_runs import cli, features, packed

SETTINGS = ("heads.width=8", "distill.size=8", "distill.iterations=3", "evaluate.max_epochs=2")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    data, run = packed(folder / "data", features(2)), folder / "run"
    chosen = [part for setting in SETTINGS for part in ("--set", setting)]
    done = cli("distill", data, "--preset", "anchor-coded", *chosen, "-o", run, "--device", "cpu")
    assert done.code == 0, done.err
    assert "8 rows of 2 coded bits" in done.out
    assert "ridge regression to anchors, ridges" in done.out
    assert not (run / "experts").exists()
    return run


def test_its_set_trains_without_the_heads_of_the_run(run: Path) -> None:
    distilled = DistilledSet.load(run / "distilled")
    assert {name: tuple(w.shape) for name, w in distilled.train(width=5).items()} == {"a": (5, 12), "b": (5, 14)}
    assert repr(distilled).startswith("DistilledSet(anchor-coded: 8 rows of a 12, b 14; ")


def test_it_is_evaluated_with_and_without_initial_heads_and_reported(run: Path) -> None:
    done = cli("evaluate", run, "--seeds", "2", "--device", "cpu")
    assert done.code == 0, done.err
    scores = json.loads((run / "scores.json").read_text())
    assert scores["distilled"]["label"] == "anchor-coded, 8 rows"
    assert scores["distilled_alone"]["label"] == "anchor-coded, 8 rows, without initial heads"
    assert scores["distilled_alone"]["needs_start"] is False
    reported = cli("report", run)
    assert reported.code == 0, reported.err
    page = (run / "report.html").read_text()
    assert "anchor-coded, 8 rows, without initial heads" in page
    assert "NaN" not in page
    assert "step size" not in page


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("cite", "RUN"), ["@inproceedings{kip,", "@inproceedings{frepo,"]),
        (("inspect", "RUN"), ["method          anchor-coded", "storage         kind coded, bits 2", "kind anchor"]),
        (("inspect", "RUN/distilled"), ["rows/a/code  U8", "rows/a/step  BF16 8", "rows/a/table  I32 33"]),
        (("presets",), ["anchor-coded", "Default of 'distill --bytes'"]),
        (("config", "--preset", "anchor-coded", "--explain"), ["distill (kind = anchor)", "distill.start_share"]),
        (("config", "--preset", "anchor-coded"), ['"kind": "coded"', '"bits": 2.0']),
        (("export", "RUN", "-o", "RUN/set.parquet"), ["(8 rows of a, b)"]),
    ],
    ids=lambda value: " ".join(value),
)
def test_commands_show_it(run: Path, arguments: tuple[str, ...], expected: list[str]) -> None:
    done = cli(*(argument.replace("RUN", str(run)) for argument in arguments))
    assert done.code == 0, done.err
    assert [text for text in expected if text not in done.out] == []


def test_another_method_continues_from_it(run: Path, tmp_path: Path) -> None:
    """Its rows are the start; step sizes, which the set does not have, start from the settings."""
    few = ("--size", 8, "--set", "distill.iterations=2", "--set", "distill.validate_every=1")
    start = ("--preset", "smoke", "--set", "heads.width=8", *few, "--from", run, "-o", tmp_path / "on")
    done = cli("distill", run.parent / "data", *start, "--device", "cpu")
    assert done.code == 0, done.err
    continued = DistilledSet.load(tmp_path / "on" / "distilled")
    assert continued.provenance.initial_set["method"] == "anchor-coded"
    rows, before = continued.rows(), DistilledSet.load(run / "distilled").rows()
    assert all(float((rows[name] - before[name]).norm() / before[name].norm()) < 0.5 for name in rows)


def test_the_loaded_rows_are_finite(run: Path) -> None:
    rows = DistilledSet.load(run / "distilled").rows()
    assert all(bool(torch.isfinite(x).all()) for x in rows.values())
    with pytest.raises(InputError, match=r"recipe 'anchor' has no mini-batches"):
        next(DistilledSet.load(run / "distilled").batches())
