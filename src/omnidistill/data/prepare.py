"""Raw rows -> prepared rows, a chunk at a time: checked, the steps fitted on the train rows, the steps applied.

    mu_m = (1 / n) sum over chunks of train rows, in float64        then every chunk standardised, and less mu_m

Nothing here holds more than a chunk, and one flag a row.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Bool, Float, Float32, Int
from torch import Tensor

from omnidistill.core.errors import InputError
from omnidistill.data.preprocessing import Preprocessing
from omnidistill.data.raw_rows import RawRows

_LARGEST = 1e18  # squares of what is larger overflow float32


def fitted(raw: RawRows, standardise: bool, centre: bool) -> Preprocessing:
    """The steps for these rows. Raises InputError for what is not finite or has no direction, and for no train rows."""
    for name in raw.widths:
        _check(raw, name, standardise)
    train = torch.tensor([row for row, split in enumerate(raw.splits) if split == "train"], dtype=torch.int64)
    if centre and not len(train):
        raise InputError(
            "split 'train': no rows, so there is no mean to centre by; add train rows or prepare without centring"
        )
    chunks = {name: (x for _, x in raw.chunks(name, train)) for name in raw.widths}
    return Preprocessing.fit_chunks(chunks, standardise, centre)


def prepared(
    raw: RawRows, name: str, steps: Preprocessing, rows: Int[Tensor, " n"]
) -> Iterator[Float32[Tensor, "k p"]]:
    """The rows of these numbers, prepared. Raises InputError, after the last, if any is a zero vector."""
    lost = torch.zeros(len(raw.ids), dtype=torch.bool)
    for numbers, x in raw.chunks(name, rows):
        made = steps.apply({name: x})[name]
        lost[numbers] = (made == 0).all(dim=1)
        yield made
    _check_directions(name, lost, raw.ids, "a zero vector once centred, equal to the mean of train")


def check_finite(name: str, x: Float[Tensor, "n p"], ids: Sequence[str], first: int = 0) -> None:
    """Raise InputError for a value that is NaN, Inf or too large, naming its row (row 0 of x is row `first`); one pass
    when all is well.
    """
    if x.numel() == 0 or all(abs(float(bound)) <= _LARGEST for bound in torch.aminmax(x)):
        return
    for row, values in enumerate(x):
        bad = ~(values.double().abs() <= _LARGEST)
        if bad.any():
            column = int(bad.nonzero()[0])
            raise InputError(
                f"modality {name!r}, row {first + row} (id {ids[first + row]!r}): value {column} is "
                f"{float(values[column])}; features must be finite, at most {_LARGEST:g} in size: "
                "drop the row or encode it again"
            )


def _check(raw: RawRows, name: str, standardise: bool) -> None:
    lost = torch.zeros(len(raw.ids), dtype=torch.bool)
    for numbers, x in raw.chunks(name, torch.arange(len(raw.ids))):
        check_finite(name, x, raw.ids, int(numbers[0]))
        low, high = torch.aminmax(x, dim=1) if x.numel() else (x, x)
        lost[numbers] = low == high if standardise else (low == 0) & (high == 0)
    _check_directions(name, lost, raw.ids, f"a zero vector, {'constant' if standardise else 'all of it 0'}")


def _check_directions(name: str, lost: Bool[Tensor, " n"], ids: Sequence[str], found: str) -> None:
    if lost.any():
        row = int(lost.nonzero()[0])
        raise InputError(
            f"modality {name!r}, row {row} (id {ids[row]!r}): {found}, so it has no direction; "
            f"{int(lost.sum())} such rows: drop or encode them again"
        )
