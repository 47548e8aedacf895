"""HoPA: high-order proxy alignment (arXiv 2604.10666, eq. 8-9, 14-15; see docs/adr/0003 for the temperatures).

The unit embeddings of an instance are the rows of its matrix Z (M x d), with singular values sigma. Instance i has the
consensus direction v_i, the first right singular vector of its Z (see `models.spectrum`). S (b x b) contains the target
similarities, and wBCE is weighted binary cross-entropy. With the settings tau_mod, tau_ins and lambda_ins, the loss is

    L = L_mod + lambda_ins L_ins
    L_mod = -mean over instances of log softmax(sigma / tau_mod)_1     one dominant direction per instance
    L_ins = wBCE(s / tau_ins, S),  s_ij = v_i . v_j                    agreement of consensus directions with S

The gradient has a closed form. For one instance i, let

    G = Z Z^T = U diag(lambda) U^T,   a = u_1 / sigma_1,   p = softmax(sigma / tau_mod),   e_1 = (1, 0, ..., 0)
    E = lambda_ins dL_ins / ds,   g = sum_j (E_ij + E_ji) v_j,   h = Z g

Then, with the elementwise product o,

    gamma_1 = -1 / (2 lambda_1),   gamma_k = 1 / (lambda_1 - lambda_k) for k >= 2          see `Spectrum.weight_rates`
    y = U (gamma o U^T h)
    C = U diag((p - e_1) / (b tau_mod sigma)) U^T                   eq. 14
    dL/dZ = B Z + a g^T,   B = C + y a^T + a y^T

The head outputs Y are normalised: Z = N^-1 Y, where N is the diagonal matrix of their norms. Therefore

    dL/dY = N^-1 (B - diag(B G + a h^T)) N^-1 Y + N^-1 a g^T

The paper also tests L_mod alone, L_ins alone, and the following variants:

    single mode       L_mod = -mean sigma_1
    rank-2 proxy      s_ij = v_i . v_j + w_i . w_j, with the second right singular vectors w (our interpretation)
    InfoNCE           L_ins is InfoNCE of s instead of wBCE
    no SVD            a fixed basis instead of U (table 7; see `models.fixed_modes`)

With the fixed basis "identity", the modes of instance i are its embeddings z_im, one per modality m. Then s_ij is the
mean of z_im . z_jm over all modalities m.

Shapes: M modalities, b instances, embedding width d; `*r` stands for leading dimensions, one index per run.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, ClassVar, Literal

import torch
from jaxtyping import Float
from pydantic import Field, model_validator
from torch import Tensor

from omnidistill.core.settings import Positive
from omnidistill.models.fixed_modes import identity_modes, mean_modes
from omnidistill.models.objectives.objective import Objective, objectives
from omnidistill.models.objectives.softmax import infonce, infonce_gradient
from omnidistill.models.objectives.sphere import LEAST_NORM, gram, inner_products, normalise
from omnidistill.models.objectives.wbce import Reduction, wbce, wbce_gradient
from omnidistill.models.spectrum import Spectrum, spectrum


@objectives.register("hopa")
class Hopa(Objective):
    """The HoPA objective (eq. 8 of the paper) for two or more modalities. It is symmetric in the modalities."""

    added: ClassVar[tuple[str, ...]] = ("epsilon", "modes")
    cites: ClassVar[tuple[str, ...]] = ("hopa",)

    tau_mod: Positive = 0.1
    """Temperature of the softmax over singular values (0.1 in the tables of the HoPA paper)."""
    tau_ins: Positive = 0.2
    """Temperature of the similarity between proxies, the first modes of instances (0.2 in the tables of the HoPA
    paper)."""
    lambda_ins: Annotated[float, Field(ge=0)] = 1.0
    """Weight of the instance term L_ins of the loss. The tables of the HoPA paper can also be read as tau_ins = 0.1 and
    lambda_ins = 0.2."""
    threshold: float = 0.5
    """Pairs of rows with a target similarity above this value are positives in wBCE."""
    epsilon: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Small number that is added inside the logarithms of wBCE, and to its counts of positives and negatives (public
    LoRS code: 1e-6; HoPA paper: none)."""
    reduction: Reduction = "sum"
    """How wBCE combines the mean loss of positives and that of negatives: "sum" (HoPA paper) or "mean" (public LoRS
    code). "plain" averages over all pairs without weights."""
    modality_term: Literal["softmax", "single", "none"] = "softmax"
    """Modality term L_mod of the loss: "softmax" over singular values (eq. 8a of HoPA), "single" for -sigma_1 (only the
    first singular value), or "none"."""
    instance_term: Literal["wbce", "infonce"] = "wbce"
    """Instance term L_ins of the loss, computed from the similarity between proxies: "wbce" (eq. 9 of HoPA) or
    "infonce". lambda_ins = 0 disables this term."""
    proxy_rank: Annotated[int, Field(ge=1, le=2)] = 1
    """Number of modes from which the similarity between proxies is computed. 2 is an ablation in the HoPA paper."""
    modes: Literal["svd", "identity", "mean"] = "svd"
    """Basis of the modes: singular vectors ("svd"), or a fixed basis as a control. The fixed bases are one mode per
    modality ("identity"), and a first mode that is the mean of the embeddings ("mean")."""

    @model_validator(mode="after")
    def _ordered_modes(self) -> Hopa:
        if self.modes != "svd" and self.proxy_rank != 1:
            raise ValueError(f"modes = '{self.modes}' has no second mode; set proxy_rank = 1, or modes = 'svd'")
        return self

    def value(self, outputs: Float[Tensor, "*r M b d"], targets: Float[Tensor, "*r b b"]) -> Float[Tensor, "*r"]:
        """Return one loss for every run; the leading dimensions of both arguments index the runs.

        The outputs need not be normalised.
        """
        return self.embedding_loss(normalise(outputs)[0], targets)

    def embedding_loss(
        self, embeddings: Float[Tensor, "*r M b d"], targets: Float[Tensor, "*r b b"]
    ) -> Float[Tensor, "*r"]:
        """Return the loss for given unit embeddings; the leading dimensions index the runs.

        The embeddings of one instance form a matrix (M x d). The loss is computed from its singular values and its
        leading right singular vectors.
        """
        stacked = embeddings.transpose(-3, -2)
        spectra = _MODES[self.modes](inner_products(stacked, stacked))
        loss = self._modality_value(spectra.sigma)
        if self.lambda_ins:
            similarity = self._proxies(spectra, stacked)
            if self.instance_term == "infonce":
                loss = loss + self.lambda_ins * infonce(similarity, targets, self.tau_ins)
            else:
                instance = wbce(similarity, targets, self.tau_ins, self.threshold, self.reduction, self.epsilon)
                loss = loss + self.lambda_ins * instance
        return loss

    def gradient(
        self, outputs: Float[Tensor, "*r M b d"], targets: Float[Tensor, "*r b b"]
    ) -> Float[Tensor, "*r M b d"]:
        """Return the gradient dL/dY of the loss L with respect to the outputs Y, in closed form.

        The result is differentiable with respect to outputs and targets.
        """
        stacked = outputs.transpose(-3, -2).contiguous()
        products = gram(stacked)
        shrink = products.diagonal(dim1=-2, dim2=-1).clamp_min(LEAST_NORM**2).rsqrt()  # N^-1
        shrinks = shrink.unsqueeze(-1) * shrink.unsqueeze(-2)
        cosines = shrinks * products
        spectra = _MODES[self.modes](cosines)
        vectors, sigma = spectra.vectors, spectra.sigma

        turning = (vectors * (self._modality_excess(sigma) / sigma).unsqueeze(-2)) @ vectors.mT
        radial, pushed = torch.zeros_like(shrink), []
        if self.lambda_ins:
            num_modes, share = self._proxy_modes(outputs.shape[-3])
            modes = [spectra.weights(mode) for mode in range(num_modes)]
            directions = [((shrink * a).unsqueeze(-2) @ stacked).squeeze(-2) for a in modes]
            similarity = share * torch.stack([gram(v) for v in directions]).sum(0)
            errors = self.lambda_ins * share * self._instance_errors(similarity, targets)
            errors = errors + errors.mT
            for mode, (a, v) in enumerate(zip(modes, directions, strict=True)):
                pulls = errors @ v
                projected = shrink * (stacked @ pulls.unsqueeze(-1)).squeeze(-1)
                turned = spectra.weight_rates(mode) * (projected.unsqueeze(-2) @ vectors).squeeze(-2)
                coupling = (vectors @ turned.unsqueeze(-1)) * a.unsqueeze(-2)
                turning = turning + coupling + coupling.mT
                radial = radial + a * projected
                pushed.append(((shrink * a).unsqueeze(-1), pulls.unsqueeze(-2)))
        radial = radial + (turning * cosines).sum(-1)
        gradient = (shrinks * (turning - torch.diag_embed(radial))) @ stacked
        for weights, pulls in pushed:
            gradient = torch.addcmul(gradient, weights, pulls)
        return gradient.transpose(-3, -2)

    def _modality_value(self, sigma: Float[Tensor, "*r b M"]) -> Float[Tensor, "*r"]:
        if self.modality_term == "softmax":
            return -torch.log_softmax(sigma / self.tau_mod, dim=-1)[..., 0].mean(-1)
        if self.modality_term == "single":
            return -sigma[..., 0].mean(-1)
        return sigma.new_zeros(sigma.shape[:-2])

    def _modality_excess(self, sigma: Float[Tensor, "*r b M"]) -> Float[Tensor, "*r b M"]:
        """Return the derivative of the modality term L_mod with respect to the singular values sigma."""
        first = torch.zeros(sigma.shape[-1], dtype=sigma.dtype, device=sigma.device)
        first[0] = 1
        if self.modality_term == "softmax":
            return (torch.softmax(sigma / self.tau_mod, dim=-1) - first) / (sigma.shape[-2] * self.tau_mod)
        if self.modality_term == "single":
            return (-first / sigma.shape[-2]).expand_as(sigma)
        return torch.zeros_like(sigma)

    def _proxies(self, spectra: Spectrum, stacked: Float[Tensor, "*r b M d"]) -> Float[Tensor, "*r b b"]:
        num_modes, share = self._proxy_modes(stacked.shape[-2])
        directions = [(spectra.weights(mode).unsqueeze(-2) @ stacked).squeeze(-2) for mode in range(num_modes)]
        return share * torch.stack([inner_products(v, v) for v in directions]).sum(0)

    def _proxy_modes(self, num_modalities: int) -> tuple[int, float]:
        """Return (count, weight): s_ij is `weight` times the sum of inner products over the first `count` modes.

        The result is (M, 1 / M) for the fixed basis "identity", otherwise (`proxy_rank`, 1).
        """
        return (num_modalities, 1 / num_modalities) if self.modes == "identity" else (self.proxy_rank, 1.0)

    def _instance_errors(self, similarity: Float[Tensor, "*r b b"], targets: Tensor) -> Float[Tensor, "*r b b"]:
        if self.instance_term == "infonce":
            return infonce_gradient(similarity, targets, self.tau_ins)
        return wbce_gradient(similarity, targets, self.tau_ins, self.threshold, self.reduction, self.epsilon)


_MODES: dict[str, Callable[[Tensor], Spectrum]] = {"svd": spectrum, "identity": identity_modes, "mean": mean_modes}
"""Maps each value of `modes` to the factorisation of Gram matrices."""
