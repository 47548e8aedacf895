"""Heads cut to the bytes of a set: the best of that rank, in as many bits as the set's rows."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from omnidistill.evaluation.equal_bytes import equal_bytes_line
from omnidistill.evaluation.line import Line

from omnidistill.models.heads import Heads
from omnidistill.models.storages import RowStorage
from small_runs import features, small_heads


def moved(start: Heads) -> dict[str, torch.Tensor]:
    """Heads of three runs, away from the start in every direction, less and less."""
    generator = torch.Generator().manual_seed(0)
    heads = {}
    for name, matrix in start.items():
        scales = torch.arange(1, matrix.shape[0] + 1).rsqrt().unsqueeze(1)
        heads[name] = matrix + scales * torch.randn(3, *matrix.shape, generator=generator)
    return heads


@pytest.fixture(scope="module")
def full() -> Line:
    return Line("all rows", (moved(small_heads(features())),), 0, 0.0, {})


@pytest.mark.parametrize("rank", [0, 1, 3, 7, 8])
def test_heads_of_equal_bytes_are_the_truncated_update(rank: int, full: Line) -> None:
    """Against numpy's SVD; one byte less is one rank less."""
    start = small_heads(features())
    per_rank = 4 * sum(8 + matrix.shape[1] for matrix in start.values())
    line = equal_bytes_line(full, start, rank * per_rank)
    assert (line.settings["rank"], line.bytes) == (rank, rank * per_rank)
    for name, matrix in start.items():
        for run in range(3):
            update = (full.heads[name][run] - matrix).double().numpy()
            u, s, vh = np.linalg.svd(update, full_matrices=False)
            expected = matrix.double().numpy() + (u[:, :rank] * s[:rank]) @ vh[:rank]
            np.testing.assert_allclose(line.heads[name][run].numpy(), expected, atol=1e-5)
    if rank:
        assert equal_bytes_line(full, start, rank * per_rank - 1).settings["rank"] == rank - 1
        assert equal_bytes_line(full, start, (rank + 1) * per_rank - 1).settings["rank"] == rank


def test_heads_wider_than_their_features_are_truncated_too() -> None:
    """d > p: the smaller Gram matrix is the other one."""
    start = small_heads(features(), width=20)
    generator = torch.Generator().manual_seed(0)
    updates = {name: torch.randn(2, *matrix.shape, generator=generator) for name, matrix in start.items()}
    heads = {name: matrix + updates[name] for name, matrix in start.items()}
    per_rank = 4 * sum(sum(matrix.shape) for matrix in start.values())
    line = equal_bytes_line(Line("all", (heads,), 0, 0.0, {}), start, 2 * per_rank)
    for name, matrix in start.items():
        u, s, vh = np.linalg.svd(updates[name].numpy(), full_matrices=False)
        expected = (u[:, :, :2] * s[:, None, :2]) @ vh[:, :2]
        np.testing.assert_allclose((line.heads[name] - matrix).numpy(), expected, atol=1e-4)


@pytest.mark.parametrize("bits", [8, 4])
def test_few_bits_hold_more_rank(bits: int, full: Line) -> None:
    """Each factor's rows with a step of their own; close to the truncated update, as close as the bits allow."""
    start = small_heads(features())
    budget = 4 * 3 * sum(sum(matrix.shape) for matrix in start.values())
    line = equal_bytes_line(full, start, budget, RowStorage(bits=bits, views=4))
    weight = sum(-(-side * bits // 8) + 4 for matrix in start.values() for side in matrix.shape)
    assert line.settings == {"rank": min(8, budget // weight), "bits": bits}
    assert line.settings["rank"] > 3
    assert line.bytes == line.settings["rank"] * weight <= budget
    assert line.label.endswith(f"(rank {line.settings['rank']}, {bits} bits)")
    for name, matrix in start.items():
        update = (full.heads[name][0] - matrix).double().numpy()
        u, s, vh = np.linalg.svd(update, full_matrices=False)
        rank = line.settings["rank"]
        expected = (u[:, :rank] * s[:rank]) @ vh[:rank]
        apart = np.linalg.norm((line.heads[name][0] - matrix).numpy() - expected) / np.linalg.norm(expected)
        assert 1e-6 < apart < {8: 0.02, 4: 0.25}[bits]


def test_no_more_rank_than_heads_have(full: Line) -> None:
    line = equal_bytes_line(full, small_heads(features()), 10**9)
    assert line.settings["rank"] == 8
    for name, matrix in full.heads.items():
        torch.testing.assert_close(line.heads[name], matrix, rtol=1e-4, atol=1e-4)
