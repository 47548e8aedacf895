"""Describe synthetic rows by real items: the nearest training items, and the distance from the initial row.

nearest     the training items whose preprocessed features have the highest cosine with the row, one item per group
move        cos(x0, x) and ||x - x0|| / ||x0|| for the synthetic row x and the real row x0 from which it started
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
"""Number of nearest items per row and modality; all are from different groups."""
_NUM_CANDIDATES = 16  # nearest rows, from which items in different groups are selected


@dataclass(frozen=True)
class Neighbour:
    """A real training item near a synthetic row, its group, and the cosine in [-1, 1] between their features."""

    id: str
    group: str
    cosine: float


@dataclass(frozen=True)
class Move:
    """Change of a synthetic row from its initial row: cosine in [-1, 1], and distance relative to the initial norm."""

    cosine: float
    distance: float


@dataclass(frozen=True)
class Trace:
    """A synthetic row in one modality: its nearest items, and its move (None if it has no initial real row)."""

    nearest: tuple[Neighbour, ...]
    move: Move | None


@dataclass(frozen=True)
class Instance:
    """One synthetic row: its number, the id of its initial real row (if any), and one trace per modality."""

    index: int
    start: str | None
    traces: Mapping[str, Trace]

    @property
    def agrees(self) -> bool:
        """Whether there are several modalities, and the nearest items in all of them belong to the same group."""
        return len(self.traces) > 1 and len({trace.nearest[0].group for trace in self.traces.values()}) == 1


def trace_instances(distilled: DistilledSet, train: FeatureSet, first: int = 0) -> list[Instance]:
    """Return one instance for each stored row of the set, numbered from `first`."""
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
