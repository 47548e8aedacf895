"""Storage of rows as floats or low-bit integers. Each stored row can give several training rows.

The training rows that come from one stored row are its sign views. The first view is the row itself. Every other view
is the row multiplied, entry by entry, by a fixed pattern of +1 and -1. The number of views does not change the size of
the stored set. Below 16 bits per number, a row is stored as integers and one float32 quantisation step.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from jaxtyping import Float
from torch import Tensor

from omnidistill.core.settings import Count
from omnidistill.models.storages.forms import Bits, Half, Plain, RowForm, Views
from omnidistill.models.storages.storage import Storage, storages

_ROWS_WITH_VIEWS, _MOST_VIEWS = 256, 16


@storages.register("rows")
class RowStorage(Storage):
    """Stores rows as floats (16 or 32 bits) or integers (2 to 8 bits).

    The setting `views` can multiply the number of rows to train on: every stored row is also used with flipped signs.
    """

    bits: Literal[32, 16, 8, 6, 4, 3, 2] = 32
    """Bits per stored number. 32 and 16 mean floats. With fewer bits, numbers are quantised to integers with one step
    size per row."""
    views: Count | Literal["auto"] = 1
    """Number of training rows (views) derived from each stored row: the row itself, and the row multiplied by fixed
    patterns of signs. "auto" gives about 256 training rows in total, with at most 16 views per stored row."""

    def init(self, rows: Mapping[str, Float[Tensor, "_ _"]]) -> dict[str, Tensor]:
        """Return a copy of the rows as latent tensors, which are the tensors that distillation learns."""
        return self._form.init(rows)

    def expand(self, latent: Mapping[str, Tensor]) -> dict[str, Float[Tensor, "_ _"]]:
        """Return the training rows: the latent (learned) rows, rounded to the stored precision.

        If the setting `views` is above 1, copies of the rows follow, multiplied by fixed patterns of +1 and -1.
        """
        return self._form.expand(latent)

    def store(self, latent: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the tensors to store: floats, or integers with one quantisation step per row."""
        return self._form.store(latent)

    def load(self, stored: Mapping[str, Tensor]) -> dict[str, Float[Tensor, "_ _"]]:
        """Return the training rows: the stored rows, then their copies with fixed patterns of flipped signs (views)."""
        return self._form.load(stored)

    def resolved(self, num_stored: int) -> RowStorage:
        """Return the storage with a fixed number of views (training rows per stored row).

        If the setting `views` is "auto", the number is computed from the number of stored rows.
        """
        if self.views != "auto":
            return self
        return self.evolve(views=min(_MOST_VIEWS, max(1, round(_ROWS_WITH_VIEWS / num_stored))))

    def num_rows(self, num_stored: int) -> int:
        """Return the number of training rows: the number of stored rows times the number of views per row."""
        views = self.resolved(num_stored).views
        assert views != "auto"
        return num_stored * views

    @property
    def title(self) -> str:
        """Short description of the storage, such as "4 bits"."""
        return f"{self.bits} bits"

    @property
    def _form(self) -> RowForm:
        inner = {32: Plain(), 16: Half()}.get(self.bits) or Bits(self.bits)
        if self.views == "auto":
            return inner  # the stored tensors do not depend on the number of views
        return Views(inner, self.views) if self.views > 1 else inner
