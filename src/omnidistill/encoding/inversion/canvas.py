"""Canvases. A canvas describes the values that are optimised when an encoder is inverted, such as pixels.

It also converts these values to the encoder's input and to a file.

| canvas | optimised values | file |
|---|---|---|
| `PixelCanvas`, image | pixels 3 x height x width in [0, 1] | .png |
| `PixelCanvas`, video | pixels frames x 3 x height x width in [0, 1] | .mkv, one frame per second, lossless |
| `SoundCanvas` | log energies, bands x columns | .wav, by Griffin-Lim |

An encoder that can be inverted has a canvas and computes features with gradients (`Invertible`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from omnidistill.core.optional import require
from omnidistill.encoding.encoders.encoder import Encoder, Item, Kind


@runtime_checkable
class Canvas(Protocol):
    """Describes the tensor that is optimised when an encoder is inverted, such as the pixels of a picture.

    A canvas converts this tensor to the encoder's input and to a file.
    """

    @property
    def kind(self) -> Kind:
        """Kind of the medium."""
        ...

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the values. The last two axes are the plane in which values are smoothed and shifted."""
        ...

    @property
    def suffix(self) -> str:
        """Suffix of the file, such as ".png"."""
        ...

    def read(self, item: Item) -> Float[Tensor, ...]:
        """Return the values of a real item, such as the pixels of its image."""
        ...

    def blank(self) -> Float[Tensor, ...]:
        """Return the values of an empty medium: grey pixels, or a silent sound. Faint noise is added to both."""
        ...

    def limited(self, values: Float[Tensor, "n ..."]) -> Float[Tensor, "n ..."]:
        """Return the values, restricted to the range that a medium can have, such as [0, 1] for pixels."""
        ...

    def to_input(self, values: Float[Tensor, "n ..."]) -> Float[Tensor, "n ..."]:
        """Return the encoder's input for n media, as a differentiable function of `values`."""
        ...

    def save(self, values: Float[Tensor, ...], path: Path) -> None:
        """Write one medium to a file with this canvas's suffix."""
        ...

    def picture(self, values: Float[Tensor, ...]) -> UInt8[Tensor, "3 height width"]:
        """Return a picture of one medium: the image, the middle frame, or the spectrogram."""
        ...


@runtime_checkable
class Invertible(Protocol):
    """An encoder whose features have gradients with respect to its input."""

    def features(self, batch: Tensor) -> Float[Tensor, "n views width"]:
        """Return the same features as `encode`, but with gradients and on the encoder's device.

        Views are parts of an item with separate features, such as the frames of a video. If views are identical, the
        encoder may return the features of only one of them.
        """
        ...

    def canvas(self, seconds: float) -> Canvas | None:
        """Return the canvas, which describes the values that are optimised when the encoder is inverted.

        Return None if the encoder cannot be inverted.

        Args:
            seconds: length of sounds in seconds; not used for other media.
        """
        ...


def canvas_of(encoder: Encoder, seconds: float) -> Canvas | None:
    """Return the canvas of an encoder, which describes the values that are optimised when the encoder is inverted.

    Return None if the encoder cannot be inverted.
    """
    return encoder.canvas(seconds) if isinstance(encoder, Invertible) else None


@dataclass(frozen=True)
class PixelCanvas:
    """Pixels of a picture, or of the frames of a video.

    Attributes:
        shape: 3 x height x width, or frames x 3 x height x width.
        mean, deviation: one mean and one standard deviation per channel. The encoder standardises pixels in [0, 1] with
            these values.
        prepare: returns the standardised pixels of an item, a tensor of this `shape`.
        arrange: converts the standardised pixels of n media to the encoder's input.
    """

    shape: tuple[int, ...]
    mean: Sequence[float]
    deviation: Sequence[float]
    prepare: Callable[[Item], Tensor]
    arrange: Callable[[Tensor], Tensor] = lambda pixels: pixels

    @property
    def kind(self) -> Kind:
        """Kind of the medium."""
        return "image" if len(self.shape) == 3 else "video"

    @property
    def suffix(self) -> str:
        """Suffix of the file."""
        return ".png" if self.kind == "image" else ".mkv"

    def read(self, item: Item) -> Float[Tensor, ...]:
        """Return the pixels of an item, resized and cropped as the encoder does."""
        standardised = self.prepare(item)
        mean, deviation = self._statistics(standardised)
        return (standardised * deviation + mean).clamp(0, 1)

    def blank(self) -> Float[Tensor, ...]:
        """Return grey pixels with faint noise. Without noise, features could be zero and would have no direction."""
        noise = torch.randn(self.shape, generator=torch.Generator(device="cpu").manual_seed(0), device="cpu")
        return (0.5 + 0.01 * noise).clamp(0, 1)

    def limited(self, values: Float[Tensor, "n ..."]) -> Float[Tensor, "n ..."]:
        """Return the pixels, clamped to [0, 1]."""
        return values.clamp(0, 1)

    def to_input(self, values: Float[Tensor, "n ..."]) -> Float[Tensor, "n ..."]:
        """Return the encoder's input for n pictures or videos."""
        mean, deviation = self._statistics(values)
        return self.arrange((values - mean) / deviation)

    def save(self, values: Float[Tensor, ...], path: Path) -> None:
        """Write a PNG file, or a lossless video with one frame per second."""
        pixels = as_bytes(values)
        if self.kind == "image":
            require("PIL.Image", "media").fromarray(pixels.permute(1, 2, 0).numpy()).save(path)
        else:
            _write_video(pixels, path)

    def picture(self, values: Float[Tensor, ...]) -> UInt8[Tensor, "3 height width"]:
        """Return a picture that shows the medium: the image itself, or the middle frame of a video."""
        pixels = as_bytes(values)
        return pixels if pixels.ndim == 3 else pixels[len(pixels) // 2]

    def _statistics(self, like: Tensor) -> tuple[Tensor, Tensor]:
        mean, deviation = (
            torch.tensor(list(x), device=like.device)[:, None, None] for x in (self.mean, self.deviation)
        )
        return mean, deviation


def as_bytes(values: Float[Tensor, "*shape"]) -> UInt8[Tensor, "*shape"]:
    """Convert values in [0, 1] to integers from 0 to 255, on the CPU."""
    return (values.detach().cpu().clamp(0, 1) * 255).round().to(torch.uint8)


def _write_video(pixels: UInt8[Tensor, "frames 3 height width"], path: Path) -> None:
    av = require("av", "media")
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("ffv1", rate=1)
        stream.height, stream.width, stream.pix_fmt = *pixels.shape[2:], "bgr0"
        for frame in pixels.permute(0, 2, 3, 1).contiguous().numpy():
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))
