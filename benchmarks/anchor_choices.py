"""How the settings of the method `anchor` were chosen: validation scores of variants on emoji, one factor at a time.

    python benchmarks/anchor_choices.py [STUDY ...] [--icons SET] [-o FILE]

Every line is one distilled set. Scores are validation scores in %: the mean of R@1, R@5 and R@10 over all directions.
`alone` is the score of heads without initial heads, and `w64` that of their first 64 outputs. `stacked` is the score of
heads stacked on the run's initial heads, and `cut` that of the same heads, cut to the width of the initial heads. The
study `planted` uses planted data with 48 shared directions (M = 3) instead of emoji. The study `cutoff` uses planted
data, emoji, and the icons dataset if its folder is given. The test split is not used.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Mapping
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.functional import normalize

import omnidistill as od
from datasets import DATA
from omnidistill.evaluation.directions import items_of, mean_recall, rank_directions
from omnidistill.evaluation.validation import validation_score
from omnidistill.training.recipes.map_regression import MapRegression

Variant = tuple[str, Mapping[str, Any]]
HEAD = (
    "| variant | rows, storage, cutoff | alone | w64 | stacked | cut | seconds |\n"
    "| --- | --- | ---: | ---: | ---: | ---: | ---: |"
)


def variants(study: str) -> Iterator[Variant]:
    """Yield (description, settings of `distill`) for every line of a study."""
    if study == "bits":
        for budget in ("0.1%", "0.2%", "0.4%", "1%"):
            for bits in (1.2, 1.5, 2.0, 2.4, 2.8, 3.4):
                yield f"{budget}, {bits} bits", {"bytes": budget, "settings": {"distill.storage.bits": bits}}
    elif study == "rate":
        for budget in ("0.2%", "1%"):
            for weight in (0.0, 0.03, 0.1, 0.3, 1.0):
                yield f"{budget}, rate weight {weight}", {"bytes": budget, "settings": {"distill.rate_weight": weight}}
    elif study == "planted":
        for size in (30, 50, 70, 100, 200):
            yield f"{size} rows, float32", {"size": size, "settings": {"distill.storage.kind": "rows"}}
        for bits in (2.0, 3.4, 5.0):
            yield f"1%, {bits} bits", {"bytes": "1%", "settings": {"distill.storage.bits": bits}}
    elif study == "cutoff":
        for title, size in (("100 rows, float32", 100), ("1%", None)):
            for cutoffs in ([], None):
                settings = {} if cutoffs is None else {"distill.cutoffs": cutoffs}
                settings |= {} if size is None else {"distill.storage.kind": "rows"}
                budget = {"bytes": "1%"} if size is None else {"size": size}
                name = "no cutoff" if cutoffs == [] else "cutoff chosen"
                yield f"{title}, {name}", {**budget, "settings": settings}
    elif study == "learning":
        for iterations, rate in ((0, 0.01), (30, 0.01), (60, 0.01), (120, 0.01), (60, 0.02), (120, 0.005)):
            settings = {"distill.iterations": iterations, "distill.learning_rate": rate}
            yield f"1%, {iterations} iterations, rate {rate}", {"bytes": "1%", "settings": settings}
    elif study == "loss":
        for share in (0.0, 0.5, 1.0):
            yield f"1%, share {share} on stacked heads", {"bytes": "1%", "settings": {"distill.start_share": share}}
        for kind, tau in (("infonce", 0.05), ("pairwise-wbce", None), ("hopa", None)):
            settings = {"distill.outer.kind": kind, **({} if tau is None else {"distill.outer.tau": tau})}
            yield f"1%, {kind}{'' if tau is None else f', tau {tau}'}", {"bytes": "1%", "settings": settings}


def measure(data: od.FeatureSet, start: od.InitialHeads, variant: Variant) -> str:
    """Distil one set and return its line of the table."""
    title, settings = variant
    started_at = time.monotonic()
    result = od.distill(data, preset="anchor-coded", heads=start, progress=False, **settings)
    seconds, distilled, validation = time.monotonic() - started_at, result.set, data.development().validation
    width = start.width
    scores = [
        validation_score(heads, validation)
        for heads in (
            distilled.train(),
            distilled.train(width=64),
            distilled.train(start),
            distilled.train(start, width=width),
        )
    ]
    cutoff = distilled.recipe.cutoff  # type: ignore[attr-defined]
    details = f"{distilled.size}, {distilled.spec.storage.title}, {'none' if cutoff is None else f'{cutoff:.3g}'}"
    return f"| {title} | {details} | " + " | ".join(f"{100 * s:.1f}" for s in scores) + f" | {seconds:.0f} |"


def mixtures(data: od.FeatureSet, start: od.InitialHeads) -> Iterator[str]:
    """Yield the validation scores of MLPs that learn the heads of one set, for several inputs and numbers of steps."""
    distilled = od.distill(data, preset="anchor-coded", bytes="1%", heads=start, progress=False).set
    ridges, validation = distilled.recipe.ridges, data.development().validation  # type: ignore[attr-defined]
    yield "| variant | 2 layers | 3 layers |\n| --- | ---: | ---: |"
    for mixture in (0.0, 0.25, 0.5, 0.75):
        for steps in (600, 1200):
            recipe, scores = MapRegression(ridges=ridges, mixture=mixture, num_steps=steps), []
            for depth in (2, 3):
                modules = distilled.train(mlps(data.widths, depth), recipe=recipe)
                with torch.no_grad():
                    outputs = {name: normalize(modules[name](x), dim=1) for name, x in validation.features.items()}
                items = items_of(validation, "distinct")
                recall = mean_recall(rank_directions(outputs, validation.group_codes, items, all_positives=False))
                scores.append(100 * sum(recall.values()) / len(recall))
            yield f"| mixture {mixture}, {steps} steps | {scores[0]:.1f} | {scores[1]:.1f} |"


def mlps(widths: Mapping[str, int], depth: int, width: int = 256, hidden: int = 512) -> dict[str, nn.Module]:
    """Return one MLP per modality with `depth` linear layers and GELU between them."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        modules: dict[str, nn.Module] = {}
        for name, p in widths.items():
            sizes = [p, *[hidden] * (depth - 1), width]
            layers = [layer for a, b in pairwise(sizes) for layer in (nn.Linear(a, b), nn.GELU())]
            modules[name] = nn.Sequential(*layers[:-1])
    return modules


