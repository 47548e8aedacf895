"""The contract of an encoder: what may run in another process, what is decided by the item alone, and the shapes."""

from __future__ import annotations

from collections.abc import Sequence
from multiprocessing.reduction import ForkingPickler
from typing import Any, get_args

import torch
from torch import Tensor

from omnidistill.encoding.encoders.encoder import Encoder, Item, Kind
from omnidistill.testing.promises import agree, require

_TRAVELS = 1 << 20  # bytes that an encoder may take to a worker process


def check_encoder(encoder: Encoder, items: Sequence[Item]) -> None:
    """Assert that an encoder keeps what an encoding relies on; give at least two items that differ.

    `prepare` gives a dense tensor on CPU, the same bits each time and from a copy that went to another process; what
    goes there holds no weights, before they are loaded and after. `encode` gives views x width finite float32 numbers
    an item on CPU, without gradient, the same each time, the same for items that share a batch (to 1e-3), and others
    for other items. Neither touches torch's global random state. A head is a finite d x width matrix. The fingerprint
    is text, and that of a copy is the same.

    Raises:
        AssertionError: a promise is broken.
    """
    who = f"encoder {encoder.name!r}"
    require(isinstance(encoder, Encoder), f"{who}: lacks a part of the protocol")
    require(encoder.kind in get_args(Kind), f"{who}: kind {encoder.kind!r} is none of {', '.join(get_args(Kind))}")
    require(len(items) > 1, f"{who}: {len(items)} items to check it with; give two or more that differ")
    copy = _travelled(encoder, who)
    before = torch.get_rng_state()
    prepared = [_prepared(encoder, copy, item, who) for item in items]
    features = [_features(encoder, each, who) for each in prepared]
    require(torch.equal(torch.get_rng_state(), before), f"{who}: used torch's global random state")
    for first, one in enumerate(features):
        for second, other in enumerate(features[:first]):
            same = torch.equal(one, other)
            require(not same, f"{who}: items {second} and {first} have the same feature")
    _check_batches(encoder, prepared, features, who)
    head = encoder.head()
    if head is not None:
        right = head.ndim == 2 and head.shape[1] == encoder.width and bool(head.isfinite().all())
        require(right, f"{who}: its head of shape {tuple(head.shape)} is no finite matrix d x {encoder.width}")
    told = encoder.fingerprint()
    texts = all(isinstance(part, str) for pair in told.items() for part in pair)
    require(bool(told) and texts, f"{who}: its fingerprint is no dict of texts: {told}")
    require(_travelled(encoder, who).fingerprint() == told, f"{who}: a copy has another fingerprint")


def _travelled(encoder: Encoder, who: str) -> Any:
    """The encoder as another process gets it."""
    sent = ForkingPickler.dumps(encoder)
    require(len(sent) <= _TRAVELS, f"{who}: {len(sent):,} bytes would go to every worker; weights must stay behind")
    return ForkingPickler.loads(sent)


def _prepared(encoder: Encoder, copy: Encoder, item: Item, who: str) -> Tensor:
    first = encoder.prepare(item)
    plain = first.device.type == "cpu" and first.layout == torch.strided and not first.requires_grad
    require(plain, f"{who}: prepare gave no plain tensor on CPU for {item}")
    for each, where in ((encoder, "twice"), (copy, "in another process")):
        require(
            torch.equal(each.prepare(item), first), f"{who}: prepare gave other bits when asked {where}, for {item}"
        )
    return first


def _features(encoder: Encoder, prepared: Tensor, who: str) -> Tensor:
    kept = prepared.clone()
    found = encoder.encode(prepared[None])
    expected = (1, encoder.views, encoder.width)
    require(tuple(found.shape) == expected, f"{who}: features of shape {tuple(found.shape)}, not {expected}")
    plain = found.device.type == "cpu" and found.dtype == torch.float32 and not found.requires_grad
    require(plain, f"{who}: features are {found.dtype} on {found.device}, not float32 without gradient on CPU")
    require(bool(found.isfinite().all()), f"{who}: a feature is NaN or Inf")
    require(torch.equal(encoder.encode(kept[None]), found), f"{who}: encode gave other bits the second time")
    return found[0]


def _check_batches(encoder: Encoder, prepared: Sequence[Tensor], features: Sequence[Tensor], who: str) -> None:
    """Items of one shape, encoded together."""
    for shape in {each.shape for each in prepared}:
        members = [number for number, each in enumerate(prepared) if each.shape == shape]
        together = encoder.encode(torch.stack([prepared[number] for number in members]))
        alone = torch.stack([features[number] for number in members])
        agree(together, alone, f"{who}: {len(members)} items together are not as each alone", 1e-3)
