"""Videos: the tower of PE-AV, and any image encoder on frames."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Protocol

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from omnidistill.core.optional import require
from omnidistill.encoding.encoders.decode import decoders, frames_of
from omnidistill.encoding.encoders.encoder import Encoder, Item, Kind, licences_of
from omnidistill.encoding.encoders.pretrained import Pretrained


@dataclass(frozen=True)
class VideoTower(Pretrained):
    """Clips of `frames` frames at even distances, for the video encoder of PE-AV."""

    frames: int = 16

    kind: ClassVar[Kind] = "video"
    settings: ClassVar[str] = "16 frames"

    @property
    def width(self) -> int:
        """Of the pooled feature."""
        return int(self.full_config.audio_video_config.video_config.hidden_size)

    @cached_property
    def processor(self) -> Any:
        """Resizing and scaling, as the model's settings say."""
        processors = require("transformers", "encoders").AutoVideoProcessor
        return processors.from_pretrained(self.folder, local_files_only=True)

    def prepare(self, item: Item) -> Float[Tensor, "frames 3 height width"]:
        """The frames as the model takes them."""
        return self.pixels(frames_of(item, self.frames))

    def pixels(self, frames: UInt8[Tensor, "frames 3 _ _"]) -> Float[Tensor, "frames 3 height width"]:
        """Those of frames that are decoded already."""
        made = self.processor(videos=[frames], do_sample_frames=False, return_tensors="pt")
        values: Tensor = made["pixel_values_videos"][0]
        return values

    @torch.no_grad()
    def encode(self, batch: Float[Tensor, "n frames 3 _ _"]) -> Float[Tensor, "n 1 width"]:
        """Pooled features."""
        pooled: Tensor = self.model.video_model.video_encoder(pixel_values_videos=batch.to(self.device)).pooler_output
        return pooled.float().cpu().unsqueeze(1)


class PictureEncoder(Encoder, Protocol):
    """An image encoder that takes pictures which are decoded already."""

    def pixels(self, picture: UInt8[Tensor, "3 _ _"]) -> Tensor:
        """What `prepare` makes of such a picture."""
        ...


@dataclass(frozen=True)
class Frames:
    """A video by an image encoder: each of `views` frames, at even distances, is a view."""

    pictures: PictureEncoder
    views: int = 8

    kind: ClassVar[Kind] = "video"

    @property
    def name(self) -> str:
        """`frames-` and that of the image encoder."""
        return f"frames-{self.pictures.name}"

    @property
    def width(self) -> int:
        """That of the image encoder."""
        return self.pictures.width

    @property
    def licence(self) -> str | None:
        """That of the image encoder."""
        return licences_of({"": self.pictures}).get("")

    def prepare(self, item: Item) -> Float[Tensor, "views ..."]:
        """Every frame as the image encoder takes it."""
        return torch.stack([self.pictures.pixels(frame) for frame in frames_of(item, self.views)])

    def encode(self, batch: Float[Tensor, "n views ..."]) -> Float[Tensor, "n views width"]:
        """One feature a frame."""
        return self.pictures.encode(batch.flatten(0, 1)).view(len(batch), self.views, self.width)

    def head(self) -> Float[Tensor, "d width"] | None:
        """That of the image encoder."""
        return self.pictures.head()

    def fingerprint(self) -> dict[str, str]:
        """That of the image encoder, and the number of frames."""
        frames = {"frames": f"{self.views}, evenly spaced", **decoders("video")}
        return {**self.pictures.fingerprint(), "name": self.name, **frames}
