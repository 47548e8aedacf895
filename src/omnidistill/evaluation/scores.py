"""The one place that opens the test split: every line is scored on it once, and what the table says follows from that.

Recall: all M (M - 1) directions, R@1/5/10, several positives, tie rule of `evaluation.retrieval`. Gain retained
(line - zero_shot) / (full - zero_shot) with a paired bootstrap over groups of queries and runs; null where the full
data gains nothing beyond noise. Recall and gain are fractions.
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
from omnidistill.evaluation.line import Line
from omnidistill.evaluation.retrieval import RECALL_AT, hits, ranks_by_direction
from omnidistill.evaluation.validation import run_of
from omnidistill.models.heads import embed


def score_lines(lines: Mapping[str, Line], test: FeatureSet, seed: int = 0) -> dict[str, dict[str, Any]]:
    """Score every line on the test split; JSON-ready, by line: label, recall, gain_retained, seconds, bytes, settings.

    Lines must include "zero_shot", "distilled" and "full". Every other line also gets its paired difference to
    zero-shot and to random rows; "distilled" also gets `gain_retained_own`, its share of what its own objective gains
    on all rows.
    """
    measured = {name: line_ranks(line, test) for name, line in lines.items()}
    per_query = {name: torch.stack([hits(run, RECALL_AT) for run in runs]) for name, runs in measured.items()}
    groups = test.group_codes
    scores: dict[str, dict[str, Any]] = {}
    for name, line in lines.items():
        gain = gain_retained(per_query["zero_shot"][0], per_query["full"], per_query[name], groups, seed=seed)
        scores[name] = {
            "label": line.label,
            "recall": recall_table(measured[name]),
            "gain_retained": named_intervals(gain),
            "seconds": line.seconds,
            "bytes": line.bytes,
            "settings": line.settings,
        }
        for other in ("random", "zero_shot"):
            if other in lines and name not in ("zero_shot", other):
                difference = paired_difference(per_query[name], per_query[other], groups, seed=seed)
                scores[name][f"difference_to_{other}"] = named_intervals(difference)
    if "full_own" in lines:
        own = gain_retained(per_query["zero_shot"][0], per_query["full_own"], per_query["distilled"], groups, seed=seed)
        scores["distilled"]["gain_retained_own"] = named_intervals(own)
    return scores


Ranks = dict[tuple[str, str], Float[Tensor, " n"]]
"""(query modality, gallery modality) -> 1-based rank of the first positive, one a query."""


def line_ranks(line: Line, test: FeatureSet) -> list[Ranks]:
    """Rank of the first positive for every query of every direction, one dict a run; directions in the order of the
    data, each by the first part of the line that has both its modalities.
    """
    runs: list[Ranks] = []
    for run in range(line.num_runs):
        found: Ranks = {}
        for part in line.parts:
            ranks = ranks_by_direction(embed(run_of(part, run), test.features, line.bias), test.group_codes)
            found = {**ranks, **found}
        runs.append({pair: found[pair] for pair in permutations(test.modalities, 2)})
    return runs


def recall_table(runs: Sequence[Ranks]) -> dict[str, Any]:
    """{"mean" or "query->gallery": {"R@K": {"mean", "std"}}} over runs; fractions."""
    table: dict[str, Any] = {"mean": {}}
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
    """{"R@K": {"mean", "low", "high"}}; None where there is no telling."""
    return {
        f"R@{k}": None if found is None else {"mean": found.mean, "low": found.low, "high": found.high}
        for k, found in zip(RECALL_AT, intervals, strict=True)
    }
