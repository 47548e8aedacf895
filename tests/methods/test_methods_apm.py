"""The method "apm": least squares on its rows gives the projectors of the data."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from method_problems import (
    Array,
    centred,
    cross_of,
    cross_of_groups,
    least_residual,
    off_centre,
    task_of,
    tiny,
    truncated,
    without_experts,
)
from omnidistill.data.featureset import FeatureSet
from omnidistill.distillation import DistilledSet
from small_runs import features

SIZE, RIDGE = 6, 0.4


def data(num_modalities: int) -> FeatureSet:
    return off_centre(features(num_modalities, positives_per_group=4))


def made(folder: Path, whole: FeatureSet, *settings: str) -> DistilledSet:
    more = (f"distill.size={SIZE}", f"distill.ridges=[{RIDGE}]", "distill.max_steps=8", *settings)
    config = tiny("apm", *more)
    return config.distill.run(without_experts(task_of(folder, config, whole))).distilled


def ridged(train: FeatureSet, exponent: float) -> dict[str, Array]:
    """(S_m + ridge mean(eigenvalues) I)^exponent."""
    powers = {}
    for name, x in train.features.items():
        values, vectors = np.linalg.eigh(centred(x).T @ centred(x) / (len(train) - 1))
        powers[name] = (vectors * (values + RIDGE * values.mean()) ** exponent) @ vectors.T
    return powers


def least_squares(left: Array, right: Array) -> Array:
    """A of least norm with left A right^T nearest to the identity, by one solve over all its entries."""
    entries = np.linalg.lstsq(np.kron(left, right), np.eye(len(left)).ravel(), rcond=1e-6)[0]
    matrix: Array = entries.reshape(left.shape[1], right.shape[1])
    return matrix


def cosine(one: Array, other: Array) -> float:
    return float((one * other).sum() / np.sqrt((one**2).sum() * (other**2).sum()))


@pytest.mark.parametrize("rotation", ["random", "eye"])
@pytest.mark.parametrize("pairing", ["groups", "rows"])
@pytest.mark.parametrize("norm", ["plain", "whitened"])
def test_least_squares_on_the_rows_finds_the_projectors_of_the_data(
    norm: str, pairing: str, rotation: str, tmp_path: Path
) -> None:
    """A = S_a(eps)^-1 C S_b(eps)^-1, cut to N - 1 factors: its own ("plain"), or those of the whitened C."""
    whole = data(2)
    settings = (f"distill.norm={norm}", f"distill.pairing={pairing}", f"distill.rotation={rotation}")
    rows, train = made(tmp_path, whole, *settings).rows(), whole.split("train")
    cross = {"groups": cross_of_groups(train), "rows": cross_of(train.features)}[pairing]["a", "b"]
    inverse, root = ridged(train, -1), ridged(train, -0.5)
    wanted = {
        "plain": truncated(inverse["a"] @ cross @ inverse["b"], SIZE - 1),
        "whitened": root["a"] @ truncated(root["a"] @ cross @ root["b"], SIZE - 1) @ root["b"],
    }
    found = least_squares(centred(rows["a"]), centred(rows["b"]))
    assert 1 - cosine(found, wanted[norm]) < 1e-6
    assert cosine(wanted["plain"], wanted["whitened"]) < 0.999
    assert (cross_of(rows)["a", "b"] ** 2).sum() == pytest.approx((cross**2).sum(), rel=1e-4)
    for name, x in rows.items():
        np.testing.assert_allclose(x.double().mean(0), train.features[name].double().mean(0), atol=1e-5)


@pytest.mark.parametrize("num_modalities", [3, 4])
def test_more_modalities_are_matched_as_well_as_rows_can(num_modalities: int, tmp_path: Path) -> None:
    """Up to one scale for all pairs, that which fits best; against searches from other starts, and tails."""
    whole = data(num_modalities)
    rows, train = made(tmp_path, whole, "distill.norm=plain").rows(), whole.split("train")
    inverse = ridged(train, -1)
    wanted = {(m, n): inverse[m] @ block @ inverse[n] for (m, n), block in cross_of_groups(train).items()}
    found = {(m, n): least_squares(centred(rows[m]), centred(rows[n])) for m, n in combinations(rows, 2)}
    inner = sum(float((wanted[pair] * found[pair]).sum()) for pair in wanted)
    scale = inner / sum(float((block**2).sum()) for block in found.values())
    missed = sum(float(((wanted[pair] - scale * found[pair]) ** 2).sum()) for pair in wanted)
    assert missed <= 1.01 * least_residual(wanted, SIZE - 1)
    assert missed >= sum(float(((block - truncated(block, SIZE - 1)) ** 2).sum()) for block in wanted.values())
