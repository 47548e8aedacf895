"""Sets by name or by path."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from omnidistill.core.errors import InputError
from omnidistill.data.datasets import datasets, load, open_reference, opened
from omnidistill.data.raw import RawFeatures
from plugins import installed
from small_runs import features, packed


def test_a_name_loads_a_registered_dataset() -> None:
    data = load("emoji")
    assert data.location == "emoji"
    assert data.modalities == ("image", "text", "audio")
    assert opened(data) is data


def test_a_path_loads_a_packed_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = packed(tmp_path / "SET")
    data = load(place)
    assert data.location == str(place)
    assert all(torch.equal(x, features().features[name]) for name, x in data.features.items())
    monkeypatch.chdir(tmp_path)
    assert load(Path("SET")).location == str(place)
    assert open_reference("SET").location == str(place)


def test_where_a_part_of_a_set_is_stored_is_not_claimed(tmp_path: Path) -> None:
    data = load(packed(tmp_path / "SET"))
    assert data.split("train").location is None
    assert data.select([0, 1]).location is None
    assert data.only(["a", "b"]).location == data.location


def test_datasets_of_others_are_loaded_by_name() -> None:
    def mine() -> RawFeatures:
        rows = {name: torch.randn(4, 3, generator=torch.Generator().manual_seed(0)) for name in "ab"}
        splits = ("train", "train", "train", "validation")
        return RawFeatures(rows, tuple("0123"), tuple("0123"), splits, {"name": "mine"})

    with installed(datasets):
        datasets.register("mine")(mine)
        assert "mine" in datasets.names()
        assert load("mine").split_sizes == {"train": 3, "validation": 1}


def test_what_is_no_set_is_one_line(tmp_path: Path) -> None:
    for source, message in (
        ("emojy", r"'emojy': not a registered dataset \(registered: emoji\); .*; did you mean 'emoji'\?"),
        ("SET", r"'SET': not a registered dataset .*; for a folder, pass Path\('SET'\)"),
        (tmp_path / "none", "none: no such folder; create a dataset with"),
        (tmp_path, "no manifest.json"),
    ):
        with pytest.raises(InputError, match=message):
            load(source)
