"""Which outputs of anchor heads should count, and how much? Validation scores of closed forms with several weights.

    python benchmarks/output_weights.py [planted] [emoji] [icons --icons SET]

Heads are the closed form of the method `anchor`, which is not learned. Output i is multiplied by

    none          1
    hard K        1 if i <= K, else 0
    power P       i^-P
    smooth K Q    1 / (1 + (i / K)^Q); with Q = 4, this is the cutoff of the recipe "anchor"
    rho P         rho_i^P, where rho_i is the correlation of output i between modalities
    llr           sqrt(rho_i / (1 - rho_i^2)); with jointly Gaussian outputs of variance 1, the log-likelihood ratio of
                  a matching pair contains their inner product with the squares of these weights

The correlations are cross-fitted: heads from one half of the training groups are scored on the other half, both ways,
and the result is made decreasing by isotonic regression. Every line has the best ridges, K and P on validation: the
score alone and stacked (mean of R@1, R@5 and R@10 in %). `other half` is the mean of both scores on half of the
validation groups with the choice made on the other half, so it is not biased by the number of candidates.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from statistics import mean

import torch
from torch import Tensor

import omnidistill as od
from datasets import DATA
from omnidistill.core.streams import Streams
from omnidistill.data.featureset import FeatureSet
from omnidistill.distillation.anchor_rows import AnchorRows
from omnidistill.distillation.head_learning import canonical_cca_heads
from omnidistill.evaluation.validation import validation_score
from omnidistill.models.heads import Heads, project
from omnidistill.models.storages import RowStorage, Storage
from omnidistill.models.storages.coded import CodedStorage
from omnidistill.training.closed_form import accumulate_moments
from omnidistill.training.recipes.anchor_regression import stack_on

SIZES: dict[str, list[tuple[int, Storage]]] = {
    "planted": [(50, RowStorage()), (100, RowStorage()), (200, RowStorage()), (64, CodedStorage(bits=5))],
    "emoji": [(100, RowStorage()), (348, CodedStorage())],
    "icons": [(100, RowStorage()), (512, CodedStorage(bits=3.3)), (338, CodedStorage(bits=5))],
}
CCA_RIDGES, RIDGES = (0.1, 0.3, 1.0), (0.01, 0.1, 0.3, 1.0)
SHARES = (0.125, 0.18, 0.25, 0.35, 0.5, 0.7, 1.0)


@dataclass(frozen=True)
class Scored:
    """Validation scores of one candidate: alone and stacked, and the mean of both on each half of the groups."""

    title: str
    alone: float
    stacked: float
    halves: tuple[float, float]

    @property
    def score(self) -> float:
        return (self.alone + self.stacked) / 2


def weights(size: int, rho: Tensor) -> Iterator[tuple[str, str, Tensor]]:
    """Yield (family, parameters, weights of the outputs)."""
    numbers = torch.arange(1, size + 1, dtype=torch.float32)
    yield "none", "", torch.ones(size)
    for power in (0.25, 0.5, 1.0):
        yield "power", f"{power}", numbers**-power
        yield "rho", f"{power}", rho**power
    yield "llr", "", (rho / (1 - rho.square())).sqrt()
    for k in sorted({max(2, round(share * size)) for share in SHARES}):
        yield "hard", f"{k}", (numbers <= k).float()
        for order in (2, 4):
            yield f"smooth, Q = {order}", f"{k}", 1 / (1 + (numbers / k) ** order)


def correlations(data: FeatureSet, size: int, ridge: float) -> Tensor:
    """Return the cross-fitted correlations of the outputs of CCA heads, decreasing and between 0 and 0.97."""
    one, other = halves(data)
    values = torch.zeros(size)
    for fitted, scored in ((one, other), (other, one)):
        heads = canonical_cca_heads(accumulate_moments(fitted, "groups"), size, ridge)
        outputs = project({name: w.float() for name, w in heads.items()}, scored.features).values()
        standard = [(y - y.mean(0)) / y.std(0).clamp_min(1e-12) for y in outputs]
        values += torch.stack([(y * z).mean(0) for y, z in combinations(standard, 2)]).mean(0) / 2
    return decreasing(values).clamp(0, 0.97)


def decreasing(values: Tensor) -> Tensor:
    """Return the decreasing sequence with the smallest squared distance (pool adjacent violators)."""
    blocks: list[list[float]] = []
    for value in values.tolist():
        blocks.append([value])
        while len(blocks) > 1 and mean(blocks[-2]) < mean(blocks[-1]):
            last = blocks.pop()
            blocks[-1] += last
    return torch.tensor([mean(block) for block in blocks for _ in block])


def halves(data: FeatureSet) -> tuple[FeatureSet, FeatureSet]:
    """Return the rows of a random half of the groups, and the other rows."""
    codes = data.group_codes
    order = torch.randperm(int(codes.max()) + 1, generator=Streams(0)["halves"])
    first = torch.zeros(len(order), dtype=torch.bool)
    first[order[: len(order) // 2]] = True
    return data.select(first[codes].nonzero()[:, 0]), data.select((~first[codes]).nonzero()[:, 0])


def candidates(data: FeatureSet, start: Heads, size: int, storage: Storage) -> Iterator[tuple[str, Scored]]:
    """Yield the family and the scores of every candidate."""
    train, validation = data.development().train, data.development().validation
    moments, parts = accumulate_moments(train, "groups"), halves(validation)
    for cca_ridge in CCA_RIDGES:
        rho = correlations(train, size, cca_ridge)
        initial = AnchorRows.closed_form(moments, size, cca_ridge, storage, train.device)
        rounded = replace(initial, latent=storage.expand(initial.latent), storage=RowStorage())
        for ridge in RIDGES:
            rows, heads = rounded.with_ridge(ridge).solved()
            for family, parameters, w in weights(size, rho):
                weighted = {name: w.unsqueeze(1) * matrix for name, matrix in heads.items()}
                odds = 7 / 3 * float(w.mean().square() / w.square().mean())  # weight 0.7, see AnchorRows.with_cutoff
                both = (weighted, stack_on(start, weighted, rows, odds / (1 + odds)))
                scores = [[validation_score(each, part) for each in both] for part in (validation, *parts)]
                title = f"{parameters or '–'}, ridges {cca_ridge}, {ridge}"
                yield family, Scored(title, *scores[0], (mean(scores[1]), mean(scores[2])))


def table(name: str, data: FeatureSet) -> Iterator[str]:
    """Yield the lines of the tables of one dataset."""
    start = od.pretrain_heads(data, progress=False)
    for size, storage in SIZES[name]:
        families: dict[str, list[Scored]] = {}
        for family, scored in candidates(data, start, size, storage):
            families.setdefault(family, []).append(scored)
        yield f"\n**{name}, {size} rows, {storage.title}**\n"
        yield "| weights | chosen | alone | stacked | other half |\n| --- | --- | ---: | ---: | ---: |"
        for family, tried in families.items():
            best = max(tried, key=lambda each: each.score)
            other = [max(tried, key=lambda each: each.halves[i]).halves[1 - i] for i in (0, 1)]
            numbers = " | ".join(f"{100 * value:.1f}" for value in (best.alone, best.stacked, mean(other)))
            yield f"| {family} | {best.title} | {numbers} |"


def main() -> None:
    parser = argparse.ArgumentParser(description="Validation scores of anchor heads with weighted outputs.")
    parser.add_argument("names", nargs="*", default=["planted", "emoji"], help=f"one or more of {', '.join(SIZES)}")
    parser.add_argument("--icons", type=Path, help="folder of the icons dataset")
    options = parser.parse_args()
    for name in options.names:
        known = {"planted": DATA["planted, M = 3"], "emoji": DATA["emoji"], "icons": lambda: od.load(options.icons)}
        for line in table(name, known[name]()):
            print(line, flush=True)


if __name__ == "__main__":
    main()
