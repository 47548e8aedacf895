from __future__ import annotations

import numpy as np
import pytest
import torch
from closed_form_problems import centred, cross_of, generator, off_diagonal, paired, products

from omnidistill.core.errors import InputError
from omnidistill.training.closed_form import accumulate_moments, analytic_heads, apm_factors, apm_rows


def analytic_by_hand(moments, ridge):
    """A_mn = (S_m + ridge mean(eig) I)^-1 C_mn (S_n + ...)^-1, by solving."""
    ridged = {
        name: s.numpy() + ridge * np.trace(s.numpy()) / len(s) * np.eye(len(s))
        for name, s in moments.covariances.items()
    }
    return {
        (m, n): np.linalg.solve(ridged[n], np.linalg.solve(ridged[m], block.numpy()).T).T
        for (m, n), block in moments.cross.items()
    }


def least_squares(rows):
    """X_m^+ (X_n^+)^T of centred rows: the projectors of the least-squares student."""
    inverse = {name: np.linalg.pinv(centred(x), rcond=1e-10) for name, x in rows.items()}
    return {(m, n): inverse[m] @ inverse[n].T for m, n in cross_of(rows)}


def parallel(left, right):
    """1 - cosine of two sets of blocks."""
    inner = sum((left[pair] * right[pair]).sum() for pair in left)
    norms = [np.sqrt(sum((block**2).sum() for block in blocks.values())) for blocks in (left, right)]
    return 1 - inner / (norms[0] * norms[1])


@pytest.mark.parametrize("norm", ["plain", "whitened"])
def test_the_least_squares_optimum_is_the_product_of_pseudo_inverses_is_the_whitened_cross_covariance(norm):
    data = paired(2, rows=60)
    moments = accumulate_moments(data)
    x, y = (centred(rows) for rows in data.features.values())
    best = np.linalg.lstsq(np.kron(x, y), np.eye(60).ravel())[0]  # x A y^T nearest to the identity
    inverses = least_squares(data.features)["red", "green"]
    np.testing.assert_allclose(best.reshape(20, 15), inverses, atol=1e-12)
    full = products(apm_factors(moments, 15, 0.0, norm).blocks)["red", "green"]
    np.testing.assert_allclose(full / (len(data) - 1), inverses, atol=1e-11)


@pytest.mark.parametrize("num_modalities", [2, 3, 4])
def test_plain_factors_are_nearest_to_the_ridged_parameters(num_modalities):
    moments = accumulate_moments(paired(num_modalities, rows=120, group=3))
    wanted = analytic_by_hand(moments, 0.7)
    made = apm_factors(moments, 10, 0.7, "plain")
    assert off_diagonal(wanted, products(made.blocks)) == pytest.approx(made.residual, rel=1e-7, abs=1e-18)
    if num_modalities == 2:
        tail = (np.linalg.svd(wanted["red", "green"], compute_uv=False)[10:] ** 2).sum()
        assert made.residual == pytest.approx(tail, rel=1e-8)


@pytest.mark.parametrize("num_modalities", [2, 3, 4])
def test_whitened_factors_are_nearest_to_the_parameters_in_the_metric_of_the_data(num_modalities):
    moments = accumulate_moments(paired(num_modalities, rows=120, group=3))
    roots = {}
    for name, covariance in moments.covariances.items():
        values, vectors = np.linalg.eigh(covariance.numpy())
        roots[name] = (vectors * np.sqrt(values + 0.7 * values.mean())) @ vectors.T
    made = apm_factors(moments, 5, 0.7, "whitened")

    def outputs(blocks):
        return {(m, n): roots[m] @ block @ roots[n] for (m, n), block in blocks.items()}

    wanted, plain = analytic_by_hand(moments, 0.7), apm_factors(moments, 5, 0.7, "plain")
    missed = off_diagonal(outputs(wanted), outputs(products(made.blocks)))
    assert missed == pytest.approx(made.residual, rel=1e-7)
    assert missed < off_diagonal(outputs(wanted), outputs(products(plain.blocks)))
    assert off_diagonal(wanted, products(made.blocks)) > plain.residual


