from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from multiprocessing.reduction import ForkingPickler
from pathlib import Path

import pytest

from omnidistill.core.errors import InputError
from omnidistill.encoding.encoders.encoder import Item, Lazy


@dataclass(frozen=True)
class Loads(Lazy):
    setting: int

    @cached_property
    def weights(self) -> bytes:
        return bytes(1 << 16)


def test_what_was_loaded_stays_where_it_is() -> None:
    one = Loads(3)
    assert len(one.weights) == 1 << 16
    sent = ForkingPickler.dumps(one)
    assert len(sent) < 1000
    copy = ForkingPickler.loads(sent)
    assert copy == one
    assert len(copy.weights) == 1 << 16


def test_items_are_files_or_texts() -> None:
    assert Item(Path("a.mp4")).source == Path("a.mp4")
    assert Item("https://a.b/c.mp4").source == "https://a.b/c.mp4"
    assert Item(" a text ").text == " a text "
    with pytest.raises(InputError, match=r"expected a pathlib\.Path or a URL, found the text"):
        _ = Item("a text").source
    with pytest.raises(InputError, match="expected a text, found the file"):
        _ = Item(Path("a.mp4")).text
    with pytest.raises(InputError, match="the text is empty"):
        _ = Item(" \n").text
