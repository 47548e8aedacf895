"""The state of the outer loop, and the checkpoint from which an interrupted run continues to the same bits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from omnidistill.core.device import moved
from omnidistill.core.errors import InputError
from omnidistill.core.json_value import Json
from omnidistill.distillation.learnable import optimiser_tensors, restore_optimiser
from omnidistill.distillation.learner import Good, Learner
from omnidistill.distillation.loop_settings import LoopSettings
from omnidistill.distillation.provenance import Provenance
from omnidistill.distillation.version_0_1 import upgraded_config
from omnidistill.io.artifacts import load_artifact, save_artifact


@dataclass
class Best:
    """The best set on validation so far, and the restarts before it."""

    score: float = float("-inf")
    iteration: int = 0
    num_steps: int = 0
    restarts: int = 0
    tensors: dict[str, Tensor] = field(default_factory=dict)

    def offer(self, score: float, iteration: int, num_steps: int, learner: Learner) -> bool:
        """Keep a copy of the set if it is better; says whether it was."""
        if score <= self.score:
            return False
        self.score, self.iteration, self.num_steps = score, iteration, num_steps
        self.restarts, self.tensors = learner.restarts, learner.learnable.product()
        return True

    def good(self) -> Good | None:
        """The set, if students were trained on it to finite heads."""
        return Good(self.tensors, self.iteration, self.restarts) if self.num_steps else None


@dataclass
class Course:
    """The progress of a run.

    Attributes:
        done: iterations done.
        best: the best set so far.
        notes: what the user should know.
        seconds: time spent, over all parts of the run.
        tracker_position: position in the metrics log, None before there is one.
    """

    done: int = 0
    best: Best = field(default_factory=Best)
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0
    tracker_position: int | None = None


@dataclass(frozen=True)
class CheckpointIdentity:
    """What a checkpoint and the run that resumes it must have in common.

    Attributes:
        config: the settings of the run, without those of its evaluation.
        provenance: data, heads and experts.
    """

    config: Mapping[str, Json]
    provenance: Mapping[str, Json]

    @staticmethod
    def of(settings: LoopSettings, seed: int, provenance: Provenance) -> CheckpointIdentity:
        """Return the identity of a run with these settings; `seed` stands for the settings that it does not record."""
        config = {**(provenance.config or {"seed": seed}), "distill": settings.model_dump(mode="json")}
        inputs = {name: value for name, value in provenance.to_json().items() if name not in ("method", "config")}
        return CheckpointIdentity({name: value for name, value in config.items() if name != "evaluate"}, inputs)

    def to_json(self) -> dict[str, Any]:
        """Return the identity as a checkpoint stores it."""
        return {"config": dict(self.config), "provenance": dict(self.provenance)}

    @staticmethod
    def from_json(tree: Mapping[str, Any], where: str) -> CheckpointIdentity:
        """Read what `to_json` of this version, or version 0.1, wrote.

        Raises:
            InputError: a field is missing or of another type.
        """
        try:
            return CheckpointIdentity(upgraded_config(tree["config"]), dict(tree["provenance"]))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(f"{where}: the identity in the checkpoint is damaged ({error}); distil again") from None


def save_checkpoint(folder: Path, identity: CheckpointIdentity, course: Course, learner: Learner) -> None:
    """Write the state after `course.done` iterations, atomically.

    Args:
        folder: folder of the checkpoint.
        identity: settings and inputs of the run.
        course: the progress of the run.
        learner: tensors, optimiser and random streams.
    """
    best, last_good = course.best, learner.last_good
    tensors = {
        **{f"leaf/{name}": leaf.detach() for name, leaf in learner.learnable.state().items()},
        **{f"optimiser/{name}": tensor for name, tensor in optimiser_tensors(learner.optimiser).items()},
        **{f"stream/{name}": state for name, state in learner.streams.state().items()},
        **{f"best/{name}": tensor for name, tensor in best.tensors.items()},
        **{f"last-good/{name}": tensor for name, tensor in last_good.tensors.items()},
    }
    chosen = {name: getattr(best, name) for name in ("score", "iteration", "num_steps", "restarts")}
    meta = {
        "identity": identity.to_json(),
        "iteration": course.done,
        "tracker_position": course.tracker_position,
        "best": chosen if best.tensors else None,
        "last_good": {"iteration": last_good.iteration, "restarts": last_good.restarts},
        "restarts": learner.restarts,
        "rate_factor": learner.rate_factor,
        "notes": course.notes,
        "seconds": course.seconds,
    }
    save_artifact(folder, "checkpoint", moved(tensors, "cpu"), meta)


def load_checkpoint(folder: Path, identity: CheckpointIdentity, learner: Learner) -> Course:
    """Restore the learner in place and return the progress of the run.

    A checkpoint without a count of restarts was written before restarts existed, so it has none.

    Args:
        folder: folder of the checkpoint.
        identity: settings and inputs of the run that resumes.
        learner: receives tensors, optimiser and random streams.

    Raises:
        InputError: the checkpoint is damaged, or it belongs to another run.
    """
    artifact = load_artifact(folder, "checkpoint")
    meta = artifact.meta
    if CheckpointIdentity.from_json(meta["identity"], str(folder)) != identity:
        raise InputError(
            f"{folder}: is the checkpoint of another run (data, heads or settings differ); start a new run folder"
        )
    sections: dict[str, dict[str, Tensor]] = {"leaf": {}, "optimiser": {}, "stream": {}, "best": {}, "last-good": {}}
    for name, tensor in artifact.tensors.items():
        section, key = name.split("/", 1)
        sections[section][key] = torch.clone(tensor)
    learner.learnable.restore(sections["leaf"])
    restore_optimiser(learner.optimiser, sections["optimiser"])
    learner.streams.restore(sections["stream"])
    learner.restarts = meta.get("restarts", 0)
    taken = meta.get("last_good", {"iteration": meta["iteration"]})
    last_good, best_tensors = (moved(sections[name], learner.device) for name in ("last-good", "best"))
    learner.last_good = Good(last_good or learner.learnable.copy(), **taken)
    best = Best(**meta["best"], tensors=best_tensors) if meta["best"] else Best()
    return Course(meta["iteration"], best, meta.get("notes", []), meta["seconds"], meta["tracker_position"])
