"""Heads trained on all rows, with the step size and the number of epochs chosen on validation.

With the published protocol (`paper_protocol`), only the step size is chosen on validation.

The baseline `full` minimises InfoNCE; all rows of a group are positives. Gain retained is measured relative to `full`:
a set with a gain retained of 100 % scores as high as `full`. The baseline `full-own` minimises the objective with which
students train on the set. Comparing `full-own` with `full` shows the effect of the objective.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from omnidistill.core.json_value import Json
from omnidistill.evaluation.baselines.baseline import Baseline, Setting, baselines
from omnidistill.evaluation.full_training import choose_training
from omnidistill.evaluation.paper_protocol import published_sgd
from omnidistill.evaluation.protocol import EvaluateConfig
from omnidistill.evaluation.trained_heads import TrainedHeads
from omnidistill.models.heads import Heads
from omnidistill.models.objectives import AnyObjective, InfoNCE, Objective
from omnidistill.training.experts.epochs import stack_runs, train_epochs

_TITLES = {"hopa": "HoPA", "pairwise-wbce": "pairwise wBCE", "infonce": "InfoNCE"}


@baselines.register("full")
class AllRows(Baseline):
    """Heads trained on all rows by InfoNCE."""

    stores_heads: ClassVar[bool] = True

    def fit(self, setting: Setting) -> TrainedHeads:
        """Train heads on all rows by InfoNCE, at the temperature set in `evaluate.tau`."""
        return train_on_all_rows(InfoNCE(tau=setting.evaluate.tau), "all rows, InfoNCE", setting, setting.start)


@baselines.register("full-own")
class AllRowsOwn(Baseline):
    """Heads trained on all real training rows, by the loss that is used to train on the synthetic set."""

    objective: AnyObjective | None = None
    """Loss that the heads minimise. If absent, the table has one such baseline for each loss that students of its sets
    minimise. InfoNCE at the temperature of the evaluation is omitted, because the baseline `full` uses it."""

    def fit(self, setting: Setting) -> TrainedHeads:
        """Train heads on all rows by the `objective` of this baseline."""
        assert self.objective is not None
        return train_on_all_rows(self.objective, f"all rows, {_title(self.objective)}", setting, setting.start)

    def for_students(self, students: Sequence[Objective], evaluate: EvaluateConfig) -> tuple[Baseline, ...]:
        """Return one copy of this baseline for each different objective in `students`.

        InfoNCE at the temperature `evaluate.tau` gets no copy, because the baseline `full` already uses it. If the
        setting `objective` of this baseline is not None, `students` is ignored and only this baseline is returned.
        """
        if self.objective is not None:
            return (self,)
        own = dict.fromkeys(student for student in students if student != InfoNCE(tau=evaluate.tau))
        return tuple(self.evolve(objective=objective) for objective in own)

    @property
    def name(self) -> str:
        """Name of the baseline: "full-" followed by the title of the objective."""
        return self.kind if self.objective is None else f"full-{self.objective.title.replace(' ', '-')}"


def train_on_all_rows(
    objective: Objective,
    label: str,
    setting: Setting,
    start: Heads,
    bias: Mapping[str, Float[Tensor, " _"]] | None = None,
    purpose: str = "full",
) -> TrainedHeads:
    """Train heads on all rows by an objective, with the step size and number of epochs chosen on validation.

    Args:
        objective: the loss to minimise.
        label: label of the table row.
        setting: data, evaluation settings and seed.
        start: initial heads, {modality: matrix of shape d x p_m}.
        bias: vector of length d per modality, which is added to the outputs and not trained; None adds nothing.
        purpose: name of the random stream that draws the mini-batches.
    """
    started_at, data, evaluate = time.monotonic(), setting.data, setting.evaluate
    bound = objective.bind(tuple(start))
    optimiser = published_sgd(evaluate)
    chosen = choose_training(
        bound,
        start,
        data,
        evaluate.learning_rates,
        batch_size=evaluate.batch_size,
        max_epochs=evaluate.max_epochs,
        seed=setting.seed,
        purpose=f"{purpose}/tune",
        bias=bias,
        last_epoch=evaluate.protocol == "paper",
        **optimiser,
    )
    heads = stack_runs(start, evaluate.num_seeds)
    for _ in train_epochs(
        bound,
        heads,
        data.train,
        torch.full((evaluate.num_seeds,), chosen.learning_rate, device="cpu"),
        batch_size=evaluate.batch_size,
        num_epochs=chosen.num_epochs,
        seed=setting.seed,
        purpose=purpose,
        bias=bias,
        **optimiser,
    ):
        pass
    settings: dict[str, Json] = {"learning_rate": chosen.learning_rate, "num_epochs": chosen.num_epochs}
    settings |= {"protocol": "paper"} if optimiser else {}
    seconds = time.monotonic() - started_at
    return TrainedHeads(label, (heads,), data.train.bytes, seconds, settings, chosen.num_evaluated, bias)


def _title(objective: Objective) -> str:
    return objective.title.replace(objective.kind, _TITLES.get(objective.kind, objective.kind), 1)
