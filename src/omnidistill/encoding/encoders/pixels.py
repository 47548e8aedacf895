"""Preprocessing for the CLIP family: resize decoded pixels to 224 x 224 and standardise them as CLIP does.

Pictures: the short side is resized to 224 with Pillow's bicubic filter, and the centre is cropped.
Frames: the short side is resized to 224 by bilinear interpolation without antialiasing; the crop depends on the model.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn import functional as F

from omnidistill.core.optional import require

SIDE = 224
MEAN, DEVIATION = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
"""CLIP's mean and standard deviation per channel (RGB), for values in [0, 1]. See https://github.com/openai/CLIP."""


def picture_input(picture: UInt8[Tensor, "3 height width"]) -> Float[Tensor, "3 224 224"]:
    """Resize, crop and standardise an RGB picture with values in 0-255, and return it as float32.

    Raises:
        InputError: Pillow is not installed.
    """
    pillow = require("PIL.Image", "media")
    height, width = picture.shape[1:]
    short = min(height, width)
    image = pillow.fromarray(picture.permute(1, 2, 0).contiguous().numpy())
    image = image.resize((SIDE * width // short, SIDE * height // short), pillow.Resampling.BICUBIC)
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)
    return standardised(centre(pixels))


def scaled_frames(frames: UInt8[Tensor, "n 3 height width"]) -> Float[Tensor, "n 3 tall wide"]:
    """Resize RGB frames with values in 0-255 to a short side of 224, standardise them, and return them as float32."""
    height, width = frames.shape[2:]
    short = min(height, width)
    size = (SIDE * height // short, SIDE * width // short)
    return standardised(F.interpolate(frames.float(), size=size, mode="bilinear", align_corners=False))


def standardised(pixels: UInt8[Tensor, "*n 3 height width"] | Float[Tensor, "*n 3 height width"]) -> Tensor:
    """Scale pixels from 0-255 to 0-1, then standardise each channel in float32 as CLIP does."""
    mean, deviation = torch.tensor([MEAN, DEVIATION], device=pixels.device).view(2, 3, 1, 1)
    scaled: Tensor = (pixels / 255 - mean) / deviation
    return scaled


def centre(pixels: Tensor) -> Tensor:
    """Return the central 224 x 224 crop of `pixels`, whose last two dimensions are height and width."""
    top, left = (round((length - SIDE) / 2) for length in pixels.shape[-2:])
    return pixels[..., top : top + SIDE, left : left + SIDE]
