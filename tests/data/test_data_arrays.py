"""Arrays of any library become raw features; whole numbers are read alike wherever they come from."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from omnidistill.core.errors import InputError
from omnidistill.data.arrays import as_rows, raw_from_arrays
from omnidistill.data.featureset import FeatureSet, prepare
from omnidistill.data.pack import pack
from omnidistill.data.raw import RawFeatures

SPLITS = ("train", "train", "train", "validation", "test")
TABLE = "id,split\n" + "".join(f"{row},{split}\n" for row, split in enumerate(SPLITS))


def whole(kind: str = "int64") -> dict[str, np.ndarray]:
    draw = np.random.default_rng(0)
    return {name: draw.integers(0, 100, (5, width)).astype(kind) for name, width in (("a", 3), ("b", 4))}


def same(one: FeatureSet, other: FeatureSet) -> bool:
    return one.splits == other.splits and all(torch.equal(x, other.features[name]) for name, x in one.features.items())


def test_arrays_tensors_and_lists_give_the_same_set() -> None:
    arrays = {name: x.astype("float32") for name, x in whole().items()}
    expected = FeatureSet.from_arrays(arrays, splits=SPLITS)
    assert same(
        FeatureSet.from_arrays({name: torch.from_numpy(x) for name, x in arrays.items()}, splits=SPLITS), expected
    )
    assert same(FeatureSet.from_arrays({name: x.tolist() for name, x in arrays.items()}, splits=SPLITS), expected)
    assert (expected.ids, expected.groups) == (tuple("01234"), tuple("01234"))
    assert repr(expected) == "FeatureSet(arrays: 5 rows of a 3, b 4; train 3, validation 1, test 1)"


@pytest.mark.parametrize("kind", ["int64", "int8", "uint8", "uint16", "int32"])
def test_whole_numbers_are_read_alike_everywhere(kind: str, tmp_path: Path) -> None:
    arrays = whole(kind)
    expected = FeatureSet.from_arrays({name: x.astype("float32") for name, x in arrays.items()}, splits=SPLITS)
    assert same(FeatureSet.from_arrays(arrays, splits=SPLITS), expected)
    (tmp_path / "rows.csv").write_text(TABLE)
    np.savez(tmp_path / "features.npz", **arrays)
    (tmp_path / "folder").mkdir()
    for name, x in arrays.items():
        np.save(tmp_path / "folder" / f"{name}.npy", x)
    for source in (tmp_path / "features.npz", tmp_path / "folder"):
        assert same(pack(source, tmp_path / "rows.csv").data, expected)
        assert same(pack(source, tmp_path / "rows.csv", tmp_path / f"{source.stem}-set").data, expected)
    tensors = {name: torch.from_numpy(x) for name, x in arrays.items()}
    raw = RawFeatures(tensors, expected.ids, expected.groups, SPLITS, {"name": "arrays"})
    assert same(prepare(raw), expected)


def test_a_validation_split_is_drawn_by_group_with_a_warning() -> None:
    arrays = {name: np.random.default_rng(1).normal(size=(20, width)) for name, width in (("a", 3), ("b", 4))}
    groups = [row // 2 for row in range(20)]
    with pytest.warns(UserWarning, match=r"2 of 10 training groups \(4 rows\) were chosen at random with seed 3"):
        raw = raw_from_arrays(arrays, groups=groups, seed=3)
    assert raw.splits.count("validation") == 4
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert raw_from_arrays(arrays, splits=["train"] * 19 + ["validation"]).splits.count("validation") == 1


def test_what_cannot_be_read_is_one_line() -> None:
    good = whole()
    cases = {
        r"groups: found 4 entries for 5 rows; pass one entry per row": lambda: raw_from_arrays(
            good, groups=[0, 1, 2, 3]
        ),
        r"ids: found 2 entries for 5 rows": lambda: raw_from_arrays(good, ids=["a", "b"]),
        r"splits: found one text for 5 rows": lambda: raw_from_arrays(good, splits="train"),
        r"modality 'b': 4 rows, but there are 5 ids": lambda: raw_from_arrays({**good, "b": good["b"][:4]}),
        r"x: the rows have different lengths": lambda: as_rows("x", [[1.0, 2.0], [1.0]]),
        r"x: dtype is <U1; features must be integers or floating-point numbers": lambda: as_rows("x", [["a"]]),
        r"x: dtype is bool; features must be real numbers": lambda: as_rows("x", torch.ones(2, 2, dtype=torch.bool)),
        r"x: shape is \(3,\); features must have shape \(rows, width\)": lambda: as_rows("x", [1, 2, 3]),
        r"no validation rows, and too few training groups \(1\)": lambda: raw_from_arrays({"a": [[1.0]], "b": [[2.0]]}),
        r"split 'trian': unknown": lambda: FeatureSet.from_arrays(good, splits=["trian", *SPLITS[1:]]),
    }
    for message, act in cases.items():
        with pytest.raises(InputError, match=message):
            act()
