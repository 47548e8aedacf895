"""Coresets and prototypes: synthetic sets of real rows, or of averages of real rows, without any learning.

Each file in `selectors/` documents the criterion and the reference of its selector. Rows from the same group remain
positives of each other.
"""

from __future__ import annotations

import time

from omnidistill.core.device import float64_device, moved
from omnidistill.core.streams import Streams
from omnidistill.data.featureset import FeatureSet
from omnidistill.distillation import Distillation
from omnidistill.methods.method import methods
from omnidistill.methods.recipe_choice import TunedMethod
from omnidistill.methods.selectors.random_rows import RandomRows
from omnidistill.methods.selectors.selector import AnySelector
from omnidistill.methods.task import Task
from omnidistill.models.similarities import SharedGroups, Similarity


@methods.register("select")
class Select(TunedMethod):
    """A set of real rows, or of averages of real rows, that a selector chooses."""

    selector: AnySelector = RandomRows()
    """Selector that chooses the real rows of the set."""

    @property
    def set_similarity(self) -> Similarity:
        """Target similarity of the set: rows from the same group are positives of each other."""
        return SharedGroups()

    @property
    def uses_experts(self) -> bool:
        """Whether the selector uses an expert trajectory."""
        return self.selector.uses_trajectory

    def most_rows(self, train: FeatureSet) -> int:
        """Return the largest number of rows that the selector can choose."""
        return self.selector.most_rows(train)

    def run(self, task: Task) -> Distillation:
        """Choose the rows, then choose the step size and number of steps by validation score."""
        device = float64_device(task.development.train.device)
        trajectory = None
        if self.uses_experts:
            buffer = task.experts()
            task = task.with_experts(buffer)
            trajectory = [moved(buffer.heads(0, epoch), device) for epoch in range(buffer.last_epochs[0] + 1)]
        started_at = time.monotonic()
        generator = Streams(task.seed)["select"]
        train, start = task.development.train.to(device), moved(task.start, device)
        chosen = self.selector.choose(train, start, self.num_stored, generator, trajectory)
        tensors = {f"rows/{name}": x for name, x in chosen.rows.items()}
        tensors["similarity/groups"] = chosen.group_codes.int()
        return self.tuned(task, [task.as_set(self, tensors, chosen.ids)], started_at)
