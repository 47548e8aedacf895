"""The options of `pack` that repair leaks and duplicates, as a user types them."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from omnidistill.data.planted import planted
from omnidistill.data.store import load_features
from small_runs import cli

ROWS = {"heads": 6, "train": 9, "validation": 4, "test": 5}


@pytest.fixture
def files(tmp_path: Path) -> tuple[object, ...]:
    """Options for files with a leak in speech (train-0 = test-0) and two train rows with one video."""
    raw = planted({"video": 5, "speech": 4}, ROWS)
    train, test = raw.splits.index("train"), raw.splits.index("test")
    raw.features["speech"][train] = raw.features["speech"][test]
    raw.features["video"][train + 2] = raw.features["video"][train + 1]
    np.savez(tmp_path / "features.npz", **{name: x.numpy() for name, x in raw.features.items()})
    with (tmp_path / "rows.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("id", "split"))
        writer.writerows(zip(raw.ids, raw.splits, strict=True))
    return ("--features", tmp_path / "features.npz", "--table", tmp_path / "rows.csv", "-o", tmp_path / "SET")


def test_a_leak_is_a_warning_that_names_the_option_which_drops_it(files: tuple[object, ...]) -> None:
    lines = cli("pack", *files).out.splitlines()
    assert lines[2] == "warning leak: 1 of 5 test rows is also in train (speech is identical): 'test-0' = 'train-0'"
    assert "note   to drop the rows of the other splits that leak: --drop-leaks" in lines


def test_the_options_repair_the_set_and_report_it(files: tuple[object, ...], tmp_path: Path) -> None:
    lines = cli("pack", *files, "--merge-duplicates", "--drop-leaks").out.splitlines()
    assert lines[0] == "23 rows in 22 groups: heads 6, train 8, validation 4, test 5"
    assert not any(line.startswith("warning") for line in lines)
    assert "note   dropped 1 train row identical to test rows (speech 1)" in lines
    assert "note   merged 2 train groups with identical rows into 1" in lines
    assert "train-0" not in load_features(tmp_path / "SET").ids


def test_a_set_can_be_named(files: tuple[object, ...], tmp_path: Path) -> None:
    cli("pack", *files)
    assert load_features(tmp_path / "SET").provenance["name"] == "features"
    cli("pack", *files[:-1], tmp_path / "NAMED", "--name", "my clips")
    assert load_features(tmp_path / "NAMED").provenance["name"] == "my clips"


def test_the_options_take_modalities(files: tuple[object, ...]) -> None:
    content = json.loads(
        cli("pack", *files, "--merge-duplicates", "speech", "--drop-leaks", "video,speech", "--json").out
    )
    assert content["merged"] == []
    assert content["dropped"] == [{"split": "train", "identical_to": "test", "rows": 1, "modalities": {"speech": 1}}]
    assert cli("pack", *files, "--force", "--drop-leaks", "vido").err == (
        "omnidistill: --drop-leaks: the dataset has no modality 'vido'; choose from video, speech; "
        "did you mean 'video'?\n"
    )
