from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
import torch
from closed_form_problems import WIDTHS, centred, cross_of, generator, labelled, paired
from hypothesis import given, settings
from hypothesis import strategies as st

from omnidistill.core.errors import InputError
from omnidistill.models.heads import random_heads
from omnidistill.models.objectives import InfoNCE
from omnidistill.training.closed_form import accumulate_moments, error_weighted_cross


@contextmanager
def chunks_of(num_rows: int) -> Iterator[None]:
    """Compute moments and C(gamma) in chunks of this many rows."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("_MOMENT_ROWS", "_ERROR_ROWS"):
            patch.setattr(f"omnidistill.training.closed_form.moments.{name}", num_rows)
        yield


@pytest.mark.parametrize("num_modalities", [2, 3, 4])
def test_row_moments_are_those_of_numpy(num_modalities):
    data = paired(num_modalities, rows=90, group=4)
    with chunks_of(32):
        moments = accumulate_moments(data, "rows")
    for name, x in data.features.items():
        np.testing.assert_allclose(moments.means[name], x.double().mean(0), atol=1e-13)
        np.testing.assert_allclose(moments.covariances[name], np.cov(x.double().numpy().T), atol=1e-11)
    for pair, block in cross_of(data.features).items():
        np.testing.assert_allclose(moments.cross[pair], block, atol=1e-11)
    assert list(moments.cross) == list(cross_of(data.features))
    assert moments.widths == data.widths


@pytest.mark.parametrize("chunk_rows", [1, 7, 1000])
def test_group_pairing_is_the_covariance_of_group_means_weighted_by_group_size(chunk_rows):
    data = paired(3, rows=83, group=4)
    with chunks_of(chunk_rows):
        moments = accumulate_moments(data, "groups")
    for (m, n), block in moments.cross.items():
        left, right = centred(data.features[m]), centred(data.features[n])
        wanted = np.zeros_like(block)
        for group in set(data.groups):
            rows = [row for row, name in enumerate(data.groups) if name == group]
            wanted += len(rows) * np.outer(left[rows].mean(0), right[rows].mean(0)) / (len(data) - 1)
        np.testing.assert_allclose(block, wanted, atol=1e-11)
    by_row = accumulate_moments(data, "rows")
    for name, covariance in moments.covariances.items():
        np.testing.assert_allclose(covariance, by_row.covariances[name], atol=1e-11)


@settings(deadline=None, max_examples=25)
@given(st.integers(2, 40), st.integers(1, 41), st.integers(1, 12), st.sampled_from(["rows", "groups"]), st.randoms())
def test_neither_chunks_nor_the_order_of_rows_change_the_moments(rows, chunk_rows, group, pairing, random):
    data = paired(2, rows, group)
    order = list(range(rows))
    random.shuffle(order)
    with chunks_of(rows):
        whole = accumulate_moments(data, pairing)
    with chunks_of(chunk_rows):
        parts = accumulate_moments(data.select(order), pairing)
    for left, right in zip(
        (whole.means, whole.covariances, whole.cross), (parts.means, parts.covariances, parts.cross), strict=True
    ):
        for key, value in left.items():
            torch.testing.assert_close(right[key], value, rtol=0, atol=1e-11)


def test_groups_of_one_row_are_rows():
    data = paired(3, rows=40)
    by_row, by_group = accumulate_moments(data, "rows"), accumulate_moments(data, "groups")
    for pair, block in by_row.cross.items():
        torch.testing.assert_close(by_group.cross[pair], block, rtol=0, atol=1e-12)


def test_a_mean_far_from_zero_costs_no_digits():
    data = paired(2, rows=60)
    far = labelled({name: (1e6 + x.double()).float() for name, x in data.features.items()})
    moments = accumulate_moments(far, "rows")
    for name, x in far.features.items():
        np.testing.assert_allclose(moments.covariances[name], np.cov(x.double().numpy().T), rtol=1e-9, atol=1e-9)


def test_head_bias_makes_outputs_centred():
    data = paired(2, rows=60)
    moments = accumulate_moments(data)
    heads = random_heads(data.widths, 5, generator())
    for name, bias in moments.head_bias(heads).items():
        mean = (data.features[name] @ heads[name].mT + bias).mean(0)
        torch.testing.assert_close(mean, torch.zeros(5), rtol=0, atol=1e-5)


def weighted_by_hand(data, heads, tau):
    """C(gamma) with loops over rows, in numpy."""
    count = len(data)
    targets = np.array([[float(a == b) for b in data.groups] for a in data.groups])
    targets /= targets.sum(1, keepdims=True)
    z = {}
    for name, x in data.features.items():
        y = x.double().numpy() @ heads[name].double().numpy().T
        z[name] = y / np.linalg.norm(y, axis=1, keepdims=True)
    made = {}
    for m, n in cross_of(data.features):
        weights = np.exp(z[m] @ z[n].T / tau)
        errors = 2 * targets - weights / weights.sum(1, keepdims=True) - weights / weights.sum(0, keepdims=True)
        left, right = data.features[m].double().numpy(), data.features[n].double().numpy()
        made[m, n] = sum(errors[i, j] * np.outer(left[i], right[j]) for i in range(count) for j in range(count))
        made[m, n] /= 2 * count
    return made


@pytest.mark.parametrize("chunk_rows", [1, 9, 100])
def test_error_weights_are_those_of_infonce_averaged_over_snapshots(chunk_rows):
    data = paired(3, rows=30, group=4)
    snapshots = [random_heads(data.widths, 6, generator(seed)) for seed in range(2)]
    with chunks_of(chunk_rows):
        made = error_weighted_cross(data, snapshots, tau=0.3)
    by_hand = [weighted_by_hand(data, heads, 0.3) for heads in snapshots]
    for pair, block in made.items():
        np.testing.assert_allclose(block, (by_hand[0][pair] + by_hand[1][pair]) / 2, atol=2e-5)
    assert list(made) == list(accumulate_moments(data).cross)


def test_error_weights_are_the_slope_of_infonce_where_embeddings_have_length_one():
    """C(gamma) / tau is minus the derivative of InfoNCE with logits x_a^T G x_b / tau by G = W_a^T W_b."""
    tau, draw = 0.2, generator(1)
    features = {name: torch.nn.functional.normalize(torch.randn(12, 6, generator=draw)) for name in ("a", "b")}
    data = labelled(features, [str(row // 3) for row in range(12)])
    heads = {name: torch.linalg.qr(torch.randn(6, 6, generator=draw)).Q for name in features}
    bilinear = (heads["a"].mT @ heads["b"]).double().requires_grad_()
    targets = torch.tensor([[float(a == b) / 3 for b in data.groups] for a in data.groups], dtype=torch.float64)
    logits = features["a"].double() @ bilinear @ features["b"].double().mT / tau
    loss = (
        torch.nn.functional.cross_entropy(logits, targets) + torch.nn.functional.cross_entropy(logits.mT, targets)
    ) / 2
    loss.backward()
    weighted = error_weighted_cross(data, [heads], tau)["a", "b"]
    torch.testing.assert_close(weighted, -tau * bilinear.grad, rtol=0, atol=1e-6)


def test_infonce_at_high_temperature_sees_cross_covariances_alone():
    """tau (InfoNCE - log n) tends to -(n - 1)/n sum of the traces of the cross-covariances of the embeddings."""
    data = paired(3, rows=50)
    same = {name: torch.nn.functional.normalize(x[:, :10]) for name, x in data.features.items()}
    moments = accumulate_moments(labelled(same), "rows")
    limit = -sum(float(block.trace()) for block in moments.cross.values()) * 49 / 50
    outputs = torch.stack(list(same.values())).double()
    tau = 1e4
    loss = float(InfoNCE(tau=tau).value(outputs, torch.eye(50, dtype=torch.float64)))
    assert tau * (loss - 3 * np.log(50)) == pytest.approx(limit, abs=1e-3)


def test_what_has_no_moments_is_refused():
    data = paired(2, rows=10)
    with pytest.raises(InputError, match="at least two"):
        accumulate_moments(data.select([0]))
    with pytest.raises(InputError, match="at least one snapshot"):
        error_weighted_cross(data, [])
    matrix = replace(data, pairing=torch.eye(10))
    with pytest.raises(InputError, match=r"matrix, but with pairing='groups' .*; use distill\.pairing=rows, or data"):
        accumulate_moments(matrix)
    with pytest.raises(InputError, match=r"use distill\.weights=uniform with distill\.pairing=rows, or data"):
        error_weighted_cross(matrix, [random_heads(WIDTHS, 4, generator())])
    assert accumulate_moments(matrix, "rows").widths == data.widths
