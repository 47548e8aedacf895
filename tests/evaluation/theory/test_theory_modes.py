"""Modes of instances, their distances, and Lemmas 2 and 3, against definitions and independent computations."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from omnidistill.evaluation.theory.identities import lemma_2_residual, lemma_3_residual
from omnidistill.evaluation.theory.modes import Modes, mode_distances, modes
from omnidistill.models.objectives import sphere


def embeddings(num_modalities: int, seed: int, num: int = 9, width: int = 7) -> Tensor:
    draw = torch.Generator().manual_seed(seed)
    shared = torch.randn(num, 1, width, dtype=torch.float64, generator=draw)
    own = torch.randn(num, num_modalities, width, dtype=torch.float64, generator=draw)
    return sphere.normalise(shared + own)[0]


@pytest.mark.parametrize("num_modalities", [2, 3, 6])
def test_modes_are_those_of_an_svd(num_modalities: int) -> None:
    z = embeddings(num_modalities, 0)
    found = modes(z)
    torch.testing.assert_close(found.sigma, torch.linalg.svdvals(z), rtol=1e-13, atol=0)
    torch.testing.assert_close(found.combined(found.sigma), z, rtol=0, atol=1e-14)
    torch.testing.assert_close(found.coefficients(z), found.sigma, rtol=0, atol=1e-14)
    torch.testing.assert_close(found.shares(0.1), torch.softmax(torch.linalg.svdvals(z) / 0.1, -1))


def test_there_are_at_most_d_modes() -> None:
    assert modes(embeddings(5, 1, width=3)).sigma.shape == (9, 3)


def test_the_distance_of_modes_is_that_of_rank_one_matrices_whatever_the_signs() -> None:
    first, second = modes(embeddings(4, 2)), modes(embeddings(4, 3))
    flipped = Modes(second.sigma, -second.left, -second.right)
    for k in range(4):
        one, other = (m.left[..., k, None] * m.right[:, k, None, :] for m in (first, second))
        expected = torch.linalg.matrix_norm(one - other)
        for each in (second, flipped):
            torch.testing.assert_close(mode_distances(first, each)[:, k], expected, rtol=1e-12, atol=0)


def test_the_distance_of_close_modes_is_accurate() -> None:
    """2 - 2 cos would have lost all digits."""
    z = embeddings(3, 4)
    near = mode_distances(modes(z), modes(sphere.normalise(z + 1e-9 * embeddings(3, 5))[0]))
    nearer = mode_distances(modes(z), modes(sphere.normalise(z + 1e-10 * embeddings(3, 5))[0]))
    assert float((near / nearer - 10).abs().max()) < 1e-2
    assert float(mode_distances(modes(z), modes(z)).max()) == 0


@pytest.mark.parametrize("num_modalities", [2, 3, 5])
@pytest.mark.parametrize("seed", range(10))
def test_lemmas_2_and_3_hold_to_1e_12(num_modalities: int, seed: int) -> None:
    z = embeddings(num_modalities, seed)
    assert float(lemma_2_residual(z, modes(z)).max()) < 1e-12
    assert float(lemma_3_residual(z, modes(z)).max()) < 1e-12


def test_the_lemmas_hold_for_equal_and_orthogonal_embeddings() -> None:
    equal = torch.ones(1, 3, 4, dtype=torch.float64) / 2
    orthogonal = torch.eye(3, 4, dtype=torch.float64)[None]
    for z in (equal, orthogonal):
        assert float(lemma_2_residual(z, modes(z)).max()) < 1e-12
        assert float(lemma_3_residual(z, modes(z)).max()) < 1e-12


def test_a_wrong_spectrum_violates_the_lemmas() -> None:
    z = embeddings(3, 6)
    right = modes(z)
    assert float(lemma_2_residual(z, Modes(right.sigma.flip(-1), right.left, right.right)).min()) > 1e-3
    assert float(lemma_3_residual(z, Modes(right.sigma, right.left, right.right.flip(-2))).min()) > 1e-3
