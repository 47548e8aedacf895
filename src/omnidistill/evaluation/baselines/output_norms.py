"""Mean norm of the outputs of heads, used to rescale heads so that their outputs have comparable norms.

The scale of a head does not change cosine similarities. It does change the effect of a step size, and the influence of
each head when several heads are stacked.

Shapes: N rows, d embedding width, p_m feature width.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from omnidistill.models.heads import Heads, project

_ROWS = 2**14  # rows per chunk


def mean_output_norms(
    heads: Heads,
    features: Mapping[str, Float[Tensor, "_ _"]],
    bias: Mapping[str, Float[Tensor, " _"]] | None = None,
) -> dict[str, float]:
    """Return the mean over rows of ||W x + b|| for every modality; 1 if all outputs of a modality are zero.

    Args:
        heads: {modality: d x p_m}.
        features: {modality: N x p_m}.
        bias: {modality: d}; None means zero.
    """
    norms = {}
    for name, matrix in heads.items():
        total, shift = 0.0, 0.0 if bias is None else bias[name]
        for rows in torch.split(features[name], _ROWS):
            outputs = project({name: matrix}, {name: rows})[name] + shift
            total += float(outputs.norm(dim=1).cpu().double().sum())
        norms[name] = total / len(features[name]) or 1.0
    return norms


def factor_bytes(start: Heads) -> int:
    """Return the bytes needed to stack heads on the initial heads: one float32 scaling factor per modality."""
    return 4 * len(start)
