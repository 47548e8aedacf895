"""Test whether training improves the validation score. If it does not, a long run is a waste of time.

A query has a hit at K if an item that matches it is among the first K items. [hit at K] is 1 for a hit, otherwise 0.
The gain is the validation score after training minus the score before training:

    d_i     = mean over K = 1, 5, 10 of  [hit at K after] - [hit at K before]     for query i of direction D
    gain_D  = mean of d_i over the Q_D queries of direction D
    gain    = mean of gain_D over all retrieval directions D

Queries in the same group are not independent, so each of the G groups contributes one value to the standard error:

    error^2 = sum over groups g of (mean_D sum_{i in g} (d_i - gain_D) / Q_D)^2  +  1 / G^2

The term 1 / G^2 keeps the error above 0 even if training changes no hit. To see its size, assume that gain_D = 0 and
add a group of average size (Q_D / G queries) in which every query is a miss before training and a hit after it
(d_i = 1). The contribution of this group to the sum is 1 / G^2.

A result counts as *no gain* if gain <= 2 error and gain + 2 error <= 0.02 (two percentage points). With fewer than 100
groups, 2 error exceeds 0.02, so only a negative gain can meet the second condition.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

from omnidistill.core.device import moved
from omnidistill.data.featureset import FeatureSet
from omnidistill.distillation import DistilledSet
from omnidistill.evaluation.directions import RECALL_AT, items_of, rank_heads
from omnidistill.evaluation.validation import run_of, validated_students
from omnidistill.models.heads import Heads
from omnidistill.training.experts import ExpertBuffer

_ERRORS = 2.0
_MATTERS = 0.02


@dataclass(frozen=True)
class Gain:
    """Difference between two validation scores and its standard error, as fractions (0.01 is one point)."""

    mean: float
    error: float

    @property
    def is_nothing(self) -> bool:
        """Whether the gain counts as *no gain*.

        This is the case if two conditions hold: gain <= 2 e and gain + 2 e <= 0.02, where e is the standard error.
        """
        return self.mean <= _ERRORS * self.error and self.mean + _ERRORS * self.error <= _MATTERS

    def __str__(self) -> str:
        return f"{100 * self.mean:+.1f} ± {100 * self.error:.1f} points"


@dataclass(frozen=True)
class QueryHits:
    """Hits of all queries, and the groups to which the queries belong. Both have one tensor per direction.

    Attributes:
        hits: for each query, the probability that a matching item is among the first K items, averaged over
            K = 1, 5, 10. For a single K, the probability is 0 or 1 unless items are tied.
        codes: for each query, the number of its group.
    """

    hits: tuple[Float64[Tensor, " _"], ...]
    codes: tuple[Int[Tensor, " _"], ...]


def gain_of(after: QueryHits, before: QueryHits, num_groups: int) -> Gain:
    """Return the gain in validation score from `before` to `after`.

    Args:
        after: result of `query_hits` after training.
        before: result of `query_hits` before training, on the same queries.
        num_groups: number of groups to which the queries belong.
    """
    influence = torch.zeros(num_groups, dtype=torch.float64, device="cpu")
    gains = []
    for new, old, codes in zip(after.hits, before.hits, after.codes, strict=True):
        change = new - old
        gains.append(float(change.mean()))
        influence.index_add_(0, codes, (change - change.mean()) / (len(change) * len(after.hits)))
    return Gain(sum(gains) / len(gains), float((influence.square().sum() + 1 / num_groups**2).sqrt()))


def query_hits(heads: Heads, validation: FeatureSet) -> QueryHits:
    """Return the hits of all queries. Their mean over queries, then over directions, is the validation score."""
    rankings, items = rank_heads(heads, validation), items_of(validation)
    codes = validation.group_codes.cpu()
    hits = tuple(torch.stack([ranking.hits(k) for k in RECALL_AT]).mean(0) for ranking in rankings.values())
    return QueryHits(hits, tuple(codes[items[query]] for query, _ in rankings))


def experts_gain_nothing(buffer: ExpertBuffer, start: Heads, validation: FeatureSet) -> str | None:
    """Return a note if training on all rows does not improve the validation score; otherwise None.

    The initial heads are compared with every epoch of every expert that starts from them. The note is returned if all
    results count as *no gain* (see `Gain.is_nothing`).
    """
    experts = buffer.own_experts
    epochs = range(buffer.last_epochs[experts[0]], 0, -1)
    snapshots = (moved(buffer.heads(expert, epoch), validation.device) for epoch in epochs for expert in experts)
    best = _best_of_nothing((query_hits(heads, validation) for heads in snapshots), start, validation)
    return (
        best
        and f"nothing to gain: training on all rows ({len(experts)} experts) changes the validation score by "
        f"{best} at best"
    )


def students_gain_nothing(distilled: DistilledSet, start: Heads, validation: FeatureSet) -> str | None:
    """Return a note if training on the set does not improve the validation score (`Gain.is_nothing`); else None."""
    students = validated_students(distilled, start, [distilled.recipe.num_steps])
    after = (_mean_hits(heads, validation) for _, heads in students)
    best = _best_of_nothing(after, start, validation)
    return best and f"nothing to gain: students of the best set so far change the validation score by {best}"


def _best_of_nothing(every: Iterable[QueryHits], start: Heads, validation: FeatureSet) -> str | None:
    """Return the largest gain as text if all gains count as *no gain* (see `Gain.is_nothing`); otherwise None.

    Each entry of `every` contains the hits of trained heads. The gain of these heads is their validation score minus
    the validation score of the initial heads `start`.
    """
    best, before, num_groups = None, query_hits(start, validation), len(set(validation.groups))
    for after in every:
        gain = gain_of(after, before, num_groups)
        if not gain.is_nothing:
            return None
        best = gain if best is None or gain.mean > best.mean else best
    return str(best) if best else None


def _mean_hits(runs: Mapping[str, Float[Tensor, "R _ _"]], validation: FeatureSet) -> QueryHits:
    num_runs = len(next(iter(runs.values())))
    of_runs = [query_hits(run_of(runs, run), validation) for run in range(num_runs)]
    means = tuple(torch.stack(each).mean(0) for each in zip(*(run.hits for run in of_runs), strict=True))
    return QueryHits(means, of_runs[0].codes)
