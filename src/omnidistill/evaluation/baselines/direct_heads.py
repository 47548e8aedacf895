"""Baseline for the method "anchor": learned heads, which take no more bytes than a synthetic set.

The method "anchor" learns synthetic rows and computes heads from them. This baseline learns the heads themselves:

    min over V, a of  (1 - c) L(round(V_m) x) + c L(J_m x)

    V_m      learned head of modality m, r x p_m (rank x feature width), with the largest r that fits in the set's bytes
    round    rounding to the precision in which heads are stored (setting `storage`)
    J_m      round(V_m) stacked on the initial head: the outputs of both are scaled to a mean length of 1 and
             concatenated, with weights a and 1 - a (see `stack_on`)
    L        loss on batches of training rows x (setting `outer`)
    c        number in [0, 1] (setting `start_share`)

The first term makes the heads good alone, the second makes them good when stacked. V_m starts as the ridge CCA head,
scaled so that its entries have a root mean square of 1. The baseline is trained in the same way as the method
(`distillation.head_learning`), except that validation also chooses the learning rate.

The heads have no biases. In the size of the baseline in bytes, one bias vector per head is counted if the features are
not centred, so that the size is computed as for the baselines that store CCA heads.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from omnidistill.core.device import device_of
from omnidistill.core.settings import Count, Positive
from omnidistill.core.streams import Streams
from omnidistill.core.threads import threads_for
from omnidistill.distillation.head_learning import (
    FIRST_LOGIT,
    LearnableHeads,
    Learning,
    LearningSettings,
    canonical_cca_heads,
)
from omnidistill.evaluation.baselines.baseline import Baseline, Setting, baselines
from omnidistill.evaluation.baselines.compact_heads import compact_bytes, largest_rank
from omnidistill.evaluation.trained_heads import TrainedHeads
from omnidistill.evaluation.validation import score_alone_and_stacked
from omnidistill.models.heads import Heads
from omnidistill.models.objectives import AnyObjective, InfoNCE
from omnidistill.models.storages import AnyStorage, RowStorage, Storage
from omnidistill.models.storages.coded import CodedStorage
from omnidistill.training.closed_form import Moments, Pairing, accumulate_moments
from omnidistill.training.experts.epochs import stack_runs


@dataclass(frozen=True)
class DirectMatrices(LearnableHeads):
    """Heads that are learned directly, rather than computed from learned synthetic rows.

    Attributes:
        latent: the heads before rounding, one matrix (rank x feature width) per modality.
        logit: logit of the weight of these heads when their outputs are concatenated with those of initial heads.
        storage: how the heads are rounded and stored.
        rows: training rows. Outputs are scaled to a mean length of 1 on these rows before they are concatenated.
    """

    latent: dict[str, Tensor]
    logit: Float[Tensor, ""]
    storage: Storage
    rows: dict[str, Float[Tensor, "_ _"]]

    @staticmethod
    def closed_form(
        moments: Moments, rank: int, ridge: float, storage: Storage, rows: dict[str, Tensor]
    ) -> DirectMatrices:
        """Return the heads from which learning starts: ridge CCA heads whose entries have a root mean square of 1.

        Args:
            moments: means and covariances of the training rows.
            rank: output width of the heads.
            ridge: regularisation of CCA.
            storage: how the heads are rounded and stored.
            rows: training rows on which the mean length of the outputs of these heads is measured. When these heads are
                stacked on the initial heads of the run, their outputs are divided by this length. The heads are created
                on the device of the rows.
        """
        heads = canonical_cca_heads(moments, rank, ridge)
        scaled = {name: (w / w.square().mean().sqrt()).to(rows[name]) for name, w in heads.items()}
        logit = torch.tensor(FIRST_LOGIT, device=device_of(rows))
        return DirectMatrices(storage.init(scaled), logit, storage, rows)

    @property
    def weight(self) -> Float[Tensor, ""]:
        """Weight in [0, 1] of the learned heads when their outputs are concatenated with those of initial heads."""
        return self.logit.sigmoid()

    def leaves(self) -> list[Tensor]:
        """Return the tensors to learn: the heads before rounding, and `logit`.

        `logit` is the logit of the weight of the heads when they are stacked on initial heads.
        """
        return [*self.latent.values(), self.logit]

    def solved(self) -> tuple[dict[str, Float[Tensor, "_ _"]], Heads]:
        """Return `rows` and the heads, rounded to the precision in which they are stored.

        On `rows`, `stack_on` measures the mean output lengths of learned and initial heads.
        """
        return self.rows, self.storage.expand(self.latent)

    def detached(self) -> DirectMatrices:
        """Return a copy whose learned tensors are detached from the autograd graph."""
        latent = {name: x.detach().clone() for name, x in self.latent.items()}
        return replace(self, latent=latent, logit=self.logit.detach().clone())


@baselines.register("direct-heads")
class DirectHeads(Baseline):
    """Heads learned instead of synthetic rows, in float32, with the largest rank that fits in the bytes of a set."""

    sized: ClassVar[bool] = True
    uses_bytes: ClassVar[bool] = True
    needs_start: ClassVar[bool] = False
    stores_heads: ClassVar[bool] = True

    storage: AnyStorage = RowStorage()
    """How the rows of the head matrices are stored."""
    outer: AnyObjective = InfoNCE()
    """Loss of the heads on real rows, which is minimised."""
    start_share: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Weight c, in [0, 1], of the loss of the heads stacked on initial heads; the loss of the heads alone has the
    weight 1 - c."""
    cca_ridges: Annotated[tuple[Positive, ...], Field(min_length=1)] = (0.1, 0.3, 1.0)
    """Candidate ridges for the CCA that initialises the heads, relative to the mean eigenvalue of each covariance;
    chosen on validation."""
    iterations: Annotated[int, Field(ge=0)] = 60
    """Number of iterations of Adam."""
    learning_rates: Annotated[tuple[Positive, ...], Field(min_length=1)] = (0.005, 0.01, 0.02)
    """Candidate learning rates of Adam; chosen on validation."""
    real_rows: Annotated[int, Field(ge=2)] = 750
    """Number of real rows per iteration; all training rows if there are fewer."""
    validate_every: Count = 10
    """Number of iterations between validations."""

    def applies(self, setting: Setting) -> bool:
        """Return whether heads of at least rank 2 fit in the bytes of the set."""
        return largest_rank(setting, self.storage) > 0

    def fit(self, setting: Setting) -> TrainedHeads:
        """Learn heads with each candidate learning rate, and return the heads with the best validation score.

        The result has a single run, because further runs would differ only in their mini-batches.
        """
        started_at, train, rank = time.monotonic(), setting.data.train, largest_rank(setting, self.storage)
        with threads_for(rank, train.widths, next(iter(setting.start.values())).shape[0]):
            starts = self._starts(setting, rank)
            scores = {ridge: self._score(each, setting) for ridge, each in starts.items()}
            ridge = max(scores, key=lambda each: scores[each])
            best, num_evaluated = (scores[ridge], starts[ridge], 0, self.learning_rates[0]), len(scores)
            for rate in self.learning_rates:
                settings = LearningSettings(self.outer, self.start_share, self.iterations, rate, self.real_rows)
                learning = Learning(starts[ridge], train, setting.start, settings, setting.seed)
                for iteration in range(1, self.iterations + 1):
                    learning.step()
                    if iteration % self.validate_every == 0 or iteration == self.iterations:
                        score, num_evaluated = self._score(learning.learned, setting), num_evaluated + 1
                        if score > best[0]:
                            best = score, learning.learned.detached(), iteration, rate
        _, chosen, iteration, rate = best
        return TrainedHeads(
            f"heads learned directly (rank {rank}, {self.storage.title})",
            (stack_runs(chosen.solved()[1], 1),),
            compact_bytes(self.storage, train.widths, rank, train.preprocessing),
            time.monotonic() - started_at,
            {"rank": rank, "ridge": ridge, "learning_rate": rate, "iteration": iteration},
            num_evaluated,
        )

    def _starts(self, setting: Setting, rank: int) -> dict[float, DirectMatrices]:
        """Return {CCA ridge: heads from which learning starts} for every candidate ridge."""
        train = setting.data.train
        pairing: Pairing = "groups" if train.pairing is None else "rows"
        moments = accumulate_moments(train, pairing)
        order = torch.randperm(len(train), generator=Streams(setting.seed)["direct-heads/rows"], device="cpu")
        sample = order[: self.real_rows].to(train.device)
        rows = {name: x[sample] for name, x in train.features.items()}
        return {
            ridge: DirectMatrices.closed_form(moments, rank, ridge, self.storage, rows) for ridge in self.cca_ridges
        }

    def _score(self, learned: DirectMatrices, setting: Setting) -> float:
        return score_alone_and_stacked(learned, setting.start, setting.data.validation, self.start_share)


@baselines.register("direct-heads-4-bit")
class DirectHeads4Bit(DirectHeads):
    """Heads learned instead of synthetic rows, in 4 bits, with the largest rank that fits in the bytes of a set."""

    storage: AnyStorage = RowStorage(bits=4)
    """How the rows of the head matrices are stored."""


@baselines.register("direct-heads-coded")
class DirectHeadsCoded(DirectHeads):
    """Entropy-coded heads, learned instead of synthetic rows, with the largest rank that fits in the bytes of a set."""

    storage: AnyStorage = CodedStorage()
    """How the rows of the head matrices are stored."""
