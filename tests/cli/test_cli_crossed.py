"""`compare --preset crossed`: the table, its files, and options that do not apply."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from small_runs import cli, features, packed

FEW = ("--methods", "random", "--models", "own,random", "--parts", "table", "--recipes", "own,anchor")
CROSSED = ("--preset", "crossed", *FEW)
SETTINGS = (
    "heads.width=8",
    "heads.num_epochs=2",
    "distill.max_steps=16",
    "distill.learning_rates=[0.3]",
    "ridges=[0.1]",
    "evaluate.max_epochs=2",
    "evaluate.learning_rates=[1.0]",
)
TINY = tuple(part for text in SETTINGS for part in ("--set", text))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return packed(tmp_path_factory.mktemp("data") / "SET", features(2))


def test_it_prints_the_table_and_its_files(data: Path, tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('kind = "crossed"\nsets = [{ preset = "random", size = 8 }]\n')
    command = ("compare", data, "--config", file, *FEW, *TINY, "-o", tmp_path / "C")
    outcome = cli(*command)
    assert outcome.code == 0, outcome
    for part in (
        "| recipe | set | own | random |",
        "| anchor | random 8 rows |",
        f"page     {tmp_path / 'C' / 'crossed.html'}",
    ):
        assert part in outcome.out
    again = cli(*command, "--resume", "--json")
    assert again.code == 0
    tree = json.loads(again.out)
    assert tree == json.loads((tmp_path / "C" / "crossed.json").read_text("utf-8"))
    assert {cell["column"] for cell in tree["cells"]} == {"own", "random"}
    assert cli(*command, "--seeds", "1,2").code == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((*CROSSED, "--sizes", "8"), "--sizes: not supported for a crossed table"),
        ((*CROSSED, "--dry-run"), "--dry-run: not supported for a crossed table"),
        ((*CROSSED, "--seeds", "0,1"), "--seeds: a crossed table (--preset crossed) uses one random seed"),
        ((*CROSSED[:-1], "ancor"), "--recipes: unknown recipe 'ancor'; did you mean 'anchor'?"),
        (("--preset", "crossed", "--methods", "hoppa"), "unknown set 'hoppa'; did you mean 'hopa"),
        (("--preset", "crossed", "--models", "huge"), "--models: unknown model 'huge'"),
        (
            ("--methods", "apm", "--models", "own"),
            "--models: applies only to a crossed table; add",
        ),
    ],
)
def test_what_does_not_apply_is_one_line(options: tuple[str, ...], message: str, data: Path, tmp_path: Path) -> None:
    outcome = cli("compare", data, *options, "-o", tmp_path / "C")
    assert (outcome.code, outcome.err.count("\n")) == (2, 1)
    assert message in outcome.err
