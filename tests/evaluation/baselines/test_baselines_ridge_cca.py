"""Ridge CCA heads, compared with canonical correlations in numpy: heads, bias, and what validation chooses."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from method_problems import Array, centred, cross_of, cross_of_groups, off_centre, score_by_hand
from omnidistill.data.featureset import Development, FeatureSet
from omnidistill.evaluation.baselines import Setting
from omnidistill.evaluation.baselines.ridge_cca import RidgeCca
from omnidistill.evaluation.protocol import EvaluateConfig
from omnidistill.evaluation.trained_heads import TrainedHeads
from omnidistill.io.artifacts import save_artifact
from omnidistill.models.heads import Heads
from small_runs import ROWS, features, shipped, small_heads

WIDTH = 6


def fitted(start: Heads, data: Development) -> TrainedHeads:
    return RidgeCca().fit(Setting(data, start, EvaluateConfig(), 0))


def planted(seed: int) -> FeatureSet:
    """Two modalities, groups of four, means that are not 0."""
    return off_centre(features(2, {**ROWS, "validation": 24}, 4, seed=seed))


@pytest.fixture(scope="module")
def data() -> FeatureSet:
    return planted(0)


def canonical(train: FeatureSet, pairing: str, ridge: float, rank: int) -> tuple[dict[str, Array], dict[str, Array]]:
    """Heads (U sqrt(s))^T S^-1/2 of the whitened cross-covariance U s V^T, and their biases -W mu."""
    roots = {}
    for name, x in train.features.items():
        values, vectors = np.linalg.eigh(centred(x).T @ centred(x) / (len(train) - 1))
        roots[name] = (vectors * (values + ridge * values.mean()) ** -0.5) @ vectors.T
    cross = {"groups": cross_of_groups(train), "rows": cross_of(train.features)}[pairing]["a", "b"]
    u, s, vh = np.linalg.svd(roots["a"] @ cross @ roots["b"])
    factors = {"a": u[:, :rank] * np.sqrt(s[:rank]), "b": vh[:rank].T * np.sqrt(s[:rank])}
    heads = {name: factors[name].T @ roots[name] for name in roots}
    means = {name: x.double().numpy().mean(0) for name, x in train.features.items()}
    return heads, {name: -heads[name] @ means[name] for name in heads}


def as_heads(matrices: dict[str, Array]) -> Heads:
    return {name: torch.from_numpy(matrix) for name, matrix in matrices.items()}


@pytest.mark.parametrize(("seed", "best"), [(4, ("groups", 0.3)), (5, ("rows", 1.0))])
def test_heads_are_the_canonical_ones_of_the_ridge_and_pairing_that_validate_best(
    seed: int, best: tuple[str, float]
) -> None:
    """All ten choices are tried again here; W_a^T W_b and W_a^T b_b do not depend on the signs of the directions."""
    data = planted(seed)
    result, development = fitted(small_heads(data, WIDTH), data.development()), data.development()
    scores = {}
    for pairing in ("groups", "rows"):
        for ridge in RidgeCca().ridges:
            heads, bias = canonical(development.train, pairing, ridge, WIDTH)
            scores[pairing, ridge] = score_by_hand(as_heads(heads), development.validation, bias)
    chosen = result.settings["pairing"], result.settings["ridge"]
    assert result.num_evaluated == len(scores) == 10
    assert chosen == best == max(scores, key=lambda choice: scores[choice])
    assert sorted(scores.values())[-2] < scores[chosen] - 1e-3
    heads, bias = canonical(development.train, *chosen, WIDTH)
    assert result.num_runs == 1
    assert result.bias is not None
    found = {name: matrix[0].double().numpy() for name, matrix in result.heads.items()}
    for one, other in (("a", "b"), ("b", "a")):
        np.testing.assert_allclose(found[one].T @ found[other], heads[one].T @ heads[other], atol=1e-4)
        shift = found[one].T @ result.bias[other].double().numpy()
        np.testing.assert_allclose(shift, heads[one].T @ bias[other], atol=1e-4)
        assert np.abs(shift).max() > 0.1


def test_bytes_and_width(data: FeatureSet, tmp_path: Path) -> None:
    """Files with a head and its bias of every modality, as wide as the start or as the narrowest features; the biases
    include the means.
    """
    for width, rank in ((6, 6), (20, 12)):
        result = fitted(small_heads(data, width), data.development())
        assert result.settings["rank"] == rank
        assert {tuple(matrix.shape[:2]) for matrix in result.heads.values()} == {(1, rank)}
        tensors = {f"head/{name}": matrix[0] for name, matrix in result.heads.items()}
        tensors |= {f"bias/{name}": bias for name, bias in (result.bias or {}).items()}
        assert sum(x.nbytes for x in tensors.values()) == 4 * rank * (1 + 12 + 1 + 14)
        steps = replace(data.preprocessing, means={}).to_meta()
        save_artifact(tmp_path / f"{rank}", "heads", tensors, {"preprocessing": steps}, padding=0)
        assert result.bytes == shipped(tmp_path / f"{rank}")


def test_data_with_a_pairing_are_paired_by_rows(data: FeatureSet) -> None:
    development = data.development()
    train = replace(development.train, pairing=torch.eye(len(development.train)))
    result = fitted(small_heads(data, WIDTH), replace(development, train=train))
    assert result.settings["pairing"] == "rows"
    assert result.num_evaluated == 5
