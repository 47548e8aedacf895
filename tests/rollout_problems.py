"""Random problems for tests of rollouts: heads, rows, similarity, batches and step sizes, and results to compare.

Shapes as in `training.rollout`: M modalities, N rows, T steps, b mini-batch, d embedding width, p_m = 5 + m.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from omnidistill.models.objectives import Hopa, Objective
from omnidistill.models.similarities import LowRank, Similarity
from omnidistill.training.rollout import Endpoint, Rollout, Scalar, Target


@dataclass(frozen=True)
class Problem:
    """The inputs of a rollout, and the quantities to compute from it."""

    objective: Objective
    start: dict[str, Tensor]
    goal: dict[str, Tensor]
    rows: dict[str, Tensor]
    similarity: Similarity
    factors: dict[str, Tensor]
    batches: Tensor
    step_sizes: Tensor
    fresh: dict[str, Tensor]  # rows the student has not seen

    @property
    def targets(self) -> Tensor:
        return self.similarity.targets(self.factors, self.batches).to(self.step_sizes.dtype)

    @property
    def target(self) -> Target:
        return Target.between(self.start, self.goal)

    def leaves(self) -> dict[str, Tensor]:
        """Return the tensors for which the outer gradient is computed."""
        rows = {f"rows {name}": x for name, x in self.rows.items()}
        return {**rows, **{f"factor {name}": x for name, x in self.factors.items()}, "step sizes": self.step_sizes}

    def cast(self, dtype: torch.dtype) -> Problem:
        def each(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
            return {name: x.detach().to(dtype).requires_grad_(x.requires_grad) for name, x in tensors.items()}

        return replace(
            self,
            start=each(self.start),
            goal=each(self.goal),
            rows=each(self.rows),
            factors=each(self.factors),
            fresh=each(self.fresh),
            step_sizes=self.step_sizes.detach().to(dtype).requires_grad_(),
        )


def problem(
    *,
    num_modalities: int = 3,
    num_rows: int = 7,
    batch_size: int = 4,
    num_steps: int = 5,
    objective: Objective | None = None,
    similarity: Similarity | None = None,
    per_step: bool = False,
    bias: bool = False,
    step_size: float = 0.1,
    width: int = 4,
    widths: tuple[int, ...] | None = None,
    seed: int = 0,
) -> Problem:
    """A random problem in float64; `bias` makes the last column of every row 1."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    names = [f"m{m}" for m in range(num_modalities)]
    sizes = dict(zip(names, widths or range(5, 5 + num_modalities), strict=True))
    start = {name: normal(width, p) / p**0.5 for name, p in sizes.items()}
    goal = {name: matrix + 0.3 * normal(*matrix.shape) / matrix.shape[1] ** 0.5 for name, matrix in start.items()}
    shared = normal(num_rows, max(sizes.values()))
    rows = {name: shared[:, :p] + normal(num_rows, p) for name, p in sizes.items()}
    fresh = {name: normal(3, p) for name, p in sizes.items()}
    if bias:
        for x in (*rows.values(), *fresh.values()):
            x[:, -1] = 1
    similarity = similarity or LowRank(rank=2, alpha=0.5)
    factors = {name: x.double() for name, x in similarity.init(num_rows, generator).items()}
    factors = {name: x + 0.2 * normal(*x.shape) for name, x in factors.items()}
    orders = [torch.randperm(num_rows, generator=generator)[:batch_size] for _ in range(num_steps)]
    shape = (num_steps, num_modalities) if per_step else (num_modalities,)
    step_sizes = step_size * torch.exp(0.3 * normal(*shape))
    made = Problem(objective or Hopa(), start, goal, rows, similarity, factors, torch.stack(orders), step_sizes, fresh)
    for leaf in made.leaves().values():
        leaf.requires_grad_()
    return made


def roll(rollout: Rollout, made: Problem, momentum: Scalar = 0.0, weight_decay: Scalar = 0.0) -> Endpoint:
    """Train the student of a problem."""
    return rollout(
        made.objective,
        made.start,
        made.rows,
        made.targets,
        made.batches,
        made.step_sizes,
        momentum=momentum,
        weight_decay=weight_decay,
    )


def answers(rollout: Rollout, made: Problem, momentum: float = 0.0, weight_decay: float = 0.0) -> dict[str, Tensor]:
    """Heads, outputs and distances at the end, and the gradient of a mixture of them with respect to every leaf."""
    end = roll(rollout, made, momentum, weight_decay)
    heads, outputs, distances = end.heads(), end.outputs(made.fresh), end.squared_distances(made.target)
    generator = torch.Generator().manual_seed(1)
    mixture = torch.zeros((), dtype=made.step_sizes.dtype)
    for value in (*heads.values(), *outputs.values(), distances):
        cotangent = torch.randn(value.shape, generator=generator, dtype=torch.float64).to(value.dtype)
        mixture = mixture + (cotangent * value).sum()
    leaves = made.leaves()
    gradients = torch.autograd.grad(mixture, list(leaves.values()))
    return {
        **{f"head {name}": x.detach() for name, x in heads.items()},
        **{f"outputs {name}": x.detach() for name, x in outputs.items()},
        "distances": distances.detach(),
        **{f"gradient of {name}": x for name, x in zip(leaves, gradients, strict=True)},
    }


def matching_gradients(
    rollout: Rollout, made: Problem, momentum: float = 0.0, weight_decay: float = 0.0
) -> dict[str, Tensor]:
    """Gradients of the matching loss, sum over branches of ||W_T - W*||^2 / ||W_0 - W*||^2."""
    end = roll(rollout, made, momentum, weight_decay)
    loss = (end.squared_distances(made.target) / made.target.squared_norms).sum()
    leaves = made.leaves()
    return dict(zip(leaves, torch.autograd.grad(loss, list(leaves.values())), strict=True))


def relative_error(found: Tensor, expected: Tensor, floor: float = 0.0) -> float:
    """||found - expected|| / ||expected||, the latter at least `floor`."""
    found, expected = found.detach().double(), expected.detach().double()
    return float((found - expected).norm()) / max(float(expected.norm()), floor)


def assert_close(found: dict[str, Tensor], expected: dict[str, Tensor], tolerance: float) -> None:
    """Every entry agrees in relative norm; one that vanishes up to rounding is measured against the largest."""
    assert found.keys() == expected.keys()
    floor = 1e-2 * max(float(x.detach().norm()) for x in expected.values())
    errors = {name: relative_error(found[name], expected[name], floor) for name in expected}
    assert max(errors.values()) <= tolerance, errors
