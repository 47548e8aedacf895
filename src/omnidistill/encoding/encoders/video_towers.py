"""Video encoders: the video encoder of PE-AV, and image encoders that are applied to the frames of a video."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar, Protocol

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from omnidistill.core.optional import require
from omnidistill.encoding.encoders.decode import decoders, frames_of
from omnidistill.encoding.encoders.efficientnet import SIDES, EfficientNetLite, licence
from omnidistill.encoding.encoders.encoder import Encoder, Item, Kind, licences_of
from omnidistill.encoding.encoders.encoder_registry import encoder_factory, encoders
from omnidistill.encoding.encoders.image_towers import ImageTower
from omnidistill.encoding.encoders.pretrained import Pretrained
from omnidistill.encoding.inversion.canvas import Invertible, PixelCanvas, canvas_of


@dataclass(frozen=True)
class VideoTower(Pretrained):
    """Video encoder of PE-AV. It reads evenly spaced frames of a clip; the attribute `frames` is their number."""

    frames: int = 16

    kind: ClassVar[Kind] = "video"
    settings: ClassVar[str] = "16 frames"

    @property
    def width(self) -> int:
        """Width of the features."""
        return int(self.full_config.audio_video_config.video_config.hidden_size)

    @cached_property
    def processor(self) -> Any:
        """The video processor that belongs to the model."""
        processors = require("transformers", "encoders").AutoVideoProcessor
        return processors.from_pretrained(self.folder, local_files_only=True)

    def prepare(self, item: Item) -> Float[Tensor, "frames 3 height width"]:
        """Load a clip and return its preprocessed frames."""
        return self.pixels(frames_of(item, self.frames))

    def pixels(self, frames: UInt8[Tensor, "frames 3 _ _"]) -> Float[Tensor, "frames 3 height width"]:
        """Preprocess decoded frames."""
        inputs = self.processor(videos=[frames], do_sample_frames=False, return_tensors="pt")
        values: Tensor = inputs["pixel_values_videos"][0]
        return values

    @torch.no_grad()
    def encode(self, batch: Float[Tensor, "n frames 3 _ _"]) -> Float[Tensor, "n 1 width"]:
        """Return one feature per clip."""
        pooled: Tensor = self.model.video_model.video_encoder(pixel_values_videos=batch.to(self.device)).pooler_output
        return pooled.float().cpu().unsqueeze(1)


class ImageEncoder(Encoder, Protocol):
    """An image encoder that also accepts decoded images."""

    def pixels(self, picture: UInt8[Tensor, "3 _ _"]) -> Tensor:
        """Preprocess a decoded image. The result is the same as that of `prepare` for the image file."""
        ...


@dataclass(frozen=True)
class FrameEncoder:
    """Applies an image encoder to evenly spaced frames of a video. Returns one feature (view) per frame."""

    image_encoder: ImageEncoder
    views: int = 8

    kind: ClassVar[Kind] = "video"

    @property
    def name(self) -> str:
        """Name of the encoder: `frames-` followed by the name of the image encoder."""
        return f"frames-{self.image_encoder.name}"

    @property
    def width(self) -> int:
        """Width of the image encoder's features."""
        return self.image_encoder.width

    @property
    def licence(self) -> str | None:
        """Licence of the image encoder."""
        return licences_of({"": self.image_encoder}).get("")

    def prepare(self, item: Item) -> Float[Tensor, "views ..."]:
        """Load a clip and return its preprocessed frames."""
        return torch.stack([self.image_encoder.pixels(frame) for frame in frames_of(item, self.views)])

    def encode(self, batch: Float[Tensor, "n views ..."]) -> Float[Tensor, "n views width"]:
        """Return one feature per frame of each clip."""
        return self.image_encoder.encode(batch.flatten(0, 1)).view(len(batch), self.views, self.width)

    def features(self, batch: Float[Tensor, "n views ..."]) -> Float[Tensor, "n views width"]:
        """Return the features of `encode`, with gradients. The image encoder must be `Invertible`."""
        assert isinstance(self.image_encoder, Invertible)
        return self.image_encoder.features(batch.flatten(0, 1)).view(len(batch), self.views, self.width)

    def canvas(self, seconds: float) -> PixelCanvas | None:
        """Return the canvas for inverting this encoder: its values are the pixels of all frames.

        Return None if the image encoder cannot be inverted.
        """
        pixels = canvas_of(self.image_encoder, seconds)
        if not isinstance(pixels, PixelCanvas):
            return None
        return replace(pixels, shape=(self.views, *pixels.shape), prepare=self.prepare)

    def head(self) -> Float[Tensor, "d width"] | None:
        """Return the projection head of the image encoder; None if it has none."""
        return self.image_encoder.head()

    def fingerprint(self) -> dict[str, str]:
        """Return the fingerprint of the image encoder, with the number of frames and the version of the decoder."""
        frames = {"frames": f"{self.views}, evenly spaced", **decoders("video")}
        return {**self.image_encoder.fingerprint(), "name": self.name, **frames}


@encoders.register("pe-av-video")
@encoder_factory("required")
def pe_av_video(source: str, device: str) -> VideoTower:
    """Video encoder of PE-AV: one feature for 16 frames of a video."""
    return VideoTower("pe-av", source, device)


@encoders.register("frames-clip")
@encoder_factory("required", cites=("clip",))
def frames_clip(source: str, device: str) -> FrameEncoder:
    """Image encoder of CLIP, applied to 8 frames of a video. Returns one feature per frame."""
    return FrameEncoder(ImageTower("clip", source, device))


@encoders.register("frames-siglip")
@encoder_factory("required", cites=("siglip",))
def frames_siglip(source: str, device: str) -> FrameEncoder:
    """Image encoder of SigLIP, applied to 8 frames of a video. Returns one feature per frame."""
    return FrameEncoder(ImageTower("siglip", source, device))


def _register(size: int) -> None:
    @encoders.register(f"frames-efficientnet-lite{size}")
    @encoder_factory("none", licence(size), cites=("efficientnet",), aliases=("frames-efficientnet",))
    def build(source: None, device: str) -> FrameEncoder:
        return FrameEncoder(EfficientNetLite(size, device))

    build.__doc__ = (
        f"EfficientNet-Lite{size}, applied to 8 frames of a video. The weights are part of a Python package."
    )


for _size in SIDES:
    _register(_size)
