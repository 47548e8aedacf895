"""The method "covmatch": the moments of its rows, compared with numpy in float64."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from method_problems import (
    Array,
    cross_of,
    cross_of_groups,
    least_residual,
    off_centre,
    task_of,
    tiny,
    truncated,
    without_experts,
)
from omnidistill.core.errors import InputError
from omnidistill.data.featureset import FeatureSet
from omnidistill.models.heads import Heads
from small_runs import features

SIZE = 6


def data(num_modalities: int) -> FeatureSet:
    return off_centre(features(num_modalities, positives_per_group=4))


def close(found: Array, wanted: Array) -> None:
    """To float32 of rows that are larger than their moments."""
    np.testing.assert_allclose(found, wanted, atol=3e-5 * np.abs(wanted).max())


@pytest.mark.parametrize("rotation", ["random", "eye"])
@pytest.mark.parametrize(("pairing", "rho"), [("groups", 1.0), ("rows", 2.5)])
def test_rows_have_the_nearest_cross_covariance_and_the_means_of_the_data(
    pairing: str, rho: float, rotation: str, tmp_path: Path
) -> None:
    """rho C cut to its N - 1 largest singular values, the mean of every column."""
    whole = data(2)
    settings = (f"distill.pairing={pairing}", f"distill.rho={rho}", f"distill.rotation={rotation}")
    config = tiny("covmatch", f"distill.size={SIZE}", *settings)
    made, train = config.distill.run(without_experts(task_of(tmp_path, config, whole))).distilled, whole.split("train")
    rows = made.rows()
    crosses = {"groups": cross_of_groups(train), "rows": cross_of(train.features)}
    assert not np.allclose(crosses["groups"]["a", "b"], crosses["rows"]["a", "b"], atol=1e-2)
    close(cross_of(rows)["a", "b"], truncated(rho * crosses[pairing]["a", "b"], SIZE - 1))
    for name, x in rows.items():
        mean = train.features[name].double().numpy().mean(0)
        np.testing.assert_allclose(x.double().numpy().mean(0), mean, atol=1e-5)
        assert np.abs(mean).max() > 0.5
    assert made.provenance.experts is None


@pytest.mark.parametrize("num_modalities", [3, 4])
def test_more_modalities_are_matched_as_well_as_rows_can(num_modalities: int, tmp_path: Path) -> None:
    """No worse than the best of several searches from other starts; pair by pair no better than its tail."""
    whole = data(num_modalities)
    config = tiny("covmatch", f"distill.size={SIZE}", "distill.rho=2.0")
    made = cross_of(config.distill.run(task_of(tmp_path, config, whole)).distilled.rows())
    wanted = {pair: 2 * block for pair, block in cross_of_groups(whole.split("train")).items()}
    missed = sum(float(((made[pair] - wanted[pair]) ** 2).sum()) for pair in wanted)
    assert missed <= 1.01 * least_residual(wanted, SIZE - 1)
    assert missed >= sum(float(((block - truncated(block, SIZE - 1)) ** 2).sum()) for block in wanted.values())


def error_weighted(train: FeatureSet, snapshots: Sequence[Heads], tau: float = 0.07) -> Array:
    """C(gamma) of the first two modalities: X_a^T [2 T - rowsoftmax - columnsoftmax] X_b / (2 n), mean over heads."""
    same = np.array([[float(one == other) for other in train.groups] for one in train.groups])
    targets = same / same.sum(1, keepdims=True)
    x, y = (train.features[name].double().numpy() for name in ("a", "b"))
    total = np.zeros((x.shape[1], y.shape[1]))
    for heads in snapshots:
        left, right = x @ heads["a"].double().numpy().T, y @ heads["b"].double().numpy().T
        left, right = (z / np.linalg.norm(z, axis=1, keepdims=True) for z in (left, right))
        weights = np.exp(left @ right.T / tau)
        errors = 2 * targets - weights / weights.sum(1, keepdims=True) - weights / weights.sum(0, keepdims=True)
        total += x.T @ errors @ y / (2 * len(train))
    mean: Array = total / len(snapshots)
    return mean


@pytest.mark.parametrize(("num_epochs", "used"), [(3, (0, 2)), (5, (0, 2, 5))])
def test_pairs_are_weighted_by_the_errors_of_the_first_expert(
    num_epochs: int, used: tuple[int, ...], tmp_path: Path
) -> None:
    """At its start and after epochs 2 and 5, if it has them; the provenance records which experts were used."""
    whole = data(2)
    settings = ("experts.num_experts=2", f"experts.num_epochs={num_epochs}", f"distill.size={SIZE}", "distill.rho=1.5")
    config = tiny("covmatch-errors", *settings)
    task = task_of(tmp_path, config, whole)
    made, train, buffer = config.distill.run(task).distilled, whole.split("train"), task.experts()
    wanted = error_weighted(train, [buffer.heads(0, epoch) for epoch in used])
    found = cross_of(made.rows())["a", "b"]
    np.testing.assert_allclose(found, truncated(1.5 * wanted, SIZE - 1), atol=2e-4 * np.abs(wanted).max())
    other_expert = error_weighted(train, [buffer.heads(1, epoch) for epoch in used])
    for other in (other_expert, cross_of_groups(train)["a", "b"], error_weighted(train, [buffer.heads(0, 0)])):
        assert np.abs(other - wanted).max() > 1e-2 * np.abs(wanted).max()
    assert made.provenance.experts is not None
    assert made.provenance.experts["config"] == config.experts.model_dump(mode="json")


@pytest.mark.parametrize("settings", [(), ("distill.weights=uniform",), ("distill.pairing=rows",)])
def test_the_error_about_a_pairing_matrix_names_settings_that_work(settings: tuple[str, ...], tmp_path: Path) -> None:
    whole = data(2)
    whole = replace(whole, pairing=torch.eye(len(whole)))
    remedy = ("distill.pairing=rows",)
    if "distill.weights=uniform" not in settings:
        remedy = ("distill.weights=uniform", *remedy)
    few = ("experts.num_experts=1", "experts.num_epochs=2", f"distill.size={SIZE}")
    config = tiny("covmatch-errors", *few, *settings)
    with pytest.raises(InputError, match=f"have a pairing matrix, .*; use {' with '.join(remedy)}, or data"):
        config.distill.run(task_of(tmp_path, config, whole))
    changed = tiny("covmatch-errors", *few, *settings, *remedy)
    assert changed.distill.run(task_of(tmp_path, changed, whole)).distilled.size == SIZE
