"""The contract of encoders: they can be pickled for worker processes, and give deterministic results of fixed shape."""

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

    - `prepare` returns a dense tensor on the CPU. Repeated calls return bitwise the same tensor, and so does a pickled
      copy of the encoder.
    - The pickle of an encoder contains no weights, even if the encoder has already loaded them.
    - `encode` returns finite float32 features on the CPU, without gradient. Repeated calls return bitwise the same
      features. Their shape is (items, `views`, `width`): the encoder returns `views` feature rows per item.
    - The features of an item in a batch differ from those of the item alone by a relative error of at most 1e-3.
    - Different items have different features.
    - `prepare` and `encode` do not use torch's global random state.
    - If the encoder has a head, it is a matrix of finite numbers with `width` columns.
    - The fingerprint is a non-empty dict from str to str. A pickled copy has the same fingerprint.

    Args:
        encoder: the encoder to check.
        items: at least two different items.

    Raises:
        AssertionError: a requirement is violated.
    """
    who = f"encoder {encoder.name!r}"
    require(isinstance(encoder, Encoder), f"{who}: does not implement the Encoder protocol completely")
    require(encoder.kind in get_args(Kind), f"{who}: kind {encoder.kind!r} is not one of {', '.join(get_args(Kind))}")
    require(len(items) > 1, f"{who}: {len(items)} items are not enough; pass at least two different items")
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
        require(valid, f"{who}: head of shape {tuple(head.shape)} is not a finite d x {encoder.width} matrix")
    fingerprint = encoder.fingerprint()
    texts = all(isinstance(part, str) for pair in fingerprint.items() for part in pair)
    require(bool(fingerprint) and texts, f"{who}: fingerprint is empty or not a dict from str to str: {fingerprint}")
    require(_pickled(encoder, who).fingerprint() == fingerprint, f"{who}: a pickled copy has a different fingerprint")


def _pickled(encoder: Encoder, who: str) -> Any:
    """Return a pickled and restored copy of the encoder, as a worker process receives it."""
    data = ForkingPickler.dumps(encoder)
    require(
        len(data) <= _MAX_PICKLE_BYTES,
        f"{who}: the pickle for worker processes takes {len(data):,} bytes; it must not contain weights",
    )
    return ForkingPickler.loads(data)


def _prepared(encoder: Encoder, copy: Encoder, item: Item, who: str) -> Tensor:
    first = encoder.prepare(item)
    plain = first.device.type == "cpu" and first.layout == torch.strided and not first.requires_grad
    require(plain, f"{who}: prepare did not return a dense tensor on the CPU without gradient, for {item}")
    for each, when in ((encoder, "the second time"), (copy, "in a pickled copy")):
        require(torch.equal(each.prepare(item), first), f"{who}: prepare returned different bits {when}, for {item}")
    return first


def _features(encoder: Encoder, prepared: Tensor, who: str) -> Tensor:
    original = prepared.clone()
    features = encoder.encode(prepared[None])
    expected = (1, encoder.views, encoder.width)
    require(tuple(features.shape) == expected, f"{who}: features have shape {tuple(features.shape)}, not {expected}")
    plain = features.device.type == "cpu" and features.dtype == torch.float32 and not features.requires_grad
    require(
        plain,
        f"{who}: features are {features.dtype} on {features.device}; they must be float32 on the CPU, without gradient",
    )
    require(bool(features.isfinite().all()), f"{who}: a feature is NaN or Inf")
    repeated = torch.equal(encoder.encode(original[None]), features)
    require(repeated, f"{who}: encode returned different bits the second time")
    return features[0]


def _check_batches(encoder: Encoder, prepared: Sequence[Tensor], features: Sequence[Tensor], who: str) -> None:
    """Check that items of equal shape have the same features in a batch as when encoded alone."""
    for shape in {each.shape for each in prepared}:
        members = [number for number, each in enumerate(prepared) if each.shape == shape]
        together = encoder.encode(torch.stack([prepared[number] for number in members]))
        alone = torch.stack([features[number] for number in members])
        agree(together, alone, f"{who}: {len(members)} items have different features in a batch than alone", 1e-3)
