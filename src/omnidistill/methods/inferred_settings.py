"""Settings that a run leaves open, settled by its data and experts; each with its reason, for the user to read.

experts.learning_rate, experts.num_epochs     what validates best of full trainings (`evaluation.training`)
distill.num_expert_epochs                     all of them: one span from the heads to the end of full training
distill.initial_step_size                     that of the experts that start from the run's own heads
distill.storage.views                         as many as make about 256 rows to train on

Experts of other starts have trainings of their own, told beside those of the run's heads. The span stays open in the
settings of the set: it is as long as each of these trainings.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from omnidistill.config import LearnedConfig, TrajectoryConfig
from omnidistill.methods.task import Task
from omnidistill.training.experts import ExpertBuffer


def settled(task: Task, buffer: ExpertBuffer | None = None) -> Task:
    """The task with numbers where its settings were open; `provenance["choices"]` is {setting: value and reason}."""
    given = task.config.distill
    assert isinstance(given, LearnedConfig)
    update: dict[str, object] = {}
    choices: dict[str, str] = {}
    if buffer is not None:
        trained, *others = buffer.meta["key"]["starts"]
        for name in ("learning_rate", "num_epochs"):
            if getattr(task.config.experts, name) is None:
                best = f"{trained[name]:g}, what validates best when heads train on all rows"
                choices[f"experts.{name}"] = best + _of_others(others, name)
        if isinstance(given, TrajectoryConfig) and given.num_expert_epochs is None:
            whole = f"{trained['num_epochs']}, from the start to the end of that training"
            choices["distill.num_expert_epochs"] = whole + _of_others(others, "num_epochs")
        if given.initial_step_size is None:
            update["initial_step_size"] = trained["learning_rate"]
            choices["distill.initial_step_size"] = f"{trained['learning_rate']:g}, that of the experts"
    if given.storage.views == 0:
        storage = given.counted_storage
        update["storage"] = storage
        rows = f"{given.size} stored rows become {given.num_rows} to train on"
        choices["distill.storage.views"] = f"{storage.views}, so that {rows}"
    config = task.config.model_copy(update={"distill": given.model_copy(update=update)})
    provenance = {**task.provenance, **({"choices": choices} if choices else {})}
    return replace(task, config=config, provenance=provenance)


def _of_others(others: Sequence[Mapping[str, Any]], name: str) -> str:
    return f" (of the other starts: {', '.join(f'{other[name]:g}' for other in others)})" if others else ""
