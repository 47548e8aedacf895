"""The contract of encoders: pickling for worker processes, deterministic results, and shapes."""

from __future__ import annotations

from collections.abc import Sequence
from multiprocessing.reduction import ForkingPickler
from typing import Any, get_args

import torch
from torch import Tensor

from omnidistill.encoding.encoders.encoder import Encoder, Item, Kind
from omnidistill.testing.assertions import agree, require

_MAX_PICKLE_BYTES = 1 << 20  # a pickled encoder without weights is smaller than this


def check_encoder(encoder: Encoder, items: Sequence[Item]) -> None:
    """Check the contract of encoders.

    - `prepare` returns a dense tensor on CPU, with the same bits each time and from a pickled copy.
    - The pickle contains no weights, before they are loaded and after.
    - `encode` returns views x width finite float32 numbers per item on CPU, without gradient: the same bits each time,
      the same numbers (to 1e-3) in a larger batch, and different numbers for different items.
    - Neither uses torch's global random state.
    - The head, if there is one, is a finite d x width matrix.
    - The fingerprint is a dict of texts, and a copy has the same one.

    Args:
        encoder: the encoder to check.
        items: at least two different items.

    Raises:
        AssertionError: a requirement is violated.
    """
    who = f"encoder {encoder.name!r}"
    require(isinstance(encoder, Encoder), f"{who}: does not implement the Encoder protocol completely")
    require(encoder.kind in get_args(Kind), f"{who}: kind {encoder.kind!r} is not one of {', '.join(get_args(Kind))}")
    require(len(items) > 1, f"{who}: {len(items)} items are not enough; pass two or more different ones")
    copy = _pickled(encoder, who)
    before = torch.get_rng_state()
    prepared = [_prepared(encoder, copy, item, who) for item in items]
    features = [_features(encoder, each, who) for each in prepared]
    require(torch.equal(torch.get_rng_state(), before), f"{who}: used torch's global random state")
    for first, one in enumerate(features):
        for second, other in enumerate(features[:first]):
            same = torch.equal(one, other)
            require(not same, f"{who}: items {second} and {first} have equal features")
    _check_batches(encoder, prepared, features, who)
    head = encoder.head()
    if head is not None:
        valid = head.ndim == 2 and head.shape[1] == encoder.width and bool(head.isfinite().all())
        require(valid, f"{who}: head of shape {tuple(head.shape)} is not a finite matrix d x {encoder.width}")
    fingerprint = encoder.fingerprint()
    texts = all(isinstance(part, str) for pair in fingerprint.items() for part in pair)
    require(bool(fingerprint) and texts, f"{who}: fingerprint is not a dict of texts: {fingerprint}")
    require(_pickled(encoder, who).fingerprint() == fingerprint, f"{who}: a pickled copy has another fingerprint")


def _pickled(encoder: Encoder, who: str) -> Any:
    """Return the copy of the encoder that a worker process gets."""
    data = ForkingPickler.dumps(encoder)
    require(
        len(data) <= _MAX_PICKLE_BYTES,
        f"{who}: the pickle for workers takes {len(data):,} bytes; it must not contain weights",
    )
    return ForkingPickler.loads(data)


def _prepared(encoder: Encoder, copy: Encoder, item: Item, who: str) -> Tensor:
    first = encoder.prepare(item)
    plain = first.device.type == "cpu" and first.layout == torch.strided and not first.requires_grad
    require(plain, f"{who}: prepare did not return a dense tensor on CPU without gradient, for {item}")
    for each, when in ((encoder, "the second time"), (copy, "in another process")):
        require(torch.equal(each.prepare(item), first), f"{who}: prepare returned other bits {when}, for {item}")
    return first


def _features(encoder: Encoder, prepared: Tensor, who: str) -> Tensor:
    original = prepared.clone()
    features = encoder.encode(prepared[None])
    expected = (1, encoder.views, encoder.width)
    require(tuple(features.shape) == expected, f"{who}: features of shape {tuple(features.shape)}, not {expected}")
    plain = features.device.type == "cpu" and features.dtype == torch.float32 and not features.requires_grad
    require(plain, f"{who}: features are {features.dtype} on {features.device}, not float32 without gradient on CPU")
    require(bool(features.isfinite().all()), f"{who}: a feature is NaN or Inf")
    require(torch.equal(encoder.encode(original[None]), features), f"{who}: encode returned other bits the second time")
    return features[0]


def _check_batches(encoder: Encoder, prepared: Sequence[Tensor], features: Sequence[Tensor], who: str) -> None:
    """Check that items of one shape have the same features in one batch as alone."""
    for shape in {each.shape for each in prepared}:
        members = [number for number, each in enumerate(prepared) if each.shape == shape]
        together = encoder.encode(torch.stack([prepared[number] for number in members]))
        alone = torch.stack([features[number] for number in members])
        agree(together, alone, f"{who}: features of {len(members)} items in one batch differ from those alone", 1e-3)
