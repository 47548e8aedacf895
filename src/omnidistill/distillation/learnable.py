"""Parameters that the outer loop learns: synthetic rows, target similarities, and settings of the student's SGD.

`student_sgd` describes how step sizes, momentum and weight decay are represented. Optionally an exponential moving
average of all parameters is tracked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from omnidistill.core.device import moved
from omnidistill.core.errors import InputError
from omnidistill.core.streams import Streams
from omnidistill.data.featureset import FeatureSet
from omnidistill.distillation.loop_settings import LoopSettings
from omnidistill.distillation.optimisers import SetOptimiser
from omnidistill.distillation.student_sgd import StepSizeSpace, StudentSgd
from omnidistill.models.storages import RowForm


@dataclass(frozen=True)
class Learnable:
    """The tensors that the outer loop learns. They are leaves of the autograd graph and are updated in place."""

    rows: dict[str, Tensor]
    similarity: dict[str, Tensor]
    sgd: dict[str, Tensor]
    space: StepSizeSpace
    average: dict[str, Tensor] = field(default_factory=dict)  # of every leaf, by name; empty without averaging

    @staticmethod
    def initial(rows: FeatureSet, config: LoopSettings, storage: RowForm, streams: Streams) -> Learnable:
        """Return the initial parameters: real rows, the identity as target similarities, and settings of SGD.

        If no initial step size is configured, it is 0.1.
        """
        similarity = moved(config.similarity.init(config.num_rows, streams["similarity"]), rows.device)
        first = torch.tensor(config.initial_step_size or 0.1, dtype=torch.float64, device="cpu")
        sgd = StudentSgd(
            first.expand(len(rows.modalities)), config.initial_momentum, config.initial_weight_decay
        ).to_leaves(config.step_size_space)
        leaves = {name: leaf.float().to(rows.device) for name, leaf in sgd.items()}
        learnable = Learnable(storage.init(rows.features), similarity, leaves, config.step_size_space)
        if config.average:
            learnable.average.update(learnable.copy())
        for leaf in learnable.tensors().values():
            leaf.requires_grad_()
        return learnable

    def load_set(self, rows: Mapping[str, Tensor], similarity: Mapping[str, Tensor], sgd: StudentSgd | None) -> None:
        """Copy the rows, the target similarities and the SGD settings of another set.

        The similarities are copied only if their shapes match. If `sgd` is None, the SGD settings do not change.
        """
        initial = {f"rows/{name}": matrix for name, matrix in rows.items()}
        if sgd is not None:
            initial |= {name: leaf for name, leaf in sgd.to_leaves(self.space).items() if name in self.sgd}
        if {name: x.shape for name, x in similarity.items()} == {name: x.shape for name, x in self.similarity.items()}:
            initial |= {f"similarity/{name}": tensor for name, tensor in similarity.items()}
        leaves = {**self.copy(), **initial}
        self.restore({**leaves, **{f"average/{name}": leaves[name] for name in self.average}})

    def tensors(self) -> dict[str, Tensor]:
        """Return all learned tensors by name: "rows/...", "similarity/...", and SGD settings (see `to_leaves`)."""
        return {
            **{f"rows/{name}": tensor for name, tensor in self.rows.items()},
            **{f"similarity/{name}": tensor for name, tensor in self.similarity.items()},
            **self.sgd,
        }

    def student_sgd(self) -> StudentSgd:
        """Return the settings of the student's SGD, as a differentiable function of the learned tensors."""
        return StudentSgd.from_leaves(self.sgd, self.space)

    def copy(self) -> dict[str, Tensor]:
        """Return copies of all learned tensors by name."""
        return {name: leaf.detach().clone() for name, leaf in self.tensors().items()}

    def result(self) -> dict[str, Tensor]:
        """Return copies of the tensors of the resulting set: learned tensors, or their moving averages if tracked."""
        return {name: tensor.clone() for name, tensor in self.average.items()} or self.copy()

    def update_average(self, decay: float) -> None:
        """Update the moving average of every learned tensor: average <- decay * average + (1 - decay) * tensor."""
        for name, leaf in self.tensors().items():
            if name in self.average:
                self.average[name].lerp_(leaf.detach(), 1 - decay)

    def state(self) -> dict[str, Tensor]:
        """Return the learned tensors and their moving averages by name, for a checkpoint."""
        return {**self.tensors(), **{f"average/{name}": tensor for name, tensor in self.average.items()}}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Overwrite all learned tensors and moving averages with the tensors that `state` returned."""
        with torch.no_grad():
            for name, leaf in self.state().items():
                leaf.copy_(tensors[name])

    def optimiser(self, config: SetOptimiser) -> torch.optim.Optimizer:
        """Return the optimiser, with separate learning rates for rows, similarity and settings of SGD."""
        return config.build(self.rows.values(), self.similarity.values(), self.sgd.values())


def random_rows(train: FeatureSet, size: int, generator: torch.Generator) -> FeatureSet:
    """Return `size` random training rows, all from different groups (of matching rows) if there are enough groups.

    Raises:
        InputError: `size` exceeds the number of training rows.
    """
    if size > len(train):
        raise InputError(f"size {size} exceeds the {len(train)} training rows; use at most {len(train)}")
    order = torch.randperm(len(train), generator=generator, device="cpu")
    codes, position = train.group_codes.cpu()[order], torch.arange(len(train), device="cpu")
    repeated = position.scatter_reduce(0, codes, position, "amin", include_self=False)[codes] != position
    preferred = torch.cat([order[~repeated], order[repeated]])
    return train.select(preferred[:size])


def optimiser_tensors(optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return the optimiser's state as named tensors, for a checkpoint."""
    leaves = [leaf for group in optimiser.param_groups for leaf in group["params"]]
    return {
        f"{index}/{key}": value
        for index, leaf in enumerate(leaves)
        for key, value in optimiser.state.get(leaf, {}).items()
        if isinstance(value, Tensor)
    }


def restore_optimiser(optimiser: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Restore the optimiser's state from the tensors that `optimiser_tensors` returned."""
    leaves = [leaf for group in optimiser.param_groups for leaf in group["params"]]
    for name, value in tensors.items():
        index, key = name.split("/")
        leaf = leaves[int(index)]
        # As in torch, the number of steps (a scalar) stays on the CPU.
        optimiser.state[leaf][key] = value.clone() if value.ndim == 0 else value.clone().to(leaf.device)
