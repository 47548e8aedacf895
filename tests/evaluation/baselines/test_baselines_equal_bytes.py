"""Heads of equal bytes: the best heads of the largest rank that fits, in 32 or fewer bits."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from omnidistill.evaluation.baselines import Allowance, Setting
from omnidistill.evaluation.baselines.equal_bytes import EqualBytes, EqualBytes4Bit
from omnidistill.evaluation.protocol import EvaluateConfig
from omnidistill.evaluation.trained_heads import TrainedHeads
from omnidistill.models.heads import Heads
from small_runs import features, small_heads


def setting(full: TrainedHeads, start: Heads, num_bytes: int) -> Setting:
    data = features().development()
    return Setting(data, start, EvaluateConfig(), 0, Allowance(10, num_bytes), {"full": full})


def cut(full: TrainedHeads, start: Heads, num_bytes: int, baseline: EqualBytes | None = None) -> TrainedHeads:
    return (baseline or EqualBytes()).fit(setting(full, start, num_bytes))


def moved(start: Heads) -> dict[str, torch.Tensor]:
    """Heads of three runs, away from the start in every direction, less and less."""
    generator = torch.Generator().manual_seed(0)
    heads = {}
    for name, matrix in start.items():
        scales = torch.arange(1, matrix.shape[0] + 1).rsqrt().unsqueeze(1)
        heads[name] = matrix + scales * torch.randn(3, *matrix.shape, generator=generator)
    return heads


@pytest.fixture(scope="module")
def full() -> TrainedHeads:
    return TrainedHeads("all rows", (moved(small_heads(features())),), 0, 0.0, {})


@pytest.mark.parametrize("rank", [0, 1, 3, 7, 8])
def test_heads_of_equal_bytes_are_the_truncated_update(rank: int, full: TrainedHeads) -> None:
    """Compared with numpy's SVD; one byte less is one rank less."""
    start = small_heads(features())
    per_rank = 4 * sum(8 + matrix.shape[1] for matrix in start.values())
    found = cut(full, start, rank * per_rank)
    assert (found.settings["rank"], found.bytes) == (rank, rank * per_rank)
    for name, matrix in start.items():
        for run in range(3):
            update = (full.heads[name][run] - matrix).double().numpy()
            u, s, vh = np.linalg.svd(update, full_matrices=False)
            expected = matrix.double().numpy() + (u[:, :rank] * s[:rank]) @ vh[:rank]
            np.testing.assert_allclose(found.heads[name][run].numpy(), expected, atol=1e-5)
    if rank:
        assert cut(full, start, rank * per_rank - 1).settings["rank"] == rank - 1
        assert cut(full, start, (rank + 1) * per_rank - 1).settings["rank"] == rank


def test_heads_wider_than_their_features_are_truncated_too() -> None:
    """d > p: the smaller Gram matrix is the other one."""
    start = small_heads(features(), width=20)
    generator = torch.Generator().manual_seed(0)
    updates = {name: torch.randn(2, *matrix.shape, generator=generator) for name, matrix in start.items()}
    heads = {name: matrix + updates[name] for name, matrix in start.items()}
    per_rank = 4 * sum(sum(matrix.shape) for matrix in start.values())
    found = cut(TrainedHeads("all", (heads,), 0, 0.0, {}), start, 2 * per_rank)
    for name, matrix in start.items():
        u, s, vh = np.linalg.svd(updates[name].numpy(), full_matrices=False)
        expected = (u[:, :, :2] * s[:, None, :2]) @ vh[:, :2]
        np.testing.assert_allclose((found.heads[name] - matrix).numpy(), expected, atol=1e-4)


@pytest.mark.parametrize("bits", [8, 4])
def test_few_bits_allow_a_higher_rank(bits: int, full: TrainedHeads) -> None:
    """Each row of a factor has its own step; the result is as close to the truncated update as the bits allow."""
    start = small_heads(features())
    budget = 4 * 3 * sum(sum(matrix.shape) for matrix in start.values())
    found = cut(full, start, budget, EqualBytes(bits=bits))
    weight = sum(-(-side * bits // 8) + 4 for matrix in start.values() for side in matrix.shape)
    assert found.settings == {"rank": min(8, budget // weight), "bits": bits}
    assert found.settings["rank"] > 3
    assert found.bytes == found.settings["rank"] * weight <= budget
    assert found.label.endswith(f"(rank {found.settings['rank']}, {bits} bits)")
    for name, matrix in start.items():
        update = (full.heads[name][0] - matrix).double().numpy()
        u, s, vh = np.linalg.svd(update, full_matrices=False)
        rank = found.settings["rank"]
        expected = (u[:, :rank] * s[:rank]) @ vh[:rank]
        apart = np.linalg.norm((found.heads[name][0] - matrix).numpy() - expected) / np.linalg.norm(expected)
        assert 1e-6 < apart < {8: 0.02, 4: 0.25}[bits]


def test_the_rank_is_at_most_that_of_the_heads(full: TrainedHeads) -> None:
    found = cut(full, small_heads(features()), 10**9)
    assert found.settings["rank"] == 8
    for name, matrix in full.heads.items():
        torch.testing.assert_close(found.heads[name], matrix, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("baseline", [EqualBytes(), EqualBytes(bits=16), EqualBytes4Bit()], ids=str)
def test_the_bytes_never_exceed_the_allowance(baseline: EqualBytes, full: TrainedHeads) -> None:
    """For every allowance up to that of the complete heads; below one rank the baseline does not apply."""
    start = small_heads(features())
    sides = [side for matrix in start.values() for side in matrix.shape]
    per_rank = sum(-(-side * baseline.bits // 8) + 4 * (baseline.bits < 16) for side in sides)
    for allowance in range(1, 9 * per_rank, 1 + per_rank // 7):
        here = setting(full, start, allowance)
        assert baseline.applies(here) == (allowance >= per_rank)
        found = baseline.fit(here)
        assert found.bytes == found.settings["rank"] * per_rank <= allowance
        assert found.settings["rank"] == min(8, allowance // per_rank)
        assert found.settings["bits"] == baseline.bits
