"""The outer loop's state: how far it is, and on disk everything a resumed run needs to go on to the same bits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from omnidistill.core.errors import InputError
from omnidistill.distill.learnable import optimiser_tensors, restore_optimiser
from omnidistill.distill.learner import Good, Learner
from omnidistill.distill.version_0_1 import upgraded_config
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
    """How far a run is: iterations done, the best set so far, what its user is told, its seconds, and the place in its
    log (None before there is one).
    """

    done: int = 0
    best: Best = field(default_factory=Best)
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0
    tracker_position: int | None = None


def save_checkpoint(folder: Path, identity: Mapping[str, Any], course: Course, learner: Learner) -> None:
    """Write the state after `course.done` iterations (atomically)."""
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
        "identity": dict(identity),
        "iteration": course.done,
        "tracker_position": course.tracker_position,
        "best": chosen if best.tensors else None,
        "last_good": {"iteration": last_good.iteration, "restarts": last_good.restarts},
        "restarts": learner.restarts,
        "rate_factor": learner.rate_factor,
        "notes": course.notes,
        "seconds": course.seconds,
    }
    save_artifact(folder, "checkpoint", tensors, meta)


def load_checkpoint(folder: Path, identity: Mapping[str, Any], learner: Learner) -> Course:
    """Restore the learner in place; returns how far it was. One that was written before there were restarts has had
    none.

    Raises:
        InputError: damaged, or of another run.
    """
    artifact = load_artifact(folder, "checkpoint")
    meta = artifact.meta
    stored = dict(meta["identity"])
    if {**stored, "config": upgraded_config(stored.get("config", {}))} != identity:
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
    learner.last_good = Good(sections["last-good"] or learner.learnable.copy(), **taken)
    best = Best(**meta["best"], tensors=sections["best"]) if meta["best"] else Best()
    return Course(meta["iteration"], best, meta.get("notes", []), meta["seconds"], meta["tracker_position"])
