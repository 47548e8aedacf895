"""Small tasks for methods: planted data of any M, random heads, experts that are trained on request."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from omnidistill.data.featureset import FeatureSet
from omnidistill.distillation import Provenance
from omnidistill.distillation.loop_settings import LoopSettings
from omnidistill.experiments.config import RunConfig, has_setting, load_config
from omnidistill.experiments.run import load_or_train_experts
from omnidistill.methods import Task
from omnidistill.models.heads import Heads
from omnidistill.training.experts import ExpertBuffer
from small_runs import features, small_heads

Array = NDArray[np.float64]

EVERY = ("heads.width=8", "experts.num_experts=2", "experts.num_epochs=3", "experts.batch_size=16", "distill.size=10")
LEARNED = (
    "distill.iterations=2",
    "distill.num_student_steps=2",
    "distill.outer.max_start_epoch=2",
    "distill.outer.num_expert_epochs=1",
    "distill.validate_every=2",
    "distill.batch_size=4",
)
CHOSEN = ("distill.learning_rates=[0.1, 1.0]", "distill.max_steps=16")


def tiny(preset: str, *overrides: str) -> RunConfig:
    """Return the settings of a preset, reduced so that a run takes a moment."""
    config = load_config(preset=preset, overrides=overrides)
    reduced = (*EVERY, *(LEARNED if isinstance(config.distill, LoopSettings) else CHOSEN))
    applicable = [setting for setting in reduced if has_setting(config, setting)]
    return load_config(preset=preset, overrides=[*applicable, *overrides])


def task_of(folder: Path, config: RunConfig, data: FeatureSet | None = None) -> Task:
    """Return a task over planted rows (two per group) from random heads; experts are trained once, in FOLDER/experts.

    `config.distill.run(task)` runs the method of the settings on it.
    """
    data = data or features()
    start = small_heads(data)

    @cache
    def experts() -> ExpertBuffer:
        return load_or_train_experts(data, start, config, folder / "experts")

    provenance = Provenance(config.method, config.model_dump(mode="json"), data="planted")
    return Task(data.development(), start, config.seed, config.experts, folder, experts, provenance)


def without_experts(task: Task) -> Task:
    """Return the same task, but asking it for experts fails."""

    def refuse() -> ExpertBuffer:
        raise AssertionError("experts were requested")

    return replace(task, experts=refuse)


def off_centre(data: FeatureSet) -> FeatureSet:
    """The same set, every column shifted by a number of its own: means that are not 0."""
    shifted = {
        name: x + torch.randn(x.shape[1], generator=torch.Generator().manual_seed(m))
        for m, (name, x) in enumerate(data.features.items())
    }
    return FeatureSet(shifted, data.ids, data.groups, data.splits, None, data.preprocessing, data.provenance)


def score_by_hand(heads: Heads, data: FeatureSet, bias: Mapping[str, Array] | None = None) -> float:
    """Mean of R@1, R@5, R@10 over all directions: cosines and counting in numpy."""
    groups = np.array(data.groups)
    embeddings = {}
    for name, matrix in heads.items():
        outputs = data.features[name].double().numpy() @ matrix.double().numpy().T + (0 if bias is None else bias[name])
        embeddings[name] = outputs / np.linalg.norm(outputs, axis=1, keepdims=True)
    found = []
    for query, gallery in itertools.permutations(heads, 2):
        order = np.argsort(-(embeddings[query] @ embeddings[gallery].T), axis=1)
        positive = groups[order] == groups[:, None]
        found += [positive[:, :k].any(1).mean() for k in (1, 5, 10)]
    return float(np.mean(found))


def centred(x: Tensor) -> Array:
    rows = x.double().numpy()
    centred_rows: Array = rows - rows.mean(0)
    return centred_rows


def cross_of(features: Mapping[str, Tensor]) -> dict[tuple[str, str], Array]:
    """X_m^T X_n / (N - 1) of centred rows."""
    count = len(next(iter(features.values())))
    return {
        (m, n): centred(features[m]).T @ centred(features[n]) / (count - 1)
        for m, n in itertools.combinations(features, 2)
    }


def cross_of_groups(data: FeatureSet) -> dict[tuple[str, str], Array]:
    """Cross-covariances of the group means, each weighted by the size of its group."""
    made = {pair: np.zeros_like(block) for pair, block in cross_of(data.features).items()}
    for group in dict.fromkeys(data.groups):
        rows = [row for row, name in enumerate(data.groups) if name == group]
        for m, n in made:
            left, right = centred(data.features[m])[rows].mean(0), centred(data.features[n])[rows].mean(0)
            made[m, n] += len(rows) * np.outer(left, right) / (len(data) - 1)
    return made


def truncated(matrix: Array, rank: int) -> Array:
    """The nearest matrix of at most that rank."""
    u, s, vh = np.linalg.svd(matrix, full_matrices=False)
    nearest: Array = (u[:, :rank] * s[:rank]) @ vh[:rank]
    return nearest


def least_residual(blocks: Mapping[tuple[str, str], Array], rank: int, sweeps: int = 400) -> float:
    """min over B of sum ||C_mn - B_m B_n^T||^2 by alternating least squares in numpy, the best of several starts."""
    names = list(dict.fromkeys(name for pair in blocks for name in pair))
    full = {**blocks, **{(n, m): block.T for (m, n), block in blocks.items()}}
    ends = []
    for seed in range(4):
        draw = np.random.default_rng(seed)
        widths = {m: full[m, next(n for n in names if n != m)].shape[0] for m in names}
        found = {m: draw.standard_normal((widths[m], rank)) for m in names}
        for _ in range(sweeps):
            for m in names:
                others = [n for n in names if n != m]
                design, wanted = np.vstack([found[n] for n in others]), np.hstack([full[m, n] for n in others])
                found[m] = np.linalg.lstsq(design, wanted.T, rcond=None)[0].T
        ends.append(sum(float(((block - found[m] @ found[n].T) ** 2).sum()) for (m, n), block in blocks.items()))
    return min(ends)
