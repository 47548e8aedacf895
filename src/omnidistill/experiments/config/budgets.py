"""Size budgets: find the largest number of rows N for which a set (or all pairwise sets together) fits the budget."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from itertools import combinations

from omnidistill.data.featureset import FeatureSet
from omnidistill.distillation.budget import LEAST_ROWS, BudgetTooSmallError, parse_budget, set_bytes, training_bytes
from omnidistill.distillation.loop_settings import LoopSettings
from omnidistill.experiments.config.run_config import RunConfig
from omnidistill.methods import Method


def resolve_size(config: RunConfig, data: FeatureSet) -> RunConfig:
    """Return the settings with a size budget replaced by the largest number of rows that fits it.

    Settings without a budget are returned unchanged. If the rank of the similarity matrix exceeds the number of rows
    that fit, the rank is reduced to that number.

    Raises:
        BudgetTooSmallError: fewer than 2 rows fit; the message states the smallest possible budget.
        InputError: the budget exceeds the size of the training features.
    """
    budget = config.distill.size
    if not isinstance(budget, str):
        return config
    most = parse_budget(budget, training_bytes(data))
    sizes = range(LEAST_ROWS, config.distill.most_rows(data.split("train")) + 1)
    fitting = bisect_right(sizes, most, key=lambda size: run_bytes(_resized(config, size), data.widths))
    if not fitting:
        least = run_bytes(_resized(config, LEAST_ROWS), data.widths)
        raise BudgetTooSmallError(
            f"budget {budget!r}: too small; method '{config.method}' needs at least {LEAST_ROWS} rows "
            f"({least:,} bytes) to train a student; give at least {least}, or store rows in fewer bits "
            "('distill.storage.bits')"
        )
    return _resized(config, sizes[fitting - 1])


def run_bytes(config: RunConfig, widths: Mapping[str, int]) -> int:
    """Return the size in bytes of the set that a run creates, or the total size if it creates one set per pair.

    Args:
        config: the settings of the run.
        widths: width p_m of the features of each modality.
    """
    parts = [tuple(widths)] if config.joint else combinations(widths, 2)
    return sum(set_bytes(config.distill, [widths[name] for name in part]) for part in parts)


def _resized(config: RunConfig, size: int) -> RunConfig:
    method: Method = config.distill
    changes: dict[str, object] = {"size": size}
    if isinstance(method, LoopSettings):
        changes["similarity"] = method.similarity.fit_to(method.storage.num_rows(size))
    return config.evolve(distill=method.evolve(**changes))
