"""Budgets in bytes: how many rows fit, in whatever way they are stored.

    bytes(N) = N sum_m row_m + similarity(N),    the size is the largest N with bytes(N) <= budget

row_m is what the parametrisation stores of one row p_m wide, similarity(N) what S takes over the rows trained on. A
run of every pair of modalities (joint = false) has the sum over its pairs. A percentage is one of the training features
in float32; k, M and G are powers of 1000.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Mapping
from decimal import Decimal
from functools import cache
from itertools import combinations

import torch

from omnidistill.config import (
    ApmConfig,
    DistillConfig,
    LearnedConfig,
    LowRankConfig,
    RunConfig,
    SelectConfig,
    StorageConfig,
)
from omnidistill.core.errors import InputError
from omnidistill.data.featureset import FeatureSet
from omnidistill.models.similarity import similarity_from
from omnidistill.models.storage import parametrisation_from

LEAST_ROWS = 2
"""A contrastive student needs another row to tell a row from."""

_AMOUNT = re.compile(r"\s*(.+?)\s*(%|[kmg]?b?)\s*", re.IGNORECASE)
_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9}


class BudgetTooSmallError(InputError):
    """Not even the least number of rows fits."""


def with_budget(config: RunConfig, budget: str, data: FeatureSet) -> RunConfig:
    """The run with as many rows as fit the budget and the method can make. The rank of a low-rank similarity is lowered
    to the rows trained on where it exceeds them.

    Raises:
        BudgetTooSmallError: fewer than 2 rows fit; says the least budget.
        InputError: whatever `parse_budget` refuses.
    """
    most = parse_budget(budget, training_bytes(data))
    sizes = range(LEAST_ROWS, _most_rows(config.distill, data) + 1)
    fitting = bisect_right(sizes, most, key=lambda size: run_bytes(_resized(config, size), data.widths))
    if not fitting:
        least = run_bytes(_resized(config, LEAST_ROWS), data.widths)
        raise BudgetTooSmallError(
            f"budget {budget!r}: is below the {least:,} bytes of {LEAST_ROWS} rows ({config.method}), the least a "
            f"student can learn from; give at least {least}, or store rows in fewer bits (distill.storage.bits)"
        )
    return _resized(config, sizes[fitting - 1])


def parse_budget(text: str, whole: int) -> int:
    """Bytes of "200000", "64k", "64kB", "1.5M" or "1%" (of `whole`), rounded down.

    Raises InputError for anything else, for what is not finite, for less than a byte and for more than `whole`.
    """
    try:
        number, unit = _AMOUNT.fullmatch(text).groups()  # type: ignore[union-attr]
        scale = Decimal(whole) / 100 if unit == "%" else Decimal(_UNITS[unit.lower().removesuffix("b")])
        amount = Decimal(number) * scale
    except (AttributeError, ArithmeticError):
        raise InputError(
            f"budget {text!r}: is not an amount of bytes; give one such as 200000, 64kB, 1.5M or 1%"
        ) from None
    if not amount.is_finite() or amount < 1:
        raise InputError(
            f"budget {text!r}: must be finite and at least a byte; give bytes such as 200000, 64kB, 1.5M or 1%"
        )
    if amount > whole:
        raise InputError(f"budget {text!r}: exceeds the {whole:,} bytes of the training features; use all rows")
    return int(amount)


def training_bytes(data: FeatureSet) -> int:
    """Bytes of the training rows in float32, 4 N sum_m p_m. Raises InputError for a set without a train split."""
    rows = data.split_sizes.get("train") or len(data.split("train"))
    return 4 * rows * sum(data.widths.values())


def run_bytes(config: RunConfig, widths: Mapping[str, int]) -> int:
    """Bytes of the set, or of the sets of all pairs, that the run makes of features of these widths."""
    parts = [tuple(widths)] if config.joint else combinations(widths, 2)
    return sum(_set_bytes(config.distill, [widths[name] for name in part]) for part in parts)


def _most_rows(settings: DistillConfig, data: FeatureSet) -> int:
    """All training rows; fewer where averages are of groups, or where rows are one more than directions."""
    limits = [data.split_sizes["train"]]
    if isinstance(settings, SelectConfig) and settings.selector == "group-means":
        limits.append(len({group for group, split in zip(data.groups, data.splits, strict=True) if split == "train"}))
    if isinstance(settings, ApmConfig):
        limits.append(1 + min(data.widths.values()))
    return min(limits)


def _set_bytes(settings: DistillConfig, widths: list[int]) -> int:
    paired = settings.num_rows if isinstance(settings, LearnedConfig) else settings.size  # chosen rows know of no views
    with torch.device("meta"):
        similarity = similarity_from(settings.similarity).init(paired, torch.Generator())
    return settings.size * sum(row_bytes(settings.counted_storage, width) for width in widths) + _bytes_of(similarity)


@cache
def row_bytes(storage: StorageConfig, width: int) -> int:
    """Bytes of a row of this many numbers, as it is stored."""
    return _bytes_of(parametrisation_from(storage).store({"row": torch.zeros(1, width)}))


def _bytes_of(tensors: Mapping[str, torch.Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())


def _resized(config: RunConfig, size: int) -> RunConfig:
    settings = config.distill.model_copy(update={"size": size})
    if isinstance(settings, LearnedConfig) and isinstance(settings.similarity, LowRankConfig):
        rank = min(settings.similarity.rank, settings.num_rows)
        settings = settings.model_copy(update={"similarity": settings.similarity.model_copy(update={"rank": rank})})
    return config.model_copy(update={"distill": settings})
