"""Means, covariances and cross-covariances of paired data, in one pass over the rows.

X_m (N x p_m) are the rows of modality m, and Xc_m are the rows minus their mean. The matrix T (N x N) defines which
rows of two modalities are paired. The covariance S_m of modality m and the cross-covariance C_mn of modalities m and n
are

    S_m = Xc_m^T Xc_m / (N - 1)        C_mn = Xc_m^T T Xc_n / (N - 1)

With pairing "rows", T = I: row i of one modality is paired with row i of the other. With pairing "groups", T_ij = 1/|g|
if rows i and j are both in group g, and T_ij = 0 otherwise. C_mn is then the cross-covariance of the group means,
weighted by the sizes of the groups.

`error_weighted_cross` weights every pair of rows, including negatives, by the InfoNCE error of given heads. Let z_m
(N x d) be the embeddings that these heads compute from X_m, and tau the temperature. The result is called C(gamma) by
UniCon (Sui et al. 2026, arXiv 2604.16678):

    C(gamma)_mn = X_m^T [(T - rowsoftmax(z_m z_n^T / tau)) + (T - columnsoftmax(z_m z_n^T / tau))] X_n / (2 N)

With weights = "errors", the method `covmatch` uses C(gamma) instead of C.

Sums are accumulated in float64 after subtracting the first row, so a mean far from 0 does not cost precision.

Shapes: N rows, p_m feature width, d embedding width, b rows per chunk.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, permutations
from typing import Literal

import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

from omnidistill.core.device import float64_device
from omnidistill.core.errors import InputError
from omnidistill.data.featureset import FeatureSet
from omnidistill.models.heads import Heads, embed

Pair = tuple[str, str]
"""Names of two modalities, in the order of the data."""

Pairing = Literal["rows", "groups"]

_MOMENT_ROWS = 1024  # rows per chunk of the moments
_ERROR_ROWS = 512  # rows per chunk of C(gamma)
_CHUNK_NUMBERS = 2**26  # limit of the N x b numbers in a chunk of C(gamma); 256 MB

Cross = dict[Pair, Float64[Tensor, "_ _"]]
"""One p_m x p_n matrix per pair of modalities."""


@dataclass(frozen=True, eq=False)
class Moments:
    """Means (p_m) and covariances (p_m x p_m) of all modalities, and cross-covariances (p_m x p_n) of all pairs."""

    means: dict[str, Float64[Tensor, " _"]]
    covariances: dict[str, Float64[Tensor, "_ _"]]
    cross: Cross

    @property
    def widths(self) -> dict[str, int]:
        """Feature width p_m of each modality."""
        return {name: len(mean) for name, mean in self.means.items()}

    def head_bias(self, heads: Mapping[str, Float[Tensor, "_ _"]]) -> dict[str, Float[Tensor, " _"]]:
        """Return the biases -W_m mu_m, with d values per modality, that give outputs with mean 0.

        If the features are centred, the biases are about zero.
        """
        return {name: -(w @ self.means[name].to(w)) for name, w in heads.items()}


def accumulate_moments(train: FeatureSet, pairing: Pairing = "groups") -> Moments:
    """Return the moments of the training rows, on their device if it supports float64, otherwise on the CPU.

    Args:
        train: the training rows, at least two.
        pairing: whether cross-covariances pair equal row numbers ("rows") or rows of the same group ("groups").

    Raises:
        InputError: there are fewer than two rows, or the pairing is "groups" but the data defines the similarities
            between rows by a pairing matrix.
    """
    if len(train) < 2:
        raise InputError(
            "moments: there are fewer than two training rows; pass at least two rows to compute covariances"
        )
    if pairing == "groups":
        _check_groups(train, "with pairing='groups' cross-covariances", "distill.pairing=rows")
    train = train.to(float64_device(train.device))
    shift = {name: x[0].double() for name, x in train.features.items()}
    totals = {name: torch.zeros_like(row) for name, row in shift.items()}
    squares = {name: row.new_zeros(len(row), len(row)) for name, row in shift.items()}
    cross = {(m, n): shift[m].new_zeros(len(shift[m]), len(shift[n])) for m, n in combinations(shift, 2)}
    for rows, weighted in _chunks(train, shift, pairing):
        for name, x in rows.items():
            totals[name] += x.sum(0)
            squares[name].addmm_(x.mT, x)
        for m, n in cross:
            cross[m, n].addmm_(weighted[m].mT, weighted[n])
    count = len(train)
    centre = {name: total / count for name, total in totals.items()}
    return Moments(
        {name: shift[name] + centre[name] for name in shift},
        {name: _centred(square, centre[name], centre[name], count) for name, square in squares.items()},
        {(m, n): _centred(block, centre[m], centre[n], count) for (m, n), block in cross.items()},
    )


def error_weighted_cross(train: FeatureSet, snapshots: Sequence[Heads], tau: float = 0.07) -> Cross:
    """Return the error-weighted cross-covariances of all pairs of modalities, averaged over snapshots of the heads.

    A cross-covariance sums, over pairs of rows, the products of their features. Here, each product is multiplied by the
    InfoNCE error of the pair: target minus softmax. The module docstring has the formula, C(gamma).

    Args:
        train: the training rows.
        snapshots: heads after different epochs, at least one.
        tau: temperature of InfoNCE.

    Raises:
        InputError: there are no snapshots, or the data defines the similarities between rows by a pairing matrix
            instead of by groups.
    """
    if not snapshots:
        raise InputError(
            "error-weighted cross-covariance: there are no snapshots of the heads; pass at least one snapshot"
        )
    _check_groups(train, "error-weighted cross-covariances", "distill.weights=uniform with distill.pairing=rows")
    codes = train.group_codes
    sizes = torch.bincount(codes)[codes].float()
    widths, device = train.widths, float64_device(train.device)
    cross = {
        (m, n): torch.zeros(widths[m], widths[n], dtype=torch.float64, device=device)
        for m, n in combinations(widths, 2)
    }
    rows = torch.arange(len(train), device=train.device)
    for heads in snapshots:
        z = embed({name: heads[name] for name in widths}, train.features)
        for chunk in torch.split(rows, max(1, min(_ERROR_ROWS, _CHUNK_NUMBERS // len(train)))):
            targets = (codes[chunk, None] == codes) / sizes
            for m, n in permutations(widths, 2):
                errors = targets - torch.softmax(z[m][chunk] @ z[n].mT / tau, dim=-1)
                part = (train.features[m][chunk].mT @ (errors @ train.features[n])).to(device).double()
                if (m, n) in cross:
                    cross[m, n] += part
                else:
                    cross[n, m] += part.mT
    return {pair: block / (2 * len(train) * len(snapshots)) for pair, block in cross.items()}


def _chunks(
    train: FeatureSet, shift: Mapping[str, Tensor], pairing: Pairing
) -> Iterator[tuple[dict[str, Tensor], dict[str, Tensor]]]:
    """Yield two sets of rows for each chunk: one for the covariances, and one for the cross-covariances.

    The first set consists of the rows of the chunk minus `shift`. With pairing "rows", the second set is the same. With
    "groups", the rows are sorted by group, and the second set has one row for each group that ends in the chunk: the
    sum of (row - `shift`) over the rows of the group, divided by the square root of the size of the group.
    """
    if pairing == "rows":
        for chunk in torch.split(torch.arange(len(train), device=train.device), _MOMENT_ROWS):
            rows = _shifted(train, shift, chunk)
            yield rows, rows
        return
    codes, order = torch.sort(train.group_codes, stable=True)
    roots = torch.bincount(codes).double().sqrt()[:, None]
    open_sums = {name: torch.zeros_like(row) for name, row in shift.items()}
    for start in range(0, len(order), _MOMENT_ROWS):
        stop = min(start + _MOMENT_ROWS, len(order))
        rows = _shifted(train, shift, order[start:stop])
        first, last = int(codes[start]), int(codes[stop - 1])
        sums = {name: x.new_zeros(last - first + 1, x.shape[1]) for name, x in rows.items()}
        for name, x in rows.items():
            if start and codes[start - 1] == first:
                sums[name][0] = open_sums[name]
            sums[name].index_add_(0, codes[start:stop] - first, x)
        if stop < len(order) and codes[stop] == last:
            open_sums = {name: x[-1] for name, x in sums.items()}
            sums = {name: x[:-1] for name, x in sums.items()}
        weights = roots[first : first + len(next(iter(sums.values())))]
        yield rows, {name: x / weights for name, x in sums.items()}


def _shifted(train: FeatureSet, shift: Mapping[str, Tensor], rows: Int[Tensor, " b"]) -> dict[str, Tensor]:
    return {name: x[rows].double() - shift[name] for name, x in train.features.items()}


def _centred(block: Tensor, left: Tensor, right: Tensor, count: int) -> Tensor:
    return (block - count * torch.outer(left, right)) / (count - 1)


def _check_groups(train: FeatureSet, computed: str, settings: str) -> None:
    if train.pairing is not None:
        raise InputError(
            f"the data have a pairing matrix, but {computed} are computed from groups; use {settings}, or data that "
            "have no pairing matrix"
        )
