"""The state of the outer loop, which learns a synthetic set, and checkpoints that store this state.

An interrupted run that resumes from a checkpoint gives a bitwise identical result.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from omnidistill.core.device import moved
from omnidistill.core.errors import InputError
from omnidistill.core.json_value import Json
from omnidistill.distillation.learnable import optimiser_tensors, restore_optimiser
from omnidistill.distillation.learner import Learner, RestartPoint
from omnidistill.distillation.loop_settings import LoopSettings
from omnidistill.distillation.provenance import Provenance
from omnidistill.distillation.version_0_1 import upgraded_config
from omnidistill.io.artifacts import JsonContent, load_artifact, save_artifact
from omnidistill.io.input_files import reading
from omnidistill.io.tracking import JsonlLog


@dataclass
class Best:
    """The synthetic set with the best validation score so far.

    Attributes:
        score: the validation score; -inf before the first validation.
        iteration: number of iterations that led to this set.
        num_steps: number of training steps after which students reach the score; 0 before the first validation, or if
            all students diverged.
        restarts: number of restarts of the outer loop before this set was stored.
        tensors: all learned tensors, or their moving averages, by name; empty before the first validation.
    """

    score: float = float("-inf")
    iteration: int = 0
    num_steps: int = 0
    restarts: int = 0
    tensors: dict[str, Tensor] = field(default_factory=dict)

    def offer(self, score: float, iteration: int, num_steps: int, learner: Learner) -> bool:
        """Store a copy of the learner's synthetic set if `score` is the best so far. Return whether it was stored."""
        if score <= self.score:
            return False
        self.score, self.iteration, self.num_steps = score, iteration, num_steps
        self.restarts, self.tensors = learner.restarts, learner.learnable.result()
        return True

    def restart_point(self) -> RestartPoint | None:
        """Return the best set as a point to restart from.

        Return None before the first validation, or if all students that were trained on the best set diverged.
        """
        return RestartPoint(self.tensors, self.iteration, self.restarts) if self.num_steps else None


@dataclass
class LoopState:
    """The progress of the outer loop.

    Attributes:
        iteration: number of finished iterations.
        best: the set with the best validation score so far.
        notes: messages to the user so far, such as warnings.
        seconds: time spent so far, including the time before an interruption.
        tracker_position: position in the metrics log; None before the first checkpoint.
    """

    iteration: int = 0
    best: Best = field(default_factory=Best)
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0
    tracker_position: int | None = None


@dataclass(frozen=True)
class CheckpointIdentity:
    """Settings and inputs of a distillation run. A run resumes from a checkpoint only if both have the same identity.

    Attributes:
        config: the settings of the run, without the evaluation settings.
        provenance: records about the data, initial heads and experts from which the set is learned.
    """

    config: Mapping[str, Json]
    provenance: Mapping[str, Json]

    @staticmethod
    def of(settings: LoopSettings, seed: int, provenance: Provenance) -> CheckpointIdentity:
        """Return the identity of a run. A checkpoint of the run must have the same identity.

        Args:
            settings: settings of the outer loop. They become the section "distill" of `config`.
            seed: seed of the run. It is only used if the provenance contains no run configuration.
            provenance: the run configuration and records about the inputs of the run. The other sections of `config`
                are those of the run configuration, without "evaluate".
        """
        config = {**(provenance.config or {"seed": seed}), "distill": settings.model_dump(mode="json")}
        inputs = {name: value for name, value in provenance.to_json().items() if name not in ("method", "config")}
        return CheckpointIdentity({name: value for name, value in config.items() if name != "evaluate"}, inputs)

    def to_json(self) -> dict[str, Any]:
        """Return the settings and inputs of the run as a JSON object."""
        return {"config": dict(self.config), "provenance": dict(self.provenance)}

    @staticmethod
    def from_json(tree: Mapping[str, Any], where: str) -> CheckpointIdentity:
        """Create the identity of a run from JSON that `to_json` returned in this version or in version 0.1.

        Raises:
            InputError: a field is missing or has the wrong type.
        """
        try:
            return CheckpointIdentity(upgraded_config(tree["config"]), dict(tree["provenance"]))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(
                f"{where}: the description of the run in the checkpoint is damaged ({error}); distil again"
            ) from None


Count = Annotated[int, Field(ge=0, le=2**53)]


class _Moment(JsonContent):
    iteration: Count
    restarts: Count = 0


class _BestMoment(_Moment):
    score: float
    num_steps: Count


