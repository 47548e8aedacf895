"""The contract of objectives: `gradient` is the derivative of `value`, and is itself differentiable.

Shapes: M modalities, b instances, d embedding width.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from omnidistill.models.objectives import Objective
from omnidistill.testing.assertions import agree, check_gradient, normal, require

_NUM_INSTANCES, _WIDTH = 4, 5


def check_objective(objective: Objective, *, num_modalities: Sequence[int] = (2, 3, 4)) -> None:
    """Check the contract of objectives for each number of modalities.

    - `gradient` is the derivative of `value` with respect to the outputs. It is differentiable with respect to outputs
      and targets.
    - `embedding_loss` equals `value` for unit embeddings.
    - Permuting the instances permutes the gradient and does not change the value.
    - Leading dimensions of outputs and targets index independent runs.
    - Arguments are not modified.
    - Value, gradient and the derivative of the gradient are finite for degenerate outputs (identical, orthogonal or
      zero embeddings, or a single instance), in float32 and float64.

    The check draws targets from (0, 1), but not near 0.5, where an objective may be discontinuous.

    Args:
        objective: the objective to check.
        num_modalities: numbers of modalities for which to check the objective.

    Raises:
        AssertionError: a requirement is violated.
    """
    for modalities in num_modalities:
        outputs, targets = _correlated(modalities, seed=0), _affinities(_NUM_INSTANCES, seed=1)
        where = f"{objective!r} with {modalities} modalities"
        _check_shapes(objective, outputs, targets, where)
        _check_embedding_loss(objective, outputs, targets, where)
        _check_first_order(objective, outputs, targets, where)
        _check_second_order(objective, outputs, targets, where)
        _check_permutation(objective, outputs, targets, where)
        _check_runs(objective, modalities, where)
        for dtype in (torch.float32, torch.float64):
            for name, degenerate in _degenerate(modalities).items():
                _check_finite(objective, degenerate.to(dtype), f"{where}, {name}, {dtype}")


def _check_shapes(objective: Objective, outputs: Tensor, targets: Tensor, where: str) -> None:
    originals = outputs.clone(), targets.clone()
    value, gradient = objective.value(outputs, targets), objective.gradient(outputs, targets)
    require(value.shape == (), f"{where}: value for one run has shape {tuple(value.shape)}, not ()")
    require(
        gradient.shape == outputs.shape,
        f"{where}: gradient has shape {tuple(gradient.shape)}, but the outputs have {tuple(outputs.shape)}",
    )
    require(gradient.dtype == outputs.dtype, f"{where}: gradient is {gradient.dtype}, but outputs are {outputs.dtype}")
    unchanged = torch.equal(outputs, originals[0]) and torch.equal(targets, originals[1])
    require(unchanged, f"{where}: value or gradient modified its arguments in place")


def _check_embedding_loss(objective: Objective, outputs: Tensor, targets: Tensor, where: str) -> None:
    unit = torch.nn.functional.normalize(outputs, dim=-1)
    agree(
        objective.embedding_loss(unit, targets),
        objective.value(unit, targets),
        f"{where}: embedding_loss of unit embeddings is not the value",
    )


def _check_first_order(objective: Objective, outputs: Tensor, targets: Tensor, where: str) -> None:
    gradient, step = objective.gradient(outputs, targets), 1e-4
    for seed in range(8):
        direction = normal(*outputs.shape, seed=100 + seed)
        ahead, behind, far_ahead, far_behind = (
            objective.value(outputs + k * step * direction, targets) for k in (1, -1, 2, -2)
        )
        slope = (8 * (ahead - behind) - (far_ahead - far_behind)) / (12 * step)
        message = f"{where}: gradient is not the derivative of value (central differences along direction {seed})"
        agree((gradient * direction).sum(), slope, message, 1e-6)


def _check_second_order(objective: Objective, outputs: Tensor, targets: Tensor, where: str) -> None:
    message = f"{where}: gradient is not differentiable with respect to outputs and targets"
    attached = objective.gradient(outputs.clone().requires_grad_(), targets).requires_grad
    require(attached, f"{message}: its result is detached from the outputs")
    check_gradient(objective.gradient, [outputs, targets], message)


def _check_permutation(objective: Objective, outputs: Tensor, targets: Tensor, where: str) -> None:
    order = torch.tensor([2, 0, 3, 1], device="cpu")
    permuted = outputs[:, order], targets[order][:, order]
    agree(
        objective.value(*permuted), objective.value(outputs, targets), f"{where}: permuting instances changes the value"
    )
    agree(
        objective.gradient(*permuted),
        objective.gradient(outputs, targets)[:, order],
        f"{where}: permuting instances does not permute the gradient",
    )


def _check_runs(objective: Objective, modalities: int, where: str) -> None:
    runs = [(_correlated(modalities, seed=10 + 2 * k), _affinities(_NUM_INSTANCES, seed=11 + 2 * k)) for k in range(4)]
    outputs, targets = (torch.stack(tensors) for tensors in zip(*runs, strict=True))
    values = torch.stack([objective.value(*run) for run in runs])
    gradients = torch.stack([objective.gradient(*run) for run in runs])
    for shape in ((4,), (2, 2)):
        several = outputs.view(*shape, *outputs.shape[1:]), targets.view(*shape, *targets.shape[1:])
        message = f"with leading dimensions {shape} differs from the result for each run alone"
        agree(objective.value(*several), values.view(shape), f"{where}: value {message}")
        agree(objective.gradient(*several), gradients.view(several[0].shape), f"{where}: gradient {message}")


def _check_finite(objective: Objective, outputs: Tensor, where: str) -> None:
    outputs = outputs.detach().requires_grad_()
    targets = _affinities(outputs.shape[1], seed=1).to(outputs.dtype).requires_grad_()
    value, gradient = objective.value(outputs, targets), objective.gradient(outputs, targets)
    cotangent = normal(*gradient.shape, seed=2).to(gradient.dtype)
    second = torch.autograd.grad((gradient * cotangent).sum(), [outputs, targets], allow_unused=True)
    names = [
        "value",
        "gradient",
        "derivative of the gradient with respect to outputs",
        "derivative of the gradient with respect to targets",
    ]
    for name, tensor in zip(names, [value, gradient, *second], strict=True):
        require(tensor is None or bool(tensor.isfinite().all()), f"{where}: {name} is not finite")


def _degenerate(modalities: int) -> dict[str, Float[Tensor, "M _ _"]]:
    draw = _correlated(modalities, seed=3)
    zero_row, zero_modality = draw.clone(), draw.clone()
    zero_row[0, 1], zero_modality[-1] = 0, 0
    width = max(_WIDTH, modalities)
    axes = torch.eye(width, device="cpu").double()[:modalities, None]
    return {
        "all embeddings identical": draw[:1, :1].expand_as(draw),
        "modalities identical": draw[:1].expand_as(draw),
        "modalities opposed": torch.cat([-draw[:1], draw[:1].expand_as(draw[1:])]),
        "modalities orthogonal": axes.expand(-1, _NUM_INSTANCES, -1),
        "a zero output": zero_row,
        "a zero modality": zero_modality,
        "all outputs zero": torch.zeros_like(draw),
        "one instance": draw[:, :1],
    }


def _correlated(modalities: int, seed: int) -> Float[Tensor, "M _ _"]:
    """Return outputs with random norms and correlated modalities, like the outputs of trained heads."""
    shared, own = (
        normal(_NUM_INSTANCES, _WIDTH, seed=seed),
        normal(modalities, _NUM_INSTANCES, _WIDTH, seed=seed + 50),
    )
    lengths = 0.5 + normal(modalities, _NUM_INSTANCES, 1, seed=seed + 70).abs()
    return lengths * (torch.nn.functional.normalize(shared, dim=-1) + 0.3 * own)


def _affinities(size: int, seed: int) -> Float[Tensor, "b b"]:
    identity = torch.eye(size, dtype=torch.float64, device="cpu")
    return 0.02 + 0.4 * torch.sigmoid(normal(size, size, seed=seed)) + 0.55 * identity
