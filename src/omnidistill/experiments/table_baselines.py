"""Choose the baselines in the tables of `evaluate` and `compare`, and the inputs to which each baseline is fitted.

`evaluate` scores one run. `compare` scores one run per method, size (or budget) and seed. Both commands fit the same
baselines with the same settings, so baselines with the same name have the same numbers.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from omnidistill.core.errors import InputError
from omnidistill.data.featureset import Development, FeatureSet
from omnidistill.distillation.shipped_bytes import real_rows_bytes
from omnidistill.evaluation.baselines import REQUIRED, Allowance, Baseline, Setting, baselines, default_baselines
from omnidistill.evaluation.protocol import EvaluateConfig
from omnidistill.evaluation.trained_heads import TrainedHeads
from omnidistill.experiments.config import RunConfig
from omnidistill.experiments.config.budgets import run_bytes
from omnidistill.models.heads import Heads


@dataclass(frozen=True)
class Group:
    """Distilled sets that are compared with each other, because they have the same size or the same budget in bytes."""

    configs: tuple[RunConfig, ...]
    budget: int | None = None

    def allowance(self, data: FeatureSet) -> Allowance:
        """Return how many rows and bytes a baseline may use, so that it is comparable with these distilled sets.

        Without a budget, the limits are the largest number of stored rows and the largest number of bytes among the
        sets. With a budget, the limit in bytes is the budget, and the limit in rows is the number of real training rows
        that fit in the budget as float32. Bytes include all files that a receiver needs. If a run has one set per pair
        of modalities, their bytes are added.
        """
        widths, steps = data.widths, data.preprocessing
        if self.budget is None:
            size = max(config.distill.num_stored for config in self.configs)
            return Allowance(size, max(run_bytes(config, widths, steps) for config in self.configs))
        sizes = range(1, data.split_sizes["train"] + 1)
        fitting = bisect_right(sizes, self.budget, key=lambda size: real_rows_bytes(size, widths, steps))
        return Allowance(fitting, self.budget)


def named_baselines(requested: Sequence[str | Baseline] | None) -> tuple[Baseline, ...]:
    """Return the baselines that are given by name or as objects; None selects the default baselines.

    Raises:
        InputError: a name is unknown; the message suggests the closest name.
    """
    if requested is None:
        return default_baselines()
    return tuple(baselines.build(each) if isinstance(each, str) else each for each in requested)


def table_baselines(
    requested: Sequence[Baseline], configs: Sequence[RunConfig], evaluate: EvaluateConfig
) -> tuple[Baseline, ...]:
    """Return the baselines of a table: `zero-shot` and `full`, then the requested ones, without duplicates.

    The baseline `full-own` trains on all rows with the objective of the students. If its setting `objective` is None,
    it is replaced by one baseline per student objective. InfoNCE at the temperature of the evaluation is omitted,
    because `full` uses it. If a baseline needs other baselines that are not requested, they are added before it.
    """
    students = [config.distill.student for config in configs]
    every = [*(baselines.build(name) for name in REQUIRED), *requested]
    expanded = [baseline for each in every for baseline in each.for_students(students, evaluate)]
    unique = {baseline.name: baseline for baseline in expanded}
    return tuple(_with_needs(list(unique.values())))


def setting_of(
    baseline: Baseline,
    data: FeatureSet,
    development: Development,
    start: Heads,
    evaluate: EvaluateConfig,
    seed: int,
    group: Group | None,
) -> Setting | None:
    """Return the inputs to which a baseline is fitted; None if the baseline does not apply to these inputs.

    `group` contains the sets with which the baseline is compared. These sets determine how many rows and bytes the
    baseline may use.
    """
    allowance = group.allowance(data) if baseline.sized and group is not None else None
    setting = Setting(development, start, evaluate, seed, allowance)
    return setting if baseline.applies(setting) else None


def dependencies_first(requested: Sequence[Baseline]) -> list[Baseline]:
    """Sort the baselines so that each comes after those that it needs. Apart from that, their order does not change."""
    named = {baseline.kind: baseline for baseline in requested}
    ordered: dict[str, Baseline] = {}

    def add(baseline: Baseline) -> None:
        for name in baseline.needs:
            if name in named:
                add(named[name])
        ordered.setdefault(baseline.name, baseline)

    for baseline in requested:
        add(baseline)
    return list(ordered.values())


def _with_needs(requested: Sequence[Baseline]) -> list[Baseline]:
    """Return the baselines. If a baseline needs others that are missing from the list, insert them before it."""
    present = {baseline.kind for baseline in requested}
    complete: list[Baseline] = []
    for baseline in requested:
        missing = [name for name in all_needs(baseline) if name not in present]
        complete += [*(baselines.build(name) for name in missing), baseline]
        present |= set(missing)
    return complete


def all_needs(baseline: Baseline) -> list[str]:
    """Return the names of all baselines that this one needs, directly or indirectly, in the order in which they run."""
    names: list[str] = []
    for name in baseline.needs:
        names += [*all_needs(baselines.build(name)), name]
    return list(dict.fromkeys(names))


def check_result(baseline: Baseline, result: object, start: Heads) -> TrainedHeads:
    """Check that a baseline returned heads with valid shapes, and return its result.

    Raises:
        InputError: the result is not a `TrainedHeads` object, or heads do not have the shape (number of runs, embedding
            width, feature width).
    """
    where = f"baseline '{baseline.kind}'" + (f" from package '{baseline.package}'" if baseline.package else "")
    if not isinstance(result, TrainedHeads):
        raise InputError(f"{where}: fit() returned a {type(result).__name__}, but must return TrainedHeads")
    for part in result.parts:
        for name, heads in part.items():
            if name not in start or heads.ndim != 3 or heads.shape[2] != start[name].shape[1]:
                remedy = (
                    f"return heads of shape (runs, output width, {start[name].shape[1]})"
                    if name in start
                    else "return no heads for this modality"
                )
                raise InputError(
                    f"{where}: fit() returned heads of shape {tuple(heads.shape)} for modality '{name}'; {remedy}"
                )
    return result


def table_key(baseline: Baseline) -> str:
    """Return the key of a baseline in scores.json."""
    return baseline.kind.replace("-", "_")
