"""Preprocessing of raw rows in chunks: validate all rows, fit the steps on the train rows, then apply the steps.

Let mu_m be the mean of the standardised train rows in modality m. It is summed over chunks in float64. A row then
becomes

    x = standardise(raw) - mu_m

Memory holds only one chunk of rows, and one flag per row.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Bool, Float32, Int
from torch import Tensor

from omnidistill.core.errors import InputError
from omnidistill.data.preprocessing import Preprocessing
from omnidistill.data.raw_rows import RawRows
from omnidistill.data.row_checks import check_finite


def fit_preprocessing(
    raw: RawRows,
    standardise: bool,
    centre: bool,
    rows: Int[Tensor, " n"] | None = None,
    steps: Preprocessing | None = None,
) -> Preprocessing:
    """Validate all rows, and fit the preprocessing to the train rows.

    Args:
        raw: all rows.
        standardise, centre: see `data.featureset.prepare`.
        rows: numbers of the rows to use; the fit uses the train rows among them. None uses all rows.
        steps: steps of another set, to use instead of fitted ones; `standardise` and `centre` then have no effect.

    Raises:
        InputError: a value is not finite, a row is a zero vector (or constant, if rows are standardised), or there are
            no train rows to compute the mean from.
    """
    for name in raw.widths:
        _check(raw, name, standardise if steps is None else steps.standardise)
    if steps is not None:
        return steps
    among = range(len(raw.ids)) if rows is None else rows.tolist()
    selected = [row for row in among if raw.splits[row] == "train"]
    train = torch.tensor(selected, dtype=torch.int64, device="cpu")
    if centre and not len(train):
        raise InputError("split 'train': no rows, so there is no mean to subtract; add train rows or disable centring")
    chunks = {name: (x for _, x in raw.chunks(name, train)) for name in raw.widths}
    return Preprocessing.fit_chunks(chunks, standardise, centre)


def prepare_chunks(
    raw: RawRows, name: str, steps: Preprocessing, rows: Int[Tensor, " n"]
) -> Iterator[Float32[Tensor, "k p"]]:
    """Yield the preprocessed rows of one modality in chunks.

    Raises:
        InputError: a preprocessed row is a zero vector. This is raised after the last chunk.
    """
    is_zero = torch.zeros(len(raw.ids), dtype=torch.bool, device="cpu")
    for numbers, x in raw.chunks(name, rows):
        chunk = steps.apply({name: x})[name]
        is_zero[numbers] = (chunk == 0).all(dim=1)
        yield chunk
    _check_directions(name, is_zero, raw.ids, "equal to the subtracted mean, so centring makes it a zero vector")


def _check(raw: RawRows, name: str, standardise: bool) -> None:
    if standardise and raw.widths[name] == 1:
        raise InputError(
            f"modality {name!r}: the features have width 1, and standardising a row with one number gives zero; if "
            "this modality is a label or an id, remove it; otherwise, do not standardise rows"
        )
    degenerate = torch.zeros(len(raw.ids), dtype=torch.bool, device="cpu")
    for numbers, x in raw.chunks(name, torch.arange(len(raw.ids), device="cpu")):
        check_finite(name, x, raw.ids, int(numbers[0]))
        low, high = torch.aminmax(x, dim=1) if x.numel() else (x, x)
        degenerate[numbers] = low == high if standardise else (low == 0) & (high == 0)
    problem = (
        "all values are equal, so the standardised row is a zero vector" if standardise else "the row is a zero vector"
    )
    _check_directions(name, degenerate, raw.ids, problem)


def _check_directions(name: str, degenerate: Bool[Tensor, " n"], ids: Sequence[str], problem: str) -> None:
    if degenerate.any():
        row = int(degenerate.nonzero()[0])
        raise InputError(
            f"modality {name!r}, row {row} (id {ids[row]!r}): {problem}, for which cosine similarity is undefined; "
            f"drop all such rows ({int(degenerate.sum())} in total) or encode them again"
        )
