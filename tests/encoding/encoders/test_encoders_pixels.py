"""Pixels as CLIP takes them: sizes, the filters, the middle, mean and deviation."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torchvision import transforms

from omnidistill.encoding.encoders.pixels import DEVIATION, MEAN, centre, picture_input, scaled_frames


def pixels(*shape: int) -> Tensor:
    return torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(0)).to(torch.uint8)


def unscaled(found: Tensor) -> Tensor:
    """Back to 0-255, in float64."""
    mean, deviation = (torch.tensor(x, dtype=torch.float64).view(3, 1, 1) for x in (MEAN, DEVIATION))
    return (found.double() * deviation + mean) * 255


def bilinear(image: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """Interpolation between the centres of pixels, edges repeated, by its definition."""
    height, width = image.shape
    out = np.zeros((rows, columns))
    for i in range(rows):
        for j in range(columns):
            y = np.clip((i + 0.5) * height / rows - 0.5, 0, height - 1)
            x = np.clip((j + 0.5) * width / columns - 0.5, 0, width - 1)
            top, left = int(y), int(x)
            below, right = min(top + 1, height - 1), min(left + 1, width - 1)
            upper = image[top, left] * (1 - x + left) + image[top, right] * (x - left)
            lower = image[below, left] * (1 - x + left) + image[below, right] * (x - left)
            out[i, j] = upper * (1 - y + top) + lower * (y - top)
    return out


@pytest.mark.parametrize(("height", "width"), [(300, 401), (401, 300), (224, 224), (100, 130), (7, 500)])
def test_pictures_are_those_of_torchvision(height: int, width: int) -> None:
    """As the published transforms do: resize, centre crop, scale, standardise; the same bits."""
    picture = pixels(3, height, width)
    published = transforms.Compose(
        [
            transforms.Resize(224, interpolation=transforms.InterpolationMode.BICUBIC),
            transforms.CenterCrop(224),
            transforms.ToTensor(),
            transforms.Normalize(MEAN, DEVIATION),
        ]
    )
    expected = published(Image.fromarray(picture.permute(1, 2, 0).numpy()))
    torch.testing.assert_close(picture_input(picture), expected, atol=1e-6, rtol=0)


def test_a_plain_picture_stays_plain() -> None:
    colour = torch.tensor([10, 120, 255], dtype=torch.uint8).view(3, 1, 1)
    found = picture_input(colour.expand(3, 90, 333))
    torch.testing.assert_close(unscaled(found), colour.double().expand(3, 224, 224), atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("height", "width", "size"), [(60, 81, (224, 302)), (301, 224, (301, 224)), (448, 500, (224, 250))]
)
def test_frames_keep_their_shape_and_are_interpolated(height: int, width: int, size: tuple[int, int]) -> None:
    frames = pixels(2, 3, height, width)
    found = scaled_frames(frames)
    assert found.shape == (2, 3, *size)
    expected = bilinear(frames[1, 2].numpy().astype(np.float64), *size)
    torch.testing.assert_close(unscaled(found[1])[2], torch.from_numpy(expected), atol=2e-3, rtol=0)


def test_the_middle() -> None:
    ramp = torch.arange(300.0).expand(224, 300)
    assert centre(ramp)[0, [0, -1]].tolist() == [38.0, 261.0]
    assert centre(ramp.T)[[0, -1], 0].tolist() == [38.0, 261.0]
