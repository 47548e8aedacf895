"""Coresets and prototypes: real rows, or averages of real rows, no row learned.

What each selector maximises or counts, and whose it is, stands in its file in `select/`. Rows of one group stay
positives of each other.
"""

from __future__ import annotations

import time

import torch
from torch import Tensor

from omnidistill.config import SelectConfig
from omnidistill.core.streams import Streams
from omnidistill.distill import Distillation
from omnidistill.methods.recipe_choice import tuned
from omnidistill.methods.selectors import USES_TRAJECTORY, group_means, prototypes, select_rows
from omnidistill.methods.task import Task


def choose_rows(task: Task) -> Distillation:
    """Choose the rows, then step size and number of steps on validation."""
    settings, train = task.config.distill, task.development.train
    assert isinstance(settings, SelectConfig)
    trajectory = None
    if settings.selector in USES_TRAJECTORY:
        buffer = task.experts()
        task, trajectory = task.of(buffer), [buffer.heads(0, epoch) for epoch in range(buffer.last_epochs[0] + 1)]
    begun = time.monotonic()
    generator, size = Streams(task.config.seed)["select"], settings.size
    ids: tuple[str, ...] = ()
    codes: Tensor = torch.arange(size)
    if settings.selector == "prototypes":
        rows = prototypes(train, task.start, size, generator)
    elif settings.selector == "group-means":
        rows = group_means(train, size, generator)
    else:
        chosen = train.select(select_rows(settings.selector, train, task.start, size, generator, trajectory))
        rows, codes, ids = chosen.features, chosen.group_codes, chosen.ids
    tensors = {**{f"rows/{name}": x for name, x in rows.items()}, "similarity/groups": codes.int()}
    return tuned(task, [task.as_set(tensors, ids)], begun)
