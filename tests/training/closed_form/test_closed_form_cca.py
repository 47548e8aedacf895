from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from closed_form_problems import centred, generator, labelled, paired

from omnidistill.data.featureset import prepare
from omnidistill.data.planted import planted
from omnidistill.evaluation.directions import mean_recall, rank_heads
from omnidistill.models.heads import random_heads
from omnidistill.training.closed_form import accumulate_moments, analytic_heads, ridge_cca_heads


def root(covariance, ridge, exponent):
    values, vectors = np.linalg.eigh(covariance)
    return (vectors * (values + ridge * values.mean()) ** exponent) @ vectors.T


@pytest.mark.parametrize("ridge", [0.0, 0.5])
def test_two_modalities_have_the_canonical_correlations(ridge):
    data, rank = paired(2), 6
    x, y = (centred(rows) for rows in data.features.values())
    count = len(x) - 1
    left, right = root(x.T @ x / count, ridge, -0.5), root(y.T @ y / count, ridge, -0.5)
    u, s, vh = np.linalg.svd(left @ (x.T @ y / count) @ right)
    heads, _ = ridge_cca_heads(accumulate_moments(data), rank, ridge, dtype=torch.float64)
    bilinear = (heads["red"].mT @ heads["green"]).numpy()
    np.testing.assert_allclose(bilinear, left @ (u[:, :rank] * s[:rank]) @ vh[:rank] @ right, atol=1e-9)
    if ridge == 0:  # the variates are uncorrelated within a modality, and correlated s_k with their counterpart
        a, b = x @ heads["red"].numpy().T, y @ heads["green"].numpy().T
        joint = np.corrcoef(np.hstack([a, b]).T)
        np.testing.assert_allclose(joint[:rank, :rank], np.eye(rank), atol=1e-8)
        np.testing.assert_allclose(joint[:rank, rank:], np.diag(s[:rank]), atol=1e-8)


def test_invertible_maps_of_a_modality_do_not_change_what_canonical_correlation_sees():
    data = paired(3)
    mixing = torch.randn(20, 20, generator=generator(3)) + 4 * torch.eye(20)
    mixed = labelled(data.features | {"red": data.features["red"] @ mixing})
    plain, turned = (ridge_cca_heads(accumulate_moments(given), 5, 0.0)[0] for given in (data, mixed))
    torch.testing.assert_close(mixing @ turned["red"].mT, plain["red"].mT, rtol=0, atol=2e-3)
    torch.testing.assert_close(turned["blue"], plain["blue"], rtol=0, atol=2e-3)


@pytest.mark.parametrize("make", [ridge_cca_heads, analytic_heads])
def test_on_centred_features_heads_need_no_bias(make):
    rounded = prepare(planted({"a": 20, "b": 16, "c": 12}, {"train": 200}, latent=6))
    data = replace(rounded, features={name: x - x.mean(0) for name, x in rounded.features.items()})
    _, biases = make(accumulate_moments(data), 6, 1.0)
    assert {name: tuple(bias.shape) for name, bias in biases.items()} == {"a": (6,), "b": (6,), "c": (6,)}
    assert all(bias.abs().max() < 1e-6 for bias in biases.values())
    uncentred = prepare(planted({"a": 20, "b": 16, "c": 12}, {"train": 200}, latent=6), centre=False)
    heads, biases = make(accumulate_moments(uncentred), 6, 1.0)
    for name, x in uncentred.features.items():
        torch.testing.assert_close((x @ heads[name].mT + biases[name]).mean(0), torch.zeros(6), rtol=0, atol=1e-5)
        assert biases[name].abs().max() > 1e-3


@pytest.mark.parametrize("num_modalities", [2, 3, 4])
@pytest.mark.parametrize("make", [ridge_cca_heads, analytic_heads])
def test_planted_structure_is_retrieved_by_all_and_noise_by_none(make, num_modalities):
    widths = dict(zip("abcd"[:num_modalities], (40, 30, 24, 20)[:num_modalities], strict=True))

    def recall(shuffle, heads=None):
        data = prepare(planted(widths, {"train": 400, "test": 100}, latent=8, shuffle_pairs=shuffle))
        heads = heads or make(accumulate_moments(data.split("train")), 8, 0.3)[0]
        test = data.split("test")
        return mean_recall(rank_heads(heads, test))[10]

    assert recall(False) > 0.8
    assert recall(True) < 0.2
    assert recall(False, random_heads(widths, 8, generator())) < 0.3
