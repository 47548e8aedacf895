"""What an encoder is: a frozen model of one kind of media, in two halves.

    item --prepare--> model input, on CPU --encode--> n x views x width, the features before the model's own projection

`prepare` runs in worker processes and must not need the weights; `encode` runs where the weights are.
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
    """One thing to encode.

    content: a file (Path), the address of one, or a text (str). start, end: what counts of a file, in seconds; None is
    its beginning, or its end.
    """

    content: Path | str
    start: float | None = None
    end: float | None = None

    @property
    def source(self) -> Path | str:
        """The file, or its address; InputError for a text."""
        if isinstance(self.content, str) and not is_address(self.content):
            raise InputError(f"{self.content[:40]!r}: is a text, and a file is needed")
        return self.content

    @property
    def text(self) -> str:
        """The text; InputError for a file, or a text of white space only."""
        if isinstance(self.content, Path):
            raise InputError(f"{self.content}: is a file, and a text is needed")
        if not self.content.strip():
            raise InputError("the text is empty")
        return self.content


@runtime_checkable
class Encoder(Protocol):
    """One frozen encoder. It can be pickled, and what is pickled holds no weights (see `Lazy`)."""

    @property
    def name(self) -> str:
        """What it is called, as in the registry."""
        ...

    @property
    def kind(self) -> Kind:
        """What its items are."""
        ...

    @property
    def width(self) -> int:
        """Of a feature."""
        ...

    @property
    def views(self) -> int:
        """Features that an item has."""
        ...

    def prepare(self, item: Item) -> Tensor:
        """The model's input for one item, on CPU: the same bits for the same item. Shapes may differ between items.

        Raises InputError, or whatever a decoder raises, for an item that cannot be used.
        """
        ...

    def encode(self, batch: Tensor) -> Float[Tensor, "n views width"]:
        """Features before the projection, float32 on CPU, of n prepared items of one shape, stacked."""
        ...

    def head(self) -> Float[Tensor, "d width"] | None:
        """The projection that the model was trained with, where it is one matrix applied to these features."""
        ...

    def fingerprint(self) -> dict[str, str]:
        """What decides the features: sha256 of the weights, settings of the preparation, versions that matter."""
        ...


@runtime_checkable
class Licensed(Protocol):
    """An encoder whose weights' licence is known: it is shown before use, and goes into all that is made with them."""

    @property
    def licence(self) -> str | None:
        """One line: whose weights, the licence, and what it does not allow; None where it is not known."""
        ...


@runtime_checkable
class Truncating(Protocol):
    """An encoder that cuts what is longer than its model reads; how many items were cut is counted."""

    def truncates(self, item: Item) -> bool:
        """Whether the end of this item is lost."""
        ...


def licences_of(encoders: Mapping[str, Encoder]) -> dict[str, str]:
    """{modality: licence of the weights}, where it is known."""
    known = {name: encoder.licence for name, encoder in encoders.items() if isinstance(encoder, Licensed)}
    return {name: licence for name, licence in known.items() if licence}


class Lazy:
    """Base of encoders that load what they need on first use, as cached properties: those never travel to a worker."""

    def __getstate__(self) -> dict[str, Any]:
        return {
            name: value
            for name, value in vars(self).items()
            if not isinstance(getattr(type(self), name, None), cached_property)
        }
