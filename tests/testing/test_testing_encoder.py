"""The contract check of encoders passes correct ones and names what a broken one does wrong."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import pytest
import torch
from torch import Tensor

from omnidistill.encoding.encoders.encoder import Item, Lazy
from omnidistill.testing import check_encoder

ITEMS = [Item("abc"), Item("bcd"), Item("a long one")]


@dataclass
class Letters(Lazy):
    """Counts of letters, with one violated requirement."""

    how: str = "right"
    asked: list[int] = field(default_factory=list)

    name, width, views = "letters", 26, 1

    @property
    def kind(self) -> str:
        return "smell" if self.how == "of no kind" else "text"

    @cached_property
    def weights(self) -> Tensor:
        return torch.eye(26)

    def prepare(self, item: Item) -> Tensor:
        self.asked.append(1)
        ids = torch.tensor([ord(letter) % 26 for letter in item.text])
        match self.how:
            case "prepares at random":
                return ids + len(self.asked)
            case "prepares on another device":
                return ids.to("meta")
            case "uses the global generator":
                torch.rand(1)
        return ids

    def encode(self, batch: Tensor) -> Tensor:
        self.asked.append(1)
        found = self.weights[batch].sum(1, keepdim=True)
        match self.how:
            case "encodes at random":
                return found + len(self.asked)
            case "flat":
                return found[:, 0]
            case "double":
                return found.double()
            case "with gradient":
                return found.requires_grad_()
            case "not finite":
                return found / 0
            case "mixes a batch":
                return found + 0.1 * found.mean(0) * (len(batch) > 1)
            case "always the same":
                return torch.ones_like(found)
        return found

    def head(self) -> Tensor | None:
        if self.how == "a head of another width":
            return torch.ones(3, 5)
        return torch.ones(3, 26)

    def fingerprint(self) -> dict[str, str]:
        match self.how:
            case "no fingerprint":
                return {}
            case "a fingerprint of numbers":
                return {"letters": 26}  # type: ignore[dict-item]
            case "a fingerprint of the moment":
                return {"id": str(id(self))}
        return {"letters": "26"}


def test_an_encoder_of_someone_else_passes() -> None:
    check_encoder(Letters(), ITEMS)


@dataclass
class Heavy(Letters):
    ballast: bytes = bytes(2 << 20)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("of no kind", "kind 'smell' is not one of video, audio, image, text"),
        ("prepares at random", "prepare returned different bits the second time"),
        ("prepares on another device", "prepare did not return a dense tensor on the CPU"),
        ("uses the global generator", "used torch's global random state"),
        ("encodes at random", "encode returned different bits the second time"),
        ("flat", r"features have shape \(1, 26\), not \(1, 1, 26\)"),
        ("double", "features are torch.float64"),
        ("with gradient", "must be float32 on the CPU, without gradient"),
        ("not finite", "a feature is NaN or Inf"),
        ("mixes a batch", "2 items have different features in a batch than alone"),
        ("always the same", "items 0 and 1 have equal features"),
        ("a head of another width", r"head of shape \(3, 5\) is not a finite d x 26 matrix"),
        ("no fingerprint", "fingerprint is empty or not a dict from str to str"),
        ("a fingerprint of numbers", "fingerprint is empty or not a dict from str to str"),
        ("a fingerprint of the moment", "a pickled copy has a different fingerprint"),
    ],
)
def test_a_broken_promise_is_named(how: str, message: str) -> None:
    before = torch.get_rng_state()
    with pytest.raises(AssertionError, match=message):
        check_encoder(Letters(how), ITEMS)
    torch.set_rng_state(before)


def test_weights_that_would_travel_are_found() -> None:
    with pytest.raises(
        AssertionError, match=r"the pickle for worker processes takes [0-9,]+ bytes; it must not contain weights"
    ):
        check_encoder(Heavy(), ITEMS)


def test_one_item_is_not_enough() -> None:
    with pytest.raises(AssertionError, match="pass at least two"):
        check_encoder(Letters(), [Item(Path("a"))])
