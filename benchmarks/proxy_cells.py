"""The cells of the proxy study: initial heads, and objectives trained on all rows. Finished cells are stored."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from itertools import permutations
from pathlib import Path
from typing import Any

import torch

from measuring import machine
from omnidistill.data.featureset import FeatureSet
from omnidistill.evaluation.directions import RECALL_AT, mean_recall, rank_heads
from omnidistill.evaluation.full_training import best_epoch
from omnidistill.evaluation.validation import validation_score
from omnidistill.io.artifacts import write_atomic
from omnidistill.models.heads import Heads, embed
from omnidistill.training.experts.epochs import stack_runs, train_epochs
from proxy_readings import objective
from proxy_regimes import REGIMES, Planted, planted

BATCH = 128
Cell = dict[str, Any]


@dataclass(frozen=True)
class Effort:
    """The largest number of epochs on all rows, and the number of outer iterations of a distilled set."""

    epochs: int = 30
    iterations: int = 200


class Store:
    """The finished cells in a JSON file, {part/regime/name/draw: cell}."""

    def __init__(self, path: Path, effort: Effort) -> None:
        self.path, self.effort = path, effort
        new: dict[str, Any] = {"machine": machine(), "minutes": 0.0, "best": [], "cells": {}}
        self.record: dict[str, Any] = json.loads(path.read_text()) if path.exists() else new
        self.cells: dict[str, Cell] = self.record["cells"]

    def add(self, key: str, compute: Callable[[], Cell]) -> Cell:
        """Return a stored cell. If it is missing, compute and store it."""
        if key not in self.cells:
            started_at = time.monotonic()
            cell = compute()
            seconds = time.monotonic() - started_at
            self.cells[key] = {**cell, "seconds": round(seconds, 1)}
            self.record["minutes"] += seconds / 60
            self.save()
            print(f"{key}: {json.dumps(cell['recall'])}, {seconds:.0f} s", flush=True)
        return self.cells[key]

    def save(self) -> None:
        """Write the file, with one line per cell."""
        lines = ",\n".join(f"{json.dumps(key)}: {json.dumps(cell)}" for key, cell in self.cells.items())
        head = json.dumps({name: value for name, value in self.record.items() if name != "cells"})
        write_atomic(self.path, f'{head[:-1]}, "cells": {{\n{lines}\n}}}}\n'.encode())


@dataclass(frozen=True)
class Trained:
    """Heads trained on all rows with the step size 10 ** (exponent / 2), after the epoch that validates best."""

    exponent: int
    epochs: int
    score: float
    heads: Heads


def rate_of(exponent: int) -> float:
    return round(10 ** (exponent / 2), 4)


@lru_cache(maxsize=2)
def drawn(regime: str, draw: int) -> Planted:
    return planted(REGIMES[regime], draw)


def start_cell(store: Store, regime: str, draw: int) -> Cell:
    """Score the initial heads."""

    def compute() -> Cell:
        data = drawn(regime, draw)
        validation = 100 * validation_score(data.start, data.development.validation)
        return {"validation": round(validation, 3), **scores(data.start, data.data.split("test"))}

    return store.add(f"start/{regime}/{draw}", compute)


def full_cell(store: Store, regime: str, name: str, draw: int) -> Cell:
    """Train an objective on all rows. The search for the step size begins at the choice of the draw before."""
    earlier = [store.cells.get(f"full/{regime}/{name}/{other}", {}).get("exponent") for other in range(draw)]
    first = next((exponent for exponent in reversed(earlier) if exponent is not None), -1)

    def compute() -> Cell:
        data = drawn(regime, draw)
        best = climb(lambda exponent: train_at(name, data, exponent, store.effort.epochs), first)
        validation = validation_score(best.heads, data.development.validation)
        if abs(validation - best.score) > 1e-6:
            raise AssertionError("the two computations of the validation score differ")
        chosen = {"exponent": best.exponent, "rate": rate_of(best.exponent), "epochs": best.epochs}
        return {**chosen, "validation": round(100 * validation, 3), **scores(best.heads, data.data.split("test"))}

    return store.add(f"full/{regime}/{name}/{draw}", compute)


def climb(train: Callable[[int], Trained], first: int) -> Trained:
    """Return the training with the best step size; step sizes are added until the best is not at an end."""
    tried = {exponent: train(exponent) for exponent in (first - 1, first, first + 1)}
    while True:
        best = max(tried.values(), key=lambda trained: trained.score)
        further = {best.exponent - 1, best.exponent + 1} - tried.keys()
        if not further or not -8 <= best.exponent <= 6:
            return best
        tried |= {exponent: train(exponent) for exponent in further}


def train_at(name: str, data: Planted, exponent: int, max_epochs: int) -> Trained:
    """Train on all rows with one step size."""
    heads, best = stack_runs(data.start, 1), [dict(data.start)]
    seen = [-1.0]

    def score() -> float:
        current = {modality: matrix[0] for modality, matrix in heads.items()}
        found = (validation_score if data.bundled else quick_score)(current, data.development.validation)
        if found > max(seen):
            best[0] = {modality: matrix.clone() for modality, matrix in current.items()}
        seen.append(found)
        return found

    epochs = train_epochs(
        objective(name),
        heads,
        data.development.train,
        torch.tensor([rate_of(exponent)]),
        batch_size=BATCH,
        num_epochs=max_epochs,
        seed=0,
        purpose="all rows",
    )
    found, epoch, _ = best_epoch(epochs, score)
    return Trained(exponent, epoch, found, best[0])


@torch.no_grad()
def quick_score(heads: Heads, rows: FeatureSet) -> float:
    """Return `validation_score` for rows without groups and copies, in a tenth of its time."""
    z = torch.nn.functional.normalize(torch.stack(list(embed(heads, rows.features).values())), dim=-1)
    ranks = []
    for query, gallery in permutations(range(len(z)), 2):
        cosines = z[query] @ z[gallery].T
        ranks.append((cosines > cosines.diagonal()[:, None]).sum(1))
    placed = torch.stack(ranks)
    return float(sum((placed < k).double().mean() for k in RECALL_AT) / len(RECALL_AT))


def scores(heads: Heads, rows: FeatureSet) -> Cell:
    """Return recall in %, as the mean over directions and for each direction."""
    rankings = rank_heads(heads, rows)
    directions = {f"{a}>{b}": mean_recall({(a, b): ranking}) for (a, b), ranking in rankings.items()}
    shown = {name: [round(100 * value, 3) for value in each.values()] for name, each in directions.items()}
    return {"recall": [round(100 * value, 3) for value in mean_recall(rankings).values()], "directions": shown}
