"""`migrate`: a kit that maps planted embeddings, its size, its splits, its report, and input that cannot be used."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from migration_problems import FEW, planted, saved, small
from omnidistill.core.errors import InputError
from omnidistill.data.featureset import FeatureSet
from omnidistill.data.store import save_features
from omnidistill.experiments.migration import Kit, migrate
from omnidistill.experiments.migration.paired_input import open_pairs

QUIET: Any = {"settings": FEW, "device": "cpu", "progress": False}


def recall(row: Any, direction: str, task: str) -> float:
    return float(row.recall[direction][task]["R@1"])


def test_as_many_rows_as_the_latent_map_as_well_as_all_pairs_in_both_directions() -> None:
    rows = {row.name: row for row in small().content.rows}
    assert list(rows)[:4] == ["kit", "ridge, all pairs", "Procrustes, all pairs", "random pairs"]
    for direction in ("forward", "reverse"):
        for task in ("queries", "gallery", "mixed"):
            assert recall(rows["kit"], direction, task) > recall(rows["ridge, all pairs"], direction, task) - 0.1
        assert recall(rows["kit"], direction, "queries") > recall(rows["random pairs"], direction, "queries") + 0.3
        assert recall(rows["kit"], direction, "queries") > 0.7


def test_learning_improves_few_rows() -> None:
    settings = FEW.evolve(iterations=40, learning_rate=0.02, storage=FEW.storage.evolve(bits=2.0), batch_size=200)
    scores = [
        migrate(*planted(), size=6, baselines="none", **{**QUIET, "settings": each}).content.rows[0].validation
        for each in (settings.evolve(iterations=0), settings)
    ]
    assert scores[1] > scores[0]


def test_the_same_seed_gives_the_same_kit_and_another_gives_another() -> None:
    again, other = (
        migrate(*planted(), size=12, baselines="none", seed=seed, **QUIET).kit.apply(planted()[0]) for seed in (0, 1)
    )
    np.testing.assert_array_equal(again, small().kit.apply(planted()[0]))
    assert np.abs(np.asarray(other) - np.asarray(again)).max() > 1e-3


@pytest.mark.parametrize(("amount", "limit"), [("10%", 9600), ("4kB", 4000), (3000, 3000)])
def test_all_files_fit_into_the_bytes(amount: str | int, limit: int, tmp_path: Path) -> None:
    """400 of 500 items are for training: 400 (32 + 28) numbers of 4 bytes."""
    result = migrate(*planted(), bytes=amount, baselines="quick", folder=tmp_path / "KIT", **QUIET)
    size = sum(path.stat().st_size for path in (tmp_path / "KIT").iterdir())
    assert limit - 60 < size <= limit or result.kit.size == 28
    for row in result.content.rows[4:]:
        assert row.bytes is not None
        assert row.bytes <= size


def test_no_baseline_is_learned_unless_requested() -> None:
    names = [row.name for row in small().content.rows]
    assert not any(name.startswith("InfoNCE") for name in names)
    few = FEW.evolve(iterations=1)
    result = migrate(*planted(), size=24, baselines="all", **{**QUIET, "settings": few})
    names = [row.name for row in result.content.rows]
    assert "InfoNCE, low rank, 3 coded bits, both ways" in names
    assert "reduced rank, 4 bits, one way" in names
    one_way = next(row for row in result.content.rows if row.name.endswith("one way"))
    assert set(one_way.recall) == {"forward"}


def test_the_test_pairs_do_not_change_the_kit() -> None:
    old, new = planted()
    source = open_pairs(old, new)
    changed = new.copy()
    changed[source.rows["test"].numpy()] += 5
    kit = migrate(old, changed, size=12, baselines="none", **QUIET).kit
    np.testing.assert_array_equal(kit.apply(old), small().kit.apply(old))


def test_copies_of_items_make_nothing_singular() -> None:
    """Every item three times, as many rows as the smaller width, and a ridge that learning could lower to zero."""
    old, new = (np.repeat(x, 3, axis=0) for x in planted(160))
    settings = FEW.evolve(ridges=(1e-9,), learning_rate=0.5, iterations=6)
    groups = [str(row // 3) for row in range(480)]
    result = migrate(old, new, size=28, groups=groups, baselines="quick", **{**QUIET, "settings": settings})
    assert np.isfinite(result.kit.apply(old)).all()
    assert min(result.kit.ridges.tolist()) >= 0.99e-4


def test_groups_are_never_divided() -> None:
    labels = [f"item {row // 4}" for row in range(500)]
    source = open_pairs(*planted(), groups=labels)
    of_split = {name: {labels[row] for row in rows.tolist()} for name, rows in source.rows.items()}
    assert sorted(row for rows in source.rows.values() for row in rows.tolist()) == list(range(500))
    assert not of_split["train"] & of_split["test"]
    assert not of_split["train"] & of_split["validation"]
    assert not of_split["validation"] & of_split["test"]
    assert [len(of_split[name]) for name in ("train", "validation", "test")] == [101, 12, 12]
    assert source.by == "group"
    assert torch.equal(open_pairs(*planted(), groups=labels).rows["test"], source.rows["test"])
    assert not torch.equal(open_pairs(*planted(), groups=labels, seed=1).rows["test"], source.rows["test"])


def test_groups_from_files(tmp_path: Path) -> None:
    labels = [f"item {row // 4}" for row in range(500)]
    expected = open_pairs(*planted(), groups=labels).rows["test"]
    (tmp_path / "groups.txt").write_text("\n".join(labels) + "\n", "utf-8")
    np.save(tmp_path / "groups.npy", np.array(labels))
    for name in ("groups.txt", "groups.npy"):
        assert torch.equal(open_pairs(*planted(), groups=tmp_path / name).rows["test"], expected)


def test_two_modalities_of_a_packed_set_with_its_splits(tmp_path: Path) -> None:
    old, new = planted()
    splits = ["train"] * 380 + ["validation"] * 60 + ["test"] * 60
    data = FeatureSet.from_arrays({"old": old, "new": new}, splits=splits)
    save_features(data, tmp_path / "SET")
    result = migrate(f"{tmp_path / 'SET'}:old", f"{tmp_path / 'SET'}:new", size=12, baselines="none", **QUIET)
    assert dict(result.content.pairs) == {"train": 380, "validation": 60, "test": 60}
    assert result.content.split_by == "set"
    assert recall(result.content.rows[0], "forward", "queries") > 0.7


def test_large_data_is_read_in_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("omnidistill.experiments.migration.paired_input.MOST_TRAINING", 100)
    source = open_pairs(*planted())
    pairs = source.read("train", 0)
    assert (len(pairs), len(source.rows["train"])) == (100, 400)
    rows = {tuple(x) for x in planted()[0][source.rows["train"].numpy()].tolist()}
    assert all(tuple(x) in rows for x in pairs.old.tolist())


def test_files_of_the_result(tmp_path: Path) -> None:
    result = small().save(tmp_path / "KIT")
    assert {path.name for path in tmp_path.iterdir()} == {"KIT", "KIT-report.md", "KIT-report.json", "KIT-report.html"}
    assert (tmp_path / "KIT-report.md").read_text("utf-8").rstrip("\n") == result.table()
    assert result.folder == tmp_path / "KIT"
    assert Kit.load(tmp_path / "KIT").size == 12
    with pytest.raises(InputError, match=r"not empty; choose another folder, or use force=True"):
        result.save(tmp_path / "KIT")
    with pytest.raises(InputError, match="not empty"):
        migrate(*planted(), size=12, folder=tmp_path / "KIT", **QUIET)
    result.save(tmp_path / "KIT", force=True)


OLD, NEW = planted()


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda: migrate(OLD, NEW[:-1], **QUIET), "old: has 500 rows, but new has 499; row i of both must belong"),
        (lambda: migrate(OLD[0], NEW, **QUIET), "old: shape is (32,)"),
        (lambda: migrate(OLD, NEW.astype(str), **QUIET), "new: dtype is <U32; embeddings must be real numbers"),
        (lambda: migrate(np.where(OLD > 9, OLD, np.nan), NEW, **QUIET), "contains NaN or Inf"),
        (lambda: migrate(np.ones_like(OLD), NEW, **QUIET), "old: all training embeddings are equal"),
        (lambda: migrate("old.npy", NEW, **QUIET), "old: found 'old.npy'; pass an array, the Path of a .npy file, or"),
        (lambda: migrate("nowhere:image", NEW, **QUIET), "nowhere: no such folder"),
        (
            lambda: migrate("emoji:imag", NEW, **QUIET),
            "emoji:imag: the dataset has no modality 'imag'; choose from image",
        ),
        (lambda: migrate("emoji:image", NEW, **QUIET), "emoji:image: has 4686 rows, but new has 500"),
        (lambda: migrate(OLD[:9], NEW[:9], **QUIET), "needs at least 2; pass more pairs"),
        (lambda: migrate(OLD, NEW, size=5, bytes="1%", **QUIET), "size and bytes: both set the size"),
        (
            lambda: migrate(OLD, NEW, size=400, **QUIET),
            "size=400: a migration kit must have at least 2 rows, and at most 28",
        ),
        (
            lambda: migrate(OLD[:, :1], NEW, **QUIET),
            "embedding widths of at least 2, found 400 pairs and the widths 1,",
        ),
        (lambda: migrate(OLD, NEW, size=1, **QUIET), "size=1: a migration kit must have at least 2 rows, and at"),
        (
            lambda: migrate(OLD, NEW, bytes="0.1%", **QUIET),
            "bytes='0.1%': 96 bytes are too few for a migration kit; pass at least",
        ),
        (lambda: migrate(OLD, NEW, bytes="lots", **QUIET), "budget 'lots': not an amount of bytes"),
        (lambda: migrate(OLD, NEW, groups=["a"], **QUIET), "groups: found 1 groups for 500 rows"),
        (lambda: migrate(OLD, NEW, groups=Path("no.txt"), **QUIET), "no.txt: cannot be read"),
        (lambda: migrate(OLD, NEW, **{**QUIET, "device": "gpu"}), "device='gpu': unknown device"),
    ],
)
def test_unusable_input(act: Callable[[], object], message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        act()


def test_sets_of_other_items(tmp_path: Path) -> None:
    splits = ["train"] * 380 + ["validation"] * 60 + ["test"] * 60
    for name, ids in (("A", range(500)), ("B", range(1, 501))):
        data = FeatureSet.from_arrays({"x": OLD, "y": NEW}, splits=splits, ids=ids)
        save_features(data, tmp_path / name)
    with pytest.raises(InputError, match="its ids differ from those of"):
        migrate(f"{tmp_path / 'A'}:x", f"{tmp_path / 'B'}:y", **QUIET)
    with pytest.raises(InputError, match="a packed dataset already defines the groups"):
        migrate(f"{tmp_path / 'A'}:x", f"{tmp_path / 'A'}:y", groups=["a"] * 500, **QUIET)


def test_files_that_do_not_exist(tmp_path: Path) -> None:
    paths = saved(tmp_path, old=OLD)
    with pytest.raises(InputError, match=r"new\.npy: cannot be read"):
        migrate(paths["old"], tmp_path / "new.npy", **QUIET)
