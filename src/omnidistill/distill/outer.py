"""What a rollout is judged by: the outer objective, a component like the others.

Trajectory matching (Cazenavette et al. 2022; HoPA eq. 7): a student that starts at an expert's epoch s and takes T
steps on the synthetic set should end where the expert is at epoch s + k:

    L = sum_m ||W_T,m - W*_m||^2 / ||W_0,m - W*_m||^2        each branch with its own denominator

Shortcut trajectories (PTM-ST, Guo et al. 2026, arXiv 2603.25388): the expert is replaced by the straight line between
its ends, walked at the expert's pace,

    W(t) = (1 - b_t) W(0) + b_t W(K),       b_t = sum_{s < t} ||W(s+1) - W(s)|| / sum_{s < K} ||W(s+1) - W(s)||
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from omnidistill.core.streams import Streams
from omnidistill.models.heads import Heads
from omnidistill.training.experts.buffer import ExpertBuffer
from omnidistill.training.rank_floor import rank_floor
from omnidistill.training.rollout import Endpoint, Target


@dataclass(frozen=True)
class Episode:
    """One outer iteration: where the student starts, and what it is compared with."""

    start: Heads
    target: Any  # what the outer objective's loss asks for


@runtime_checkable
class Outer(Protocol):
    """An outer objective."""

    @property
    def terms(self) -> tuple[str, ...]:
        """Names of the terms of the loss."""
        ...

    def episode(self, iteration: int, streams: Streams) -> Episode:
        """Draw the start (and the target) of an iteration from named streams."""
        ...

    def loss(self, endpoint: Endpoint, episode: Episode) -> Float[Tensor, " k"]:
        """The terms; their sum is minimised."""
        ...


@dataclass(frozen=True)
class TrajectoryMatching:
    """Match expert trajectories. Experts are taken in a random order, each once before any comes again.

    num_expert_epochs: the span; None: up to the last epoch of each expert. own_from: the iteration from which on only
    experts that start from the run's own heads are taken; None: never.
    """

    buffer: ExpertBuffer
    num_expert_epochs: int | None
    max_start_epoch: int
    own_from: int | None = None

    @property
    def terms(self) -> tuple[str, ...]:
        """The modalities."""
        return self.buffer.modalities

    def episode(self, iteration: int, streams: Streams) -> Episode:
        """The next expert of the order, and a start epoch below `max_start_epoch`."""
        expert, first, last = self._draw(iteration, streams)
        start, goal = self.buffer.heads(expert, first), self.buffer.heads(expert, last)
        difference = {name: start[name] - goal[name] for name in start}
        return Episode(start, Target(difference, self.buffer.squared_distances[expert, :, first, last]))

    def loss(self, endpoint: Endpoint, episode: Episode) -> Float[Tensor, " M"]:
        """Relative squared distance of each branch."""
        target: Target = episode.target
        return endpoint.squared_distances(target) / target.squared_norms

    def floor(self, rank: int) -> dict[str, float] | None:
        """Lowest loss that any set of `rank` rows can reach per branch, mean over starts (first expert); None if not
        stored.
        """
        if self.buffer.spectrum_epochs != (self.num_expert_epochs or self.buffer.last_epochs[0]):
            return None
        return {
            name: sum(rank_floor(values, rank) for values in spectra[: self.max_start_epoch])
            / len(spectra[: self.max_start_epoch])
            for name, spectra in self.buffer.spectra.items()
        }

    def _draw(self, iteration: int, streams: Streams) -> tuple[int, int, int]:
        """Expert, start epoch and target epoch."""
        pool: Sequence[int] = range(self.buffer.num_experts)
        name, since = "order", 0
        if self.own_from is not None and iteration >= self.own_from:
            pool, name, since = self.buffer.own_experts, "own", self.own_from
        turn, position = divmod(iteration - since, len(pool))
        order = torch.randperm(len(pool), generator=Streams(streams.seed)[f"experts/{name}/{turn}"])
        expert = pool[int(order[position])]
        first = int(torch.randint(self.max_start_epoch, (1,), generator=streams["starts"]))
        last = first + self.num_expert_epochs if self.num_expert_epochs else self.buffer.last_epochs[expert]
        return expert, first, last


@dataclass(frozen=True)
class ShortcutMatching(TrajectoryMatching):
    """Match the straight line between an expert's first and last epoch, at the expert's pace, head by head."""

    def episode(self, iteration: int, streams: Streams) -> Episode:
        """The same expert and start epoch as trajectory matching draws, on the line."""
        expert, first, last = self._draw(iteration, streams)
        begin, end = self.buffer.heads(expert, 0), self.buffer.heads(expert, self.buffer.num_epochs)
        pace = self._pace(expert)
        walked = pace[:, last] - pace[:, first]
        start = {name: torch.lerp(begin[name], end[name], pace[m, first]) for m, name in enumerate(begin)}
        difference = {name: walked[m] * (begin[name] - end[name]) for m, name in enumerate(begin)}
        return Episode(start, Target(difference, walked.square() * self.buffer.squared_distances[expert, :, 0, -1]))

    def floor(self, rank: int) -> None:
        """Not told: the buffer keeps no spectrum of the line."""

    def _pace(self, expert: int) -> Float[Tensor, "M S"]:
        """b_t of every head, from 0 to 1."""
        lengths = self.buffer.squared_distances[expert].diagonal(offset=1, dim1=-2, dim2=-1).sqrt()
        walked = torch.nn.functional.pad(lengths.cumsum(-1), (1, 0))
        return walked / walked[:, -1:]
