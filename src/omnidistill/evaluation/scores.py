"""Scores on the test split, which no other module reads: every row of a table is scored once.

Recall covers all M (M - 1) directions, R@1/5/10, with several positives and the tie rule of `evaluation.retrieval`.
Gain retained is (row - zero_shot) / (full - zero_shot) with a paired bootstrap over groups of queries and runs; null if
training on all rows gains nothing beyond noise. Recall and gain are fractions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import permutations
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from omnidistill.data.featureset import FeatureSet
from omnidistill.evaluation.intervals import Interval, gain_retained, mean_std, paired_difference
from omnidistill.evaluation.retrieval import RECALL_AT, hits, ranks_by_direction
from omnidistill.evaluation.trained_heads import TrainedHeads
from omnidistill.evaluation.validation import run_of
from omnidistill.models.heads import embed

Json = dict[str, Any]
"""A JSON object."""
Ranks = dict[tuple[str, str], Float[Tensor, " n"]]
"""(query modality, gallery modality) -> 1-based rank of the first positive, one per query."""


def score_rows(rows: Mapping[str, TrainedHeads], test: FeatureSet, seed: int = 0) -> dict[str, Json]:
    """Score every row on the test split; return {row: {label, recall, gain_retained, seconds, bytes, settings}}, JSON.

    Every row except zero_shot also gets its paired difference to zero_shot, and to random rows. If there is a row
    "full_own", "distilled" also gets `gain_retained_own`, its share of the gain of "full_own".

    Args:
        rows: must include "zero_shot", "distilled" and "full".
        test: the test split.
        seed: seed of the bootstrap.
    """
    measured = {name: ranks_on_test(row, test) for name, row in rows.items()}
    per_query = {name: torch.stack([hits(run, RECALL_AT) for run in runs]) for name, runs in measured.items()}
    groups = test.group_codes
    scores: dict[str, Json] = {}
    for name, row in rows.items():
        gain = gain_retained(per_query["zero_shot"][0], per_query["full"], per_query[name], groups, seed=seed)
        scores[name] = {
            "label": row.label,
            "recall": recall_table(measured[name]),
            "gain_retained": named_intervals(gain),
            "seconds": row.seconds,
            "bytes": row.bytes,
            "settings": row.settings,
        }
        for other in ("random", "zero_shot"):
            if other in rows and name not in ("zero_shot", other):
                difference = paired_difference(per_query[name], per_query[other], groups, seed=seed)
                scores[name][f"difference_to_{other}"] = named_intervals(difference)
    if "full_own" in rows:
        own = gain_retained(per_query["zero_shot"][0], per_query["full_own"], per_query["distilled"], groups, seed=seed)
        scores["distilled"]["gain_retained_own"] = named_intervals(own)
    return scores


def ranks_on_test(row: TrainedHeads, test: FeatureSet) -> list[Ranks]:
    """Return the rank of the first positive for every query of every direction, one dict per run.

    Directions are in the order of the data; each is scored by the first part of the row that has both its modalities.
    """
    runs: list[Ranks] = []
    for run in range(row.num_runs):
        ranks: Ranks = {}
        for part in row.parts:
            ranks = {**ranks_by_direction(embed(run_of(part, run), test.features, row.bias), test.group_codes), **ranks}
        runs.append({pair: ranks[pair] for pair in permutations(test.modalities, 2)})
    return runs


def recall_table(runs: Sequence[Ranks]) -> Json:
    """Return {"mean" or "query->gallery": {"R@K": {"mean", "std"}}} over runs, as fractions."""
    table: Json = {"mean": {}}
    for direction in runs[0]:
        table["->".join(direction)] = {
            f"R@{k}": _spread(torch.stack([(run[direction] <= k).double().mean() for run in runs])) for k in RECALL_AT
        }
    for k in RECALL_AT:
        means = [torch.stack([(ranks <= k).double().mean() for ranks in run.values()]).mean() for run in runs]
        table["mean"][f"R@{k}"] = _spread(torch.stack(means))
    return table


def _spread(values: Float[Tensor, " R"]) -> dict[str, float]:
    mean, std = mean_std(values)
    return {"mean": mean, "std": std}


def named_intervals(intervals: Sequence[Interval | None]) -> dict[str, dict[str, float] | None]:
    """Return {"R@K": {"mean", "low", "high"}}; None if an interval is not defined."""
    return {
        f"R@{k}": None if interval is None else {"mean": interval.mean, "low": interval.low, "high": interval.high}
        for k, interval in zip(RECALL_AT, intervals, strict=True)
    }
