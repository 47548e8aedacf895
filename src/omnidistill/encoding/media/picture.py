"""Decode a picture file into an RGB tensor, rotated upright. Transparent parts are placed on a white background."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from omnidistill.core.optional import require
from omnidistill.encoding.media.container import BYTES_PER_PIXEL, MediaError, check_cost, check_file

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM")
"""Allowed formats, by their Pillow names; the first frame of an animation is used."""


class NotAPicture(MediaError):
    """The file is not a still picture in a known format. It may be valid media of another kind, such as a video."""


def read_picture(path: Path) -> UInt8[Tensor, "3 height width"]:
    """Return the picture in a file as RGB with values in 0-255. Only the upper 8 bits of 16-bit grey values are used.

    Raises:
        MediaError: the file is missing, empty, damaged, truncated or in an unknown format. Also raised if the picture
            has more pixels than a file of this size may have (see `check_cost`), or more than Pillow's limit against
            decompression bombs.
    """
    operations = require("PIL.ImageOps", "media")
    with _opened(path) as picture:
        operations.exif_transpose(picture, in_place=True)
        pixels = np.array(_rgb(picture), dtype=np.uint8)
    return torch.from_numpy(pixels).permute(2, 0, 1).contiguous()


def picture_size(path: Path) -> tuple[int, int]:
    """Return the width and height of a still picture in pixels, after rotation to upright. Only the header is read.

    Raises:
        NotAPicture: the file is an animation or not a picture.
        MediaError: the file is missing, empty or damaged.
    """
    with _opened(path) as picture:
        if picture.format == "GIF" and picture.is_animated:
            raise NotAPicture(f"{path}: expected a still picture, found an animation")
        width, height = picture.size
        return (height, width) if picture.getexif().get(_ORIENTATION, 1) in _ROTATED else (width, height)


_ORIENTATION = 0x0112  # EXIF tag; with the values 5 to 8, width and height are swapped
_ROTATED = (5, 6, 7, 8)


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """Open a file as a Pillow image without decoding it. Errors in the `with` block are raised as MediaError."""
    images = require("PIL.Image", "media")
    images.init()  # otherwise Pillow knows only some of the formats
    size = check_file(path)
    try:
        with images.open(path, formats=FORMATS) as picture:
            width, height = picture.size
            # before anything else: the orientation may come after the pixels
            check_cost(path, size, BYTES_PER_PIXEL * width * height, "reduce the number of pixels")
            yield picture
    except MediaError:
        raise
    except images.DecompressionBombError as error:
        raise MediaError(f"{path}: the picture has too many pixels and was not decoded ({error})") from error
    except images.UnidentifiedImageError as error:
        raise NotAPicture(f"{path}: not a picture of a known format ({', '.join(FORMATS)})") from error
    except Exception as error:  # Pillow raises many types of exceptions for damaged data
        raise MediaError(
            f"{path}: cannot be decoded ({' '.join(str(error).split())}); it is damaged or truncated"
        ) from error


def _rgb(picture: Any) -> Any:
    images = require("PIL.Image", "media")
    if picture.mode.startswith("I"):
        return images.fromarray((np.asarray(picture) // 256).clip(0, 255).astype(np.uint8)).convert("RGB")
    if "A" in picture.getbands() or "transparency" in picture.info:
        foreground = picture.convert("RGBA")
        return images.alpha_composite(images.new("RGBA", foreground.size, "white"), foreground).convert("RGB")
    return picture if picture.mode == "RGB" else picture.convert("RGB")
