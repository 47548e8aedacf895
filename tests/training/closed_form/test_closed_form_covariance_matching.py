from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from closed_form_problems import cross_of, generator, labelled, minimise, off_diagonal, paired, products

from omnidistill.core.errors import InputError
from omnidistill.models.heads import random_heads
from omnidistill.training.closed_form import (
    accumulate_moments,
    covmatch_factors,
    covmatch_rows,
    error_weighted_cross,
    factor,
)


def matching_loss(moments, size, rho, factors=None):
    """The loss of the rows of `covmatch_rows`."""
    return rho**2 * (factors or covmatch_factors(moments, size)).residual


def linear_heads(moments, rank, rho, dtype=torch.float32):
    """The heads that minimise the linear loss: the factors of the cross-covariances, scaled."""
    return {name: (block.mT / rho**0.5).to(dtype) for name, block in factor(moments.cross, rank).blocks.items()}


def linear_loss(heads, cross, rho):
    return sum(
        -torch.trace(heads[m] @ block @ heads[n].mT) + rho / 2 * (heads[m].mT @ heads[n]).square().sum()
        for (m, n), block in cross.items()
    )


def trained(cross, widths, rank, rho, seed=0):
    """Heads that L-BFGS finds for the linear loss."""
    draw = generator(seed)
    heads = {
        name: torch.randn(rank, p, dtype=torch.float64, generator=draw).requires_grad_() for name, p in widths.items()
    }
    loss = minimise(lambda: linear_loss(heads, cross, rho), list(heads.values()), 1000)
    return {name: matrix.detach() for name, matrix in heads.items()}, loss


@pytest.mark.parametrize("rank", [6, 30])
def test_two_modalities_have_the_truncated_cross_covariance_as_linear_optimum(rank):
    moments, rho = accumulate_moments(paired(2)), 1.7
    heads, loss = trained(moments.cross, moments.widths, rank, rho)
    made = linear_heads(moments, rank, rho, dtype=torch.float64)
    u, s, vh = torch.linalg.svd(moments.cross["red", "green"], full_matrices=False)
    best = (u[:, :rank] * s[:rank]) @ vh[:rank] / rho
    torch.testing.assert_close(made["red"].mT @ made["green"], best, rtol=0, atol=1e-9)
    torch.testing.assert_close(heads["red"].mT @ heads["green"], best, rtol=0, atol=2e-4)
    assert loss == pytest.approx(float(linear_loss(made, moments.cross, rho)), rel=1e-8)


@pytest.mark.parametrize("num_modalities", [3, 4])
def test_more_modalities_have_the_factors_as_linear_optimum(num_modalities):
    moments, rho = accumulate_moments(paired(num_modalities)), 0.8
    made = linear_heads(moments, 6, rho, dtype=torch.float64)
    best = min(trained(moments.cross, moments.widths, 6, rho, seed)[1] for seed in range(2))
    assert float(linear_loss(made, moments.cross, rho)) == pytest.approx(best, rel=1e-4)


@pytest.mark.parametrize("size", [2, 5, 9, 21])
def test_two_modalities_leave_the_tail_of_the_singular_values(size):
    data, rho = paired(2), 2.0
    moments = accumulate_moments(data)
    rows = covmatch_rows(moments, size, rho, "random", generator(), dtype=torch.float64)
    wanted = {pair: rho * block for pair, block in cross_of(data.features).items()}
    tail = rho**2 * float((torch.linalg.svdvals(moments.cross["red", "green"])[size - 1 :] ** 2).sum())
    assert off_diagonal(wanted, cross_of(rows)) == pytest.approx(tail, rel=1e-8, abs=1e-20)
    assert matching_loss(moments, size, rho) == pytest.approx(tail, rel=1e-8, abs=1e-20)
    for name, x in rows.items():
        torch.testing.assert_close(x.mean(0), moments.means[name], rtol=0, atol=1e-12)


