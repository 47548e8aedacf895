"""Shortcut trajectories (PTM-ST, Guo et al. 2026, arXiv 2603.25388): match a straight line, not the expert's path.

W(s) is a head of the expert after epoch s, and K is the last epoch. The head W(t) is replaced by the point
(1 - b_t) W(0) + b_t W(K) on the line from W(0) to W(K). Here b_t is the length of the expert's path from W(0) to W(t),
divided by the length of the whole path:

    b_t = sum_{s < t} ||W(s+1) - W(s)|| / sum_{s < K} ||W(s+1) - W(s)||

The line and b_t are computed separately for the head of each modality.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from omnidistill.core.streams import Streams
from omnidistill.distillation.outer.outer_objective import Episode, outer_objectives
from omnidistill.distillation.outer.trajectory import TrajectoryMatching, TrajectoryObjective
from omnidistill.training.rollout import Target


@dataclass(frozen=True)
class ShortcutMatching(TrajectoryMatching):
    """Match the straight line from an expert's initial heads to its final heads (see the module docstring)."""

    def episode(self, iteration: int, streams: Streams) -> Episode:
        """Return the initial heads and the target heads for an outer iteration.

        Draw an expert and two of its epochs. Then replace its heads after these epochs by two points on the line from
        its first heads to its last heads. The module docstring defines the points.
        """
        expert, first, last = self._draw(iteration, streams)
        begin, end = self._heads(expert, 0), self._heads(expert, self.buffer.num_epochs)
        pace = self._pace(expert)
        share = pace[:, last] - pace[:, first]
        start = {name: torch.lerp(begin[name], end[name], pace[m, first]) for m, name in enumerate(begin)}
        difference = {name: share[m] * (begin[name] - end[name]) for m, name in enumerate(begin)}
        return Episode(start, Target(difference, share.square() * self._squared_distances(expert)[:, 0, -1]))

    def floor(self, rank: int) -> None:
        """Return None, because no lower bound on the loss is known.

        A bound requires singular values of the changes in the heads. The expert buffer stores those of the expert's
        path, but not those of the straight line that replaces this path.
        """

    def _pace(self, expert: int) -> Float[Tensor, "M S"]:
        """Return b_t for every head and every epoch t (see the module docstring)."""
        lengths = self._squared_distances(expert).diagonal(offset=1, dim1=-2, dim2=-1).sqrt()
        travelled = torch.nn.functional.pad(lengths.cumsum(-1), (1, 0))
        return travelled / travelled[:, -1:]


@outer_objectives.register("shortcut")
class ShortcutObjective(TrajectoryObjective):
    """Match the straight line from the initial heads to the final heads of each expert."""

    cites: ClassVar[tuple[str, ...]] = ("mtt", "mtt-vl", "ptm-st")

    _form: ClassVar[type[TrajectoryMatching]] = ShortcutMatching
