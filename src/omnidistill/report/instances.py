"""Description of synthetic rows by real items: the nearest training items, and the distance from the initial row.

nearest     training items with the highest cosine of preprocessed features, one per group
move        cos(x0, x) and ||x - x0|| / ||x0|| of the synthetic row x and the real row x0 that it was initialised with
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from omnidistill.data.featureset import FeatureSet
from omnidistill.distillation import DistilledSet

NUM_NEAREST = 3
"""Number of nearest items per row and modality, each of a different group."""
_NUM_CANDIDATES = 16  # nearest rows from which items of different groups are chosen


@dataclass(frozen=True)
class Neighbour:
    """A real training item near a synthetic row, its group, and the cosine of their features in [-1, 1]."""

    id: str
    group: str
    cosine: float


@dataclass(frozen=True)
class Move:
    """Change of a synthetic row from its initial real row: cosine in [-1, 1], and distance relative to its norm."""

    cosine: float
    distance: float


@dataclass(frozen=True)
class Trace:
    """A synthetic row in one modality: its nearest items, and its move (None without an initial real row)."""

    nearest: tuple[Neighbour, ...]
    move: Move | None


@dataclass(frozen=True)
class Instance:
    """One synthetic row: its number, the id of its initial real row (if any), and its traces by modality."""

    index: int
    start: str | None
    traces: Mapping[str, Trace]

    @property
    def agrees(self) -> bool:
        """Whether the nearest items of all modalities (at least two) are of the same group."""
        return len(self.traces) > 1 and len({trace.nearest[0].group for trace in self.traces.values()}) == 1


def trace_instances(distilled: DistilledSet, train: FeatureSet, first: int = 0) -> list[Instance]:
    """Return one instance for every stored row, numbered from `first`."""
    size, places = distilled.size, {name: row for row, name in enumerate(train.ids)}
    initial_rows = [places[name] for name in distilled.provenance.initial_ids if name in places]
    known = len(initial_rows) == size
    traces: dict[str, list[Trace]] = {}
    for name, views in distilled.rows().items():
        rows, real = views[:size], train.features[name]
        moves = _moves(rows, real[initial_rows]) if known else [None] * size
        neighbours = _nearest(rows, real, train)
        traces[name] = [Trace(nearest, move) for nearest, move in zip(neighbours, moves, strict=True)]
    return [
        Instance(
            first + row,
            distilled.provenance.initial_ids[row] if known else None,
            {name: of_modality[row] for name, of_modality in traces.items()},
        )
        for row in range(size)
    ]


def _nearest(rows: Float[Tensor, "N p"], real: Float[Tensor, "n p"], train: FeatureSet) -> list[tuple[Neighbour, ...]]:
    cosines = torch.nn.functional.normalize(rows, dim=1) @ torch.nn.functional.normalize(real, dim=1).T
    values, places = cosines.topk(min(_NUM_CANDIDATES, len(train)), dim=1)
    neighbours = []
    for cosine, row in zip(values.tolist(), places.tolist(), strict=True):
        of_group: dict[str, Neighbour] = {}
        for value, place in zip(cosine, row, strict=True):
            group = train.groups[place]
            of_group.setdefault(group, Neighbour(train.ids[place], group, value))
        neighbours.append(tuple(of_group.values())[:NUM_NEAREST])
    return neighbours


def _moves(rows: Float[Tensor, "N p"], start: Float[Tensor, "N p"]) -> list[Move | None]:
    cosines = torch.nn.functional.cosine_similarity(rows, start, dim=1).tolist()
    distances = ((rows - start).norm(dim=1) / start.norm(dim=1)).tolist()
    return [Move(cosine, distance) for cosine, distance in zip(cosines, distances, strict=True)]
