"""Frozen encoders: they turn an item (a media file or a text) into the features that projection heads are trained on.

`open_encoder` opens an encoder by name. `encoders` is the registry, to which other packages can add their encoders.
"""

from omnidistill.encoding.encoders.encoder_registry import (
    EncoderBuilder,
    EncoderFactory,
    encoder_factory,
    encoder_names,
    encoder_works,
    encoders,
    open_encoder,
)

__all__ = [
    "EncoderBuilder",
    "EncoderFactory",
    "encoder_factory",
    "encoder_names",
    "encoder_works",
    "encoders",
    "open_encoder",
]
