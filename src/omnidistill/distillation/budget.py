"""Budgets in bytes: parse amounts such as "64kB" or "1%", and compute how many bytes a set with N rows takes.

    bytes(N) = N sum_m row_m + similarity(N)

row_m is the number of bytes per stored row of width p_m. similarity(N) is the number of bytes of the tensors that
represent S. Percentages refer to the bytes of the training features in float32; k, M and G are powers of 1000.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from omnidistill.core.errors import InputError
from omnidistill.data.featureset import FeatureSet
from omnidistill.models.storages import Storage

if TYPE_CHECKING:
    from omnidistill.distillation.set_settings import SetSettings

LEAST_ROWS = 2
"""Smallest number of rows: a contrastive loss compares each row with at least one other row."""

_AMOUNT = re.compile(r"\s*(.+?)\s*(%|[kmg]?b?)\s*", re.IGNORECASE)
_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9}


class BudgetTooSmallError(InputError):
    """Raised if a budget is smaller than the smallest possible set."""


def check_budget(text: str) -> str:
    """Return the text unchanged if it is an amount of bytes or a percentage.

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
        raise InputError(f"budget {text!r}: exceeds the {whole:,} bytes of the training features; use a smaller one")
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
    """Return the number of bytes of the training rows in float32, 4 N sum_m p_m.

    Raises:
        InputError: the data has no train split.
    """
    rows = data.split_sizes.get("train") or len(data.split("train"))
    return 4 * rows * sum(data.widths.values())


def set_bytes(settings: SetSettings, widths: Iterable[int]) -> int:
    """Return the number of bytes of a set with these settings, for modalities with these widths."""
    stored = settings.num_stored
    shared = settings.set_similarity.shared_rows(stored, settings.num_rows)
    with torch.device("meta"), _WithoutMemory():
        similarity = settings.set_similarity.init(shared, torch.Generator("cpu"))
    rows = sum(row_bytes(settings.resolved_storage, width) for width in widths)
    return stored * rows + tensor_bytes(similarity)


class _WithoutMemory(TorchFunctionMode):
    """Creates tensors on the meta device, where they take no memory, instead of on the requested device."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        return func(*args, **({**kwargs, "device": "meta"} if "device" in kwargs else kwargs))


@lru_cache(maxsize=1024)
def row_bytes(storage: Storage, width: int) -> int:
    """Return the number of bytes per stored row of this width."""
    return storage.row_bytes(width)


def tensor_bytes(tensors: Mapping[str, Tensor]) -> int:
    """Return the total number of bytes of the tensors."""
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
