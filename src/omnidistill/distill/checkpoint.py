"""The outer loop's state on disk: everything a resumed run needs to go on to the same bits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from omnidistill.artifacts import load_artifact, save_artifact
from omnidistill.distill.learnable import Learnable, optimiser_tensors, restore_optimiser
from omnidistill.errors import InputError
from omnidistill.randomness import Streams


@dataclass
class Best:
    """The best set on validation so far."""

    score: float = float("-inf")
    iteration: int = 0
    num_steps: int = 0
    tensors: dict[str, Tensor] = field(default_factory=dict)

    def offer(self, score: float, iteration: int, num_steps: int, learnable: Learnable) -> bool:
        """Keep a copy of the set if it is better; says whether it was."""
        if score <= self.score:
            return False
        self.score, self.iteration, self.num_steps = score, iteration, num_steps
        self.tensors = learnable.product()
        return True


def save_checkpoint(
    folder: Path,
    identity: Mapping[str, Any],
    iteration: int,
    learnable: Learnable,
    optimiser: torch.optim.Optimizer,
    streams: Streams,
    best: Best,
    tracker_position: int,
    seconds: float,
) -> None:
    """Write the state after `iteration` iterations (atomically)."""
    tensors = {
        **{f"leaf/{name}": leaf.detach() for name, leaf in learnable.state().items()},
        **{f"optimiser/{name}": tensor for name, tensor in optimiser_tensors(optimiser).items()},
        **{f"stream/{name}": state for name, state in streams.state().items()},
        **{f"best/{name}": tensor for name, tensor in best.tensors.items()},
    }
    chosen = {"score": best.score, "iteration": best.iteration, "num_steps": best.num_steps} if best.tensors else None
    meta = {
        "identity": dict(identity),
        "iteration": iteration,
        "tracker_position": tracker_position,
        "best": chosen,
        "seconds": seconds,
    }
    save_artifact(folder, "checkpoint", tensors, meta)


def load_checkpoint(
    folder: Path, identity: Mapping[str, Any], learnable: Learnable, optimiser: torch.optim.Optimizer, streams: Streams
) -> tuple[int, Best, int, float]:
    """Restore the state in place; returns (iterations done, best so far, tracker position, seconds spent).

    Raises:
        InputError: damaged, or of another run.
    """
    artifact = load_artifact(folder, "checkpoint")
    meta = artifact.meta
    if meta["identity"] != identity:
        raise InputError(
            f"{folder}: is the checkpoint of another run (data, heads or settings differ); start a new run folder"
        )
    sections: dict[str, dict[str, Tensor]] = {"leaf": {}, "optimiser": {}, "stream": {}, "best": {}}
    for name, tensor in artifact.tensors.items():
        section, key = name.split("/", 1)
        sections[section][key] = torch.clone(tensor)
    learnable.restore(sections["leaf"])
    restore_optimiser(optimiser, sections["optimiser"])
    streams.restore(sections["stream"])
    best = Best(**meta["best"], tensors=sections["best"]) if meta["best"] else Best()
    return meta["iteration"], best, meta["tracker_position"], meta["seconds"]
