"""Learn a synthetic set by outer iterations, and restart when a number becomes NaN or Inf.

A restart returns to the rows, similarity and step sizes of an earlier finite set (`RestartPoint`). Each restart halves
the step sizes and the learning rates. It clears the state of the optimiser, but the random streams continue. Losses,
gradients, the updated set and its step sizes are checked as soon as they are computed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from omnidistill.core.errors import NotFiniteError
from omnidistill.core.streams import Streams
from omnidistill.data.featureset import FeatureSet
from omnidistill.distillation.distilled_set import DistilledSet
from omnidistill.distillation.learnable import Learnable, random_rows
from omnidistill.distillation.loop_settings import LoopSettings
from omnidistill.distillation.outer.outer_objective import Outer
from omnidistill.distillation.student_sgd import LEAVES, MOMENTUM, WEIGHT_DECAY, StudentSgd
from omnidistill.io.tracking import MetricsRecord
from omnidistill.models.objectives import Objective
from omnidistill.models.similarities import Similarity
from omnidistill.models.storages import Storage
from omnidistill.training.recipes import Sgd
from omnidistill.training.rollout import Blend, Rollout, rollout_named
from omnidistill.training.rollout.students import draw_batches, recipe_order

_SGD_NAMES = {MOMENTUM: "the momentum", WEIGHT_DECAY: "the weight decay"}


@dataclass(frozen=True)
class RestartPoint:
    """A synthetic set with a finite loss and gradient, from which the outer loop can restart.

    Attributes:
        tensors: all learned tensors by name.
        iteration: number of iterations that led to this set.
        restarts: number of restarts before this set was copied.
    """

    tensors: dict[str, Tensor]
    iteration: int = 0
    restarts: int = 0


class Learner:
    """Learns a synthetic set: holds the learned tensors and their optimiser, and runs outer iterations.

    All random numbers come from the generators in `streams`.
    """

    outer: Outer
    settings: LoopSettings
    streams: Streams
    modalities: tuple[str, ...]
    initial: FeatureSet
    initial_ids: tuple[str, ...]
    storage: Storage
    learnable: Learnable
    optimiser: torch.optim.Optimizer
    base_rates: list[float]
    restarts: int
    last_good: RestartPoint
    objective: Objective
    similarity: Similarity

    def __init__(
        self,
        train: FeatureSet,
        outer: Outer,
        width: int,
        settings: LoopSettings,
        streams: Streams,
        initial_set: DistilledSet | None = None,
    ) -> None:
        self.outer, self.settings, self.streams = outer, settings, streams
        self.modalities = train.modalities
        self.initial = random_rows(train, settings.num_stored, streams["initial rows"])
        self.storage = settings.resolved_storage
        self.learnable = Learnable.initial(self.initial, settings, self.storage, streams)
        self.initial_ids = self.initial.ids
        if initial_set is not None:
            self.initial_ids = initial_set.provenance.initial_ids
            stored = {name: matrix[: initial_set.size] for name, matrix in initial_set.rows().items()}
            recipe = initial_set.recipe  # other recipes than SGD have no step sizes; the settings determine the first
            sgd = None
            if isinstance(recipe, Sgd):
                sizes = torch.tensor(recipe.step_sizes, device="cpu")
                sgd = StudentSgd(sizes, recipe.momentum, recipe.weight_decay)
            self.learnable.load_set(stored, initial_set.similarity_tensors, sgd)
        self.optimiser = self.learnable.optimiser(settings.optimiser)
        self.base_rates = [group["lr"] for group in self.optimiser.param_groups]
        self.restarts = 0
        self.last_good = RestartPoint(self.learnable.copy())
        self.objective = settings.student.bind(self.modalities)
        self.similarity = settings.similarity
        self.rollout: Rollout = rollout_named(
            settings.rollout,
            num_rows=settings.num_rows,
            num_steps=settings.num_student_steps,
            batch_size=settings.batch,
            widths=train.widths,
            width=width,
        )

    @property
    def device(self) -> torch.device:
        """Device of the learned tensors, which is also the device of the training rows."""
        return self.initial.device

    @property
    def rate_factor(self) -> float:
        """Factor 2^-restarts of the learning rates: each restart halves them."""
        return 0.5**self.restarts

    def iterate(self, iteration: int) -> MetricsRecord:
        """Run one outer iteration: train a student on the set, compute the loss of the student, and update the set.

        The outer objective draws the initial heads of the student. It also draws the target of the loss, for example
        the heads of an expert.

        Args:
            iteration: number of finished iterations.

        Returns:
            The record of iteration `iteration` + 1: the loss and its terms, and the settings of the student's SGD.

        Raises:
            NotFiniteError: a loss, a gradient, the set or a step size became NaN or Inf; the message names it. Call
                `restart_from` to continue.
        """
        settings, learnable = self.settings, self.learnable
        sgd = learnable.student_sgd()
        episode = self.outer.episode(iteration, self.streams)
        generator = self.streams["batches"] if settings.order == "any" else recipe_order(self.streams.seed)
        batches = draw_batches(settings.num_rows, settings.batch, settings.num_student_steps, generator).to(self.device)
        endpoint = self.rollout(
            self.objective,
            episode.start,
            self.storage.expand(learnable.rows),
            self.similarity.targets(learnable.similarity, batches),
            batches,
            sgd.step_sizes,
            momentum=sgd.momentum,
            weight_decay=sgd.weight_decay,
            blend=self._blend(),
        )
        losses = self.outer.loss(endpoint, episode)
        loss = losses.sum()
        _require_finite(
            torch.cat([losses, loss[None]]), [*(f"loss '{name}'" for name in self.outer.terms), "sum of the losses"]
        )
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self._step(iteration)
        updated = learnable.student_sgd()
        sizes = updated.step_sizes.detach()
        # Training with a step size of 0 or less is useless, and a log step size of -Inf could never increase again.
        _require_finite(sizes.log(), [f"log step size of '{name}'" for name in self.modalities])
        terms = {f"loss/{name}": float(x) for name, x in zip(self.outer.terms, losses.detach(), strict=True)}
        step_sizes = {f"step_size/{name}": float(x) for name, x in zip(self.modalities, sizes, strict=True)}
        others = {"momentum": updated.momentum, "weight_decay": updated.weight_decay}
        learned = {name: float(value.detach()) for name, value in others.items() if isinstance(value, Tensor)}
        return MetricsRecord(iteration + 1, {"loss": float(loss.detach()), **terms, **step_sizes, **learned})

    def restart_from(self, point: RestartPoint) -> None:
        """Restart from an earlier set, with smaller step sizes and learning rates.

        Every restart halves the learning rates. The step sizes of the earlier set are multiplied by 2^-r. Here, r is
        the number of restarts since this set was stored, including the present one: a second restart from the same set
        divides its step sizes by 4. The moving averages start again from the resulting tensors.
        """
        self.restarts += 1
        tensors, space = dict(point.tensors), self.settings.step_size_space
        halvings = self.restarts - point.restarts
        if space == "log":
            tensors[LEAVES[space]] = tensors[LEAVES[space]] - math.log(2) * halvings
        else:
            tensors[LEAVES[space]] = tensors[LEAVES[space]] * 0.5**halvings
        self.learnable.restore({**tensors, **{f"average/{name}": tensor for name, tensor in tensors.items()}})
        self.optimiser = self.learnable.optimiser(self.settings.optimiser)

    def _blend(self) -> Blend | None:
        settings = self.settings
        if not settings.blend:
            return None
        return Blend.draw(settings.num_student_steps, settings.batch, self.streams["blend"]).to(self.device)

    def _step(self, iteration: int) -> None:
        leaves = self._leaves()
        _require_finite(*_norms("gradient", {name: leaf.grad for name, leaf in leaves.items()}))
        self.last_good = RestartPoint(self.learnable.copy(), iteration, self.restarts)
        if self.settings.clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(list(self.learnable.rows.values()), self.settings.clip_norm)
        factor = self.rate_factor
        if self.settings.schedule == "cosine":
            factor *= 0.5 * (1 + math.cos(math.pi * iteration / self.settings.iterations))
        for group, rate in zip(self.optimiser.param_groups, self.base_rates, strict=True):
            group["lr"] = rate * factor
        self.optimiser.step()
        _require_finite(*_norms("new value", leaves))
        self.learnable.update_average(self.settings.average)

    def _leaves(self) -> dict[str, Tensor]:
        """Return every learned tensor under the name that error messages use for it."""
        learnable = self.learnable
        return {
            **{f"the rows of '{name}'": leaf for name, leaf in learnable.rows.items()},
            **{f"the similarity ({name})": leaf for name, leaf in learnable.similarity.items()},
            **{_SGD_NAMES.get(name, "the step sizes"): leaf for name, leaf in learnable.sgd.items()},
        }


def _require_finite(values: Tensor, names: Sequence[str]) -> None:
    finite = torch.isfinite(values.detach())
    if not bool(finite.all()):
        raise NotFiniteError(f"{names[int((~finite).nonzero()[0])]} is NaN or Inf")


def _norms(what: str, tensors: Mapping[str, Tensor | None]) -> tuple[Tensor, list[str]]:
    """Return the norms of the tensors as one vector, and the name of each tensor for error messages."""
    named = {f"{what} of {name}": tensor for name, tensor in tensors.items() if tensor is not None}
    return torch.stack([torch.linalg.vector_norm(tensor.detach()) for tensor in named.values()]), list(named)
