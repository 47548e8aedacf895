"""Readings of HoPA's objective for the study of its proxy, and the pairwise objectives that it is compared with.

`HopaReading` adds the readings that are no settings of the library. Its gradient is computed by automatic
differentiation, which is slower than the closed form but serves any of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from omnidistill.models.objectives import Hopa, InfoNCE, Objective, PairwiseWbce, objectives
from omnidistill.models.objectives.softmax import infonce
from omnidistill.models.objectives.sphere import inner_products, normalise
from omnidistill.models.objectives.wbce import wbce
from omnidistill.models.spectrum import spectrum


@objectives.register("hopa-reading")
class HopaReading(Hopa):
    """HoPA with further readings of its modality term, its sign rule and its proxy."""

    package: ClassVar[str | None] = None

    spectrum_of: Literal["values", "squares"] = "values"
    """Whether L_mod uses the singular values of an instance or their squares."""
    sign: Literal["rule", "svd"] = "rule"
    """Sign of v_1: the rule of the library, or the one that an SVD of the d x M matrix happens to return (PMRL)."""
    proxy: Literal["unit", "scaled", "mean"] = "unit"
    """What represents an instance: v_1, sigma_1 v_1 / sqrt(M), or the normalised mean of its embeddings (no SVD)."""

    def value(self, outputs: Tensor, targets: Tensor) -> Tensor:
        stacked = normalise(outputs)[0].transpose(-3, -2)
        spectra = spectrum(inner_products(stacked, stacked))
        loss = self._modality_value(spectra.sigma.square() if self.spectrum_of == "squares" else spectra.sigma)
        if not self.lambda_ins:
            return loss
        vectors = (spectra.weights().unsqueeze(-2) @ stacked).squeeze(-2)
        if self.proxy == "scaled":
            vectors = vectors * spectra.sigma[..., :1] / stacked.shape[-2] ** 0.5
        elif self.proxy == "mean":
            vectors = normalise(stacked.mean(-2))[0]
        if self.sign == "svd":
            with torch.no_grad():
                found = torch.linalg.svd(stacked.mT, full_matrices=False).U[..., 0]
                signs = torch.where((found * vectors).sum(-1, keepdim=True) < 0, -1.0, 1.0).to(vectors.dtype)
            vectors = vectors * signs
        similarity = inner_products(vectors, vectors)
        if self.instance_term == "infonce":
            return loss + self.lambda_ins * infonce(similarity, targets, self.tau_ins)
        instance = wbce(similarity, targets, self.tau_ins, self.threshold, self.reduction, self.epsilon)
        return loss + self.lambda_ins * instance

    def gradient(self, outputs: Tensor, targets: Tensor) -> Tensor:
        differentiable = torch.is_grad_enabled() and (outputs.requires_grad or targets.requires_grad)
        with torch.enable_grad():
            leaf = outputs if outputs.requires_grad else outputs.detach().requires_grad_()
            (found,) = torch.autograd.grad(self.value(leaf, targets).sum(), leaf, create_graph=differentiable)
        return found


@dataclass(frozen=True)
class Reading:
    """One reading of HoPA's objective: the factor that it changes, its name and its settings.

    A control shows what a part contributes; it is not a candidate for the best readings.
    """

    factor: str
    name: str
    settings: dict[str, Any]
    control: bool = False

    @property
    def kind(self) -> str:
        return "hopa-reading" if self.settings.keys() & {"spectrum_of", "sign", "proxy"} else "hopa"

    @property
    def objective(self) -> Objective:
        return HopaReading(**self.settings) if self.kind == "hopa-reading" else Hopa(**self.settings)


_MODALITY, _INSTANCE, _PROXY = "modality term", "instance term", "proxy"
ALL_READINGS = (
    Reading("published", "HoPA", {}),
    Reading("temperatures", "tau_mod 0.03", {"tau_mod": 0.03}),
    Reading("temperatures", "tau_mod 0.3", {"tau_mod": 0.3}),
    Reading("temperatures", "tau_mod 1", {"tau_mod": 1.0}),
    Reading("temperatures", "tau_mod 3", {"tau_mod": 3.0}),
    Reading("temperatures", "tau_ins 0.05", {"tau_ins": 0.05}),
    Reading("temperatures", "tau_ins 0.1", {"tau_ins": 0.1}),
    Reading("temperatures", "tau_ins 0.5", {"tau_ins": 0.5}),
    Reading("temperatures", "reading B", {"tau_mod": 0.1, "tau_ins": 0.1, "lambda_ins": 0.2}),
    Reading("weight", "lambda 0.2", {"lambda_ins": 0.2}),
    Reading("weight", "lambda 5", {"lambda_ins": 5.0}),
    Reading("weight", "lambda 25", {"lambda_ins": 25.0}),
    Reading("reduction", "mean", {"reduction": "mean"}),
    Reading("reduction", "plain BCE", {"reduction": "plain"}),
    Reading(_MODALITY, "squares", {"spectrum_of": "squares"}),
    Reading(_MODALITY, "single mode", {"modality_term": "single"}),
    Reading(_MODALITY, "single mode, square", {"modality_term": "single", "spectrum_of": "squares"}),
    Reading(_INSTANCE, "InfoNCE of the proxy", {"instance_term": "infonce"}),
    Reading(_INSTANCE, "InfoNCE of the proxy, tau 0.07", {"instance_term": "infonce", "tau_ins": 0.07}),
    Reading("sign", "sign of the SVD", {"sign": "svd"}),
    Reading(_PROXY, "scaled proxy", {"proxy": "scaled"}),
    Reading("two factors", "single, InfoNCE", {"modality_term": "single", "instance_term": "infonce"}),
    Reading("two factors", "single, scaled", {"modality_term": "single", "proxy": "scaled"}),
    Reading(_PROXY, "mean, no SVD", {"proxy": "mean"}, control=True),
    Reading(_PROXY, "rank-2 proxy", {"proxy_rank": 2}, control=True),
    Reading(_MODALITY, "no L_mod", {"modality_term": "none"}, control=True),
    Reading(_INSTANCE, "no L_ins", {"lambda_ins": 0.0}, control=True),
)
READINGS = {reading.name: reading for reading in ALL_READINGS}

BINDS = {"T-bind": 1, "V-bind": 0}
"""Anchors of the binds: modality 1 stands for text, modality 0 for vision."""

PAIRWISE: dict[str, Objective] = {
    "3-pair": PairwiseWbce(),
    "3-pair, tau 0.2": PairwiseWbce(tau=0.2),
    **{name: PairwiseWbce(anchor=anchor) for name, anchor in BINDS.items()},
    "T-bind, tau 0.2": PairwiseWbce(anchor=BINDS["T-bind"], tau=0.2),
    "LoRS": PairwiseWbce(epsilon=1e-6),
    "InfoNCE": InfoNCE(),
}
"""wBCE over all pairs of modalities, bound to one modality, and as in the public LoRS code; and InfoNCE.

The loss of LoRS differs from 3-pair only by 1e-6 in its logarithms.
"""


TEMPERATURES: dict[str, Objective] = {
    "3-pair, tau 0.1": PairwiseWbce(tau=0.1),
    "3-pair, tau 0.5": PairwiseWbce(tau=0.5),
    "InfoNCE, tau 0.2": InfoNCE(tau=0.2),
    "InfoNCE, tau 0.5": InfoNCE(tau=0.5),
}
"""Pairwise objectives with other temperatures, since HoPA's temperatures are varied too."""


def objective(name: str) -> Objective:
    """Return the objective with a name in READINGS, PAIRWISE or TEMPERATURES."""
    pairwise = PAIRWISE | TEMPERATURES
    return pairwise[name] if name in pairwise else READINGS[name].objective
