"""Log-mel filter banks as Kaldi computes them (https://kaldi-asr.org, `compute-fbank-feats`), without dither.

    1. Divide the waveform into windows of 25 ms, one every 10 ms. In each window, subtract the mean, apply pre-emphasis
       (y_t = x_t - 0.97 x_(t-1), with x_(-1) = x_0), and multiply by a Hann window.
    2. Compute the power spectrum of each window, zero-padded to a power of two.
    3. Compute the energies in overlapping triangular filters. The corners of the filters are evenly spaced on the mel
       scale 1127 ln(1 + f / 700), from f = 20 Hz to half the sampling rate.
    4. Take the logarithm ln max(energy, 1.19e-7).

Samples are in [-1, 1], as in the training of the models that use these filter banks. Kaldi uses 16-bit integers, so its
log energies are higher by 20.8.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from omnidistill.core.errors import InputError

WINDOW, STEP = 0.025, 0.010
"""Length of a window, and time between windows, in seconds."""
PRE_EMPHASIS = 0.97
"""Factor of the previous sample that is subtracted from a sample."""
_LOWEST = 20.0  # Hz
_FLOOR = torch.finfo(torch.float32).eps  # lower bound of all energies, for any dtype


def fbank(waveform: Float[Tensor, " samples"], rate: int, num_bins: int) -> Float[Tensor, "frames num_bins"]:
    """Return the log-mel filter banks of one channel, with one row per window.

    A window of 25 ms starts every 10 ms. Samples after the last complete window are ignored. The result has the dtype
    of the waveform.

    Args:
        waveform: samples of one channel, in [-1, 1].
        rate: sampling rate in Hz.
        num_bins: number of mel bins.

    Raises:
        InputError: the waveform is shorter than 25 ms.
    """
    window, step = round(WINDOW * rate), round(STEP * rate)
    if len(waveform) < window:
        raise InputError(
            f"the sound is too short: it has {len(waveform)} samples at {rate} Hz, but needs at least {window} samples "
            f"({WINDOW * 1000:g} ms); use a longer sound"
        )
    frames = waveform.unfold(0, window, step)
    frames = frames - frames.mean(1, keepdim=True)
    before = F.pad(frames[:, :-1].unsqueeze(1), (1, 0), mode="replicate").squeeze(1)
    hann = torch.hann_window(window, periodic=False, dtype=waveform.dtype, device=waveform.device)
    size = 1 << (window - 1).bit_length()
    power = torch.fft.rfft((frames - PRE_EMPHASIS * before) * hann, size).abs().square()
    energies: Tensor = power @ mel_filters(rate, size, num_bins).to(power)
    return energies.clamp_min(_FLOOR).log()


def mel_filters(rate: int, size: int, num_bins: int) -> Float[Tensor, "frequencies num_bins"]:
    """Return the triangular filters: for each frequency of an FFT of `size` samples, its weight in each mel bin."""
    mel = _mel(torch.arange(size // 2 + 1, dtype=torch.float64, device="cpu") * rate / size)
    low, high = _mel(torch.tensor([_LOWEST, rate / 2], dtype=torch.float64, device="cpu"))
    corners = torch.linspace(float(low), float(high), num_bins + 2, dtype=torch.float64, device="cpu")
    rise = (mel.unsqueeze(1) - corners[:-2]) / (corners[1:-1] - corners[:-2])
    fall = (corners[2:] - mel.unsqueeze(1)) / (corners[2:] - corners[1:-1])
    return torch.minimum(rise, fall).clamp_min(0)


def _mel(frequency: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    return 1127 * torch.log1p(frequency / 700)
