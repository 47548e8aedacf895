"""Small planted problems for recipes: rows, heads and recall, computed without the package where it is simple."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from omnidistill.models.objectives import InfoNCE
from omnidistill.training.recipes import TrainingRows

WIDTHS = {"a": 12, "b": 9}
RIDGES = (0.1, 0.3)


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=generator(seed), dtype=torch.float64)


def rows_of(num_rows: int, seed: int = 0, widths: Mapping[str, int] = WIDTHS) -> dict[str, Tensor]:
    return {name: normal(num_rows, width, seed=seed + k) for k, (name, width) in enumerate(widths.items())}


def training_rows(rows: dict[str, Tensor]) -> TrainingRows:
    """Return rows whose targets are the identity."""
    similarity = torch.eye(len(next(iter(rows.values()))), dtype=next(iter(rows.values())).dtype)
    return TrainingRows(
        rows, lambda each: similarity[each.unsqueeze(-1), each.unsqueeze(-2)], InfoNCE().bind(tuple(rows))
    )


def relative_error(matrix: Tensor, expected: Tensor) -> float:
    return float((matrix - expected).norm() / expected.norm())


def cosines(heads: Mapping[str, Tensor], queries: Mapping[str, Tensor]) -> Tensor:
    """Cosines of the outputs of two modalities (n x n)."""
    one, other = (torch.nn.functional.normalize(queries[name] @ heads[name].T, dim=1) for name in ("a", "b"))
    return one @ other.T
