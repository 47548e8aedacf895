"""Scores of table rows on the test split.

Settings are chosen on the validation split, never on the test split. Every row of a table is scored once.

Metrics cover all M (M - 1) directions between M modalities, in expectation over random tie-breaking
(`evaluation.metrics`). Gain retained is (row - zero_shot) / (full - zero_shot) for each recall metric, where `full` is
the row of heads trained on all rows. Gain retained is null if the gain of `full` is not significant. If the table
has a row `best`, gain retained is also measured with `best` in place of `full`. Recall and gain are fractions.

Confidence intervals include the variation between queries. If a baseline with several training runs is involved, they
also include the variation between its runs. In `score_rows`, the students of a set do not count as such runs, because
the set is only one sample of its method. Their hits are averaged, and the intervals do not include the variation
between sets. (A comparison with several seeds also includes this variation.)
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
from omnidistill.evaluation.hits import Groups, Hits, mean_unit
from omnidistill.evaluation.intervals import Coverage, Interval, gain_retained, mean_std, paired_difference
from omnidistill.evaluation.metrics import check_cut_offs, cut_off, gallery_facts, hits_at, levels_of, metric, others_of
from omnidistill.evaluation.protocol import EvaluateConfig
from omnidistill.evaluation.run_scores import MEAN, Intervals, Recall, RecallTable, RowScores, Spread
from omnidistill.evaluation.trained_heads import TrainedHeads
from omnidistill.evaluation.validation import run_of

AnySpread = TypeVar("AnySpread", bound=Spread)


@dataclass(frozen=True)
class Scoring:
    """The metrics measured on a split, and the queries on which they are measured.

    Attributes:
        levels: the recall metrics ("R@K"), in ascending order of K.
        undefined: default recall metrics whose K exceeds the size of a gallery.
        others: the other metrics.
        sizes: number of items of each modality.
        directions: the directions, in table order.
        groups: the group of each query, for each direction.
    """

    levels: tuple[str, ...]
    undefined: tuple[str, ...]
    others: tuple[str, ...]
    sizes: Mapping[str, int]
    directions: tuple[Direction, ...]
    groups: Groups

    @classmethod
    def of(cls, test: FeatureSet, evaluate: EvaluateConfig) -> Scoring:
        """Return the metrics and queries for the test split.

        Raises:
            InputError: a requested metric R@K has a K larger than a gallery.
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
        """Return one tensor per direction, with the hits of all runs, queries and recall metrics (R x Q x K)."""
        return [hits_at([run[direction] for run in runs], self.levels) for direction in self.directions]

    def gain(self, zero: Hits, full: Hits, method: Hits) -> Intervals:
        """Return the gain retained, (method - zero) / (full - zero), for each recall metric.

        Args:
            zero: hits of the initial heads.
            full: hits of heads trained on all rows.
            method: hits of the method.
        """
        return self._named(gain_retained(zero, full, method, self.groups))

    def difference(self, a: Hits, b: Hits) -> Intervals:
        """Return the difference in recall between `a` and `b` for each recall metric."""
        return self._named(paired_difference(a, b, self.groups))

    def recall(self, runs: Sequence[Rankings]) -> RecallTable:
        """Return the mean and standard deviation of recall over runs, per direction and averaged over directions."""
        return self._table(Recall, runs, self.levels)

    def metrics(self, runs: Sequence[Rankings]) -> dict[str, dict[str, Spread]]:
        """Return the mean and standard deviation over runs, for each metric other than recall.

        Each metric is given per direction and averaged over directions.
        """
        return self._table(Spread, runs, self.others)

    def facts(self, gallery: Gallery) -> list[str]:
        """Return the sentences about queries, galleries and undefined metrics that tables show."""
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
    rows: Mapping[str, TrainedHeads], test: FeatureSet, evaluate: EvaluateConfig | None = None
) -> dict[str, RowScores]:
    """Score every row of a results table on the test split.

    Args:
        rows: {name of a table row: trained heads}. Required are "zero_shot" (the initial heads), "distilled" (trained
            on the set) and "full" (trained on all rows with InfoNCE). Rows with other names are optional.
        test: the test split.
        evaluate: metrics and gallery; None selects the default values.

    Returns:
        {name: scores}, in the order of `rows`. The scores also contain comparisons with these rows, where present:

        - "zero_shot" and "random": the difference in recall. The row "zero_shot" has no differences.
        - "full" and "best" (the best heads trained on all rows): gain retained.
        - "full_own" (trained on all rows with the set's own objective): gain retained, only for "distilled".

    Raises:
        InputError: a requested metric R@K has a K larger than a gallery.
    """
    evaluate = evaluate or EvaluateConfig()
    scoring = Scoring.of(test, evaluate)
    measured = {name: rank_runs(row, test, evaluate.gallery) for name, row in rows.items()}
    hits = {name: scoring.hits(runs) for name, runs in measured.items()}
    sets = [name for name in rows if name.startswith("distilled")]
    hits |= {name: mean_unit(hits[name]) for name in sets}
    zero_shot = [each[:1] for each in hits["zero_shot"]]
    scores: dict[str, RowScores] = {}
    for name, row in rows.items():
        others = [other for other in ("random", "zero_shot") if other in rows and name not in ("zero_shot", other)]
        own = None
        if name == "distilled" and "full_own" in rows:
            own = scoring.gain(zero_shot, hits["full_own"], hits[name])
        scores[name] = RowScores(
            label=row.label,
            recall=scoring.recall(measured[name]),
            metrics=scoring.metrics(measured[name]),
            gain_retained=scoring.gain(zero_shot, hits["full"], hits[name]),
            gain_retained_best=scoring.gain(zero_shot, hits["best"], hits[name]) if "best" in hits else None,
            seconds=row.seconds,
            bytes=row.bytes,
            settings=row.settings,
            differences={other: scoring.difference(hits[name], hits[other]) for other in others},
            gain_retained_own=own,
            coverage=Coverage.of_sets(1) if name in sets else Coverage.of_runs(row.num_runs),
        )
    return scores


def rank_runs(row: TrainedHeads, test: FeatureSet, gallery: Gallery = "distinct") -> list[Rankings]:
    """Return the rankings of a table row in all directions, as one dictionary per run.

    Directions follow the order of modalities in the data. If the row has separate heads for each pair of modalities, a
    direction uses the first heads that cover both of its modalities. Scores are computed on the device of `test`.
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
