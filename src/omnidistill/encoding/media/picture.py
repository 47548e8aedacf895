"""A picture file as a tensor: RGB, upright by its EXIF orientation, what is transparent on white."""

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
"""The formats that are opened, as Pillow names them; of an animation, the first picture is taken."""


class NotAPicture(MediaError):
    """A file that is no still picture of a known format; it may be something else."""


def read_picture(path: Path) -> UInt8[Tensor, "3 height width"]:
    """The picture in a file, RGB in 0-255. 16-bit grey is reduced to its upper 8 bits.

    Raises MediaError for a file that is missing, empty, damaged, truncated, of another format, or too large to trust
    (Pillow's limit against decompression bombs).
    """
    operations = require("PIL.ImageOps", "media")
    with _opened(path) as picture:
        pixels = np.array(_rgb(operations.exif_transpose(picture)), dtype=np.uint8)
    return torch.from_numpy(pixels).permute(2, 0, 1).contiguous()


def picture_size(path: Path) -> tuple[int, int]:
    """Width and height of a still picture in pixels, upright, from its header alone.

    Raises NotAPicture for an animation and other files, MediaError for one that is missing, empty or damaged.
    """
    with _opened(path) as picture:
        if picture.format == "GIF" and picture.is_animated:
            raise NotAPicture(f"{path}: an animation, not a still picture")
        width, height = picture.size
        return (height, width) if picture.getexif().get(_ORIENTATION, 1) in _TURNED else (width, height)


_ORIENTATION = 0x0112  # of EXIF; 5 to 8 are turned by a quarter
_TURNED = (5, 6, 7, 8)


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """The file as a Pillow image, not decoded yet; errors while it is read are MediaErrors that name it."""
    images = require("PIL.Image", "media")
    images.init()  # or only some formats are known
    check_file(path)
    try:
        with images.open(path, formats=FORMATS) as picture:
            yield picture
    except MediaError:
        raise
    except images.DecompressionBombError as error:
        raise MediaError(f"{path}: more pixels than a picture has; not decoded ({error})") from error
    except images.UnidentifiedImageError as error:
        raise NotAPicture(f"{path}: no picture of a known format ({', '.join(FORMATS)})") from error
    except Exception as error:  # parsers of damaged bytes raise many types
        raise MediaError(f"{path}: cannot be decoded ({' '.join(str(error).split())}); damaged or truncated") from error


def _rgb(picture: Any) -> Any:
    images = require("PIL.Image", "media")
    if picture.mode.startswith("I"):
        return images.fromarray((np.asarray(picture) // 256).clip(0, 255).astype(np.uint8)).convert("RGB")
    if "A" in picture.getbands() or "transparency" in picture.info:
        over = picture.convert("RGBA")
        return images.alpha_composite(images.new("RGBA", over.size, "white"), over).convert("RGB")
    return picture.convert("RGB")
