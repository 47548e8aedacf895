"""Every k-th training row: a method that chooses rows without looking at them."""

from __future__ import annotations

import time

import torch

import omnidistill as od
from omnidistill.distillation import Distillation
from omnidistill.methods import Task
from omnidistill.methods.recipe_choice import TunedMethod
from omnidistill.models.similarities import SharedGroups, Similarity


class EveryKth(TunedMethod):
    """Every k-th training row; validation chooses how to train on them."""

    offset: int = 0
    """Row to begin with."""

    @property
    def set_similarity(self) -> Similarity:
        """The groups: rows from the same group are positives of each other."""
        return SharedGroups()

    def run(self, task: Task) -> Distillation:
        """Choose the rows, then step size and number of steps on validation."""
        started_at, train, size = time.monotonic(), task.development.train, self.num_stored
        if size > len(train):
            raise od.InputError(f"distill.size = {size}: there are {len(train)} training rows")
        chosen = train.select((torch.arange(size) * len(train) // size + self.offset) % len(train))
        rows = {f"rows/{name}": x for name, x in chosen.features.items()}
        tensors = {**rows, "similarity/groups": chosen.group_codes.int()}
        return self.tuned(task, [task.as_set(self, tensors, chosen.ids)], started_at)
