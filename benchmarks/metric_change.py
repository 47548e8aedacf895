"""Score the same heads by the metric of version 0.1 and by today's: `python benchmarks/metric_change.py`.

Version 0.1 asked whether the expected rank is at most K, and every row was a query and a gallery item. Today a hit has
its probability over random orders of tied items, and copies of an item count once. The heads are fixed: initial heads
and ridge CCA heads (ridge 0.3, groups), so nothing is chosen. Writes results/metric_change.json and .md.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict

import torch
from torch import Tensor

from measuring import RESULTS, Cell, Table, machine
from omnidistill.data.emoji import load_emoji
from omnidistill.data.featureset import FeatureSet, prepare
from omnidistill.evaluation.directions import RECALL_AT, Gallery, mean_recall, rank_heads
from omnidistill.experiments.config import load_config
from omnidistill.experiments.run import load_or_create_heads
from omnidistill.models.heads import Heads
from omnidistill.training.closed_form import accumulate_moments, ridge_cca_heads

COLUMNS = ("data and heads", "queries", *(f"R@{k} {how}" for k in RECALL_AT for how in ("0.1", "ties", "now")))


def recalls(heads: Heads, test: FeatureSet, bias: Mapping[str, Tensor] | None, gallery: Gallery) -> dict[int, float]:
    """Return today's mean recall over directions."""
    return mean_recall(rank_heads(heads, test, bias, gallery))


def recalls_of_0_1(heads: Heads, test: FeatureSet, bias: Mapping[str, Tensor] | None) -> dict[int, float]:
    """Return mean recall over directions as version 0.1 defined it."""
    ranks = [ranking.ranks() for ranking in rank_heads(heads, test, bias, "rows").values()]
    return {k: sum(float((r <= k).double().mean()) for r in ranks) / len(ranks) for k in RECALL_AT}


def row(name: str, heads: Heads, test: FeatureSet, bias: Mapping[str, Tensor] | None = None) -> tuple[Cell, ...]:
    """Return a row: recalls in percent by the metric of 0.1, with expected hits on all rows, and on distinct items."""
    old, rows, now = (
        recalls_of_0_1(heads, test, bias),
        recalls(heads, test, bias, "rows"),
        recalls(heads, test, bias, "distinct"),
    )
    sizes = ", ".join(f"{len(items):,} {modality}" for modality, items in test.distinct_rows.items())
    return (name, f"{len(test):,} rows; {sizes}", *(100 * each[k] for k in RECALL_AT for each in (old, rows, now)))


def class_labels() -> FeatureSet:
    """2,000 clips with 309 label texts, one group per clip, and features that tell the classes perfectly."""
    labels = torch.randint(309, (2000,), generator=torch.Generator().manual_seed(0))
    noise = torch.randn(2000, 64, generator=torch.Generator().manual_seed(1))
    texts = torch.randn(309, 64, generator=torch.Generator().manual_seed(2))[labels]
    return FeatureSet.from_arrays(
        {"clip": texts + 0.01 * noise, "text": texts},
        splits=["train"] * 10 + ["validation"] * 10 + ["test"] * 1980,
        standardise=False,
        centre=False,
    )


def several_captions() -> FeatureSet:
    """Planted data in which every image stands in five rows, each with a caption of its own; one group per image."""
    draw = torch.Generator().manual_seed(0)
    images = torch.randn(400, 32, generator=draw)
    repeated = images.repeat_interleave(5, 0)
    captions = repeated + 1.5 * torch.randn(2000, 32, generator=draw)
    groups = [str(number // 5) for number in range(2000)]
    splits = ["train"] * 500 + ["validation"] * 500 + ["test"] * 1000
    return FeatureSet.from_arrays({"image": repeated, "text": captions}, groups=groups, splits=splits)


def main() -> None:
    config, rows = load_config(preset="recommended"), []
    emoji = prepare(load_emoji())
    start = load_or_create_heads(emoji, config, None, None)
    rows.append(row("emoji, initial heads", start, emoji.split("test")))
    heads, bias = ridge_cca_heads(accumulate_moments(emoji.split("train")), 256, 0.3)
    rows.append(row("emoji, ridge CCA", heads, emoji.split("test"), bias))
    for name, data in (("perfect class labels", class_labels()), ("five captions per image", several_captions())):
        identity = {modality: torch.eye(width) for modality, width in data.widths.items()}
        rows.append(row(name, identity, data.split("test")))
    table = Table("Metrics", f"Recall in percent, mean over directions. {machine()}", COLUMNS, tuple(rows))
    (RESULTS / "metric_change.json").write_text(json.dumps(asdict(table), indent=1))
    (RESULTS / "metric_change.md").write_text(table.markdown())
    print(table.markdown())


if __name__ == "__main__":
    main()