@pytest.mark.parametrize("rotation", ["random", "eye"])
@pytest.mark.parametrize("num_modalities", [2, 3, 4])
@pytest.mark.parametrize("size", [2, 5, 11])
@pytest.mark.parametrize("norm", ["plain", "whitened"])
def test_the_dual_frame_is_exact_for_the_least_squares_student(norm, num_modalities, size, rotation):
    moments = accumulate_moments(paired(num_modalities, latent=12))
    factors = apm_factors(moments, size - 1, 0.3, norm)
    rows = apm_rows(moments, size, 0.3, rotation, generator(1), norm=norm, dtype=torch.float64)
    assert parallel(least_squares(rows), products(factors.blocks)) < 1e-12
    for name, x in rows.items():
        torch.testing.assert_close(x.mean(0), moments.means[name], rtol=0, atol=1e-10)
    made = sum((block**2).sum() for block in cross_of(rows).values())
    assert made == pytest.approx(sum(float(block.square().sum()) for block in moments.cross.values()), rel=1e-9)


def test_as_many_rows_as_the_rank_recover_the_parameters_whole():
    moments = accumulate_moments(paired(2, latent=15))
    rows = apm_rows(moments, 16, 0.1, "random", generator(), dtype=torch.float64)
    assert parallel(least_squares(rows), analytic_by_hand(moments, 0.1)) < 1e-12


def test_the_set_may_be_one_row_larger_than_the_narrowest_modality_is_wide():
    moments = accumulate_moments(paired(3))
    assert {len(x) for x in apm_rows(moments, 13, 1.0, "eye", generator()).values()} == {13}
    with pytest.raises(InputError, match=r"size of the synthetic set is 14;.*2 and 13"):
        apm_rows(moments, 14, 1.0, "eye", generator())
    with pytest.raises(InputError, match="size of the synthetic set is 1;"):
        apm_rows(moments, 1, 1.0, "eye", generator())


def test_directions_that_the_data_do_not_have_are_left_out():
    moments = accumulate_moments(paired(2, rows=200, group=40))
    rows = apm_rows(moments, 13, 1.0, "random", generator(), dtype=torch.float64)  # 5 groups: 4 directions, not 12
    assert all(np.linalg.matrix_rank(centred(x), tol=1e-6) == 4 for x in rows.values())
    assert parallel(least_squares(rows), analytic_by_hand(moments, 1.0)) < 1e-10


def test_analytic_heads_are_the_factors_with_a_centring_bias():
    moments = accumulate_moments(paired(3))
    heads, biases = analytic_heads(moments, 5, 1.0)
    made = products({name: head.mT for name, head in heads.items()})
    assert off_diagonal(products(apm_factors(moments, 5, 1.0, "plain").blocks), made) < 1e-10
    for name, head in heads.items():
        assert (head.dtype, tuple(head.shape)) == (torch.float32, (5, moments.widths[name]))
        torch.testing.assert_close(biases[name], -(head.double() @ moments.means[name]).float())


@pytest.mark.parametrize("ridge", [-0.1, float("nan"), float("inf")])
def test_a_ridge_that_is_none_is_refused(ridge):
    with pytest.raises(InputError, match="ridge"):
        apm_factors(accumulate_moments(paired(2)), 3, ridge)


def test_a_singular_covariance_needs_a_ridge():
    moments = accumulate_moments(paired(2, rows=16))
    with pytest.raises(InputError, match="modality 'red': the covariance"):
        apm_factors(moments, 3, 0.0)
    assert apm_factors(moments, 3, 1e-3).residual >= 0
    moments.covariances["green"].zero_()
    with pytest.raises(InputError, match=r"'green': all rows are equal"):
        apm_factors(moments, 3, 1.0)
