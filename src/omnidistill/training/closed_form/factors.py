"""Common factors of cross-covariances, by minimum-residual factor analysis.

C_mn is the cross-covariance (p_m x p_n) of modalities m and n. The factors B_m (p_m x k), one matrix per modality,
should minimise the residual

    r(B) = sum_{m<n} ||C_mn - B_m B_n^T||_F^2

For M = 2 modalities, this is Tucker's inter-battery problem. The singular value decomposition (SVD) of C_12 solves it.

Initialisation: let G be the symmetric matrix with the off-diagonal blocks C_mn. Its diagonal blocks are estimated from
the SVDs of the C_mn: block m is the mean of U D U^T over all SVDs C_mn = U D V^T with n != m. Only the k leading pairs
of singular vectors of each C_mn are used, and G is restricted to the span of these pairs. Let E be the matrix whose
columns are the k leading eigenvectors of G, each multiplied by the square root of its eigenvalue. The initial B_m
consists of the p_m rows of E that belong to modality m. For M = 2, this is already the solution.

Updates: each sweep updates the B_m one after the other. B_m becomes the least-squares solution for fixed other factors,
so r never increases:

    B_m = (sum_{n != m} C_mn B_n) (sum_{n != m} B_n^T B_n)^+

Shapes: M modalities, p_m feature width, k factors.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float64
from torch import Tensor

from omnidistill.core.errors import InputError

_RELATIVE_CUT = 1e-12  # relative to the largest; smaller eigenvalues of a Gram matrix are rounding errors


@dataclass(frozen=True, eq=False)
class Factors:
    """Factors B_m (p_m x k) whose products B_m B_n^T approximate given cross-covariances of modalities m and n.

    Column j of the factors means column j of all B_m, placed one below the other. Columns are orthogonal and sorted by
    norm, longest first. In each column, the entry with the largest absolute value is positive. If the rank of the data
    is below k, the last columns are zero.

    Attributes:
        blocks: {modality m: B_m}.
        residuals: sum of ||C_mn - B_m B_n^T||^2 after the initialisation and after each sweep of the algorithm.
    """

    blocks: dict[str, Float64[Tensor, "_ _"]]
    residuals: tuple[float, ...]

    @property
    def residual(self) -> float:
        """Residual after the last sweep: the sum of ||C_mn - B_m B_n^T||_F^2 over all pairs of modalities m and n.

        C_mn are the given cross-covariances, and B_m the factors that approximate them.
        """
        return self.residuals[-1]


def factor(
    cross: Mapping[tuple[str, str], Float64[Tensor, "_ _"]],
    rank: int,
    *,
    tolerance: float = 1e-4,
    max_sweeps: int = 100,
) -> Factors:
    """Return common factors B_m whose products B_m B_n^T approximate the cross-covariances C_mn.

    Each sweep updates every B_m once, in descending order of sum_{n != m} ||C_mn||_F^2. Except for ties, this order
    does not depend on the names or the order of the modalities in `cross`.

    Args:
        cross: one matrix C_mn (p_m x p_n) per pair of modalities.
        rank: number of columns k of every B_m, at least 1.
        tolerance: stop if a sweep reduces the residual by at most `tolerance` times its new value. The residual is the
            sum of ||C_mn - B_m B_n^T||^2.
        max_sweeps: maximum number of sweeps over the modalities.

    Raises:
        InputError: the rank is below 1, or all matrices are zero.
    """
    if rank < 1:
        raise InputError(f"rank = {rank}: the number of common factors is too small; pass at least 1")
    full = {**cross, **{(n, m): block.mT for (m, n), block in cross.items()}}
    names = list(dict.fromkeys(name for pair in cross for name in pair))
    total = sum(float(block.square().sum()) for block in cross.values())
    if total == 0:
        raise InputError(
            "all cross-covariances are zero, so the modalities have no common factors; check how rows are paired"
        )
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
        if residual >= residuals[-1]:  # converged up to rounding
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
    every_row = torch.arange(sum(widths.values()), device=like.device)
    slots = dict(zip(names, torch.split(every_row, [widths[m] for m in names]), strict=True))

    spans = []
    for (m, n), (u, _, v) in triplets.items():
        span = like.new_zeros(sum(widths.values()), u.shape[1])
        span[slots[m]], span[slots[n]] = u, v
        spans.append(span)
    basis = torch.linalg.qr(torch.cat(spans, dim=1)).Q
    parts = {m: basis[slots[m]] for m in names}

    inner = like.new_zeros(basis.shape[1], basis.shape[1])
    for (m, n), (u, s, v) in triplets.items():
        coupling = parts[m].mT @ cross[m, n] @ parts[n]
        left, right = u.mT @ parts[m], v.mT @ parts[n]
        filled = left.mT @ (s[:, None] * left) + right.mT @ (s[:, None] * right)
        inner += coupling + coupling.mT + filled / (len(names) - 1)
    values, vectors = torch.linalg.eigh(inner)
    leading = vectors.flip(1)[:, :rank] * values.flip(0)[:rank].clamp_min(0).sqrt()
    leading = torch.nn.functional.pad(leading, (0, rank - leading.shape[1]))
    return {m: part @ leading for m, part in parts.items()}


def _residual(cross: Mapping[tuple[str, str], Tensor], blocks: Mapping[str, Tensor]) -> float:
    return sum(float((block - blocks[m] @ blocks[n].mT).square().sum()) for (m, n), block in cross.items())


def _principal(blocks: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rotate the columns of the stacked factors B to their principal axes. The product B B^T does not change."""
    stacked = torch.cat(list(blocks.values()))
    axes = torch.linalg.eigh(stacked.mT @ stacked).eigenvectors.flip(1)
    turned = stacked @ axes
    peaks = turned.gather(0, turned.abs().argmax(0, keepdim=True))
    turned = torch.where(peaks < 0, -turned, turned)
    return dict(zip(blocks, torch.split(turned, [len(block) for block in blocks.values()]), strict=True))
