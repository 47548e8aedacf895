"""HoPA: high-order proxy alignment (arXiv 2604.10666, eq. 8-9, 14-15; the temperatures' reading: docs/adr/0003).

    L = L_mod + lambda_ins L_ins
    L_mod = -(1/b) sum_i log softmax(sigma^(i) / tau_mod)_1         one dominant direction per instance
    L_ins = wBCE(s / tau_ins, S),  s_ij = v_i . v_j                 consensus directions agree as the similarity says

Gradient in closed form. With G = Z Z^T = U diag(lambda) U^T, a = u_1 / sigma_1, v = Z^T a, p = softmax(sigma /
tau_mod), g_i = sum_j (E_ij + E_ji) v_j (E = d L_ins / d s) and h = Z g:

    dL/dZ = (C + y a^T + a y^T) Z + a g^T
    C = U diag((p - e_1) / (b tau_mod sigma)) U^T                   eq. 14
    y = U (gamma o U^T h),  gamma_1 = -1 / (2 lambda_1),  gamma_k = 1 / (lambda_1 - lambda_k)      first-order
    perturbation of a

Shapes: M modalities, b instances, d embedding width, `*r` leading run dimensions.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from omnidistill.objectives.sphere import normalise, pull_back
from omnidistill.objectives.wbce import Reduction, wbce, wbce_gradient
from omnidistill.spectral import inverse_gaps, spectrum


@dataclass(frozen=True)
class Hopa:
    """The HoPA objective for any M >= 2; symmetric in the modalities."""

    tau_mod: float = 0.1
    tau_ins: float = 0.2
    lambda_ins: float = 1.0
    threshold: float = 0.5
    reduction: Reduction = "sum"

    def value(self, outputs: Float[Tensor, "*r M b d"], targets: Float[Tensor, "*r b b"]) -> Float[Tensor, "*r"]:
        """Loss of head outputs (not normalised) against target similarities."""
        stacked = normalise(outputs)[0].transpose(-3, -2)
        spectra = spectrum(stacked @ stacked.mT)
        modality = -torch.log_softmax(spectra.sigma / self.tau_mod, dim=-1)[..., 0].mean(-1)
        proxies = (spectra.weights.unsqueeze(-2) @ stacked).squeeze(-2)
        instance = wbce(proxies @ proxies.mT, targets, self.tau_ins, self.threshold, self.reduction)
        return modality + self.lambda_ins * instance

    def gradient(
        self, outputs: Float[Tensor, "*r M b d"], targets: Float[Tensor, "*r b b"]
    ) -> Float[Tensor, "*r M b d"]:
        """dL/d outputs in closed form; itself differentiable with respect to both arguments."""
        embeddings, norms = normalise(outputs)
        stacked = embeddings.transpose(-3, -2).contiguous()
        spectra = spectrum(stacked @ stacked.mT)
        vectors, sigma, weights = spectra.vectors, spectra.sigma, spectra.weights

        num_instances = outputs.shape[-2]
        excess = torch.softmax(sigma / self.tau_mod, dim=-1) - _first(sigma)
        spectral = (vectors * (excess / (num_instances * self.tau_mod * sigma)).unsqueeze(-2)) @ vectors.mT

        proxies = (weights.unsqueeze(-2) @ stacked).squeeze(-2)
        errors = wbce_gradient(proxies @ proxies.mT, targets, self.tau_ins, self.threshold, self.reduction)
        pulls = self.lambda_ins * ((errors + errors.mT) @ proxies)
        projected = (stacked @ pulls.unsqueeze(-1)).squeeze(-1)

        rates = inverse_gaps(spectra.eigenvalues) - _first(sigma) * (0.5 / sigma[..., :1].square())
        turned = (vectors @ (rates * (projected.unsqueeze(-2) @ vectors).squeeze(-2)).unsqueeze(-1)).squeeze(-1)
        coupling = turned.unsqueeze(-1) * weights.unsqueeze(-2)
        coefficients = spectral + coupling + coupling.mT

        gradient = coefficients @ stacked + weights.unsqueeze(-1) * pulls.unsqueeze(-2)
        return pull_back(gradient.transpose(-3, -2), embeddings, norms)


def _first(like: Tensor) -> Tensor:
    first = torch.zeros(like.shape[-1], dtype=like.dtype, device=like.device)
    first[0] = 1
    return first
