"""Scores on the test split. No other module reads this split, and every row of a table is scored once.

Recall covers all M (M - 1) directions, R@1/5/10, with several positives and the tie rule of `evaluation.retrieval`.
Gain retained is (row - zero_shot) / (full - zero_shot) with a paired bootstrap over groups of queries and runs; it is
null if the gain of training on all rows is not above noise. Recall and gain are fractions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import permutations

import torch
from jaxtyping import Float
from torch import Tensor

from omnidistill.core.device import moved
from omnidistill.data.featureset import FeatureSet
from omnidistill.evaluation.intervals import Interval, gain_retained, mean_std, paired_difference
from omnidistill.evaluation.retrieval import RECALL_AT, hits, ranks_by_direction
from omnidistill.evaluation.run_scores import MEAN, Intervals, Recall, RecallTable, RowScores
from omnidistill.evaluation.trained_heads import TrainedHeads
from omnidistill.evaluation.validation import run_of
from omnidistill.models.heads import embed

Ranks = dict[tuple[str, str], Float[Tensor, " n"]]
"""(query modality, gallery modality) -> 1-based rank of the first positive, one per query."""


def score_rows(rows: Mapping[str, TrainedHeads], test: FeatureSet, seed: int = 0) -> dict[str, RowScores]:
    """Score every row on the test split.

    Args:
        rows: the trained heads by name of the row; they must include "zero_shot", "distilled" and "full".
        test: rows of the test split.
        seed: seed of the bootstrap.

    Returns:
        The scores by name, in the order of `rows`. Every row but zero_shot has its paired differences to zero_shot and
        to random rows. "distilled" also has `gain_retained_own` if "full_own" is among the rows.
    """
    measured = {name: ranks_on_test(row, test) for name, row in rows.items()}
    per_query = {name: torch.stack([hits(run, RECALL_AT) for run in runs]) for name, runs in measured.items()}
    groups, zero_shot = test.group_codes, per_query["zero_shot"][0]
    scores: dict[str, RowScores] = {}
    for name, row in rows.items():
        gain = gain_retained(zero_shot, per_query["full"], per_query[name], groups, seed=seed)
        others = [other for other in ("random", "zero_shot") if other in rows and name not in ("zero_shot", other)]
        own = None
        if name == "distilled" and "full_own" in rows:
            own = named_intervals(gain_retained(zero_shot, per_query["full_own"], per_query[name], groups, seed=seed))
        scores[name] = RowScores(
            label=row.label,
            recall=recall_table(measured[name]),
            gain_retained=named_intervals(gain),
            seconds=row.seconds,
            bytes=row.bytes,
            settings=row.settings,
            differences={
                other: named_intervals(paired_difference(per_query[name], per_query[other], groups, seed=seed))
                for other in others
            },
            gain_retained_own=own,
        )
    return scores


def ranks_on_test(row: TrainedHeads, test: FeatureSet) -> list[Ranks]:
    """Return the rank of the first positive for every query of every direction, one dict per run.

    Directions are in the order of the data; each is scored by the first part of the row that has both its modalities.
    Scores are computed on the device of the test rows; the ranks are on the CPU.
    """
    runs: list[Ranks] = []
    parts = [moved(part, test.device) for part in row.parts]
    bias = None if row.bias is None else moved(row.bias, test.device)
    for run in range(row.num_runs):
        ranks: Ranks = {}
        for part in parts:
            ranks = {**ranks_by_direction(embed(run_of(part, run), test.features, bias), test.group_codes), **ranks}
        runs.append({pair: ranks[pair] for pair in permutations(test.modalities, 2)})
    return runs


def recall_table(runs: Sequence[Ranks]) -> RecallTable:
    """Return the recall of every direction and the mean over directions, each over runs."""
    by_direction = {
        "->".join(direction): {
            f"R@{k}": _recall(torch.stack([(run[direction] <= k).double().mean() for run in runs])) for k in RECALL_AT
        }
        for direction in runs[0]
    }
    mean = {
        f"R@{k}": _recall(
            torch.stack([torch.stack([(ranks <= k).double().mean() for ranks in run.values()]).mean() for run in runs])
        )
        for k in RECALL_AT
    }
    return {MEAN: mean, **by_direction}


def named_intervals(intervals: Sequence[Interval | None]) -> Intervals:
    """Return the intervals by level, "R@K"."""
    return {f"R@{k}": interval for k, interval in zip(RECALL_AT, intervals, strict=True)}


def _recall(values: Float[Tensor, " R"]) -> Recall:
    mean, std = mean_std(values)
    return Recall(mean=mean, std=std)
