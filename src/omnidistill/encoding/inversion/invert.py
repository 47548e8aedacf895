"""Optimise pictures, videos and sounds by gradient steps, so that their features become similar to target vectors.

For each target vector x, the values v of one medium (such as the pixels of a picture) are optimised to minimise

    1 - cos(P(mean over views of f(shift(v))), x) + smoothness * TV(v)

    f            the encoder; it returns one feature vector per view, for example per frame of a video
    P            the preprocessing of features
    shift        a random cyclic translation
    smoothness   a setting, the weight of TV
    TV           mean squared difference of neighbouring values along the last axis, plus that along the last but one

Only the direction of x matters, because the cosine does not depend on its length.

The optimiser is Adam. With the parametrisation "fourier", Adam changes the Fourier coefficients of v instead of v. The
coefficients are scaled such that low frequencies change faster than high ones. Each target is optimised independently
of the others; batches only save time.

Reference: A. Mahendran and A. Vedaldi (2015), inverting deep image representations; C. Olah, A. Mordvintsev and
L. Schubert (2017), feature visualization.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor
from torch.nn.functional import cosine_similarity

from omnidistill.core.settings import Count, Positive, Settings
from omnidistill.encoding.inversion.canvas import Canvas, Invertible


class InversionSettings(Settings):
    """Settings for optimising pictures, videos and sounds so that their features become similar to target vectors."""

    num_steps: Count = 64
    """Number of steps of Adam."""
    learning_rate: Positive = 0.02
    """Learning rate of Adam, with cosine decay. Pixels are in [0, 1]."""
    start: Literal["nearest", "blank"] = "nearest"
    """Medium from which the optimisation starts: "nearest" (the real item with the nearest features) or "blank" (grey
    pixels, or faint noise for sounds)."""
    parametrisation: Literal["plane", "fourier"] = "plane"
    """Parameters that Adam changes: "plane" (pixels, or values of a spectrogram) or "fourier" (the Fourier coefficients
    of these values)."""
    smoothness: Annotated[float, Field(ge=0)] = 0.1
    """Weight of the total variation, the penalty on differences between neighbouring values. That of a picture is
    typically 0.001 to 0.02."""
    jitter: Annotated[int, Field(ge=0)] = 0
    """Largest random shift per step, in pixels (in columns for spectrograms, which are shifted only in time). Shifts
    lower the cosine similarity that is reached."""
    batch_size: Count = 4
    """Number of pictures, frames or sounds that are optimised at once."""
    seconds: Positive = 2.0
    """Length of rendered sounds, in seconds."""
    captions: Count = 1
    """Largest number of captions of training items that are joined to one text per row. With 1, the text is the nearest
    caption. Larger numbers need the encoder of the texts."""


@dataclass(frozen=True, eq=False)
class Inverted:
    """The result of `invert`, on the CPU.

    Attributes:
        values: the optimised values of each medium, or its initial values if they are closer to the target.
        initial_cosines: cosine similarity between the features of each initial medium and its target.
        cosines: cosine similarity between the features of each medium in `values` and its target.
    """

    values: Float[Tensor, "n ..."]
    initial_cosines: Float[Tensor, " n"]
    cosines: Float[Tensor, " n"]


def invert(
    encoder: Invertible,
    canvas: Canvas,
    targets: Float[Tensor, "n p"],
    start: Float[Tensor, "n ..."],
    preprocess: Callable[[Tensor], Tensor],
    settings: InversionSettings,
    generator: torch.Generator,
    advance: Callable[[], object] = lambda: None,
) -> Inverted:
    """Optimise one medium per target, to increase the cosine similarity of its features and the target.

    Args:
        encoder: the encoder.
        canvas: the encoder's canvas, which converts values to media.
        targets: one target vector per medium, in the space of preprocessed features. Only their directions matter.
        start: initial values of the media.
        preprocess: maps features (n x p) to the space of the targets, with gradients.
        settings: how media are optimised.
        generator: draws the random shifts of the media during the optimisation.
        advance: called after every step of every batch.
    """
    parts: list[tuple[Tensor, Tensor, Tensor]] = []  # everything but the encoder is on the CPU
    for part in batches(len(targets), canvas, settings):
        target, values = targets[part], canvas.limited(start[part])
        with torch.no_grad():
            before = _cosines(encoder, canvas, values, target, preprocess)
        optimised = _optimise(encoder, canvas, target, values, preprocess, settings, generator, advance)
        with torch.no_grad():
            after = _cosines(encoder, canvas, optimised, target, preprocess)
        kept = (before > after).view(-1, *[1] * (values.ndim - 1))  # the start was closer
        parts.append((torch.where(kept, values, optimised), before, torch.maximum(before, after)))
    values, before, after = (torch.cat(tensors) for tensors in zip(*parts, strict=True))
    return Inverted(values, before, after)


def batches(count: int, canvas: Canvas, settings: InversionSettings) -> list[slice]:
    """Return slices that divide `count` media into batches.

    A batch contains `settings.batch_size` pictures or sounds. For videos, this number limits the frames in a batch, but
    every batch contains at least one video.
    """
    pictures = canvas.shape[0] if canvas.kind == "video" else 1
    size = max(1, settings.batch_size // pictures)
    return [slice(first, first + size) for first in range(0, count, size)]


def total_variation(values: Float[Tensor, "n ..."]) -> Float[Tensor, " n"]:
    """Return the mean squared difference of neighbours along the last axis, plus that along the last but one."""
    across, down = (values.diff(dim=axis).square().flatten(1).mean(1) for axis in (-1, -2))
    return across + down


def _optimise(
    encoder: Invertible,
    canvas: Canvas,
    target: Tensor,
    start: Tensor,
    preprocess: Callable[[Tensor], Tensor],
    settings: InversionSettings,
    generator: torch.Generator,
    advance: Callable[[], object],
) -> Float[Tensor, "n ..."]:
    plane = _Fourier(start.shape) if settings.parametrisation == "fourier" else _Plane()
    parameters = plane.parameters(start).requires_grad_()
    adam = torch.optim.Adam([parameters], settings.learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(adam, settings.num_steps)
    for _ in range(settings.num_steps):
        values = canvas.limited(plane.values(parameters))
        cosines = _cosines(encoder, canvas, _shifted(values, canvas, settings.jitter, generator), target, preprocess)
        loss = (1 - cosines + settings.smoothness * total_variation(values)).sum()
        (parameters.grad,) = torch.autograd.grad(loss, [parameters])
        adam.step()
        schedule.step()
        if settings.parametrisation == "plane":
            parameters.data = canvas.limited(parameters.data)  # a value outside the limits would have no gradient
        advance()
    return canvas.limited(plane.values(parameters.detach()))


def _cosines(
    encoder: Invertible, canvas: Canvas, values: Tensor, target: Tensor, preprocess: Callable[[Tensor], Tensor]
) -> Float[Tensor, " n"]:
    features = encoder.features(canvas.to_input(values)).mean(1).cpu()
    return cosine_similarity(preprocess(features), target, dim=1)


def _shifted(values: Tensor, canvas: Canvas, jitter: int, generator: torch.Generator) -> Tensor:
    rows, columns = torch.randint(-jitter, jitter + 1, (2,), generator=generator, device="cpu").tolist()
    return values.roll((0 if canvas.kind == "audio" else rows, columns), (-2, -1)) if jitter else values


class _Plane:
    """Parametrisation in which the optimiser changes the values of a medium, such as pixels, directly."""

    def parameters(self, values: Tensor) -> Tensor:
        return values.clone()

    def values(self, parameters: Tensor) -> Tensor:
        return parameters


class _Fourier(_Plane):
    """Parametrisation in which the optimiser changes the Fourier coefficients of a medium instead of its values.

    The Fourier transform is over the last two axes. Each coefficient is a parameter divided by the frequency (up to a
    constant factor). Steps of the optimiser therefore change low frequencies faster than high ones.
    """

    def __init__(self, shape: torch.Size) -> None:
        self.size = shape[-2:]
        height, width = self.size
        frequency = (torch.fft.fftfreq(height)[:, None].square() + torch.fft.rfftfreq(width).square()).sqrt()
        self.scale = 1 / frequency.clamp_min(1 / max(height, width)) / frequency.mean()

    def parameters(self, values: Tensor) -> Tensor:
        return torch.view_as_real(torch.fft.rfft2(values, norm="ortho") / self.scale.to(values.device))

    def values(self, parameters: Tensor) -> Tensor:
        coefficients = torch.view_as_complex(parameters) * self.scale.to(parameters.device)
        values: Tensor = torch.fft.irfft2(coefficients, s=self.size, norm="ortho")
        return values
