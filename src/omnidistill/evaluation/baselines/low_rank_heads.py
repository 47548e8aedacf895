"""Baseline: heads W_0 + U V^T, trained on all rows by InfoNCE with Adam.

W_0 is an initial head. Training on N synthetic rows by SGD changes it by a matrix of rank at most N. This baseline
trains an update U V^T of rank N directly on all rows. It is omitted if d or p_m of an initial head is at most N,
because N then does not limit the rank of the update of this head. It is also omitted if N is less than 2.

Shapes: R runs, r rank (equal to N), d embedding width, p_m feature width, b rows of a mini-batch.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Annotated, ClassVar

import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor

from omnidistill.core.settings import Positive
from omnidistill.core.streams import Streams
from omnidistill.data.featureset import FeatureSet
from omnidistill.distillation.budget import LEAST_ROWS
from omnidistill.distillation.shipped_bytes import heads_bytes
from omnidistill.evaluation.baselines.baseline import Baseline, Setting, baselines
from omnidistill.evaluation.full_training import best_epoch
from omnidistill.evaluation.protocol import EvaluateConfig
from omnidistill.evaluation.trained_heads import TrainedHeads
from omnidistill.evaluation.validation import run_of, validation_score
from omnidistill.models.heads import Heads, shared_groups
from omnidistill.models.objectives import InfoNCE, Objective
from omnidistill.training.experts.epochs import StackedHeads, epoch_orders


@baselines.register("low-rank")
class LowRank(Baseline):
    """Heads trained on all rows. The rank of their update is limited to the number of rows of a set."""

    sized: ClassVar[bool] = True

    learning_rates: Annotated[tuple[Positive, ...], Field(min_length=1)] = (0.001, 0.003, 0.01)
    """Candidate learning rates of Adam; chosen on validation."""

    def applies(self, setting: Setting) -> bool:
        """Return whether the allowed number of rows is at least 2 and less than every dimension of the initial heads.

        This number is the rank to which the baseline limits the update of the heads.
        """
        assert setting.allowance is not None
        return (
            LEAST_ROWS
            <= setting.allowance.rows
            < min(side for matrix in setting.start.values() for side in matrix.shape)
        )

    def fit(self, setting: Setting) -> TrainedHeads:
        """Choose step size and number of epochs on validation, then train all runs."""
        assert setting.allowance is not None
        started_at, data, start, evaluate = time.monotonic(), setting.data, setting.start, setting.evaluate
        rank, seed = setting.allowance.rows, setting.seed
        best, num_evaluated = (-1.0, self.learning_rates[0], 1), 0
        for rate in self.learning_rates:
            factors = LowRankHeads(start, rank, 1, Streams(seed)["low rank/tune"])
            epochs = factors.epochs(data.train, rate, evaluate, evaluate.max_epochs, seed, "low rank/tune")
            score, epoch, count = best_epoch(
                epochs,
                lambda factors=factors: validation_score(run_of(factors.heads(), 0), data.validation),  # type: ignore[misc]
            )
            num_evaluated += count
            best = max(best, (score, rate, epoch), key=lambda choice: choice[0])
        _, rate, num_epochs = best
        factors = LowRankHeads(start, rank, evaluate.num_seeds, Streams(seed)["low rank"])
        for _ in factors.epochs(data.train, rate, evaluate, num_epochs, seed, "low rank"):
            pass
        stored = {f"{name}/left": factors.left[name][0] for name in start}
        stored |= {f"{name}/right": factors.right[name][0] for name in start}
        num_bytes = heads_bytes(stored, data.train.preprocessing)
        settings = {"learning_rate": rate, "num_epochs": num_epochs, "rank": rank}
        label, seconds = f"heads of rank {rank}, all rows", time.monotonic() - started_at
        return TrainedHeads(label, (factors.heads(),), num_bytes, seconds, settings, num_evaluated)


class LowRankHeads:
    """Heads W_0 + U V^T of several runs, with initial heads W_0 and a learned low-rank update U V^T.

    Adam changes U and V, using the closed-form gradient of InfoNCE.
    """

    def __init__(self, start: Heads, rank: int, num_runs: int, generator: torch.Generator) -> None:
        self.start = start
        self.left: StackedHeads = {
            name: matrix.new_zeros(num_runs, matrix.shape[0], rank) for name, matrix in start.items()
        }
        self.right: StackedHeads = {
            name: _factor(num_runs, matrix.shape[1], rank, generator).to(matrix.device)
            for name, matrix in start.items()
        }

    def heads(self) -> StackedHeads:
        """Return the current heads of all runs: the initial heads W_0 plus the learned low-rank update U V^T."""
        return {name: matrix + self.left[name] @ self.right[name].mT for name, matrix in self.start.items()}

    def epochs(
        self, train: FeatureSet, rate: float, config: EvaluateConfig, num_epochs: int, seed: int, purpose: str
    ) -> Iterator[int]:
        """Train all runs, each on different mini-batches. After every epoch, yield the number of epochs so far."""
        objective = InfoNCE(tau=config.tau)
        leaves = [*self.left.values(), *self.right.values()]
        optimiser = torch.optim.Adam(leaves, lr=rate)
        size, num_runs = min(config.batch_size, len(train)), len(leaves[0])
        for epoch in range(num_epochs):
            orders = epoch_orders(num_runs, len(train), seed=seed, purpose=purpose, epoch=epoch).to(train.device)
            for first in range(0, len(train) - size + 1, size):
                self._gradients(objective, train, orders[:, first : first + size])
                optimiser.step()
            yield epoch + 1

    def _gradients(self, objective: Objective, train: FeatureSet, batch: Int[Tensor, "R b"]) -> None:
        inputs = {name: train.features[name][batch] for name in self.start}
        inner = {name: x @ self.right[name] for name, x in inputs.items()}
        outputs = torch.stack(
            [inputs[name] @ matrix.mT + inner[name] @ self.left[name].mT for name, matrix in self.start.items()], dim=1
        )
        deltas = objective.gradient(outputs, shared_groups(train.group_codes[batch]))
        for m, name in enumerate(self.start):
            delta = deltas[:, m]
            self.left[name].grad = delta.mT @ inner[name]
            self.right[name].grad = inputs[name].mT @ (delta @ self.left[name])


def _factor(num_runs: int, width: int, rank: int, generator: torch.Generator) -> Float[Tensor, "R p r"]:
    """Return a random p x r matrix for each run, on the CPU. Each column has a norm of about 1."""
    columns: Tensor = torch.randn(num_runs, width, rank, generator=generator, device="cpu") / width**0.5
    return columns
