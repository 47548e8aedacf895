"""Settings that a run leaves open, settled by its data and experts; each with its reason, for the user to read.

experts.learning_rate, experts.num_epochs     what validates best of full trainings (`evaluation.training`)
distill.num_expert_epochs                     all of them: one span from the heads to the end of full training
distill.initial_step_size                     the experts'
distill.storage.views                         as many as make about 256 rows to train on
"""

from __future__ import annotations

from dataclasses import replace

from omnidistill.config import LearnedConfig, TrajectoryConfig
from omnidistill.experts import ExpertBuffer
from omnidistill.methods.task import Task


def settled(task: Task, buffer: ExpertBuffer | None = None) -> Task:
    """The task with numbers where its settings were open; `provenance["choices"]` is {setting: value and reason}."""
    given = task.config.distill
    assert isinstance(given, LearnedConfig)
    update: dict[str, object] = {}
    choices: dict[str, str] = {}
    if buffer is not None:
        trained = buffer.meta["key"]["config"]
        for name in ("learning_rate", "num_epochs"):
            if getattr(task.config.experts, name) is None:
                choices[f"experts.{name}"] = f"{trained[name]:g}, what validates best when heads train on all rows"
        if isinstance(given, TrajectoryConfig) and given.num_expert_epochs is None:
            update["num_expert_epochs"] = buffer.num_epochs
            choices["distill.num_expert_epochs"] = f"{buffer.num_epochs}, from the start to the end of that training"
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
