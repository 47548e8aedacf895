"""Heads of low rank: their gradient, their training and what validation chooses, compared with autograd."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from omnidistill.core.streams import Streams
from omnidistill.evaluation.baselines import Allowance, Setting
from omnidistill.evaluation.baselines.low_rank_heads import LowRank, LowRankHeads
from omnidistill.evaluation.protocol import EvaluateConfig
from omnidistill.evaluation.trained_heads import TrainedHeads
from omnidistill.evaluation.validation import run_of, validation_score
from omnidistill.models.heads import Heads, shared_groups
from omnidistill.models.objectives import InfoNCE
from omnidistill.training.experts.epochs import epoch_orders
from small_runs import features, small_heads

CONFIG = EvaluateConfig(num_seeds=3, max_epochs=4, batch_size=24)
SIDES = ("left", "right")
RATES = LowRank().learning_rates


def setting(rank: int, start: Heads, config: EvaluateConfig = CONFIG) -> Setting:
    return Setting(features().development(), start, config, 0, Allowance(rank, 1))


def fitted(rank: int, start: Heads, config: EvaluateConfig = CONFIG) -> TrainedHeads:
    return LowRank().fit(setting(rank, start, config))


def test_the_gradient_of_the_factors_is_that_of_autograd() -> None:
    data, start = features().split("train"), small_heads(features())
    factors = LowRankHeads(start, 3, 2, torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(1)
    for matrix in factors.left.values():
        matrix.copy_(torch.randn(matrix.shape, generator=generator))
    batch = torch.stack([torch.randperm(64, generator=generator)[:16] for _ in range(2)])
    factors._gradients(InfoNCE(tau=0.2), data, batch)
    leaves = {
        side: {name: x.detach().double().requires_grad_() for name, x in getattr(factors, side).items()}
        for side in SIDES
    }
    outputs = torch.stack(
        [
            data.features[name][batch].double() @ (matrix.double() + leaves["left"][name] @ leaves["right"][name].mT).mT
            for name, matrix in start.items()
        ],
        dim=1,
    )
    InfoNCE(tau=0.2).value(outputs, shared_groups(data.group_codes[batch]).double()).sum().backward()  # type: ignore[no-untyped-call]
    for side, factor in leaves.items():
        for name, leaf in factor.items():
            gradient = getattr(factors, side)[name].grad
            torch.testing.assert_close(gradient.double(), leaf.grad, rtol=1e-3, atol=1e-6)
            assert float(gradient.abs().max()) > 1e-3


@pytest.mark.parametrize("rank", [1, 3])
def test_heads_of_low_rank_differ_from_the_start_by_that_rank(rank: int) -> None:
    start = small_heads(features())
    found = fitted(rank, start)
    for name, matrix in start.items():
        for run in range(3):
            values = np.linalg.svd((found.heads[name][run] - matrix).double().numpy(), compute_uv=False)
            assert values[rank - 1] > 1e-3
            assert values[rank] < 1e-5 * values[0]
    assert not torch.equal(found.heads["a"][0], found.heads["a"][1])
    numbers = 4 * rank * sum(sum(matrix.shape) for matrix in start.values()) + sum(features().widths.values())
    assert numbers < found.bytes < numbers + 1700  # factors and means; the header and the manifest
    assert found.settings["rank"] == rank
    assert found.settings["learning_rate"] in RATES


def test_training_is_that_of_adam_with_autograd() -> None:
    """Every rate and epoch again, W_0 + U V^T differentiated by autograd; the best of all, then fresh runs with it."""
    data, start, rank = features().development(), small_heads(features()), 3

    def train(rate: float, num_runs: int, num_epochs: int, purpose: str) -> Iterator[dict[str, torch.Tensor]]:
        factors = LowRankHeads(start, rank, num_runs, Streams(0)[purpose])
        leaves = {
            side: {name: x.clone().requires_grad_() for name, x in getattr(factors, side).items()} for side in SIDES
        }
        left, right = (leaves[side] for side in SIDES)
        adam = torch.optim.Adam([x for side in leaves.values() for x in side.values()], lr=rate)
        for epoch in range(num_epochs):
            orders = epoch_orders(num_runs, 64, seed=0, purpose=purpose, epoch=epoch)
            for batch in orders[:, :48].split(24, dim=1):  # 16 rows are left over
                heads = {name: matrix + left[name] @ right[name].mT for name, matrix in start.items()}
                outputs = torch.stack([data.train.features[name][batch] @ heads[name].mT for name in start], dim=1)
                adam.zero_grad()
                InfoNCE(tau=CONFIG.tau).value(outputs, shared_groups(data.train.group_codes[batch])).sum().backward()  # type: ignore[no-untyped-call]
                adam.step()
            yield {name: matrix + (left[name] @ right[name].mT).detach() for name, matrix in start.items()}

    found = fitted(rank, start)
    scores = {
        (rate, epoch): validation_score(run_of(heads, 0), data.validation)
        for rate in RATES
        for epoch, heads in enumerate(train(rate, 1, CONFIG.max_epochs, "low rank/tune"), 1)
    }
    rate, num_epochs = found.settings["learning_rate"], found.settings["num_epochs"]
    assert scores[rate, num_epochs] == pytest.approx(max(scores.values()), abs=0.01)
    assert max(scores.values()) > min(scores.values()) + 0.02
    assert found.num_evaluated == len(scores)
    *_, heads = train(rate, 3, num_epochs, "low rank")
    for name, matrix in heads.items():
        torch.testing.assert_close(found.heads[name], matrix, rtol=0, atol=2e-3)
        assert float((matrix - start[name]).abs().max()) > 0.02


def test_training_heads_of_low_rank_raises_validation() -> None:
    start, data = small_heads(features()), features().development()
    found = fitted(4, start, CONFIG.evolve(max_epochs=20))
    scores = [validation_score(run_of(found.heads, run), data.validation) for run in range(3)]
    assert min(scores) > validation_score(start, data.validation) + 0.02


def test_it_applies_only_where_the_rank_restricts_the_heads() -> None:
    """Of 8-wide heads of 12 features and more, rank 8 is every matrix; one row cannot be trained on."""
    start = small_heads(features())
    assert [rank for rank in range(12) if LowRank().applies(setting(rank, start))] == list(range(2, 8))
    wide = small_heads(features(), width=20)
    assert [rank for rank in range(24) if LowRank().applies(setting(rank, wide))] == list(range(2, 12))


def test_the_step_sizes_of_adam_are_a_setting() -> None:
    here = setting(2, small_heads(features()))
    assert LowRank(learning_rates=(0.005,)).fit(here).settings["learning_rate"] == 0.005
