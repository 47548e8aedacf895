"""Kits: the maps are those of the equation, files are complete and counted, and bad input gives one clear line."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from migration_problems import FEW, WIDTHS, planted, saved, small
from omnidistill.core.errors import InputError
from omnidistill.experiments.migration import Kit, migrate
from omnidistill.models.storages import RowStorage


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    small().kit.save(tmp_path / "KIT")
    return tmp_path / "KIT"


def by_equation(kit: Kit, x: np.ndarray, source: str, target: str, ridge: float) -> np.ndarray:
    rows = {side: each.double().numpy() for side, each in kit.rows().items()}
    means = {side: each.double().numpy() for side, each in kit.means.means.items()}
    kernel = rows[source] @ rows[source].T
    penalty = ridge * np.diag(kernel).mean() * np.eye(len(kernel))
    return means[target] + (x - means[source]) @ rows[source].T @ np.linalg.solve(kernel + penalty, rows[target])


def test_both_maps_are_those_of_the_equation() -> None:
    kit, (old, new) = small().kit, planted()
    forward, reverse = kit.ridges.tolist()
    np.testing.assert_allclose(kit.apply(old), by_equation(kit, old, "old", "new", forward), atol=1e-4)
    np.testing.assert_allclose(kit.apply(new, reverse=True), by_equation(kit, new, "new", "old", reverse), atol=1e-4)


def test_saving_and_loading_keeps_every_bit(folder: Path) -> None:
    kit, loaded, (old, new) = small().kit, Kit.load(folder), planted()
    np.testing.assert_array_equal(loaded.apply(old), kit.apply(old))
    np.testing.assert_array_equal(loaded.apply(new, reverse=True), kit.apply(new, reverse=True))
    assert repr(loaded) == repr(kit)
    assert "12 rows, 3 coded bits, old width 32, new width 28" in repr(kit)


def test_all_files_are_counted(folder: Path) -> None:
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert len(files) == 2
    assert small().kit.bytes == sum(path.stat().st_size for path in files)


@pytest.mark.parametrize("bits", [32, 4])
def test_every_storage_works(bits: Any, tmp_path: Path) -> None:
    settings = FEW.evolve(storage=RowStorage(bits=bits), iterations=2)
    kit = migrate(*planted(), size=6, settings=settings, baselines="none", device="cpu", progress=False).kit
    kit.save(tmp_path / "KIT")
    np.testing.assert_array_equal(Kit.load(tmp_path / "KIT").apply(planted()[0]), kit.apply(planted()[0]))
    assert f"{bits} bits" in repr(kit)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_arrays_files_and_tensors_give_the_same_vectors(dtype: str, tmp_path: Path) -> None:
    kit, old = small().kit, planted()[0].astype(dtype)
    mapped = kit.apply(old)
    assert isinstance(mapped, np.ndarray)
    assert mapped.dtype == (np.float16 if dtype == "float16" else np.float32)
    tensor = kit.apply(torch.from_numpy(old))
    assert isinstance(tensor, torch.Tensor)
    np.testing.assert_array_equal(tensor.numpy(), mapped)
    path = saved(tmp_path, old=old)["old"]
    np.testing.assert_array_equal(kit.apply(path), mapped)
    np.testing.assert_array_equal(kit.apply(np.load(path, mmap_mode="r")), mapped)
    facts = kit.apply_file(path, tmp_path / "deep" / "out.npy")
    np.testing.assert_array_equal(np.load(facts.path), mapped)
    assert (facts.rows, facts.width, facts.bytes) == (500, 28, facts.path.stat().st_size)
    half = kit.apply(torch.from_numpy(old).bfloat16())
    assert isinstance(half, torch.Tensor)
    assert half.dtype == torch.bfloat16


def test_no_vectors_give_no_vectors(tmp_path: Path) -> None:
    path = saved(tmp_path, old=np.zeros((0, 32), np.float32))["old"]
    small().kit.apply_file(path, tmp_path / "out.npy")
    assert np.load(tmp_path / "out.npy").shape == (0, 28)


def test_vectors_of_length_one_stay_so() -> None:
    old, new = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in planted())
    kit = migrate(old, 3 * new, size=6, settings=FEW, baselines="none", device="cpu", progress=False).kit
    assert kit.unit == (True, False)
    back = np.linalg.norm(kit.apply(3 * new, reverse=True), axis=1)
    np.testing.assert_allclose(back, 1.0, atol=1e-5)
    assert np.linalg.norm(kit.apply(old), axis=1).max() > 1.5


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (
            lambda kit, old, new, to: kit.apply(new),
            "embeddings: the embeddings have width 28, but the old encoder",
        ),
        (lambda kit, old, new, to: kit.apply(new), "to map embeddings of the new encoder, use reverse=True"),
        (
            lambda kit, old, new, to: kit.apply(old, reverse=True),
            "to map embeddings of the old encoder, omit reverse=True",
        ),
        (lambda kit, old, new, to: kit.apply(old[:, :5]), "pass embeddings of this encoder"),
        (lambda kit, old, new, to: kit.apply(np.where(old > 1e9, old, np.nan)), "row 0 (counted from 0) contains NaN"),
        (lambda kit, old, new, to: kit.save(to), "is not empty; choose another folder, or use force=True"),
        (lambda kit, old, new, to: Kit.load(to), "not an omnidistill artifact"),
        (
            lambda kit, old, new, to: kit.apply_file(to / "x.npy", to / "x.npy"),
            "x.npy: already exists; use force=True",
        ),
        (lambda kit, old, new, to: kit.save(to / "x.npy"), "is a file, but the output must be a folder"),
    ],
)
def test_unusable_input(act: Callable[..., object], message: str, tmp_path: Path) -> None:
    old, new = planted()
    saved(tmp_path, x=old)
    with pytest.raises(InputError, match=re.escape(message)):
        act(small().kit, old, new, tmp_path)


def test_a_failed_file_leaves_the_old_one(tmp_path: Path) -> None:
    old = planted()[0].copy()
    old[400] = np.nan
    paths = saved(tmp_path, old=old, out=np.ones(3))
    with pytest.raises(InputError, match="row 400"):
        small().kit.apply_file(paths["old"], paths["out"], force=True)
    np.testing.assert_array_equal(np.load(paths["out"]), np.ones(3))
    assert {path.name for path in tmp_path.iterdir()} == {"old.npy", "out.npy"}


def test_only_a_kit_is_replaced(folder: Path) -> None:
    small().kit.save(folder, force=True)
    with pytest.raises(InputError, match="not empty"):
        small().kit.save(folder)
    content = json.loads((folder / "manifest.json").read_text("utf-8"))
    assert content["kind"] == "migration kit"
    shutil.rmtree(folder)
    from omnidistill.io.artifacts import save_artifact

    save_artifact(folder, "heads", {"a": torch.zeros(1)}, {})
    with pytest.raises(InputError, match="of kind 'heads', expected 'migration kit'"):
        small().kit.save(folder, force=True)


def altered(kit: Kit, change: str) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    tensors, meta = dict(kit._tensors()), kit._meta()
    if change == "a ridge is missing":
        tensors["ridges"] = tensors["ridges"][:1]
    elif change == "a ridge is negative":
        tensors["ridges"] = -tensors["ridges"]
    elif change == "a mean is missing":
        del tensors["mean/old"]
    elif change == "rows of one side are missing":
        tensors = {name: x for name, x in tensors.items() if not name.startswith("rows/new")}
    elif change == "widths":
        meta["widths"] = {"old": 3, "new": 28}
    elif change == "a width that is text":
        meta["widths"] = {"old": "wide", "new": 28}
    elif change == "storage":
        meta["storage"] = {"kind": "unheard-of"}
    elif change == "schema":
        meta["schema"] = 2
    elif change == "code":
        tensors["rows/old/code"] = tensors["rows/old/code"] ^ 255
    elif change == "nothing":
        meta = {}
    return tensors, meta


@pytest.mark.parametrize(
    "change",
    [
        "a ridge is missing",
        "a ridge is negative",
        "a mean is missing",
        "rows of one side are missing",
        "widths",
        "a width that is text",
        "storage",
        "schema",
        "code",
        "nothing",
    ],
)
def test_damaged_content_is_one_clear_line(change: str, tmp_path: Path) -> None:
    from omnidistill.io.artifacts import save_artifact

    save_artifact(tmp_path / "KIT", "migration kit", *altered(small().kit, change))
    with pytest.raises(InputError) as caught:
        Kit.load(tmp_path / "KIT")
    assert len(str(caught.value)) > 30
    assert "\n" not in str(caught.value)


def test_a_truncated_file_is_one_clear_line(folder: Path) -> None:
    (file,) = folder.glob("*.safetensors")
    file.write_bytes(file.read_bytes()[:-10])
    with pytest.raises(InputError, match="the file was truncated or altered"):
        Kit.load(folder)


def test_widths_are_those_of_the_data() -> None:
    assert dict(small().kit.widths) == WIDTHS
