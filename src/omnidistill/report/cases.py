"""Retrieval examples (cases): test queries, with the five best items before and after training on a set.

For each retrieval direction, two queries are selected: the one whose rank improves most, and the one whose rank worsens
most. The rank of a query is the rank of its first positive, that is, of the highest-ranked correct item. Changes are
compared as ratios: from rank 8 to rank 2 is the same change as from rank 40 to rank 10. All selected queries belong to
different groups. With many directions, only the six largest improvements and the six largest declines are kept.

The items of a query are shown for the initial heads, for heads trained on the set, and for heads trained on all rows.
If there are several students, only the first one is used. At most one item per group is shown, because the items of a
group are variants of each other.

Evaluation computes cases and stores them next to the scores. Cases are not used to choose settings or sets.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from omnidistill.data.featureset import FeatureSet
from omnidistill.evaluation.directions import Gallery, Items, items_of
from omnidistill.evaluation.run_scores import Count
from omnidistill.evaluation.scores import rank_runs
from omnidistill.evaluation.trained_heads import TrainedHeads
from omnidistill.evaluation.validation import run_of
from omnidistill.io.artifacts import JsonContent, write_atomic
from omnidistill.models.heads import embed

COMPARED = ("zero_shot", "distilled", "full")
"""Names of the rows of the score table whose retrieved items are compared."""
NUM_RETRIEVED = 5
_SCHEMA = 1
_MAX_CASES = 6  # for improvements and for declines


@dataclass(frozen=True)
class Retrieved:
    """A retrieved item. `hit` is True if the item is a positive of the query."""

    id: str
    hit: bool


@dataclass(frozen=True)
class Case:
    """A test query with its retrieved items.

    Attributes:
        query: id of the test row.
        query_modality, gallery_modality: modality of the query, and modality of the retrieved items.
        rose: whether training on the set improves the rank of the query (otherwise it worsens the rank).
        ranks: {row of the score table: rank of the query}. The best rank is 1. Ties can give half ranks.
        retrieved: {row of the score table: the highest-ranked items, at most one per group}.
    """

    query: str
    query_modality: str
    gallery_modality: str
    rose: bool
    ranks: Mapping[str, float]
    retrieved: Mapping[str, tuple[Retrieved, ...]]


@dataclass(frozen=True)
class Cases:
    """The cases (retrieval examples) of a run, and how training on the set changes the ranks of all queries.

    The numbers of queries are summed over all retrieval directions.

    Attributes:
        rose: number of queries whose rank is better with heads trained on the set than with the initial heads.
        fell: number of queries whose rank is worse.
        stayed: number of queries whose rank is the same.
        cases: the selected queries.
    """

    rose: int
    fell: int
    stayed: int
    cases: tuple[Case, ...]


def find_cases(rows: Mapping[str, TrainedHeads], test: FeatureSet, gallery: Gallery = "distinct") -> Cases:
    """Select the retrieval examples (cases) of a run: test queries with the items that they retrieve.

    The result is deterministic.

    Args:
        rows: {row of the score table: trained heads}. It must contain all rows named in `COMPARED`.
        test: rows of the test split.
        gallery: "distinct" if copies of an item count once, "rows" if every row counts.
    """
    first = {name: _first_student(rows[name]) for name in COMPARED}
    ranks = {
        name: {pair: ranking.ranks() for pair, ranking in rank_runs(row, test, gallery)[0].items()}
        for name, row in first.items()
    }
    items = items_of(test, gallery)
    rises = {pair: (ranks["zero_shot"][pair] / ranks["distilled"][pair]).log2() for pair in ranks["zero_shot"]}
    everything = torch.cat(list(rises.values()))
    taken: set[str] = set()
    selected: dict[bool, list[tuple[float, tuple[str, str], int]]] = {True: [], False: []}
    for pair, rise in rises.items():
        for went_up in (True, False):
            change = rise if went_up else -rise
            for query in change.sort(descending=True, stable=True).indices.tolist():
                if change[query] <= 0:
                    break
                group = test.groups[items[pair[0]][query]]
                if group not in taken:
                    taken.add(group)
                    selected[went_up].append((float(change[query]), pair, query))
                    break
    cases = [
        Case(
            test.ids[items[pair[0]][query]],
            *pair,
            went_up,
            {name: float(by_pair[pair][query]) for name, by_pair in ranks.items()},
            {name: _retrieved(heads, test, pair, items, query) for name, heads in first.items()},
        )
        for went_up, chosen in selected.items()
        for _, pair, query in sorted(chosen, key=lambda one: -one[0])[:_MAX_CASES]
    ]
    rose, fell = int((everything > 0).sum()), int((everything < 0).sum())
    return Cases(rose, fell, everything.numel() - rose - fell, tuple(cases))


def save_cases(cases: Cases, path: Path) -> None:
    """Write the cases to a JSON file."""
    write_atomic(path, json.dumps({"schema": _SCHEMA, **asdict(cases)}, ensure_ascii=False, allow_nan=False).encode())


def load_cases(path: Path, data: FeatureSet) -> Cases | None:
    """Load the cases from a JSON file. Return None if the file does not exist.

    Args:
        path: the file.
        data: the data of the run, which contain all queries and retrieved items.

    Raises:
        InputError: the file is damaged or has an unknown schema version, or an item is not in the data.
    """
    if not path.exists():
        return None
    where, ids = str(path), set(data.ids)
    content = _CasesContent.from_file(path)
    for number, case in enumerate(content.cases):
        if missing := [name for name in COMPARED if name not in case.ranks or name not in case.retrieved]:
            raise content.damaged(where, f"cases.{number} has no ranks or no retrieved items for {missing[0]}")
        if not {case.query_modality, case.gallery_modality} <= set(data.modalities):
            raise content.damaged(where, f"cases.{number} has a modality that is not in the data")
        if not {case.query, *(each.id for items in case.retrieved.values() for each in items)} <= ids:
            raise content.damaged(where, f"cases.{number} has an id that is not in the data")
    group_of = dict(zip(data.ids, data.groups, strict=True))  # files of earlier versions repeat groups
    cases = tuple(
        replace(
            case,
            retrieved={
                name: _first_of_groups((group_of[each.id], each) for each in items)
                for name, items in case.retrieved.items()
            },
        )
        for case in content.cases
    )
    return Cases(content.rose, content.fell, content.stayed, cases)


class _CasesContent(JsonContent):
    remedy: ClassVar[str] = "evaluate the run again"
    layout_version: ClassVar[int | None] = _SCHEMA

    rose: Count
    fell: Count
    stayed: Count
    cases: tuple[Case, ...]


def _first_student(row: TrainedHeads) -> TrainedHeads:
    return replace(row, parts=tuple({name: heads[:1] for name, heads in part.items()} for part in row.parts))


def _retrieved(
    trained: TrainedHeads, test: FeatureSet, pair: tuple[str, str], items: Items, query: int
) -> tuple[Retrieved, ...]:
    part = next(part for part in trained.parts if set(pair) <= set(part))
    row, gallery = int(items[pair[0]][query]), items[pair[1]]
    features: dict[str, Float[Tensor, "_ _"]] = {
        pair[0]: test.features[pair[0]][row : row + 1],
        pair[1]: test.features[pair[1]][gallery.to(test.device)],
    }
    heads = {name: matrix for name, matrix in run_of(part, 0).items() if name in pair}
    embedded = embed(heads, features, trained.bias)
    order = (embedded[pair[0]] @ embedded[pair[1]].T)[0].sort(descending=True, stable=True).indices
    ordered = gallery[order.cpu()].tolist()
    return _first_of_groups(
        (test.groups[item], Retrieved(test.ids[item], test.groups[item] == test.groups[row])) for item in ordered
    )


def _first_of_groups(items: Iterable[tuple[str, Retrieved]]) -> tuple[Retrieved, ...]:
    """Return the first item of each group. `items` are pairs (group, item); stop after `NUM_RETRIEVED` groups."""
    first: dict[str, Retrieved] = {}
    for group, item in items:
        first.setdefault(group, item)
        if len(first) == NUM_RETRIEVED:
            break
    return tuple(first.values())
