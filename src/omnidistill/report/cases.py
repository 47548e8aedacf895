"""What training on a set changed for single test queries: the five items that were retrieved before and after.

Of every direction the query whose first positive rose most, and the one whose fell most, by ratio of ranks; none is of
the group of another. One student of each line is compared, the first. Who looks at cases has looked at the test split:
they are found where it is scored, kept beside the scores, and shown from there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from omnidistill.core.errors import InputError
from omnidistill.data.featureset import FeatureSet
from omnidistill.evaluation.scores import ranks_on_test
from omnidistill.evaluation.trained_heads import TrainedHeads
from omnidistill.evaluation.validation import run_of
from omnidistill.io.artifacts import read_json, write_atomic
from omnidistill.models.heads import embed

COMPARED = ("zero_shot", "distilled", "full")
"""Lines that are compared, by their names among the scores."""
NUM_RETRIEVED = 5
_MOST = 6  # of each kind


@dataclass(frozen=True)
class Retrieved:
    """An item that was retrieved, and whether it is a positive of the query."""

    id: str
    hit: bool


@dataclass(frozen=True)
class Case:
    """A query (the id of a test row), its direction, the rank of its first positive by line (1 is best; halves where
    ranks tie), and the first items that each line retrieves. rose: whether the set made it better.
    """

    query: str
    query_modality: str
    gallery_modality: str
    rose: bool
    ranks: Mapping[str, float]
    retrieved: Mapping[str, tuple[Retrieved, ...]]


@dataclass(frozen=True)
class Cases:
    """The cases, and of all queries in all directions how many rose, fell, and stayed where they were."""

    rose: int
    fell: int
    stayed: int
    cases: tuple[Case, ...]


def find_cases(rows: Mapping[str, TrainedHeads], test: FeatureSet) -> Cases:
    """Return the cases of a run; equal input gives equal cases.

    Args:
        rows: the trained heads by name of the row; they must include those in `COMPARED`.
        test: rows of the test split.
    """
    first = {name: _first_student(rows[name]) for name in COMPARED}
    ranks = {name: ranks_on_test(line, test)[0] for name, line in first.items()}
    rises = {pair: (ranks["zero_shot"][pair] / ranks["distilled"][pair]).log2() for pair in ranks["zero_shot"]}
    everything = torch.cat(list(rises.values()))
    taken: set[str] = set()
    found: dict[bool, list[tuple[float, tuple[str, str], int]]] = {True: [], False: []}
    for pair, rise in rises.items():
        for went_up in (True, False):
            change = rise if went_up else -rise
            for row in change.sort(descending=True, stable=True).indices.tolist():
                if change[row] <= 0:
                    break
                if test.groups[row] not in taken:
                    taken.add(test.groups[row])
                    found[went_up].append((float(change[row]), pair, row))
                    break
    cases = [
        Case(
            test.ids[row],
            *pair,
            went_up,
            {name: float(of_line[pair][row]) for name, of_line in ranks.items()},
            {name: _retrieved(line, test, pair, row) for name, line in first.items()},
        )
        for went_up, chosen in found.items()
        for _, pair, row in sorted(chosen, key=lambda one: -one[0])[:_MOST]
    ]
    rose, fell = int((everything > 0).sum()), int((everything < 0).sum())
    return Cases(rose, fell, everything.numel() - rose - fell, tuple(cases))


def save_cases(cases: Cases, path: Path) -> None:
    """Write the cases as JSON."""
    write_atomic(path, json.dumps({"schema": 1, **asdict(cases)}, ensure_ascii=False, allow_nan=False).encode())


def load_cases(path: Path) -> Cases | None:
    """Return the cases in a file, None if there is no such file.

    Raises:
        InputError: the file is damaged or of another version.
    """
    if not path.exists():
        return None
    content = read_json(path)
    try:
        if content["schema"] != 1:
            raise ValueError(f"schema {content['schema']!r}")
        cases = tuple(_case(entry) for entry in content["cases"])
        return Cases(int(content["rose"]), int(content["fell"]), int(content["stayed"]), cases)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{path}: cannot be used ({type(error).__name__}: {error}); evaluate the run again") from None


def _case(entry: Any) -> Case:
    names = ("query", "query_modality", "gallery_modality")
    query, asking, asked = (str(entry[name]) for name in names)
    return Case(
        query,
        asking,
        asked,
        bool(entry["rose"]),
        {name: float(entry["ranks"][name]) for name in COMPARED},
        {
            name: tuple(Retrieved(str(item["id"]), bool(item["hit"])) for item in entry["retrieved"][name])
            for name in COMPARED
        },
    )


def _first_student(row: TrainedHeads) -> TrainedHeads:
    return replace(row, parts=tuple({name: heads[:1] for name, heads in part.items()} for part in row.parts))


def _retrieved(line: TrainedHeads, test: FeatureSet, pair: tuple[str, str], row: int) -> tuple[Retrieved, ...]:
    part = next(part for part in line.parts if set(pair) <= set(part))
    rows: dict[str, Float[Tensor, "_ _"]] = {
        pair[0]: test.features[pair[0]][row : row + 1],
        pair[1]: test.features[pair[1]],
    }
    heads = {name: matrix for name, matrix in run_of(part, 0).items() if name in pair}
    embedded = embed(heads, rows, line.bias)
    order = (embedded[pair[0]] @ embedded[pair[1]].T)[0].sort(descending=True, stable=True).indices[:NUM_RETRIEVED]
    return tuple(Retrieved(test.ids[item], test.groups[item] == test.groups[row]) for item in order.tolist())