class CheckpointMeta(JsonContent):
    """Metadata of a checkpoint; `Best`, `LoopState` and `RestartPoint` explain the values."""

    remedy: ClassVar[str] = "delete this folder to start again"

    identity: Mapping[str, Json]
    iteration: Count
    best: _BestMoment | None
    last_good: _Moment | None = None
    restarts: Annotated[int, Field(ge=0, le=1000)] = 0
    notes: tuple[str, ...] = ()
    seconds: Annotated[float, Field(ge=0)]
    tracker_position: Count | None


def save_checkpoint(folder: Path, identity: CheckpointIdentity, state: LoopState, learner: Learner) -> None:
    """Write a checkpoint of the outer loop to a folder. An interrupted write leaves no partial checkpoint.

    Args:
        folder: folder of the checkpoint.
        identity: settings and inputs of the run.
        state: the progress of the run.
        learner: the learner whose tensors, optimiser and random streams are saved.
    """
    best, last_good = state.best, learner.last_good
    tensors = {
        **{f"leaf/{name}": leaf.detach() for name, leaf in learner.learnable.state().items()},
        **{f"optimiser/{name}": tensor for name, tensor in optimiser_tensors(learner.optimiser).items()},
        **{f"stream/{name}": stream_state for name, stream_state in learner.streams.state().items()},
        **{f"best/{name}": tensor for name, tensor in best.tensors.items()},
        **{f"last-good/{name}": tensor for name, tensor in last_good.tensors.items()},
    }
    chosen = {name: getattr(best, name) for name in ("score", "iteration", "num_steps", "restarts")}
    meta = {
        "identity": identity.to_json(),
        "iteration": state.iteration,
        "tracker_position": state.tracker_position,
        "best": chosen if best.tensors else None,
        "last_good": {"iteration": last_good.iteration, "restarts": last_good.restarts},
        "restarts": learner.restarts,
        "rate_factor": learner.rate_factor,
        "notes": state.notes,
        "seconds": state.seconds,
    }
    save_artifact(folder, "checkpoint", moved(tensors, "cpu"), meta)


def load_checkpoint(folder: Path, identity: CheckpointIdentity, learner: Learner) -> LoopState:
    """Load a checkpoint: restore the learner in place, and return the progress of the run.

    Old checkpoints do not record the number of restarts, which is then set to 0.

    Args:
        folder: folder of the checkpoint.
        identity: settings and inputs of the run that resumes.
        learner: the learner whose tensors, optimiser and random streams are overwritten.

    Raises:
        InputError: the checkpoint is damaged, or it belongs to a different run.
    """
    try:
        artifact = load_artifact(folder, "checkpoint")
        meta = CheckpointMeta.from_json(artifact.meta, str(folder))
    except InputError as error:
        raise _with_remedy(error, folder) from error
    with reading(str(folder), meta.remedy):
        if CheckpointIdentity.from_json(meta.identity, str(folder)) != identity:
            raise InputError(
                f"{folder}: the checkpoint belongs to another run (data, heads or settings differ); use a new run "
                "folder"
            )
        names = ("leaf", "optimiser", "stream", "best", "last-good")
        sections: dict[str, dict[str, Tensor]] = {name: {} for name in names}
        for name, tensor in artifact.tensors.items():
            section, key = name.split("/", 1)
            sections[section][key] = torch.clone(tensor)
        learner.learnable.restore(sections["leaf"])
        restore_optimiser(learner.optimiser, sections["optimiser"])
        learner.streams.restore(sections["stream"])
        learner.restarts = meta.restarts
        taken = meta.last_good or _Moment(iteration=meta.iteration)
        last_good, best_tensors = (moved(sections[name], learner.device) for name in ("last-good", "best"))
        learner.last_good = RestartPoint(last_good or learner.learnable.copy(), taken.iteration, taken.restarts)
        best = Best(**dict(meta.best), tensors=best_tensors) if meta.best else Best()
    return LoopState(meta.iteration, best, list(meta.notes), meta.seconds, meta.tracker_position)


def open_log(path: Path, state: LoopState, checkpoint: Path) -> JsonlLog:
    """Open the metrics log of a run at the position that its checkpoint recorded, or start a new log.

    Raises:
        InputError: the log cannot be opened, or it does not belong to the checkpoint.
    """
    try:
        return JsonlLog(path, state.tracker_position)
    except InputError as error:
        if state.tracker_position is None:
            raise
        raise _with_remedy(error, checkpoint) from error


def _with_remedy(error: InputError, folder: Path) -> InputError:
    """Return a copy of the error whose message tells the user to delete the checkpoint folder and resume."""
    found = str(error).partition(";")[0]
    return InputError(f"{found}; to restart the outer loop from the beginning, delete the folder {folder} and resume")
