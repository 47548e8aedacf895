"""Ridge regression from the rows of a set to shared anchors, in closed form, and operations on its solution.

Row i has the same target in every modality: its anchor, which is the i-th unit vector times a length w_i. Let X_m be
the rows of modality m, K_m = X_m X_m^T, s_m the mean of the diagonal of K_m, D = diag(w), and lambda_m a ridge. The
head W_m minimises ||X_m W_m^T - D||^2 + lambda_m s_m ||W_m||^2. The unique solution is

    W_m = D (K_m + lambda_m s_m I)^{-1} X_m                                                                    (1)

It does not depend on any initial heads. In each modality, (1) is kernel ridge regression on the labels 1 .. N, as in
KIP (Nguyen et al. 2021, arXiv 2107.13034) and FRePo (Zhou et al. 2022, arXiv 2206.00719).

**Cutoff.** If the set has a cutoff k, the lengths are w_i = 1 / (1 + (i / k)^4). Otherwise, w_i = 1. Output i of the
heads is proportional to w_i, so outputs far beyond the cutoff hardly change the inner products. The rows beyond the
cutoff are still useful: they fit noise that the outputs before the cutoff would otherwise contain.

**Canonical basis.** Without a cutoff, multiplying the rows of all modalities by the same orthogonal matrix only rotates
the outputs. The rotation by `canonical_basis` sorts the outputs by their cross-covariance between modalities on real
rows, largest first. Heads of width d keep the first d outputs. This choice is optimal: no other d orthonormal
combinations of the outputs have a larger sum of cross-covariances.

Shapes: N rows, p_m feature width, d embedding width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from omnidistill.core.errors import InputError
from omnidistill.core.streams import Streams
from omnidistill.training.closed_form.moments import Moments

_ORDER = 4  # of the decrease beyond the cutoff
_RELATIVE_CUT = 1e-7  # relative to the largest; smaller singular values of heads are rounding errors


def anchor_lengths(num_rows: int, cutoff: float | None) -> Float64[Tensor, " N"]:
    """Return the lengths w_i of the anchors on the CPU; see the module docstring.

    Args:
        num_rows: number of rows N.
        cutoff: the index k at which an anchor has length 1/2; None if all anchors have length 1.
    """
    numbers = torch.arange(1, num_rows + 1, dtype=torch.float64, device="cpu")
    return torch.ones_like(numbers) if cutoff is None else 1 / (1 + (numbers / cutoff) ** _ORDER)


def anchor_map(rows: Float[Tensor, "N p"], ridge: float | Float[Tensor, ""]) -> Float[Tensor, "N p"]:
    """Return the head of one modality by ridge regression from row i to unit vector i: (1) in the module docstring.

    The result is differentiable with respect to `rows` and `ridge`.

    Args:
        rows: the rows of the modality, which must not all be zero.
        ridge: ridge above 0, relative to the mean squared length of the rows.
    """
    kernel = rows @ rows.mT
    scale = kernel.diagonal().mean()
    identity = torch.eye(len(rows), dtype=rows.dtype, device=rows.device)
    return torch.cholesky_solve(rows, torch.linalg.cholesky(kernel + ridge * scale * identity))


def anchor_maps(
    rows: Mapping[str, Float[Tensor, "N _"]],
    ridges: Sequence[float] | Float[Tensor, " M"],
    cutoff: float | None = None,
) -> dict[str, Float[Tensor, "N _"]]:
    """Return the heads of all modalities by ridge regression to anchors, equation (1) of the module docstring.

    The anchor of row i is the target of this row in every modality: the i-th unit vector, times a length.

    Args:
        rows: the rows of each modality.
        ridges: ridge of each modality, in the order of `rows`.
        cutoff: the index, counted from 1, at which an anchor has length 1/2. Earlier anchors are longer (at most 1),
            and later anchors are shorter. None: all anchors have length 1.

    Raises:
        InputError: the regression of a modality has no unique solution.
    """
    heads = {}
    for (name, x), ridge in zip(rows.items(), ridges, strict=True):
        try:
            solution = anchor_map(x, ridge)
        except torch.linalg.LinAlgError:  # type: ignore[attr-defined]
            raise InputError(
                f"ridge regression for modality '{name}' failed; use a ridge above {float(ridge):.3g}, and check that "
                "the synthetic rows are finite and not all zero"
            ) from None
        heads[name] = solution if cutoff is None else anchor_lengths(len(x), cutoff).to(x).unsqueeze(1) * solution
    return heads


def to_width(heads: Mapping[str, Float[Tensor, "N _"]], width: int) -> dict[str, Float[Tensor, "_ _"]]:
    """Convert heads with N outputs to the output width d.

    For d <= N, the result is the first d rows of each head. For d > N, outputs are embedded in d dimensions by a fixed
    random matrix with orthonormal columns (d x N), so all inner products stay the same.
    """
    size = len(next(iter(heads.values())))
    if width <= size:
        return {name: matrix[:width] for name, matrix in heads.items()}
    basis = _orthonormal(width, size)
    return {name: basis.to(matrix) @ matrix for name, matrix in heads.items()}


def unordered_to_width(heads: Mapping[str, Float[Tensor, "N _"]], width: int) -> dict[str, Float[Tensor, "_ _"]]:
    """Convert heads with N outputs to the output width d, if the N rows of the set have no meaningful order.

    For d <= N, the outputs are multiplied by a fixed random matrix with orthonormal rows (d x N), so that every row of
    the set contributes equally. For d > N, the result is that of `to_width`.
    """
    size = len(next(iter(heads.values())))
    if width >= size:
        return to_width(heads, width)
    basis = _orthonormal(size, width)
    return {name: basis.mT.to(matrix) @ matrix for name, matrix in heads.items()}


def _orthonormal(rows: int, columns: int) -> Float64[Tensor, "_ _"]:
    """Return a fixed random matrix with orthonormal columns, on the CPU."""
    draw = torch.randn(rows, columns, dtype=torch.float64, generator=Streams(0)["anchors"], device="cpu")
    basis: Tensor = torch.linalg.qr(draw).Q
    return basis


def dual_frame(heads: Mapping[str, Float64[Tensor, "N _"]]) -> dict[str, Float64[Tensor, "N _"]]:
    """Return rows of a set for which `anchor_maps` with ridges near zero returns the given heads W_m.

    The rows are X_m = (W_m^+)^T, where W_m^+ is the pseudo-inverse.
    """
    return {name: torch.linalg.pinv(matrix, rtol=_RELATIVE_CUT).mT for name, matrix in heads.items()}


def equal_lengths(rows: Float[Tensor, "N p"]) -> Float[Tensor, "N p"]:
    """Return the rows scaled to length sqrt(p). Rows of zeros stay zero, and their gradient is zero."""
    lengths = rows.norm(dim=1, keepdim=True)
    safe = torch.where(lengths > 0, lengths, torch.ones_like(lengths))
    return rows * torch.where(lengths > 0, rows.shape[1] ** 0.5 / safe, torch.zeros_like(lengths))


def canonical_basis(heads: Mapping[str, Float[Tensor, "N _"]], moments: Moments) -> Float64[Tensor, "N N"]:
    """Return the orthogonal matrix Q whose columns are the canonical directions of the outputs.

    Let W_m be the head of modality m, and C_mn the cross-covariance of the features of modalities m and n. The
    directions are the eigenvectors of the symmetrised cross-covariance of the outputs, which is
    sum_{m<n} (W_m C_mn W_n^T + W_n C_mn^T W_m^T), in descending order of the eigenvalues. The sign of each column is
    chosen so that the entry with the largest absolute value is positive.
    """
    blocks = []
    for m, n in combinations(heads, 2):
        cross = moments.cross[m, n]
        blocks.append(heads[m].to(cross) @ cross @ heads[n].to(cross).mT)
    half = torch.stack(blocks).sum(0)
    return _leading_first(half + half.mT)


def canonical_basis_of_outputs(outputs: Mapping[str, Float[Tensor, "n k"]]) -> Float64[Tensor, "k k"]:
    """Return the canonical directions of given outputs as the columns of a matrix; see `canonical_basis`.

    Args:
        outputs: outputs {modality: n x k}. The rows with the same number are paired.
    """
    centred = [y.double() - y.double().mean(0) for y in outputs.values()]
    total = torch.stack(centred).sum(0)
    covariance = total.mT @ total - torch.stack([y.mT @ y for y in centred]).sum(0)
    return _leading_first(covariance)


def _leading_first(covariance: Float64[Tensor, "k k"]) -> Float64[Tensor, "k k"]:
    vectors = torch.linalg.eigh(covariance).eigenvectors.flip(1)
    peaks = vectors.gather(0, vectors.abs().argmax(0, keepdim=True))
    return torch.where(peaks < 0, -vectors, vectors)
