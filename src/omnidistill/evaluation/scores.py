"""Scores on the test split. No other module reads this split, and every row of a table is scored once.

Metrics cover all M (M - 1) directions, in expectation over random tie-breaking (`evaluation.metrics`). Gain retained is
(row - zero_shot) / (full - zero_shot) of a recall, with a paired bootstrap over groups of queries and runs; it is null
if the gain of training on all rows is not above noise. If there is a row `best`, gain retained is also measured against
it. Recall and gain are fractions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import TypeVar

import torch
from jaxtyping import Float64
from torch import Tensor

from omnidistill.core.device import moved
from omnidistill.data.featureset import FeatureSet
from omnidistill.evaluation.directions import Direction, Gallery, Rankings, items_of, rank_heads
from omnidistill.evaluation.intervals import Groups, Hits, Interval, gain_retained, mean_std, paired_difference
from omnidistill.evaluation.metrics import check_cut_offs, cut_off, gallery_facts, hits_at, levels_of, metric, others_of
from omnidistill.evaluation.protocol import EvaluateConfig
from omnidistill.evaluation.run_scores import MEAN, Intervals, Recall, RecallTable, RowScores, Spread
from omnidistill.evaluation.trained_heads import TrainedHeads
from omnidistill.evaluation.validation import run_of

AnySpread = TypeVar("AnySpread", bound=Spread)


@dataclass(frozen=True)
class Scoring:
    """What is measured on a split, and on which queries.

    Attributes:
        levels: the recalls, "R@K", by ascending K.
        undefined: usual recalls whose K exceeds the size of a gallery.
        others: the other metrics.
        sizes: {modality: number of its items}.
        directions: the directions, in the order of tables.
        groups: the group of each query, by direction.
    """

    levels: tuple[str, ...]
    undefined: tuple[str, ...]
    others: tuple[str, ...]
    sizes: Mapping[str, int]
    directions: tuple[Direction, ...]
    groups: Groups

    @classmethod
    def of(cls, test: FeatureSet, evaluate: EvaluateConfig) -> Scoring:
        """Return what is measured on the test split.

        Raises:
            InputError: a cut-off that the settings name exceeds the size of a gallery.
        """
        items, codes = items_of(test, evaluate.gallery), test.group_codes.cpu()
        check_cut_offs(evaluate.metrics, items)
        levels, smallest = levels_of(evaluate.metrics), min(len(rows) for rows in items.values())
        directions = tuple(permutations(test.modalities, 2))
        return cls(
            tuple(level for level in levels if cut_off(level) <= smallest),
            tuple(level for level in levels if cut_off(level) > smallest),
            others_of(evaluate.metrics),
            {name: len(rows) for name, rows in items.items()},
            directions,
            [codes[items[query]] for query, _ in directions],
        )

    def hits(self, runs: Sequence[Rankings]) -> Hits:
        """Return the hits of runs, by direction."""
        return [hits_at([run[direction] for run in runs], self.levels) for direction in self.directions]

    def gain(self, zero: Hits, full: Hits, method: Hits, seed: int) -> Intervals:
        """Return the gain retained by level."""
        return self._named(gain_retained(zero, full, method, self.groups, seed=seed))

    def difference(self, a: Hits, b: Hits, seed: int) -> Intervals:
        """Return the difference of recall by level."""
        return self._named(paired_difference(a, b, self.groups, seed=seed))

    def recall(self, runs: Sequence[Rankings]) -> RecallTable:
        """Return the recall of every direction and the mean over directions, each over runs."""
        return self._table(Recall, runs, self.levels)

    def metrics(self, runs: Sequence[Rankings]) -> dict[str, dict[str, Spread]]:
        """Return the other metrics of every direction and their mean over directions, each over runs."""
        return self._table(Spread, runs, self.others)

    def facts(self, gallery: Gallery) -> list[str]:
        """Return what tables say about queries, galleries and undefined metrics, one sentence each."""
        return gallery_facts(gallery, self.sizes, self.undefined)

    def _named(self, intervals: Sequence[Interval | None]) -> Intervals:
        return dict(zip(self.levels, intervals, strict=True))

    def _table(
        self, kind: type[AnySpread], runs: Sequence[Rankings], names: Sequence[str]
    ) -> dict[str, dict[str, AnySpread]]:
        values = {
            direction: {name: torch.stack([metric(name, run[direction]) for run in runs]) for name in names}
            for direction in self.directions
        }
        mean = {name: torch.stack([each[name] for each in values.values()]).mean(0) for name in names}
        table = {MEAN: mean, **{"->".join(direction): each for direction, each in values.items()}}
        return {name: {each: _spread(kind, of_runs) for each, of_runs in row.items()} for name, row in table.items()}


def score_rows(
    rows: Mapping[str, TrainedHeads], test: FeatureSet, evaluate: EvaluateConfig | None = None, seed: int = 0
) -> dict[str, RowScores]:
    """Score every row on the test split.

    Args:
        rows: the trained heads by name of the row; they must include "zero_shot", "distilled" and "full".
        test: rows of the test split.
        evaluate: metrics and gallery; None: the usual ones.
        seed: seed of the bootstrap.

    Returns:
        The scores by name, in the order of `rows`. Every row but zero_shot has its paired differences to zero_shot and
        to random rows. "distilled" also has `gain_retained_own` if "full_own" is among the rows, and every row has
        `gain_retained_best` if "best" is.

    Raises:
        InputError: a cut-off that the settings name exceeds the size of a gallery.
    """
    evaluate = evaluate or EvaluateConfig()
    scoring = Scoring.of(test, evaluate)
    measured = {name: rank_runs(row, test, evaluate.gallery) for name, row in rows.items()}
    hits = {name: scoring.hits(runs) for name, runs in measured.items()}
    zero_shot = [each[:1] for each in hits["zero_shot"]]
    scores: dict[str, RowScores] = {}
    for name, row in rows.items():
        others = [other for other in ("random", "zero_shot") if other in rows and name not in ("zero_shot", other)]
        own = None
        if name == "distilled" and "full_own" in rows:
            own = scoring.gain(zero_shot, hits["full_own"], hits[name], seed)
        scores[name] = RowScores(
            label=row.label,
            recall=scoring.recall(measured[name]),
            metrics=scoring.metrics(measured[name]),
            gain_retained=scoring.gain(zero_shot, hits["full"], hits[name], seed),
            gain_retained_best=scoring.gain(zero_shot, hits["best"], hits[name], seed) if "best" in hits else None,
            seconds=row.seconds,
            bytes=row.bytes,
            settings=row.settings,
            differences={other: scoring.difference(hits[name], hits[other], seed) for other in others},
            gain_retained_own=own,
        )
    return scores


def rank_runs(row: TrainedHeads, test: FeatureSet, gallery: Gallery = "distinct") -> list[Rankings]:
    """Return the ranking of every direction, one dict per run.

    Directions are in the order of the data; each is scored by the first part of the row that has both its modalities.
    Scores are computed on the device of the test rows.
    """
    runs: list[Rankings] = []
    parts = [moved(part, test.device) for part in row.parts]
    bias = None if row.bias is None else moved(row.bias, test.device)
    for run in range(row.num_runs):
        rankings: Rankings = {}
        for part in parts:
            heads = run_of(part, run)
            rankings = {**rank_heads(heads, test, bias, gallery, all_positives=True), **rankings}
        runs.append({pair: rankings[pair] for pair in permutations(test.modalities, 2)})
    return runs


def _spread(kind: type[AnySpread], values: Float64[Tensor, " R"]) -> AnySpread:
    mean, std = mean_std(values)
    return kind(mean=mean, std=std)