@pytest.mark.parametrize("rotation", ["random", "eye"])
@pytest.mark.parametrize("size", [5, 9])
def test_no_set_of_as_many_rows_matches_three_modalities_better(size, rotation):
    moments, rho = accumulate_moments(paired(3)), 1.0
    factors = factor(moments.cross, size - 1, tolerance=1e-9, max_sweeps=1000)
    made = covmatch_rows(moments, size, rho, rotation, generator(), factors=factors, dtype=torch.float64)
    floor = matching_loss(moments, size, rho, factors=factors)
    assert off_diagonal(moments.cross, cross_of(made)) == pytest.approx(floor, rel=1e-8)

    def matching(rows):
        deviations = {name: x - x.mean(0) for name, x in rows.items()}
        return sum(
            (rho * block - deviations[m].mT @ deviations[n] / (size - 1)).square().sum()
            for (m, n), block in moments.cross.items()
        )

    draw, ends = generator(7), []
    for _ in range(3):
        rows = {
            name: torch.randn(size, p, dtype=torch.float64, generator=draw).requires_grad_()
            for name, p in moments.widths.items()
        }
        ends.append(minimise(lambda rows=rows: matching(rows), list(rows.values())))
    assert floor == pytest.approx(min(ends), rel=1e-4)
    assert floor <= matching_loss(moments, size, rho) <= floor * 1.01


@pytest.mark.parametrize("num_modalities", [2, 3, 4])
def test_one_row_more_than_outputs_reproduces_the_linear_heads(num_modalities):
    moments, rank = accumulate_moments(paired(num_modalities)), 6
    rows = covmatch_rows(moments, rank + 1, 1.0, "random", generator())
    again = accumulate_moments(labelled(rows), "rows")
    data, few = linear_heads(moments, rank, 1.0), linear_heads(again, rank, 1.0)
    bilinear = products({name: head.mT for name, head in data.items()})
    size = sum(float((block**2).sum()) for block in bilinear.values())
    assert off_diagonal(bilinear, products({name: head.mT for name, head in few.items()})) < 1e-4 * size
    losses = [float(linear_loss({m: w.double() for m, w in h.items()}, moments.cross, 1.0)) for h in (data, few)]
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)


def test_a_larger_set_leaves_less_and_rho_only_scales():
    moments = accumulate_moments(paired(3))
    floors = [matching_loss(moments, size, 1.0) for size in (2, 4, 8, 16, 32)]
    assert floors == sorted(floors, reverse=True)
    assert floors[-1] < 1e-4 * floors[0]
    assert matching_loss(moments, 5, 3.0) == pytest.approx(9 * matching_loss(moments, 5, 1.0))
    factors = covmatch_factors(moments, 5)
    one, four = (covmatch_rows(moments, 5, rho, "eye", generator(), factors=factors) for rho in (1.0, 4.0))
    for name, mean in moments.means.items():
        torch.testing.assert_close(four[name] - mean, 2 * (one[name] - mean), rtol=1e-4, atol=1e-5, check_dtype=False)


def test_error_weighted_blocks_are_factored_like_any_other():
    data = paired(3, rows=80, group=2)
    weighted = error_weighted_cross(data, [random_heads(data.widths, 8, generator())], tau=0.5)
    moments = replace(accumulate_moments(data), cross=weighted)
    rows = covmatch_rows(moments, 9, 1.0, "eye", generator(), dtype=torch.float64)
    assert off_diagonal(weighted, cross_of(rows)) == pytest.approx(matching_loss(moments, 9, 1.0), rel=1e-6)


@pytest.mark.parametrize("bad", [{"size": 1}, {"rho": 0.0}, {"rho": float("nan")}])
def test_bad_settings_are_refused_in_one_line(bad):
    moments = accumulate_moments(paired(2))
    settings = {"size": 5, "rho": 1.0} | bad
    with pytest.raises(InputError, match=next(iter(bad))) as caught:
        covmatch_rows(moments, settings["size"], settings["rho"], "eye", generator())
    assert "\n" not in str(caught.value)


def test_the_loss_is_not_below_what_the_rank_of_each_pair_allows():
    """Eckart-Young for every pair alone: equality for two modalities, a lower bound for three."""
    for num_modalities in (2, 3):
        moments = accumulate_moments(paired(num_modalities))
        for size in (2, 4, 8):
            bound = sum(float(torch.linalg.svdvals(each)[size - 1 :].square().sum()) for each in moments.cross.values())
            loss = matching_loss(moments, size, 1.0)
            assert loss >= bound * (1 - 1e-9)
            if num_modalities == 2:
                assert loss == pytest.approx(bound, rel=1e-8, abs=1e-20)


def test_rows_train_as_features():
    moments = accumulate_moments(paired(3))
    rows = covmatch_rows(moments, 30, 1.0, "random", generator())
    made = labelled(rows)
    assert made.widths == moments.widths
    assert all(np.isfinite(x.numpy()).all() for x in made.features.values())
