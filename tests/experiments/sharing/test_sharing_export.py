"""Exports hold the same numbers, and what is needed to train on them."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from omnidistill.core.errors import InputError
from omnidistill.distillation import DistilledSet
from omnidistill.experiments.sharing.export import METADATA, export, metadata_of
from sharing_problems import small_run, small_set
from small_runs import cli

Table = tuple[dict[str, np.ndarray[Any, Any]], list[str], dict[str, Any]]


def in_parquet(path: Path) -> Table:
    from pyarrow import parquet

    table = parquet.read_table(path)
    found = {name: np.array(table[name].to_pylist(), np.float32) for name in table.column_names if name != "id"}
    return found, table["id"].to_pylist(), json.loads(table.schema.metadata[METADATA.encode()])


def in_npz(path: Path) -> Table:
    with np.load(path, allow_pickle=False) as file:
        found = {name: file[name] for name in file.files if name not in ("id", "metadata")}
        return found, file["id"].tolist(), json.loads(file["metadata"].item())


def in_datasets(path: Path) -> Table:
    from datasets import load_from_disk

    made = load_from_disk(str(path))
    found = {name: np.array(made[name][:], np.float32) for name in made.column_names if name != "id"}
    return found, list(made["id"]), json.loads(made.info.description)


READ: dict[str, Callable[[Path], Table]] = {"rows.parquet": in_parquet, "rows.npz": in_npz, "rows": in_datasets}


def of_set(distilled: DistilledSet) -> dict[str, np.ndarray[Any, Any]]:
    rows = {**distilled.rows(), "similarity": distilled.similarity()}
    return {name: matrix.numpy() for name, matrix in rows.items()}


@pytest.mark.parametrize("name", READ)
@pytest.mark.parametrize("num_modalities", [2, 4])
def test_the_same_numbers_come_back(tmp_path: Path, name: str, num_modalities: int) -> None:
    distilled = small_set(num_modalities)
    assert export(distilled, tmp_path / name) == tmp_path / name
    numbers, ids, metadata = READ[name](tmp_path / name)
    expected = of_set(distilled)
    assert set(numbers) == set(expected)
    for column, matrix in expected.items():
        assert numbers[column].dtype == np.float32
        np.testing.assert_array_equal(numbers[column], matrix)
    assert ids == [f"synthetic/{row:04d}" for row in range(len(distilled))]
    assert metadata == json.loads(json.dumps(metadata_of(distilled)))
    assert metadata["recipe"]["step_sizes"] == list(distilled.recipe.step_sizes)
    assert {path.name for path in tmp_path.iterdir()} == {name}


@pytest.mark.parametrize("name", READ)
def test_by_the_command_line(tmp_path: Path, name: str) -> None:
    run = small_run(tmp_path / "RUN")
    done = cli("export", run, "-o", tmp_path / name)
    assert done.code == 0, done.err
    assert "6 rows of a, b" in done.out
    np.testing.assert_array_equal(READ[name](tmp_path / name)[0]["a"], of_set(small_set())["a"])


def test_a_folder_that_exists_and_a_kind_that_is_not_written(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").touch()
    with pytest.raises(InputError, match=r"mine: is not empty"):
        export(small_set(), tmp_path / "mine")
    with pytest.raises(InputError, match=r"unknown suffix '\.csv'; use \.parquet, \.npz"):
        export(small_set(), tmp_path / "rows.csv")
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


@pytest.mark.parametrize(("module", "name"), [("pyarrow.parquet", "rows.parquet"), ("datasets", "rows")])
def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str, name: str) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(InputError, match=r"pip install 'omnidistill\["):
        export(small_set(), tmp_path / name)
    assert list(tmp_path.iterdir()) == []
