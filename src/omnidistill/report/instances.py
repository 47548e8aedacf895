"""Synthetic rows by what is real: the nearest training items of each in every modality, and how far it has moved.

nearest     by cosine of prepared features, the space that the set lives in; one item a group
start       the real row x0 that the synthetic row x began as:  cos(x0, x)  and  ||x - x0|| / ||x0||
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
"""Items shown for each row and modality, each of another group."""
_LOOKED_AT = 16  # nearest rows among which groups are told apart


@dataclass(frozen=True)
class Neighbour:
    """A real training item near to a synthetic row, and the cosine of their features in [-1, 1]. Items of one group
    are the same thing.
    """

    id: str
    group: str
    cosine: float


@dataclass(frozen=True)
class Move:
    """From the real row that a synthetic row began as: cosine in [-1, 1], and distance in lengths of the real row."""

    cosine: float
    distance: float


@dataclass(frozen=True)
class Trace:
    """A synthetic row in one modality: its nearest items and its move (None: it began as no real row)."""

    nearest: tuple[Neighbour, ...]
    move: Move | None


@dataclass(frozen=True)
class Instance:
    """One synthetic row: its number, the id of the real row that it began as (if any), and its traces by modality."""

    index: int
    start: str | None
    traces: Mapping[str, Trace]

    @property
    def agrees(self) -> bool:
        """Whether the nearest items of all its modalities (at least two) are the same thing."""
        return len(self.traces) > 1 and len({trace.nearest[0].group for trace in self.traces.values()}) == 1


def trace_instances(distilled: DistilledSet, train: FeatureSet, first: int = 0) -> list[Instance]:
    """One instance for every stored row, numbered from `first`."""
    size, places = distilled.size, {name: row for row, name in enumerate(train.ids)}
    begun = [places[name] for name in distilled.provenance.initial_ids if name in places]
    known = len(begun) == size
    traces: dict[str, list[Trace]] = {}
    for name, views in distilled.rows().items():
        rows, real = views[:size], train.features[name]
        moves = _moves(rows, real[begun]) if known else [None] * size
        found = _nearest(rows, real, train)
        traces[name] = [Trace(nearest, move) for nearest, move in zip(found, moves, strict=True)]
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
    values, places = cosines.topk(min(_LOOKED_AT, len(train)), dim=1)
    found = []
    for cosine, row in zip(values.tolist(), places.tolist(), strict=True):
        of_group: dict[str, Neighbour] = {}
        for value, place in zip(cosine, row, strict=True):
            group = train.groups[place]
            of_group.setdefault(group, Neighbour(train.ids[place], group, value))
        found.append(tuple(of_group.values())[:NUM_NEAREST])
    return found


def _moves(rows: Float[Tensor, "N p"], start: Float[Tensor, "N p"]) -> list[Move | None]:
    cosines = torch.nn.functional.cosine_similarity(rows, start, dim=1).tolist()
    distances = ((rows - start).norm(dim=1) / start.norm(dim=1)).tolist()
    return [Move(cosine, distance) for cosine, distance in zip(cosines, distances, strict=True)]
