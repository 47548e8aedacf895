"""Heads of equal bytes: the best heads of the largest rank that fits, in 32 or fewer bits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from omnidistill.evaluation.baselines import Allowance, Setting
from omnidistill.evaluation.baselines.equal_bytes import EqualBytes, EqualBytes4Bit
from omnidistill.evaluation.protocol import EvaluateConfig
from omnidistill.evaluation.trained_heads import TrainedHeads
from omnidistill.io.artifacts import save_artifact
from omnidistill.models.heads import Heads
from omnidistill.models.storages import RowStorage
from small_runs import features, shipped, small_heads


def setting(full: TrainedHeads, start: Heads, num_bytes: int) -> Setting:
    data = features().development()
    return Setting(data, start, EvaluateConfig(), 0, Allowance(10, num_bytes), {"full": full})


def files_of(start: Heads, rank: int, bits: int, folder: Path) -> int:
    """Return the size of files with the factors of this rank, which are written, of other numbers."""
    sides = {f"{name}/left": matrix.shape[0] for name, matrix in start.items()}
    sides |= {f"{name}/right": matrix.shape[1] for name, matrix in start.items()}
    factors = RowStorage(bits=bits).store({name: torch.ones(rank, side) for name, side in sides.items()})
    steps = features().preprocessing
    meta = {"preprocessing": steps.to_meta(), "bits": bits}
    save_artifact(folder, "heads", {**factors, **steps.to_tensors()}, meta, padding=0)
    return shipped(folder)


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
def test_heads_of_equal_bytes_are_the_truncated_update(rank: int, full: TrainedHeads, tmp_path: Path) -> None:
    """Compared with numpy's SVD; one byte less is one rank less."""
    start = small_heads(features())
    num_bytes = files_of(start, rank, 32, tmp_path) if rank else 0
    found = cut(full, start, num_bytes)
    assert (found.settings["rank"], found.bytes) == (rank, num_bytes)
    for name, matrix in start.items():
        for run in range(3):
            update = (full.heads[name][run] - matrix).double().numpy()
            u, s, vh = np.linalg.svd(update, full_matrices=False)
            expected = matrix.double().numpy() + (u[:, :rank] * s[:rank]) @ vh[:rank]
            np.testing.assert_allclose(found.heads[name][run].numpy(), expected, atol=1e-5)
    if rank:
        assert cut(full, start, num_bytes - 1).settings["rank"] == rank - 1
        after = files_of(start, rank + 1, 32, tmp_path)
        assert cut(full, start, after - 1).settings["rank"] == rank


def test_heads_wider_than_their_features_are_truncated_too(tmp_path: Path) -> None:
    """d > p: the smaller Gram matrix is the other one."""
    start = small_heads(features(), width=20)
    generator = torch.Generator().manual_seed(0)
    updates = {name: torch.randn(2, *matrix.shape, generator=generator) for name, matrix in start.items()}
    heads = {name: matrix + updates[name] for name, matrix in start.items()}
    found = cut(TrainedHeads("all", (heads,), 0, 0.0, {}), start, files_of(start, 2, 32, tmp_path))
    for name, matrix in start.items():
        u, s, vh = np.linalg.svd(updates[name].numpy(), full_matrices=False)
        expected = (u[:, :, :2] * s[:, None, :2]) @ vh[:, :2]
        np.testing.assert_allclose((found.heads[name] - matrix).numpy(), expected, atol=1e-4)


@pytest.mark.parametrize("bits", [8, 4])
def test_few_bits_allow_a_higher_rank(bits: int, full: TrainedHeads, tmp_path: Path) -> None:
    """Each row of a factor has its own step; the result is as close to the truncated update as the bits allow."""
    start = small_heads(features())
    budget = files_of(start, 6, 32, tmp_path)
    found = cut(full, start, budget, EqualBytes(bits=bits))
    fitting = [rank for rank in range(1, 9) if files_of(start, rank, bits, tmp_path) <= budget]
    assert found.settings == {"rank": fitting[-1], "bits": bits}
    assert found.settings["rank"] > 6
    assert found.bytes == files_of(start, fitting[-1], bits, tmp_path) <= budget
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
def test_the_bytes_never_exceed_the_allowance(baseline: EqualBytes, full: TrainedHeads, tmp_path: Path) -> None:
    """For every allowance up to that of the complete heads; below one rank the baseline does not apply."""
    start = small_heads(features())
    sizes = [0, *(files_of(start, rank, baseline.bits, tmp_path) for rank in range(1, 9))]
    for allowance in range(1, sizes[-1] + 50, 1 + (sizes[2] - sizes[1]) // 3):
        here = setting(full, start, allowance)
        assert baseline.applies(here) == (allowance >= sizes[1])
        found = baseline.fit(here)
        assert found.bytes == sizes[found.settings["rank"]] <= allowance  # type: ignore[index]
        assert found.settings["rank"] == sum(size <= allowance for size in sizes) - 1
        assert found.settings["bits"] == baseline.bits
