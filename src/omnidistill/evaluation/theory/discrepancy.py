"""The discrepancy between two gradients, and its bounds by modes (HoPA, arXiv 2604.10666, eq. 4, 10, 11).

A synthetic and a real batch have b instances each. Instance i of one batch is paired with instance i of the other. For
features x_m in modality m, let y_m = W_m x_m be the outputs and z_m = y_m / ||y_m|| the unit embeddings. J_i is the
Jacobian of the embeddings of instance i with respect to the heads, and G_i is the gradient with respect to these
embeddings. The gradient g with respect to the heads, and the discrepancy Delta of the two batches, are

    g = (1/b) sum_i J_i^T G_i        Delta = ||g^real - g^syn||                                    eq. 4

The modes A_k of an instance are orthonormal matrices (see `modes`). They decompose the gradient into
G_i = sum_k c_k A_k + R, with a rest R (see `mode_gradients`). A prime marks the synthetic instance of a pair. Let

    omega_k = |c_k|,   eps_k = ||A_k - A'_k||
    C_J = max of ||J_i|| over both batches,   ||J_i|| = max_m ||x_m|| / ||y_m||

The paper bounds Delta by

    Delta <= C_J (1/b) sum_i sum_k omega_k eps_k                                                   eq. 10

This holds only if R = 0 and if paired instances have the same coefficients c_k and the same Jacobian. Our source for
the paper lacks its equations, so eq. 10 is reconstructed from the text (docs/guides/theory.md). The text does not say
to which instance of a pair omega_k belongs, so eq. 10 is computed twice: once with omega_k, and once with omega'_k.

The complete bound always holds (own derivation):

    Delta <= C_J (1/b) sum_i [ sum_k omega'_k eps_k + ||c - c'||_2 + ||R - R'||_F ]
             + (1/b) sum_i ||(J_i - J'_i)^T G'_i||

It follows from the triangle inequality and two identities (index i omitted):

    J^T G - J'^T G' = J^T (G - G') + (J - J')^T G'
    G - G' = sum_k c'_k (A_k - A'_k) + sum_k (c_k - c'_k) A_k + (R - R')

Everything is computed in float64. Shapes: b instances, M modalities, d embedding width, p_m feature width, K modes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from omnidistill.evaluation.theory.mode_gradients import ModeGradients, mode_gradients
from omnidistill.evaluation.theory.modes import Modes, mode_distances, modes
from omnidistill.models.heads import Heads, project, stack
from omnidistill.models.objectives import Objective
from omnidistill.models.objectives.sphere import normalise, pull_back


@dataclass(frozen=True)
class Batch:
    """A batch of rows evaluated with given heads: features, embeddings, modes of the embeddings, and loss gradients.

    The modes of an instance are the singular vectors of the matrix of its embeddings.
    """

    features: Mapping[str, Float[Tensor, "b _"]]
    embeddings: Float[Tensor, "b M d"]
    norms: Float[Tensor, "b M"]  # ||y_m||
    modes: Modes
    gradients: ModeGradients
    head_gradients: Heads  # g_m = dL/dW_m

    @staticmethod
    def of(
        objective: Objective,
        heads: Heads,
        features: Mapping[str, Float[Tensor, "b _"]],
        targets: Float[Tensor, "b b"],
    ) -> Batch:
        """Compute the embeddings of a batch, their modes (singular values and vectors), and the gradients of the loss.

        Everything is computed from the features and target similarities of the batch.
        """
        outputs = stack(project(heads, features))
        unit, norms = normalise(outputs)
        embeddings = unit.transpose(0, 1).contiguous()
        decomposed = modes(embeddings)
        return Batch(
            features,
            embeddings,
            norms.squeeze(-1).T.contiguous(),
            decomposed,
            mode_gradients(objective, embeddings, targets, decomposed),
            head_gradients(objective, heads, features, targets),
        )

    def jacobian_norm(self) -> float:
        """Return the largest spectral norm ||J_i|| over the instances i of the batch.

        J_i is the Jacobian of the embeddings of instance i with respect to the heads. Its norm is the largest ratio
        ||x_m|| / ||y_m|| over modalities m, where x_m are the features and y_m the head outputs.
        """
        lengths = torch.stack([torch.linalg.vector_norm(x, dim=-1) for x in self.features.values()], dim=-1)
        return float((lengths / self.norms).max())


@dataclass(frozen=True)
class Discrepancy:
    """The discrepancy between the gradients of a real and a synthetic batch, and the terms of the bounds on it.

    The gradient of an instance is a weighted sum of the modes A_k of its embeddings, with coefficients c_k, plus a rest
    R. A prime marks the synthetic instance of a pair. Each term from `by_mode` to `jacobian` is a mean over the pairs.
    The module docstring has the bounds.

    Attributes:
        delta: the discrepancy, the distance between the two gradients with respect to the heads.
        jacobian_norm: C_J, by which the bounds multiply all terms except `jacobian`.
        by_mode: for each mode k, the distance ||A_k - A'_k|| between the paired modes, weighted by |c'_k|.
        by_mode_real: the same, weighted by |c_k| (real instance) instead of |c'_k|.
        coefficients: the distance ||c - c'|| between the coefficients of paired instances.
        rest: the distance ||R - R'|| between the rests of paired instances.
        jacobian: ||(J - J')^T G'||, the effect of different Jacobians J of the embeddings with respect to the heads.
            G' is the gradient with respect to the synthetic embeddings.
    """

    delta: float
    jacobian_norm: float
    by_mode: tuple[float, ...]
    by_mode_real: tuple[float, ...]
    coefficients: float
    rest: float
    jacobian: float

    @property
    def complete(self) -> float:
        """The complete upper bound on `delta`, which always holds. The module docstring has the formula."""
        return self.jacobian_norm * (sum(self.by_mode) + self.coefficients + self.rest) + self.jacobian


def head_gradients(
    objective: Objective,
    heads: Heads,
    features: Mapping[str, Float[Tensor, "b _"]],
    targets: Float[Tensor, "b b"],
) -> Heads:
    """Return the gradient of the objective with respect to the heads, dL/dW_m = (dL/dY_m)^T X_m."""
    deltas = objective.gradient(stack(project(heads, features)), targets)
    return {name: delta.mT @ features[name] for name, delta in zip(heads, deltas, strict=True)}


def distance(first: Heads, second: Heads) -> float:
    """Return the Euclidean distance between two sets of heads, or between two gradients, over all modalities."""
    return float(sum(float((first[name] - second[name]).square().sum()) for name in first) ** 0.5)


def discrepancy(real: Batch, synthetic: Batch) -> Discrepancy:
    """Return the discrepancy between the gradients of two batches, and the terms of its bounds.

    Instance i of one batch is paired with instance i of the other.
    """
    eps = mode_distances(synthetic.modes, real.modes)
    mine, other = real.gradients, synthetic.gradients
    return Discrepancy(
        distance(real.head_gradients, synthetic.head_gradients),
        max(real.jacobian_norm(), synthetic.jacobian_norm()),
        tuple((other.omega * eps).mean(0).tolist()),
        tuple((mine.omega * eps).mean(0).tolist()),
        float(torch.linalg.vector_norm(mine.coefficients - other.coefficients, dim=-1).mean()),
        float(torch.linalg.matrix_norm(mine.rest - other.rest).mean()),
        _jacobian_gap(real, synthetic),
    )


def _jacobian_gap(real: Batch, synthetic: Batch) -> float:
    """Return the last term of the complete bound in the module docstring: the effect of different Jacobians.

    It is the mean over instances of ||(J - J')^T G'||. For modality m, let g'_m be row m of G', and

        a  = (I - z_m z_m^T) g'_m / ||y_m||           with the outputs of the real instance
        a' = (I - z'_m z'_m^T) g'_m / ||y'_m||        with the outputs of the synthetic instance

    Then the part of (J - J')^T G' for the head of modality m is a x_m^T - a' x'_m^T. Its squared norm is

        ||a||^2 ||x_m - x'_m||^2 + ||a - a'||^2 ||x'_m||^2 + 2 (a . (a - a')) ((x_m - x'_m) . x'_m)

    The squared norms are summed over the modalities.
    """
    squared = torch.zeros(len(real.norms), dtype=real.norms.dtype, device=real.norms.device)
    gradient = synthetic.gradients.total
    pulled = [pull_back(gradient, batch.embeddings, batch.norms.unsqueeze(-1)).unbind(1) for batch in (real, synthetic)]
    for a, b, x, y in zip(*pulled, real.features.values(), synthetic.features.values(), strict=True):
        moved, turned = x - y, a - b
        squared += a.square().sum(-1) * moved.square().sum(-1) + turned.square().sum(-1) * y.square().sum(-1)
        squared += 2 * (a * turned).sum(-1) * (moved * y).sum(-1)
    return float(squared.clamp_min(0).sqrt().mean())
