"""The best common factors of cross-covariances: block minimum-residual factor analysis.

    minimise  r(B) = sum_{m<n} ||C_mn - B_m B_n^T||_F^2    over B_m in R^{p_m x k}

C stacked into one P x P matrix, this is the positive semi-definite matrix B B^T of rank k nearest to its off-diagonal
blocks, the diagonal ones free. M = 2 is Tucker's inter-battery problem, solved by one singular value decomposition: r =
the sum of squares of the singular values beyond k.

Start, exact for M = 2: the singular triplets U s V^T of each pair fill the diagonal blocks, G_mm = mean over n of U s
U^T; B is the leading part of G in the span of all stacked (U; V). Then each block in turn takes its least-squares value
given the others, B_m = (sum_n C_mn B_n) (sum_n B_n^T B_n)^+, n != m, so r never rises. (Re-filling the diagonal by that
of B B^T and taking k eigenvectors of the whole, the usual majorisation, has the same minimisers and is much slower.)

Shapes: M modalities, p_m feature width, P = sum of p_m, k factors.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float64
from torch import Tensor

from omnidistill.core.errors import InputError

_RELATIVE_CUT = 1e-12  # of the eigenvalues of a Gram matrix; what is below is rounding


@dataclass(frozen=True, eq=False)
class Factors:
    """B_m (p_m x k) of each modality, and r(B) at the start and after each sweep, never rising.

    The columns are the principal axes of the stacked B: orthogonal, longest first, the largest entry positive. Columns
    that the data cannot fill are zero.
    """

    blocks: dict[str, Float64[Tensor, "_ _"]]
    residuals: tuple[float, ...]

    @property
    def residual(self) -> float:
        """r(B) at the end."""
        return self.residuals[-1]


def factor(
    cross: Mapping[tuple[str, str], Float64[Tensor, "_ _"]],
    rank: int,
    *,
    tolerance: float = 1e-4,
    max_sweeps: int = 100,
) -> Factors:
    """B of `rank` k >= 1 columns for one matrix C_mn (p_m x p_n) per pair of modalities.

    Stops when a sweep lowers r by less than the share `tolerance` of it, or after `max_sweeps`. Modalities are
    visited by how much they share with the others, so neither their names nor their order matter.

    Raises InputError for a rank below 1 or matrices that are all zero.
    """
    if rank < 1:
        raise InputError(f"rank {rank} of the factors: must be at least 1")
    full = {**cross, **{(n, m): block.mT for (m, n), block in cross.items()}}
    names = list(dict.fromkeys(name for pair in cross for name in pair))
    total = sum(float(block.square().sum()) for block in cross.values())
    if total == 0:
        raise InputError("cross-covariances are all zero: the modalities share nothing that a set could carry")
    shared = {m: sum(float(full[m, n].square().sum()) for n in names if n != m) for m in names}
    visits = sorted(names, key=lambda m: -shared[m])

    best = _start(cross, names, rank)
    residuals = [_residual(cross, best)]
    for _ in range(max_sweeps):
        blocks = dict(best)
        for m in visits:
            others = [n for n in names if n != m]
            gram = sum((blocks[n].mT @ blocks[n] for n in others), start=best[m].new_zeros(rank, rank))
            toward = sum((full[m, n] @ blocks[n] for n in others), start=torch.zeros_like(best[m]))
            blocks[m] = toward @ torch.linalg.pinv(gram, rtol=_RELATIVE_CUT, hermitian=True)
        residual = _residual(cross, blocks)
        if residual >= residuals[-1]:  # rounding: nothing is left to gain
            break
        best = blocks
        residuals.append(residual)
        if residuals[-2] - residual <= tolerance * residual:
            break
    return Factors(_principal(best), tuple(residuals))


def _start(cross: Mapping[tuple[str, str], Tensor], names: list[str], rank: int) -> dict[str, Tensor]:
    triplets = {}
    for pair, block in cross.items():
        u, s, vh = torch.linalg.svd(block, full_matrices=False)
        triplets[pair] = u[:, :rank], s[:rank], vh[:rank].mT
    like = next(iter(cross.values()))
    widths = {m: u.shape[0] for (m, _), (u, _, _) in triplets.items()}
    widths |= {n: v.shape[0] for (_, n), (_, _, v) in triplets.items()}
    places = dict(zip(names, torch.split(torch.arange(sum(widths.values())), [widths[m] for m in names]), strict=True))

    spans = []
    for (m, n), (u, _, v) in triplets.items():
        span = like.new_zeros(sum(widths.values()), u.shape[1])
        span[places[m]], span[places[n]] = u, v
        spans.append(span)
    basis = torch.linalg.qr(torch.cat(spans, dim=1)).Q
    parts = {m: basis[places[m]] for m in names}

    inner = like.new_zeros(basis.shape[1], basis.shape[1])
    for (m, n), (u, s, v) in triplets.items():
        coupling = parts[m].mT @ cross[m, n] @ parts[n]
        left, right = u.mT @ parts[m], v.mT @ parts[n]
        filled = left.mT @ (s[:, None] * left) + right.mT @ (s[:, None] * right)
        inner += coupling + coupling.mT + filled / (len(names) - 1)
    values, vectors = torch.linalg.eigh(inner)
    kept = vectors.flip(1)[:, :rank] * values.flip(0)[:rank].clamp_min(0).sqrt()
    kept = torch.nn.functional.pad(kept, (0, rank - kept.shape[1]))
    return {m: part @ kept for m, part in parts.items()}


def _residual(cross: Mapping[tuple[str, str], Tensor], blocks: Mapping[str, Tensor]) -> float:
    return sum(float((block - blocks[m] @ blocks[n].mT).square().sum()) for (m, n), block in cross.items())


def _principal(blocks: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same B B^T with its principal axes as columns."""
    stacked = torch.cat(list(blocks.values()))
    axes = torch.linalg.eigh(stacked.mT @ stacked).eigenvectors.flip(1)
    turned = stacked @ axes
    peaks = turned.gather(0, turned.abs().argmax(0, keepdim=True))
    turned = torch.where(peaks < 0, -turned, turned)
    return dict(zip(blocks, torch.split(turned, [len(block) for block in blocks.values()]), strict=True))
