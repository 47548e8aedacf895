"""Compute a waveform from the energies in mel bands: first the powers of all frequencies, then phases by Griffin-Lim.

1. Let E be the energies (columns x bands), and F the mel filters (bands x frequencies). Find powers P >= 0 (columns x
   frequencies) such that P F^T is close to E, by multiplicative updates: P <- P * (E F) / (P F^T F).
2. Start from a spectrogram with magnitudes sqrt(P) and random phases. The magnitudes stay fixed. Each iteration
   improves the phases:

   a. Convert the spectrogram to a waveform by overlap-add.
   b. Compute the spectrogram S_k of this waveform, where k = 1, 2, ... is the iteration and S_0 = 0.
   c. Replace the phases by those of S_k + 0.99 (S_k - S_(k-1)).

References: D. Lee and H. Seung (2000), algorithms for non-negative matrix factorisation; D. Griffin and J. Lim (1984);
N. Perraudin et al. (2013), a fast Griffin-Lim algorithm.
"""

from __future__ import annotations

import torch
from jaxtyping import Complex, Float
from torch import Tensor
from torch.nn import functional as F

_POWER_UPDATES = 100
_MOMENTUM = 0.99
_TINY = 1e-12


def band_powers(
    energies: Float[Tensor, "columns bands"], filters: Float[Tensor, "bands frequencies"]
) -> Float[Tensor, "columns frequencies"]:
    """Return powers >= 0 of all frequencies, such that their energies in the mel bands are close to `energies`."""
    gram, target = filters.T @ filters, energies @ filters
    powers = target / target.amax().clamp_min(_TINY) * energies.amax() + _TINY
    for _ in range(_POWER_UPDATES):
        powers = powers * target / (powers @ gram).clamp_min(_TINY)
    return powers


def waveform_of(
    powers: Float[Tensor, "columns frequencies"],
    window: Float[Tensor, " window"],
    hop: int,
    generator: torch.Generator,
    num_iterations: int = 60,
) -> Float[Tensor, " samples"]:
    """Return a waveform with (columns - 1) * hop + len(window) samples, whose power spectra are close to `powers`.

    Args:
        powers: power of each frequency of the FFT, for each column of the spectrogram.
        window: weights of the samples of one column.
        hop: number of samples between the beginnings of neighbouring columns.
        generator: draws the initial phases.
        num_iterations: iterations of Griffin-Lim.
    """
    size, magnitudes = 2 * (powers.shape[1] - 1), powers.sqrt()
    phases = torch.rand(powers.shape, generator=generator, device="cpu") * (2 * torch.pi)
    spectrogram, before = torch.polar(magnitudes, phases), torch.zeros_like(magnitudes, dtype=torch.complex64)
    for _ in range(num_iterations):
        after = _spectrogram(_overlap_add(spectrogram, window, hop, size), window, hop, size)
        ahead = after + _MOMENTUM * (after - before)
        spectrogram, before = torch.polar(magnitudes, ahead.angle()), after
    return _overlap_add(spectrogram, window, hop, size)


def _spectrogram(sound: Tensor, window: Tensor, hop: int, size: int) -> Complex[Tensor, "columns frequencies"]:
    spectrogram: Tensor = torch.fft.rfft(sound.unfold(0, len(window), hop) * window, size)
    return spectrogram


def _overlap_add(spectrogram: Tensor, window: Tensor, hop: int, size: int) -> Float[Tensor, " samples"]:
    pieces = torch.fft.irfft(spectrogram, size)[:, : len(window)] * window
    weights = window.square().expand(len(pieces), -1)
    length = (len(pieces) - 1) * hop + len(window)
    sums = [F.fold(x.T[None], (1, length), (1, len(window)), stride=(1, hop)).flatten() for x in (pieces, weights)]
    return sums[0] / sums[1].clamp_min(1e-3)
