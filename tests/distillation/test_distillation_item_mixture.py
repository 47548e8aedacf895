"""Rows as mixtures of items: the definition, other encoders, fits, files, and items that are missing."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from omnidistill.core.errors import InputError
from omnidistill.data.featureset import FeatureSet
from omnidistill.distillation import DistilledSet
from omnidistill.distillation.item_mixture import Mixture, fit
from omnidistill.io.artifacts import save_artifact
from omnidistill.models.storages import RowStorage
from small_runs import contents, shipped
from transfer_problems import new, old, result, training_ids, without_rows

SPARSE = "distill.items_per_row=3"


def mixture_set(*settings: str) -> DistilledSet:
    return result("mixture", *settings).set


def test_rows_are_normalised_mixtures_of_the_items() -> None:
    """By hand in numpy from the listed items, for a dense and a sparse matrix."""
    train = old().split("train")
    place = {name: row for row, name in enumerate(train.ids)}
    for distilled in (mixture_set(), mixture_set(SPARSE)):
        for name, rows in distilled.rows().items():
            features = train.features[name].double().numpy()
            for items, row in zip(distilled.items(), rows.numpy(), strict=True):
                mixed = sum(weight * features[place[item]] for item, weight in items.items())
                expected = np.asarray(mixed) / np.linalg.norm(mixed) * len(row) ** 0.5
                np.testing.assert_allclose(row, expected, atol=1e-5)
    assert {len(items) for items in mixture_set(SPARSE).items()} == {3}
    for items in mixture_set().items():
        weights = [abs(weight) for weight in items.values()]
        assert weights == sorted(weights, reverse=True)


def test_realise_gives_the_rows_of_another_encoder() -> None:
    distilled = mixture_set(SPARSE)
    same = distilled.realise(old())
    for name, rows in distilled.rows().items():
        torch.testing.assert_close(same.rows()[name], rows)
    other = distilled.realise(new())
    assert dict(other.spec.modalities) == new().widths
    assert other.recipe == distilled.recipe
    assert other.items() == distilled.items()
    assert other.preprocessing is not distilled.preprocessing
    heads = other.train()
    assert {name: w.shape for name, w in heads.items()} == {name: (6, p) for name, p in new().widths.items()}
    kept = replace(distilled, spec=replace(distilled.spec, storage=RowStorage(bits=4)))
    assert kept.realise(new()).bytes < other.bytes


@pytest.mark.parametrize("num_rows", [20, 64])
def test_a_fit_finds_the_mixing_matrix(num_rows: int, normal: Callable[..., torch.Tensor]) -> None:
    """With fewer items than features (the exact matrix), and with more (the same rows)."""
    train = old().split("train").select(range(num_rows))
    weights = normal(4, num_rows).float()
    exact = Mixture.of(weights, RowStorage(), None, train.ids)
    rows, _ = exact.rows(train)
    unscaled = {name: weights @ x for name, x in train.features.items()}
    fitted = fit(unscaled, train, (1e-8,), RowStorage())[1e-8]
    again, _ = fitted.rows(train)
    for name, x in rows.items():
        torch.testing.assert_close(again[name], x, atol=1e-3, rtol=1e-3)
    if num_rows < sum(train.widths.values()):
        torch.testing.assert_close(fitted.weights, weights, atol=1e-3, rtol=1e-3)


def test_files_of_a_mixture(tmp_path: Path) -> None:
    """Training does not need them, so they do not count as shipped. Other rows do not get the mixture."""
    distilled = mixture_set(SPARSE)
    distilled.save(tmp_path / "set")
    loaded = DistilledSet.load(tmp_path / "set")
    assert loaded.items() == distilled.items()
    assert loaded.bytes == distilled.bytes == shipped(tmp_path / "set")
    assert distilled.mixture is not None
    assert distilled.mixture.bytes == shipped(tmp_path / "set" / "mixture")
    used = {item for items in distilled.items() for item in items}
    assert set(distilled.mixture.ids) == used
    result("anchor").set.save(tmp_path / "set")
    before = contents(tmp_path / "set")
    replaced = DistilledSet.load(tmp_path / "set")
    assert replaced.mixture is None
    with pytest.raises(InputError, match=r"are not stored as mixtures .*; distil a set with"):
        replaced.items()
    assert contents(tmp_path / "set") == before


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"items": torch.full((6, 3), 99, dtype=torch.int32)}, "weights refer to items outside"),
        ({"items": torch.zeros(5, 3, dtype=torch.int32)}, "weights have shape"),
        ({"ids": torch.tensor(list(b'["a", "a"]'), dtype=torch.uint8)}, "ids are not distinct texts"),
        ({"ids": torch.tensor(list(b"\xff{"), dtype=torch.uint8)}, "decode"),
        ({"ids": None}, "ids"),
    ],
)
def test_a_damaged_mixture_is_one_line(change: dict[str, torch.Tensor | None], problem: str, tmp_path: Path) -> None:
    distilled = mixture_set(SPARSE)
    distilled.save(tmp_path / "set")
    mixture = distilled.mixture
    assert mixture is not None
    tensors = {name: x for name, x in {**mixture._tensors(), **change}.items() if x is not None}
    digest = mixture._meta(distilled.rows_digest())
    save_artifact(tmp_path / "set" / "mixture", "mixture", tensors, digest)
    with pytest.raises(InputError, match=rf"mixture: the mixture is malformed \(.*{problem}") as error:
        DistilledSet.load(tmp_path / "set")
    assert "\n" not in str(error.value)


def renamed(data: FeatureSet) -> FeatureSet:
    return replace(data, ids=tuple(f"other-{name}" for name in data.ids))


def test_missing_items_are_named_or_dropped() -> None:
    distilled = mixture_set(SPARSE)
    used = sorted({item for items in distilled.items() for item in items})
    fewer = without_rows(new(), set(used[:2]))
    message = rf"planted: lacks 2 of the {len(used)} items of the set \({used[0]}, {used[1]}\)|\({used[1]}, {used[0]}\)"
    with pytest.raises(InputError, match=message):
        distilled.realise(fewer)
    dropped = distilled.realise(fewer, missing="drop")
    for items, before in zip(dropped.items(), distilled.items(), strict=True):
        assert items == pytest.approx({item: w for item, w in before.items() if item not in used[:2]}, abs=1e-3)


def test_rows_without_any_item_are_omitted() -> None:
    distilled = mixture_set("distill.items_per_row=1")
    first = list(distilled.items()[0])
    others = {item for items in distilled.items()[1:] for item in items} - set(first)
    realised = distilled.realise(without_rows(new(), set(first)), missing="drop")
    assert len(realised) == sum(list(items) != first for items in distilled.items())
    with pytest.raises(InputError, match=r"planted: only . of the 6 synthetic rows can be computed from the items"):
        distilled.realise(without_rows(new(), others), missing="drop")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (renamed, "planted: contains none of the 64 items of the set; pass features of the dataset"),
        (
            lambda data: data.only(["a", "b"]),
            "planted: modality 'c' is missing (found only a, b); pass data with all",
        ),
        (
            lambda data: replace(data, splits=tuple("heads" if s == "train" else "train" for s in data.splits)),
            "planted: 64 items of the set are not in the split 'train'",
        ),
    ],
)
def test_other_data_are_refused(change: Callable[[FeatureSet], FeatureSet], message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        mixture_set().realise(change(new()), missing="drop")
    assert len(training_ids(new())) == 64