def main() -> None:
    """Print the tables, and write them to a file if one is given."""
    parser = argparse.ArgumentParser(description="Validation scores of variants of the method anchor on emoji.")
    every = ["bits", "rate", "learning", "loss", "mixture", "planted", "cutoff"]
    parser.add_argument("studies", nargs="*", default=every, help="studies to run")
    parser.add_argument("-o", "--output", type=Path, help="Markdown file for the tables")
    parser.add_argument("--icons", type=Path, help="folder of the icons dataset, for the study 'cutoff'")
    options = parser.parse_args()
    icons = [] if options.icons is None else ["icons"]
    names = {"planted": ["planted, M = 3"], "cutoff": ["planted, M = 3", "emoji", *icons]}
    lines: list[str] = []
    for study, name in [(each, name) for each in options.studies for name in names.get(each, ["emoji"])]:
        data = od.load(options.icons) if name == "icons" else DATA[name]()
        start = od.pretrain_heads(data, progress=False)
        rows = mixtures(data, start) if study == "mixture" else (measure(data, start, v) for v in variants(study))
        head = [] if study == "mixture" else [HEAD]
        for row in chain(["", f"**{study}, {name}**", "", *head], rows):
            lines.append(row)
            print(row, flush=True)
    if options.output:
        options.output.write_text("\n".join(lines).strip() + "\n", "utf-8")


if __name__ == "__main__":
    main()
