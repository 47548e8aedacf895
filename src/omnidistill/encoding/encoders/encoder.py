"""The `Encoder` protocol: an encoder is a frozen model for one kind of media, split into two steps.

    item --prepare--> model input, on CPU
    n model inputs --encode--> features before the model's own projection, n x views x width

An item has one feature per view, where a view is a frame, crop or short clip of the item. Most encoders use one view.
`prepare` runs in worker processes and must not need the weights. `encode` runs in the process that holds the weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor

from omnidistill.core.errors import InputError
from omnidistill.encoding.media.container import is_address

Kind = Literal["video", "audio", "image", "text"]


@dataclass(frozen=True)
class Item:
    """One item to encode.

    Attributes:
        content: a file (Path), the URL of a file (str), or a text (str).
        start: start of the clip within the file, in seconds; None means the start of the file.
        end: end of the clip within the file, in seconds; None means the end of the file.
    """

    content: Path | str
    start: float | None = None
    end: float | None = None

    @property
    def source(self) -> Path | str:
        """The file or its URL. Raises InputError if the item is a text."""
        if isinstance(self.content, str) and not is_address(self.content):
            raise InputError(f"expected a pathlib.Path or a URL, found the text {self.content[:40]!r}")
        return self.content

    @property
    def text(self) -> str:
        """The text. Raises InputError if the item is a file, or a text without visible characters."""
        if isinstance(self.content, Path):
            raise InputError(f"expected a text, found the file {self.content}; pass a string")
        if not self.content.strip():
            raise InputError("the text is empty; add text or remove the item")
        return self.content


@runtime_checkable
class Encoder(Protocol):
    """A frozen encoder. Encoders can be pickled; a pickle contains no weights (see `Lazy`)."""

    @property
    def name(self) -> str:
        """Name of the encoder, as in the registry."""
        ...

    @property
    def kind(self) -> Kind:
        """Kind of media that the encoder reads."""
        ...

    @property
    def width(self) -> int:
        """Number of values per feature."""
        ...

    @property
    def views(self) -> int:
        """Number of views (frames, crops or short clips) per item. Each view has its own feature."""
        ...

    def prepare(self, item: Item) -> Tensor:
        """Return the model input for one item, on CPU.

        The result for the same item is always bit-identical. Results for different items may have different shapes.

        Raises:
            InputError: the item cannot be used. A decoder may also raise exceptions of other types.
        """
        ...

    def encode(self, batch: Tensor) -> Float[Tensor, "n views width"]:
        """Return the features before the model's own projection, float32 on CPU.

        Args:
            batch: n prepared items with the same shape, stacked along a new first dimension.
        """
        ...

    def head(self) -> Float[Tensor, "d width"] | None:
        """Return the model's own projection as a single matrix, or None if the model has no such matrix."""
        ...

    def fingerprint(self) -> dict[str, str]:
        """Return what features depend on: sha256 of the weights, settings of `prepare`, versions of packages."""
        ...


@runtime_checkable
class Licensed(Protocol):
    """An encoder that states the licence of its weights.

    The licence is shown before the encoder is used. It is stored with all results that are computed from the features.
    """

    @property
    def licence(self) -> str | None:
        """One line with the owner of the weights, the licence and restrictions; None if the licence is not known."""
        ...


@runtime_checkable
class Truncating(Protocol):
    """An encoder that truncates items if they are too long for its model. Truncated items are counted."""

    def truncates(self, item: Item) -> bool:
        """Return whether this item is too long for the model, so that the encoder truncates it."""
        ...


def licences_of(encoders: Mapping[str, Encoder]) -> dict[str, str]:
    """Return the licence of each encoder's weights, by modality. Encoders without a known licence are omitted."""
    known = {name: encoder.licence for name, encoder in encoders.items() if isinstance(encoder, Licensed)}
    return {name: licence for name, licence in known.items() if licence}


class Lazy:
    """Base class for encoders that load their weights on first use.

    The weights are kept in cached properties. Pickling an encoder omits all cached properties.
    """

    def __getstate__(self) -> dict[str, Any]:
        return {
            name: value
            for name, value in vars(self).items()
            if not isinstance(getattr(type(self), name, None), cached_property)
        }
