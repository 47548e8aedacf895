"""Choose the baselines in the tables of `evaluate` and `compare`, and the inputs to which each baseline is fitted.

A comparison has one table entry per method, size (or budget) and seed; an evaluation is a comparison with one entry.
Both fit the same baselines with the same settings, so rows with equal labels have equal numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from omnidistill.core.errors import InputError
from omnidistill.data.featureset import Development, FeatureSet
from omnidistill.distillation.budget import training_bytes
from omnidistill.evaluation.baselines import REQUIRED, Allowance, Baseline, Setting, baselines, default_baselines
from omnidistill.evaluation.protocol import EvaluateConfig
from omnidistill.evaluation.trained_heads import TrainedHeads
from omnidistill.experiments.config import RunConfig
from omnidistill.experiments.config.budgets import run_bytes
from omnidistill.models.heads import Heads


@dataclass(frozen=True)
class Group:
    """Sets that are compared with each other, because they have the same size or the same budget in bytes."""

    configs: tuple[RunConfig, ...]
    budget: int | None = None

    def allowance(self, data: FeatureSet) -> Allowance:
        """Return how many rows and bytes a baseline that depends on the size may use.

        If the group has a size, the limits are this number of real rows, and the bytes of the largest set in the group.
        If the group has a budget, the limits are the number of float32 rows that fit in it, and the whole budget.
        """
        if self.budget is None:
            size = max(config.distill.num_stored for config in self.configs)
            return Allowance(size, max(run_bytes(config, data.widths) for config in self.configs))
        rows = data.split_sizes["train"]
        return Allowance(min(rows, self.budget * rows // training_bytes(data)), self.budget)


def named_baselines(requested: Sequence[str | Baseline] | None) -> tuple[Baseline, ...]:
    """Return the baselines that are given by name or as objects; None selects the default baselines.

    Raises:
        InputError: no baseline has one of the names; the message suggests the closest name.
    """
    if requested is None:
        return default_baselines()
    return tuple(baselines.build(each) if isinstance(each, str) else each for each in requested)


def table_baselines(
    requested: Sequence[Baseline], configs: Sequence[RunConfig], evaluate: EvaluateConfig
) -> tuple[Baseline, ...]:
    """Return the baselines of a table without duplicates, the required ones first.

    `full-own` is replaced by one baseline per student objective.
    """
    students = [config.distill.student for config in configs]
    every = [*(baselines.build(name) for name in REQUIRED), *requested]
    expanded = [baseline for each in every for baseline in each.for_students(students, evaluate)]
    return tuple({baseline.name: baseline for baseline in expanded}.values())


def setting_of(
    baseline: Baseline,
    data: FeatureSet,
    development: Development,
    start: Heads,
    evaluate: EvaluateConfig,
    seed: int,
    group: Group | None,
) -> Setting | None:
    """Return the inputs to which a baseline is fitted; None if the baseline does not apply to the group."""
    allowance = group.allowance(data) if baseline.sized and group is not None else None
    setting = Setting(development, start, evaluate, seed, allowance)
    return setting if baseline.applies(setting) else None


def dependencies_first(requested: Sequence[Baseline]) -> list[Baseline]:
    """Sort the baselines so that every baseline comes after the baselines that it needs."""
    needed = {name for baseline in requested for name in baseline.needs}
    return sorted(requested, key=lambda baseline: baseline.kind not in needed)


def check_result(baseline: Baseline, result: object, start: Heads) -> TrainedHeads:
    """Check that a baseline returned heads with valid shapes, and return its result.

    Raises:
        InputError: the result is not a `TrainedHeads` object, or a head does not have the shape R x d x p_m.
    """
    where = f"baseline '{baseline.kind}'" + (f" from package '{baseline.package}'" if baseline.package else "")
    if not isinstance(result, TrainedHeads):
        raise InputError(f"{where}: fit returned a {type(result).__name__}, expected TrainedHeads")
    for part in result.parts:
        for name, heads in part.items():
            if name not in start or heads.ndim != 3 or heads.shape[2] != start[name].shape[1]:
                shape = f"runs x d x {start[name].shape[1]}" if name in start else "no heads for this modality"
                raise InputError(f"{where}: heads of '{name}' have shape {tuple(heads.shape)}, expected {shape}")
    return result


def table_key(baseline: Baseline) -> str:
    """Return the key of a baseline in scores.json."""
    return baseline.kind.replace("-", "_")
