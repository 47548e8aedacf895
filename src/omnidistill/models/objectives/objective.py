"""Base class for objectives: losses that compare outputs with target similarities and have closed-form gradients.

`gradient` must itself be differentiable with respect to outputs and targets, because distillation differentiates
through the training steps of the student. `omnidistill.testing.check_objective` tests this.

Shapes: M modalities, b instances, embedding width d; `*r` stands for leading dimensions, one index per run.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Annotated

import torch
from jaxtyping import Float
from torch import Tensor

from omnidistill.core.errors import InputError, nearest
from omnidistill.core.registry import ComponentRegistry
from omnidistill.core.settings import Component


class Objective(Component):
    """A loss L(Y, S) that compares head outputs Y (M x b x d) with target similarities S (b x b)."""

    @abstractmethod
    def value(self, outputs: Float[Tensor, "*r M b d"], targets: Float[Tensor, "*r b b"]) -> Float[Tensor, "*r"]:
        """Return one loss per run; the leading dimensions `*r` index the runs. The outputs need not be normalised."""

    @abstractmethod
    def gradient(
        self, outputs: Float[Tensor, "*r M b d"], targets: Float[Tensor, "*r b b"]
    ) -> Float[Tensor, "*r M b d"]:
        """Return the gradient dL/dY of the loss L with respect to the outputs Y, in closed form.

        The result is differentiable with respect to outputs and targets.
        """

    def embedding_loss(
        self, embeddings: Float[Tensor, "*r M b d"], targets: Float[Tensor, "*r b b"]
    ) -> Float[Tensor, "*r"]:
        """Return the loss L as a function of embeddings Z. It equals `value` if every embedding has length 1.

        A subclass should compute L without normalising Z. The gradient dL/dZ then also has a component along each
        embedding. The default implementation calls `value`, which normalises Z and thereby removes this component.
        """
        return self.value(embeddings, targets)

    def bind(self, modalities: Sequence[str]) -> Objective:
        """Return the objective with every modality name in its settings replaced by its index in `modalities`.

        Raises:
            InputError: a setting names a modality that is not in `modalities`.
        """
        return self

    @property
    def title(self) -> str:
        """Name of the objective in tables: its kind, followed by the settings that differ from their defaults."""
        changed = [
            f"{name} {getattr(self, name)}"
            for name, field in type(self).model_fields.items()
            if getattr(self, name) != field.get_default(call_default_factory=True)
        ]
        return self.kind + (f" ({', '.join(changed)})" if changed else "")


def anchor_index(anchor: str | int | None, modalities: Sequence[str]) -> int | None:
    """Return the index of the anchor (the modality that occurs in all pairs), or None if there is no anchor.

    The anchor may be given as a name or an index.

    Raises:
        InputError: no modality has this name.
    """
    if not isinstance(anchor, str):
        return anchor
    if anchor not in modalities:
        raise InputError(
            f"anchor '{anchor}': the data have no such modality; choose from "
            f"{', '.join(modalities)}{nearest(anchor, modalities)}"
        )
    return list(modalities).index(anchor)


def require_index(anchor: str | int | None) -> int | None:
    """Return the index of the anchor (the modality that occurs in all pairs), or None if there is no anchor.

    Raises:
        InputError: the anchor is still a name, because `bind` was not called.
    """
    if isinstance(anchor, str):
        raise InputError(
            f"anchor '{anchor}': the objective needs the index of this modality, not its name; call bind(modalities) "
            "before using the objective"
        )
    return anchor


def check_contract(objective: Objective, modalities: Sequence[str]) -> Objective:
    """Bind the objective to these modalities. If another package provides it, also test it on random outputs.

    Raises:
        InputError: the objective names an unknown modality; its value or gradient has the wrong shape or type,
            contains NaN or Inf, or cannot be differentiated; or the gradient is not the derivative of the value.
    """
    bound = objective.bind(modalities)
    if not bound.package:
        return bound
    where = f"objective '{bound.kind}' from package '{bound.package}'"
    draw = torch.Generator("cpu").manual_seed(0)
    outputs = torch.randn(len(modalities), 3, 4, dtype=torch.float64, generator=draw, device="cpu").requires_grad_()
    targets = torch.eye(3, dtype=torch.float64, device="cpu")
    try:
        value, gradient = bound.value(outputs, targets), bound.gradient(outputs, targets)
    except Exception as error:
        why = " ".join(f"{type(error).__name__}: {error}".split())
        raise InputError(
            f"{where}: value() or gradient() raised an error for outputs of shape {tuple(outputs.shape)} ({why}); "
            "correct the objective"
        ) from error
    shapes = {"value": (value, ()), "gradient": (gradient, tuple(outputs.shape))}
    for name, (result, expected) in shapes.items():
        if not isinstance(result, Tensor) or tuple(result.shape) != expected:
            shape = tuple(result.shape) if isinstance(result, Tensor) else type(result).__name__
            raise InputError(f"{where}: {name}() returned {shape}, expected a tensor of shape {expected}")
        if not bool(torch.isfinite(result).all()) or not result.requires_grad:
            raise InputError(
                f"{where}: {name}() must return finite, differentiable values; found NaN, Inf or no gradient"
            )
    (by_autograd,) = torch.autograd.grad(value, outputs)
    if not torch.allclose(gradient, by_autograd, rtol=1e-4, atol=1e-8):
        raise InputError(
            f"{where}: gradient() does not return the derivative of value(); run omnidistill.testing.check_objective "
            "for details"
        )
    return bound


objectives: ComponentRegistry[Objective] = ComponentRegistry(
    "objective",
    Objective,  # type: ignore[type-abstract]
    {
        "hopa": "omnidistill.models.objectives.hopa",
        "pairwise-wbce": "omnidistill.models.objectives.pairwise",
        "infonce": "omnidistill.models.objectives.infonce",
    },
    group="omnidistill.objectives",
)
"""Registry of all objectives."""

AnyObjective = Annotated[Objective, objectives]
"""Type for a settings field that contains an objective."""
