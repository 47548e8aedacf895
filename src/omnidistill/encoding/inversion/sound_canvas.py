"""Canvas for encoders that take log-mel spectrograms.

The values that are optimised are those of a spectrogram. Griffin-Lim computes a sound from it.
"""

from __future__ import annotations

import wave
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn import functional as F

from omnidistill.encoding.encoders.encoder import Item, Kind
from omnidistill.encoding.inversion.canvas import as_bytes
from omnidistill.encoding.inversion.griffin_lim import band_powers, waveform_of

_SEED = 0  # of the initial phases: the same spectrogram always gives the same sound


@dataclass(frozen=True)
class Spectrogram:
    """Functions and constants to convert a sound to the log energies of an encoder's mel bands, and back to a sound.

    Attributes:
        rate: samples per second.
        hop: number of samples between the beginnings of neighbouring columns of the spectrogram.
        window: weights of the samples of one column.
        filters: for each band, the weights of the FFT frequencies.
        gain: for each FFT frequency, the factor by which the encoder multiplies the power before the filters.
        analyse: computes log energies (bands x columns) from a sound.
        energies: converts log energies to energies.
        range: largest possible difference between the maximum of a spectrogram and any other value; None if there is no
            limit.
        margin: number of silent samples that the encoder adds before the sound.
    """

    rate: int
    hop: int
    window: Float[Tensor, " window"]
    filters: Float[Tensor, "bands frequencies"]
    gain: Float[Tensor, " frequencies"]
    analyse: Callable[[Tensor], Tensor]
    energies: Callable[[Tensor], Tensor]
    range: float | None = None
    margin: int = 0


@dataclass(frozen=True)
class SoundCanvas:
    """Log energies of mel bands, bands x columns.

    Attributes:
        shape: bands x columns.
        spectrogram: how the encoder computes log energies.
        listen: returns the sound of an item at the encoder's sampling rate.
        arrange: converts the log energies of n sounds (n x bands x columns) to the encoder's input.
    """

    shape: tuple[int, int]
    spectrogram: Spectrogram
    listen: Callable[[Item], Tensor]
    arrange: Callable[[Tensor], Tensor] = lambda values: values

    @property
    def kind(self) -> Kind:
        """Kind of the medium."""
        return "audio"

    @property
    def suffix(self) -> str:
        """Suffix of the file."""
        return ".wav"

    def read(self, item: Item) -> Float[Tensor, "bands columns"]:
        """Return the log energies of an item's sound. Long sounds are cropped to the middle; short ones are padded."""
        sound, length = self.listen(item), self._length
        missing = max(0, length - len(sound))
        sound = F.pad(sound, (missing // 2, missing - missing // 2))
        start = (len(sound) - length) // 2
        return self.spectrogram.analyse(sound[start : start + length])[:, : self.shape[1]]

    def blank(self) -> Float[Tensor, "bands columns"]:
        """Return the log energies of faint noise, because silence would have no gradient."""
        noise = torch.randn(self._length, generator=_generator(), device="cpu")
        return self.spectrogram.analyse(0.01 * noise)[:, : self.shape[1]]

    def limited(self, values: Float[Tensor, "n bands columns"]) -> Float[Tensor, "n bands columns"]:
        """Limit how far the log energies of a sound can lie below their maximum.

        Lower values are raised to the maximum minus `spectrogram.range`. If `spectrogram.range` is None, the values are
        returned unchanged.
        """
        if self.spectrogram.range is None:
            return values
        return torch.maximum(values, values.amax((-2, -1), keepdim=True) - self.spectrogram.range)

    def to_input(self, values: Float[Tensor, "n bands columns"]) -> Float[Tensor, "n ..."]:
        """Return the encoder's input for n spectrograms."""
        return self.arrange(values)

    def sound(self, values: Float[Tensor, "bands columns"]) -> Float[Tensor, " samples"]:
        """Return a sound with samples in [-1, 1] whose spectrogram is close to the given one."""
        how = self.spectrogram
        powers = band_powers(how.energies(values.detach().cpu().double()).T.float(), how.filters)
        powers = powers / how.gain.clamp_min(1e-3) * (how.gain > 0)
        sound = waveform_of(powers, how.window, how.hop, _generator())[how.margin :]
        sound = F.pad(sound, (0, max(0, self._length - len(sound))))[: self._length]
        return sound / sound.abs().amax().clamp_min(1.0)

    def save(self, values: Float[Tensor, "bands columns"], path: Path) -> None:
        """Write the sound as a WAV file with 16 bits per sample."""
        samples = (self.sound(values) * 32767).round().to(torch.int16)
        with wave.open(str(path), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(self.spectrogram.rate)
            file.writeframes(samples.numpy().astype("<i2").tobytes())

    def picture(self, values: Float[Tensor, "bands columns"]) -> UInt8[Tensor, "3 height width"]:
        """Return the spectrogram in grey, with time to the right and low bands at the bottom."""
        low, high = values.aminmax()
        return as_bytes((values - low) / (high - low).clamp_min(1e-6)).flip(0).expand(3, -1, -1)

    @property
    def _length(self) -> int:
        """Number of samples of a sound whose spectrogram has the shape of the canvas."""
        how, columns = self.spectrogram, self.shape[1]
        return columns * how.hop if how.margin else (columns - 1) * how.hop + len(how.window)


def _generator() -> torch.Generator:
    return torch.Generator(device="cpu").manual_seed(_SEED)
