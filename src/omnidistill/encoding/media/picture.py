"""Decode a picture file to a tensor: RGB, rotated upright by its EXIF orientation, transparent parts on white."""

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
from omnidistill.encoding.media.container import MediaError, check_file

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM")
"""Allowed formats, by their Pillow names; the first frame of an animation is used."""


class NotAPicture(MediaError):
    """A file that is not a still picture of a known format. It may be a valid file of another kind."""


def read_picture(path: Path) -> UInt8[Tensor, "3 height width"]:
    """Return the picture in a file, RGB with values in 0-255. 16-bit grey is reduced to its upper 8 bits.

    Raises:
        MediaError: the file is missing, empty, damaged, truncated, of another format, or has more pixels than Pillow's
            limit against decompression bombs.
    """
    operations = require("PIL.ImageOps", "media")
    with _opened(path) as picture:
        pixels = np.array(_rgb(operations.exif_transpose(picture)), dtype=np.uint8)
    return torch.from_numpy(pixels).permute(2, 0, 1).contiguous()


def picture_size(path: Path) -> tuple[int, int]:
    """Return width and height of a still picture in pixels, upright; reads only the header.

    Raises:
        NotAPicture: the file is an animation or not a picture.
        MediaError: the file is missing, empty or damaged.
    """
    with _opened(path) as picture:
        if picture.format == "GIF" and picture.is_animated:
            raise NotAPicture(f"{path}: expected a still picture, found an animation")
        width, height = picture.size
        return (height, width) if picture.getexif().get(_ORIENTATION, 1) in _ROTATED else (width, height)


_ORIENTATION = 0x0112  # EXIF tag; the values 5 to 8 stand for rotations by 90 degrees
_ROTATED = (5, 6, 7, 8)


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """Open a file as a Pillow image, not decoded yet; errors in the `with` block become MediaErrors."""
    images = require("PIL.Image", "media")
    images.init()  # without it Pillow knows only some of the formats
    check_file(path)
    try:
        with images.open(path, formats=FORMATS) as picture:
            yield picture
    except MediaError:
        raise
    except images.DecompressionBombError as error:
        raise MediaError(f"{path}: too many pixels for a picture; not decoded ({error})") from error
    except images.UnidentifiedImageError as error:
        raise NotAPicture(f"{path}: not a picture of a known format ({', '.join(FORMATS)})") from error
    except Exception as error:  # Pillow raises many types of exceptions on damaged bytes
        raise MediaError(f"{path}: cannot be decoded ({' '.join(str(error).split())}); damaged or truncated") from error


def _rgb(picture: Any) -> Any:
    images = require("PIL.Image", "media")
    if picture.mode.startswith("I"):
        return images.fromarray((np.asarray(picture) // 256).clip(0, 255).astype(np.uint8)).convert("RGB")
    if "A" in picture.getbands() or "transparency" in picture.info:
        foreground = picture.convert("RGBA")
        return images.alpha_composite(images.new("RGBA", foreground.size, "white"), foreground).convert("RGB")
    return picture.convert("RGB")
