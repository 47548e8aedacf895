"""Describe synthetic rows by real items: the nearest training items, and the change from the initial row.

nearest     the training items with the highest cosine similarity to the synthetic row, at most one per group; the
            cosine is computed between preprocessed features
move        for a synthetic row x and the real row x0 that initialised it: cos(x0, x) and ||x - x0|| / ||x0||
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
_UNCHANGED = 1e-3  # relative distance up to which a row is a copy; storage rounds numbers
_NUM_CANDIDATES = 16  # nearest rows, from which items in different groups are selected


@dataclass(frozen=True)
class Neighbour:
    """A training item near a synthetic row: id, group, and cosine similarity to the synthetic row, in [-1, 1]."""

    id: str
    group: str
    cosine: float


@dataclass(frozen=True)
class Move:
    """Difference between a synthetic row and its initial row.

    Attributes:
        cosine: cosine similarity of the two rows, in [-1, 1].
        distance: Euclidean distance of the two rows, divided by the norm of the initial row.
    """

    cosine: float
    distance: float


@dataclass(frozen=True)
class Trace:
    """Description of a synthetic row in one modality.

    Attributes:
        nearest: the training items nearest to the row.
        move: difference between the row and the real row that initialised it; None if the real row is not known.
    """

    nearest: tuple[Neighbour, ...]
    move: Move | None


@dataclass(frozen=True)
class Instance:
    """Description of a synthetic row by real items.

    Attributes:
        index: number of the synthetic row.
        start: id of the real row that initialised the synthetic row; None if unknown.
        traces: for each modality, the training items that are nearest to the synthetic row, and the difference between
            the synthetic row and the real row that initialised it.
        start_group: group of the real row that initialised the synthetic row; None if unknown.
    """

    index: int
    start: str | None
    traces: Mapping[str, Trace]
    start_group: str | None = None

    @property
    def agrees(self) -> bool:
        """Whether the nearest items of all modalities belong to the same group. False if there is only one modality."""
        return len(self.traces) > 1 and len({trace.nearest[0].group for trace in self.traces.values()}) == 1

    @property
    def moves(self) -> bool:
        """Whether the row differs from its initial row in any modality. False if the initial row is unknown."""
        moves = [trace.move for trace in self.traces.values() if trace.move is not None]
        return any(move.distance > _UNCHANGED for move in moves)

    @property
    def stays(self) -> bool:
        """Whether the synthetic row is still nearest to the real row that it was initialised with.

        This is the case if, in every modality, the nearest real item has the same group as that row. If that row is
        unknown, the result is False. Ids are not compared, because items of a group may be identical in a modality.
        """
        return self.start is not None and {trace.nearest[0].group for trace in self.traces.values()} == {
            self.start_group
        }


def trace_instances(distilled: DistilledSet, train: FeatureSet, first: int = 0) -> list[Instance]:
    """Return one instance (description of a synthetic row) for each stored row of the set, numbered from `first`."""
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
            train.groups[initial_rows[row]] if known else None,
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
