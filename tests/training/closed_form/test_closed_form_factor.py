from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
import torch
from closed_form_problems import cross_of, generator, minimise, off_diagonal, paired, products
from hypothesis import given, settings
from hypothesis import strategies as st

from omnidistill.core.errors import InputError
from omnidistill.training.closed_form import factor


def blocks_of(num_modalities, **options):
    data = paired(num_modalities, **options)
    return {pair: torch.from_numpy(block) for pair, block in cross_of(data.features).items()}


def majorised(cross, rank, steps):
    """The textbook iteration: k leading eigenvectors of the whole, the diagonal blocks refilled by those of B B^T."""
    names = list(dict.fromkeys(name for pair in cross for name in pair))
    widths = {name: block.shape[axis] for pair, block in cross.items() for axis, name in enumerate(pair)}
    edges = np.cumsum([0, *(widths[name] for name in names)])
    at = {name: slice(edges[i], edges[i + 1]) for i, name in enumerate(names)}
    whole = np.zeros((edges[-1], edges[-1]))
    for (m, n), block in cross.items():
        whole[at[m], at[n]], whole[at[n], at[m]] = block, block.T
    losses = []
    for _ in range(steps):
        values, vectors = np.linalg.eigh(whole)
        stacked = vectors[:, -rank:] * np.sqrt(np.maximum(values[-rank:], 0))
        losses.append(
            sum(((block.numpy() - stacked[at[m]] @ stacked[at[n]].T) ** 2).sum() for (m, n), block in cross.items())
        )
        for place in at.values():
            whole[place, place] = stacked[place] @ stacked[place].T
    return losses


@pytest.mark.parametrize("rank", [1, 4, 8, 14, 15, 20, 40])
def test_two_modalities_are_one_singular_value_decomposition(rank):
    cross = blocks_of(2)
    made = factor(cross, rank)
    u, s, vh = np.linalg.svd(cross["red", "green"].numpy())
    best = (u[:, :rank] * s[:rank]) @ vh[: min(rank, 15)] if rank <= 15 else cross["red", "green"].numpy()
    np.testing.assert_allclose(products(made.blocks)["red", "green"], best, atol=1e-10)
    for residual in (made.residuals[0], made.residual):
        assert residual == pytest.approx((s[rank:] ** 2).sum(), rel=1e-10, abs=1e-20)
    assert {name: tuple(block.shape) for name, block in made.blocks.items()} == {"red": (20, rank), "green": (15, rank)}


@pytest.mark.parametrize("num_modalities", [2, 3, 4])
@pytest.mark.parametrize("rank", [1, 4, 8, 11])
def test_the_residual_is_that_of_the_blocks_never_rises_and_reaches_that_of_the_majorised_iteration(
    num_modalities, rank
):
    cross = blocks_of(num_modalities)
    made = factor(cross, rank, tolerance=1e-6)
    assert made.residual == pytest.approx(off_diagonal(cross, products(made.blocks)), rel=1e-8, abs=1e-18)
    assert all(later < earlier for earlier, later in zip(made.residuals, made.residuals[1:], strict=False))
    slow = majorised(cross, rank, 200)
    total = sum(float(block.square().sum()) for block in cross.values())
    assert made.residual <= slow[-1] + 1e-6 * total


@pytest.mark.parametrize("rank", [2, 4, 8])
def test_no_other_start_ends_lower(rank):
    cross = blocks_of(3)
    made = factor(cross, rank, tolerance=1e-12, max_sweeps=2000)
    draw = generator(1)
    ends = []
    for _ in range(3):
        free = {
            name: torch.randn(len(block), rank, dtype=torch.float64, generator=draw).requires_grad_()
            for name, block in made.blocks.items()
        }
        ends.append(
            minimise(
                lambda free=free: sum((block - free[m] @ free[n].mT).square().sum() for (m, n), block in cross.items()),
                list(free.values()),
            )
        )
    assert made.residual == pytest.approx(min(ends), rel=1e-5)


def test_a_modality_that_shares_nothing_leaves_the_others_their_singular_value_decomposition():
    cross = blocks_of(3)
    cross = {pair: block if pair == ("red", "green") else torch.zeros_like(block) for pair, block in cross.items()}
    s = torch.linalg.svdvals(cross["red", "green"])
    made = factor(cross, 4)
    assert made.residual == pytest.approx(float((s[4:] ** 2).sum()), rel=1e-6)
    assert float(made.blocks["blue"].norm()) < 1e-6


def test_factors_that_exist_are_found():
    draw = generator(3)
    truth = {
        name: torch.randn(p, 4, dtype=torch.float64, generator=draw)
        for name, p in zip("abcd", (9, 8, 7, 6), strict=True)
    }
    cross = {pair: torch.from_numpy(block) for pair, block in products(truth).items()}
    total = sum(float(block.square().sum()) for block in cross.values())
    for rank in (4, 6):
        made = factor(cross, rank, tolerance=1e-14, max_sweeps=2000)
        assert made.residual < 1e-10 * total
    spare = factor(cross, 30).blocks
    assert all(block.isfinite().all() for block in spare.values())


@settings(deadline=None, max_examples=10)
@given(st.sampled_from(list(permutations(range(3)))), st.integers(1, 9))
def test_names_and_order_of_modalities_do_not_matter(order, rank):
    data = paired(3)
    names = list(data.features)
    made = factor(blocks_of(3), rank)
    turned = {f"no. {i}": data.features[names[i]] for i in order}
    other = factor({pair: torch.from_numpy(block) for pair, block in cross_of(turned).items()}, rank)
    for i, m in enumerate(names):
        torch.testing.assert_close(other.blocks[f"no. {i}"], made.blocks[m], rtol=0, atol=1e-7)


def test_scale_is_carried_through():
    cross = blocks_of(3)
    made, scaled = factor(cross, 5), factor({pair: 1e-6 * block for pair, block in cross.items()}, 5)
    for name, block in made.blocks.items():
        torch.testing.assert_close(1e3 * scaled.blocks[name], block, rtol=1e-6, atol=1e-6)


def test_columns_are_principal_axes_with_a_fixed_sign():
    stacked = torch.cat(list(factor(blocks_of(3), 6).blocks.values()))
    gram = stacked.mT @ stacked
    torch.testing.assert_close(gram, gram.diagonal().diag(), rtol=0, atol=1e-8)
    assert (gram.diagonal().diff() <= 0).all()
    assert (stacked.gather(0, stacked.abs().argmax(0, keepdim=True)) > 0).all()


def test_what_has_no_factors_is_refused():
    cross = blocks_of(2)
    with pytest.raises(InputError, match="rank = 0: the number of common factors"):
        factor(cross, 0)
    with pytest.raises(InputError, match="no common factors"):
        factor({pair: torch.zeros_like(block) for pair, block in cross.items()}, 3)
