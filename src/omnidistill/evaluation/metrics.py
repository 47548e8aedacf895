"""Retrieval metrics by name, and the choice of the metrics in a table.

    R@K      share of queries with a positive among the first K items
    MedR     median rank of the first positive        MnR      mean rank of the first positive
    MRR      mean reciprocal rank of the first positive
    mAP      mean average precision                   nDCG@10  normalised discounted cumulative gain at 10

Tied items are treated as randomly ordered, and every metric is the expected value (see `evaluation.ranking`). R@K is
undefined if K exceeds the size of the gallery.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated

import torch
from jaxtyping import Float64
from pydantic import AfterValidator
from torch import Tensor

from omnidistill.core.errors import InputError
from omnidistill.evaluation.directions import RECALL_AT, Gallery, Items
from omnidistill.evaluation.ranking import Ranking

_OTHERS: dict[str, Callable[[Ranking], Float64[Tensor, ""]]] = {
    "MedR": lambda ranking: ranking.ranks().quantile(0.5),
    "MnR": lambda ranking: ranking.ranks().mean(),
    "MRR": lambda ranking: ranking.reciprocal_ranks().mean(),
    "mAP": lambda ranking: ranking.precision.mean(),
    "nDCG@10": lambda ranking: ranking.gain.mean(),
}
LEVELS = tuple(f"R@{k}" for k in RECALL_AT)
"""The default recall metrics."""
RANKS = ("MedR", "MnR")
"""The metrics that are ranks; all others are fractions in [0, 1]."""


def _known(name: str) -> str:
    if name not in _OTHERS and not re.fullmatch(r"R@[1-9][0-9]{0,8}", name):
        raise ValueError(f"unknown metric {name!r}; use R@K (such as R@20), {', '.join(_OTHERS)}")
    return name


MetricName = Annotated[str, AfterValidator(_known)]
"""Name of a metric."""


def cut_off(level: str) -> int:
    """Return the cut-off K of a recall metric, such as 5 for "R@5"."""
    return int(level.removeprefix("R@"))


def levels_of(names: Sequence[str] | None) -> tuple[str, ...]:
    """Return the recall metrics in `names` in ascending order of K; if `names` has none, return the default metrics."""
    levels = {name for name in names or () if name.startswith("R@")}
    return tuple(sorted(levels, key=cut_off)) or LEVELS


def others_of(names: Sequence[str] | None) -> tuple[str, ...]:
    """Return the metrics in `names` other than recall. If `names` is None, return all metrics other than recall."""
    return tuple(_OTHERS) if names is None else tuple(name for name in _OTHERS if name in names)


def check_cut_offs(names: Sequence[str] | None, items: Items) -> None:
    """Check that no requested K exceeds the size of a gallery.

    Raises:
        InputError: K exceeds the number of items of a modality.
    """
    for level in () if names is None else levels_of(names):
        for modality, rows in items.items():
            if cut_off(level) > len(rows):
                raise InputError(
                    f"metrics: {level} is undefined, because the gallery of {modality!r} has only {len(rows)} items; "
                    "use a smaller K"
                )


def metric(name: str, ranking: Ranking) -> Float64[Tensor, ""]:
    """Return the value of a metric for one direction."""
    return _OTHERS[name](ranking) if name in _OTHERS else ranking.hits(cut_off(name)).mean()


def hits_at(rankings: Sequence[Ranking], levels: Sequence[str]) -> Float64[Tensor, "R Q K"]:
    """Return the hits in one retrieval direction: a value per run (R), query (Q) and recall metric in `levels`."""
    return torch.stack([torch.stack([run.hits(cut_off(level)) for level in levels], dim=1) for run in rankings])


def gallery_facts(gallery: Gallery, sizes: Mapping[str, int], undefined: Sequence[str]) -> list[str]:
    """Return the sentences about queries, galleries and undefined recall metrics that tables show."""
    items = ", ".join(f"{size:,} {name}" for name, size in sizes.items())
    kind = "distinct items (copies count once)" if gallery == "distinct" else "rows (copies count)"
    smallest = min(sizes, key=lambda name: sizes[name])
    return [
        f"Queries and gallery items are {kind} of the test split: {items}. Tied items are in random order.",
        *(f"{level} is n/a: the gallery of {smallest} has {sizes[smallest]} items." for level in undefined),
    ]
