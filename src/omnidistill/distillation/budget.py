"""Budgets in bytes: parse amounts such as "64kB" or "1%".

A budget limits the total size of the files that are needed to train on a distilled set (`distillation.shipped_bytes`).
Percentages refer to the size of the training features in float32. The prefixes k, M and G are powers of 1000.
"""

from __future__ import annotations

import re
from decimal import Decimal

from omnidistill.core.errors import InputError
from omnidistill.data.featureset import FeatureSet

LEAST_ROWS = 2
"""Smallest number of rows: a contrastive loss compares each row with at least one other row."""

_AMOUNT = re.compile(r"\s*(.+?)\s*(%|[kmg]?b?)\s*", re.IGNORECASE)
_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9}


class BudgetTooSmallError(InputError):
    """Raised if a size budget is too small even for the smallest possible distilled set."""


def check_budget(text: str) -> str:
    """Return the text unchanged if it is an amount of bytes or a percentage, such as "64kB" or "1%".

    Raises:
        InputError: the text is neither, or the amount is not finite or less than one byte.
    """
    _amount(text, 10**30)
    return text


def parse_budget(text: str, whole: int) -> int:
    """Return the number of bytes that a text specifies, rounded down.

    Args:
        text: an amount such as "200000", "64k", "64kB" or "1.5M", or a percentage of `whole` such as "1%".
        whole: number of bytes of the training features.

    Raises:
        InputError: the text is malformed, or the amount is not finite, less than one byte or more than `whole`.
    """
    amount = _amount(text, whole)
    if amount > whole:
        raise InputError(f"budget {text!r}: exceeds the {whole:,} bytes of the training features; use a smaller budget")
    return int(amount)


def _amount(text: str, whole: int) -> Decimal:
    try:
        number, unit = _AMOUNT.fullmatch(text).groups()  # type: ignore[union-attr]
        scale = Decimal(whole) / 100 if unit == "%" else Decimal(_UNITS[unit.lower().removesuffix("b")])
        amount = Decimal(number) * scale
    except (AttributeError, ArithmeticError):
        raise InputError(
            f"budget {text!r}: not an amount of bytes; use an amount such as 200000, 64kB, 1.5M or 1%"
        ) from None
    if not amount.is_finite() or amount < 1:
        raise InputError(
            f"budget {text!r}: must be finite and at least one byte; use an amount such as 200000, 64kB, 1.5M or 1%"
        )
    return amount


def training_bytes(data: FeatureSet) -> int:
    """Return the size of the training features in float32: 4 N sum_m p_m bytes for N rows and feature widths p_m.

    Raises:
        InputError: the data has no train split.
    """
    rows = data.split_sizes.get("train") or len(data.split("train"))
    return 4 * rows * sum(data.widths.values())
