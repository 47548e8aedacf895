"""Linear maps between the embedding spaces of two encoders, fitted in closed form to embeddings of the same items.

X (n x p) are the source vectors of n items and Y (n x q) their target vectors, both centred. R (N x p) and Q (N x q)
are a smaller set of N paired rows, which represents X and Y. Let S = X^T X and C = X^T Y, let lambda be the ridge, and
let d(K) be the mean of the diagonal of a matrix K. There are four maps from source to target:

    rows                M = R^T (R R^T + lambda d(R R^T) I)^-1 Q                                                  (1)
    ridge               M = (S + lambda d(S) I)^-1 C                                                              (2)
    reduced rank        M P P^T, where M is (2) and the columns of P are the leading eigenvectors of M^T S M      (3)
    Procrustes          U V^T, where C = U D V^T is the singular value decomposition of C                         (4)

If R = X and Q = Y, the maps (1) and (2) differ only in the factor of the ridge: d(X X^T) instead of d(S). With
lambda = 0, (3) is the best map of its rank (reduced-rank regression: Izenman 1975). (4) is the best orthogonal map if
p = q (Schönemann 1966).

One way to compute R and Q is to mix the n pairs so that the mixtures retain what both spaces share. Let W_x (N x p) and
W_y (N x q) be the N leading directions of ridge CCA (Vinod 1976), and T (n x N) an orthonormal basis of the columns of
X W_x^T + Y W_y^T. Then

    shared rows         R = T^T X,  Q = T^T Y                                                                     (5)

Finally, row i of R and row i of Q are both divided by sqrt(a b). Here a is the root mean square of the entries in row i
of R, and b is that of row i of Q.

Shapes: n pairs, N rows, p width of the source space, q width of the target space.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from omnidistill.core.device import float64_device

_CHUNK_ROWS = 1024  # their products are exact enough in float32; sums are in float64


def solved_rows(
    source: Float[Tensor, "N p"], target: Float[Tensor, "N q"], ridge: float | Float[Tensor, ""]
) -> Float[Tensor, "N q"]:
    """Return the matrix A for which R^T A is the map of the ridge regression from rows R to rows Q.

    A is (R R^T + lambda s I)^-1 Q, where lambda is the ridge and s is the mean of the diagonal of R R^T. The result is
    differentiable with respect to all inputs.

    Args:
        source: rows R, which must not all be zero.
        target: rows Q.
        ridge: lambda > 0, relative to the mean squared length of the rows R.
    """
    kernel = source @ source.mT
    identity = torch.eye(len(source), dtype=source.dtype, device=source.device)
    factor = torch.linalg.cholesky(kernel + ridge * kernel.diagonal().mean() * identity)
    return torch.cholesky_solve(target, factor)


@dataclass(frozen=True, eq=False)
class PairMoments:
    """Second moments of pairs of centred vectors: X (n x p) in the source space and Y (n x q) in the target space.

    Attributes:
        cross: C = X^T Y (p x q).
        values, vectors: eigenvalues and eigenvectors of S = X^T X (p x p).
    """

    cross: Float64[Tensor, "p q"]
    values: Float64[Tensor, " p"]
    vectors: Float64[Tensor, "p p"]

    @staticmethod
    def of(source: Float[Tensor, "n p"], target: Float[Tensor, "n q"]) -> PairMoments:
        """Return the second moments of pairs of centred source and target vectors."""
        values, vectors = torch.linalg.eigh(_product(source, source))
        return PairMoments(_product(source, target), values.clamp(min=0), vectors)

    def ridge_map(self, ridge: float) -> Float64[Tensor, "p q"]:
        """Return the ridge regression from source vectors X to target vectors.

        Args:
            ridge: regularisation strength above 0, relative to the mean eigenvalue of X^T X.
        """
        penalty = ridge * self.values.mean()
        matrix: Tensor = self.vectors @ ((self.vectors.mT @ self.cross) / (self.values + penalty).unsqueeze(1))
        return matrix

    def procrustes_map(self) -> Float64[Tensor, "p q"]:
        """Return the orthogonal map (Procrustes). If the widths differ, it has orthonormal rows or columns."""
        left, _, right = torch.linalg.svd(self.cross, full_matrices=False)
        matrix: Tensor = left @ right
        return matrix

    def leading_outputs(self, matrix: Float64[Tensor, "p q"], rank: int) -> Float64[Tensor, "q r"]:
        """Return an orthonormal basis of the principal directions of a map's outputs (P in the module docstring)."""
        root = self.values.sqrt().unsqueeze(1) * (self.vectors.mT @ matrix)
        _, vectors = torch.linalg.eigh(root.mT @ root)
        leading: Tensor = vectors[:, -rank:].flip(1)
        return leading


def shared_rows(
    source: Float[Tensor, "n p"],
    target: Float[Tensor, "n q"],
    moments: tuple[PairMoments, PairMoments],
    size: int,
    ridge: float,
) -> tuple[Float[Tensor, "N p"], Float[Tensor, "N q"]]:
    """Return N paired rows, from which maps between two embedding spaces can be computed by ridge regression.

    Each row is a mixture of all pairs. The mixtures retain the N leading directions that both spaces share, according
    to ridge CCA. Equation (5) of the module docstring defines them.

    Args:
        source, target: centred source vectors (n x p) and target vectors (n x q) of the same items.
        moments: moments of the pairs from source to target, and from target to source.
        size: number of rows N, at most the minimum of n, p and q.
        ridge: ridge of CCA, relative to the mean eigenvalue of each covariance.
    """
    whitening = [
        (each.vectors / (each.values + ridge * each.values.mean()).sqrt()) @ each.vectors.mT for each in moments
    ]
    left, _, right = torch.linalg.svd(whitening[0] @ moments[0].cross @ whitening[1], full_matrices=False)
    variates = source @ (whitening[0] @ left[:, :size]).to(source)
    variates += target @ (whitening[1] @ right[:size].mT).to(target)
    basis = torch.linalg.qr(variates.to(left)).Q.to(source)
    rows, paired = basis.mT @ source, basis.mT @ target
    lengths = (rows.square().mean(1) * paired.square().mean(1)).pow(0.25).clamp_min(torch.finfo(rows.dtype).tiny)
    return rows / lengths.unsqueeze(1), paired / lengths.unsqueeze(1)


def _product(left: Float[Tensor, "n _"], right: Float[Tensor, "n _"]) -> Float64[Tensor, "_ _"]:
    device = float64_device(left.device)
    total = torch.zeros(left.shape[1], right.shape[1], dtype=torch.float64, device=device)
    for x, y in zip(torch.split(left, _CHUNK_ROWS), torch.split(right, _CHUNK_ROWS), strict=True):
        total += (x.mT @ y).to(device, torch.float64)
    return total
