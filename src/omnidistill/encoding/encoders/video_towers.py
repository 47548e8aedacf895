"""Video encoders: the video tower of PE-AV, and any image encoder applied to frames."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Protocol

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from omnidistill.core.optional import require
from omnidistill.encoding.encoders.decode import decoders, frames_of
from omnidistill.encoding.encoders.efficientnet import EfficientNetLite2
from omnidistill.encoding.encoders.encoder import Encoder, Item, Kind, licences_of
from omnidistill.encoding.encoders.encoder_registry import encoder_factory, encoders
from omnidistill.encoding.encoders.image_towers import ImageTower
from omnidistill.encoding.encoders.pretrained import Pretrained


@dataclass(frozen=True)
class VideoTower(Pretrained):
    """Video tower of PE-AV, which reads `frames` evenly spaced frames of a clip."""

    frames: int = 16

    kind: ClassVar[Kind] = "video"
    settings: ClassVar[str] = "16 frames"

    @property
    def width(self) -> int:
        """Width of the pooled feature."""
        return int(self.full_config.audio_video_config.video_config.hidden_size)

    @cached_property
    def processor(self) -> Any:
        """Video processor with the settings from the model's folder."""
        processors = require("transformers", "encoders").AutoVideoProcessor
        return processors.from_pretrained(self.folder, local_files_only=True)

    def prepare(self, item: Item) -> Float[Tensor, "frames 3 height width"]:
        """Return the preprocessed frames of the clip."""
        return self.pixels(frames_of(item, self.frames))

    def pixels(self, frames: UInt8[Tensor, "frames 3 _ _"]) -> Float[Tensor, "frames 3 height width"]:
        """Return the model input for decoded frames."""
        inputs = self.processor(videos=[frames], do_sample_frames=False, return_tensors="pt")
        values: Tensor = inputs["pixel_values_videos"][0]
        return values

    @torch.no_grad()
    def encode(self, batch: Float[Tensor, "n frames 3 _ _"]) -> Float[Tensor, "n 1 width"]:
        """Return the pooled features."""
        pooled: Tensor = self.model.video_model.video_encoder(pixel_values_videos=batch.to(self.device)).pooler_output
        return pooled.float().cpu().unsqueeze(1)


class ImageEncoder(Encoder, Protocol):
    """An image encoder that accepts decoded pictures."""

    def pixels(self, picture: UInt8[Tensor, "3 _ _"]) -> Tensor:
        """Return the model input for a decoded picture, exactly as `prepare` returns it for the picture's file."""
        ...


@dataclass(frozen=True)
class FrameEncoder:
    """Applies an image encoder to `views` evenly spaced frames of a video. Each frame has its own feature."""

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
        """Return the image encoder's input for each frame."""
        return torch.stack([self.image_encoder.pixels(frame) for frame in frames_of(item, self.views)])

    def encode(self, batch: Float[Tensor, "n views ..."]) -> Float[Tensor, "n views width"]:
        """Return one feature per frame."""
        return self.image_encoder.encode(batch.flatten(0, 1)).view(len(batch), self.views, self.width)

    def head(self) -> Float[Tensor, "d width"] | None:
        """Return the projection of the image encoder."""
        return self.image_encoder.head()

    def fingerprint(self) -> dict[str, str]:
        """Return the fingerprint of the image encoder, extended by the number of frames and the decoder's version."""
        frames = {"frames": f"{self.views}, evenly spaced", **decoders("video")}
        return {**self.image_encoder.fingerprint(), "name": self.name, **frames}


@encoders.register("pe-av-video")
@encoder_factory("required")
def pe_av_video(source: str, device: str) -> VideoTower:
    """Video tower of PE-AV: pooled feature of 16 frames."""
    return VideoTower("pe-av", source, device)


@encoders.register("frames-clip")
@encoder_factory("required", cites=("clip",))
def frames_clip(source: str, device: str) -> FrameEncoder:
    """Image tower of CLIP, applied to 8 frames of a video: one feature per frame."""
    return FrameEncoder(ImageTower("clip", source, device))


@encoders.register("frames-siglip")
@encoder_factory("required", cites=("siglip",))
def frames_siglip(source: str, device: str) -> FrameEncoder:
    """Image tower of SigLIP, applied to 8 frames of a video: one feature per frame."""
    return FrameEncoder(ImageTower("siglip", source, device))


@encoders.register("frames-efficientnet-lite2")
@encoder_factory("none", EfficientNetLite2.licence, cites=("efficientnet",), aliases=("frames-efficientnet",))
def frames_efficientnet_lite2(source: None, device: str) -> FrameEncoder:
    """EfficientNet-Lite2, applied to 8 frames of a video: one feature per frame; weights come with a Python package."""
    return FrameEncoder(EfficientNetLite2(device))
