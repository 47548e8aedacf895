"""Settings that are inferred from data and experts if the user does not set them, with the reason for each value.

    experts.learning_rate, experts.num_epochs   the values with the best validation score when training on all rows
    distill.outer.num_expert_epochs             all epochs of an expert, from its initial to its final heads
    distill.initial_step_size                   the learning rate of experts that start from the run's initial heads
    distill.storage.views                       the number of views per stored row that gives about 256 training rows

Views are the training rows that are derived from one stored row; they differ only in the signs of some values. Their
number is inferred if it is "auto".

Experts can start from several initial heads, each with its own learning rate and number of epochs. No single number of
epochs is then right for all experts. `num_expert_epochs` therefore stays None, which means all epochs of each expert.
The reasons for the first two lines of the table list the values for all initial heads.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any, TypeVar

from omnidistill.distillation.loop_settings import LoopSettings
from omnidistill.methods.task import Task
from omnidistill.training.experts import ExpertBuffer

L = TypeVar("L", bound=LoopSettings)


def infer_settings(settings: L, task: Task, buffer: ExpertBuffer | None = None) -> tuple[L, Task]:
    """Replace missing settings by inferred values. Return the settings and a copy of the task.

    The provenance of the copy records the inferred values and the reasons for them.
    """
    changes: dict[str, Any] = {}
    choices: dict[str, str] = {}
    if buffer is not None:
        trained, *others = [asdict(start) for start in buffer.key.starts]
        for name in ("learning_rate", "num_epochs"):
            if getattr(task.experts_config, name) is None:
                best = f"{trained[name]:g}, the best on validation when heads are trained on all rows"
                choices[f"experts.{name}"] = best + _of_others(others, name)
        outer = getattr(settings, "outer", None)
        if getattr(outer, "num_expert_epochs", 0) is None:
            whole = f"{trained['num_epochs']}, from the start to the end of the experts' training"
            choices["distill.outer.num_expert_epochs"] = whole + _of_others(others, "num_epochs")
        if settings.initial_step_size is None:
            changes["initial_step_size"] = trained["learning_rate"]
            choices["distill.initial_step_size"] = f"{trained['learning_rate']:g}, the experts' step size"
    storage = settings.resolved_storage
    if storage != settings.storage:
        changes["storage"] = storage
        rows = f"{settings.num_stored} stored rows become {settings.num_rows} to train on"
        choices["distill.storage.views"] = f"{getattr(storage, 'views', '')}, so that {rows}"
    inferred = settings.evolve(**changes)
    config = {**task.provenance.config, "distill": inferred.model_dump(mode="json")} if task.provenance.config else {}
    return inferred, replace(task, provenance=replace(task.provenance, choices=choices, config=config))


def _of_others(others: Sequence[Mapping[str, Any]], name: str) -> str:
    return f" (for the other initial heads: {', '.join(f'{other[name]:g}' for other in others)})" if others else ""
