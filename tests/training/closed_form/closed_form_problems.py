"""Small paired sets for the closed forms: a planted latent of rank 8, offsets, groups; and their blocks in numpy."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import torch
from torch import Tensor

from omnidistill.data.featureset import FeatureSet
from omnidistill.data.preprocessing import Preprocessing

WIDTHS = {"red": 20, "green": 15, "blue": 12, "grey": 10}


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def paired(num_modalities: int = 3, rows: int = 500, group: int = 1, latent: int = 8, seed: int = 0) -> FeatureSet:
    """Return rows whose groups share a latent; the groups are scattered over the rows, and the last may be smaller."""
    draw = generator(seed)
    codes = (torch.arange(rows) // group)[torch.randperm(rows, generator=draw)]
    z = torch.randn(rows, latent, generator=draw)[codes]
    features = {}
    for name, width in list(WIDTHS.items())[:num_modalities]:
        signal = z @ torch.randn(latent, width, generator=draw)
        features[name] = signal + 0.5 * torch.randn(rows, width, generator=draw) + torch.randn(width, generator=draw)
    return labelled(features, [str(code) for code in codes.tolist()])


def labelled(features: dict[str, Tensor], groups: list[str] | None = None) -> FeatureSet:
    ids = tuple(f"row {row}" for row in range(len(next(iter(features.values())))))
    steps = Preprocessing(False, 1e-5, {})
    return FeatureSet(features, ids, tuple(groups or ids), ("train",) * len(ids), None, steps, {})


def centred(x: Tensor) -> np.ndarray:
    rows = x.double().numpy()
    return rows - rows.mean(0)


def cross_of(rows: dict[str, Tensor]) -> dict[tuple[str, str], np.ndarray]:
    count = len(next(iter(rows.values())))
    return {(m, n): centred(rows[m]).T @ centred(rows[n]) / (count - 1) for m, n in combinations(rows, 2)}


def off_diagonal(left: dict, right: dict) -> float:
    """Return the sum over pairs of the squared distances between two sets of blocks."""
    return sum(float(((np.asarray(left[pair]) - np.asarray(right[pair])) ** 2).sum()) for pair in left)


def products(blocks: dict[str, Tensor]) -> dict[tuple[str, str], np.ndarray]:
    """B_m B_n^T of every pair."""
    return {(m, n): (blocks[m].double() @ blocks[n].double().mT).numpy() for m, n in combinations(blocks, 2)}


def minimise(loss, leaves: list[Tensor], steps: int = 400) -> float:
    """Minimise in place by L-BFGS with line search, and return the final loss."""
    optimiser = torch.optim.LBFGS(
        leaves,
        max_iter=steps,
        history_size=30,
        tolerance_grad=1e-12,
        tolerance_change=1e-14,
        line_search_fn="strong_wolfe",
    )

    def closure():
        optimiser.zero_grad()
        value = loss()
        value.backward()
        return value

    optimiser.step(closure)
    return float(loss().detach())
