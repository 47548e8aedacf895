"""ImageBind and LanguageBind as encoders, with weights from a folder that `convert` wrote.

Features are computed before the model's pretrained projection. An item has one feature per view, where a view is a
crop or a short clip of the item. In ImageBind, a video has 15 views and a sound has 3 views. All other items have one
view.

To encode texts, the folder with the weights must also contain CLIP's vocabulary: `merges.txt`,
`bpe_simple_vocab_16e6.txt.gz` or `tokenizer.json`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, partial
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, get_args

import torch
from jaxtyping import Float, Shaped, UInt8
from torch import Tensor

from omnidistill.encoding.encoders.decode import decoders, frame_rate_of, frames_at, picture_of, seconds_of, sound_of
from omnidistill.encoding.encoders.encoder import Item, Kind, Lazy
from omnidistill.encoding.encoders.encoder_registry import encoder_factory, encoders
from omnidistill.encoding.encoders.imagebind import imagebind_inputs as imagebind_input
from omnidistill.encoding.encoders.imagebind import load_imagebind as imagebind_loading
from omnidistill.encoding.encoders.imagebind.clip_tokens import ClipTokenizer
from omnidistill.encoding.encoders.languagebind import languagebind_inputs as languagebind_input
from omnidistill.encoding.encoders.languagebind import load_languagebind as languagebind_loading
from omnidistill.encoding.encoders.pixels import DEVIATION, MEAN, SIDE, centre, scaled_frames
from omnidistill.encoding.inversion.canvas import Canvas, PixelCanvas
from omnidistill.encoding.inversion.sound_canvas import SoundCanvas, Spectrogram
from omnidistill.encoding.media.fbank import PRE_EMPHASIS, STEP, WINDOW, mel_filters

Model = Literal["imagebind", "languagebind"]

_PREPARATION: dict[str, ModuleType] = {"imagebind": imagebind_input, "languagebind": languagebind_input}
_IMAGEBIND_TOWERS: dict[Kind, imagebind_loading.Modality] = {
    "image": "vision",
    "video": "vision",
    "audio": "audio",
    "text": "text",
}
_LICENCES: dict[Model, str] = {"imagebind": imagebind_loading.LICENCE, "languagebind": languagebind_loading.LICENCE}
_VIEWS = {("imagebind", "video"): 15, ("imagebind", "audio"): 3}


@dataclass(frozen=True)
class BindTower(Lazy):
    """One tower of ImageBind or LanguageBind.

    Attributes:
        model: name of the model.
        kind: kind of media that the tower encodes.
        source: folder with the converted weights.
        device: device for the weights.
    """

    model: Model
    kind: Kind
    source: str
    device: str = "cpu"

    @property
    def name(self) -> str:
        """Name of the encoder, MODEL-KIND, such as `imagebind-video`."""
        return f"{self.model}-{self.kind}"

    @property
    def licence(self) -> str:
        """Licence of the published weights."""
        return _LICENCES[self.model]

    @property
    def width(self) -> int:
        """Number of values per feature."""
        return int(self.tower.head().shape[1])

    @property
    def views(self) -> int:
        """Number of views per item. Each view has its own feature."""
        return _VIEWS.get((self.model, self.kind), 1)

    @cached_property
    def loaded(self) -> Any:
        """The tower with its weights, and the checksum of the weights."""
        folder = Path(self.source)
        if self.model == "languagebind":
            return languagebind_loading.load(folder, self.kind)
        return imagebind_loading.load(folder, _IMAGEBIND_TOWERS[self.kind])

    @cached_property
    def tower(self) -> Any:
        """The tower, moved to the device."""
        return self.loaded.tower.to(self.device)

    @cached_property
    def tokenizer(self) -> ClipTokenizer:
        """Tokenizer that uses the vocabulary in `source`."""
        return ClipTokenizer.from_file(Path(self.source))

    def prepare(self, item: Item) -> Tensor:
        """Return the model input for each view of the item (see `imagebind_inputs` and `languagebind_inputs`)."""
        prepared = self._prepared(item)
        return prepared if self.views > 1 else prepared[None]

    def truncates(self, item: Item) -> bool:
        """Return whether the item is a text with more than 75 tokens, the maximum that the model reads."""
        return self.kind == "text" and self.tokenizer([item.text]).num_truncated > 0

    @torch.no_grad()
    def encode(self, batch: Shaped[Tensor, "n views ..."]) -> Float[Tensor, "n views width"]:
        """Return the features of all views, before the pretrained projection."""
        return self.features(batch).cpu()

    def features(self, batch: Shaped[Tensor, "n views ..."]) -> Float[Tensor, "n views width"]:
        """Return the same features as `encode`, but differentiable.

        If all views of an item are identical, `batch` may contain only one of them. The result then has one view, too.
        """
        features: Tensor = self.tower.features(batch.flatten(0, 1).to(self.device))
        return features.float().view(*batch.shape[:2], -1)

    def canvas(self, seconds: float) -> Canvas | None:
        """Return the canvas, which describes the values that are optimised when the encoder is inverted.

            image    pixels of a picture
            video    pixels of the input frames (10 for ImageBind, 8 for LanguageBind), which are square
            audio    log energies of a sound of `seconds` s, but at most 2 s for ImageBind and 10.38 s for LanguageBind

        Return None for texts, because text encoders cannot be inverted.
        """
        how = _PREPARATION[self.model]
        match self.kind:
            case "image":
                return PixelCanvas((3, SIDE, SIDE), MEAN, DEVIATION, self._prepared, lambda x: x.unsqueeze(1))
            case "video":
                shape = (how.NUM_FRAMES, 3, SIDE, SIDE)
                return PixelCanvas(shape, MEAN, DEVIATION, self._square_frames, how.square_clips)
            case "audio":
                spectrogram = kaldi_spectrogram(how)
                samples = round(min(seconds, how.MAX_SECONDS) * how.RATE)
                columns = (samples - len(spectrogram.window)) // spectrogram.hop + 1
                listen = partial(sound_of, rate=how.RATE, channel=0)
                return SoundCanvas((how.BINS, columns), spectrogram, listen, how.one_clip)
            case _:
                return None

    def head(self) -> Float[Tensor, "d width"]:
        """Return the matrix of the pretrained projection."""
        matrix: Tensor = self.tower.head()
        return matrix.cpu()

    def fingerprint(self) -> dict[str, str]:
        """Return the checksum of the weights, and the versions of the packages that prepare items."""
        return {
            "name": self.name,
            "weights": self.loaded.sha256,
            "omnidistill": version("omnidistill"),
            **decoders(self.kind),
        }

    def _prepared(self, item: Item) -> Tensor:
        preparation = _PREPARATION[self.model]
        match self.kind:
            case "text":
                prepared = self.tokenizer([item.text]).ids[0]
            case "image":
                prepared = preparation.image_input(picture_of(item))
            case "audio":
                prepared = preparation.audio_input(sound_of(item, preparation.RATE, channel=0))
            case "video":
                prepared = preparation.video_input(self._frames(item))
        return prepared

    def _frames(self, item: Item) -> UInt8[Tensor, "frames 3 _ _"]:
        begin, end = seconds_of(item)
        times = _PREPARATION[self.model].frame_times(end - begin, frame_rate_of(item))
        return frames_at(item, [begin + time for time in times])

    def _square_frames(self, item: Item) -> Float[Tensor, "frames 3 224 224"]:
        return centre(scaled_frames(self._frames(item)))


def kaldi_spectrogram(how: ModuleType) -> Spectrogram:
    """Describe how a model computes log energies from a sound, as a `Spectrogram` object.

    Args:
        how: the module that prepares the inputs of the model: `imagebind_inputs` or `languagebind_inputs`.
    """
    window, step = round(WINDOW * how.RATE), round(STEP * how.RATE)
    size = 1 << (window - 1).bit_length()
    angles = torch.linspace(0, torch.pi, size // 2 + 1, device="cpu")
    emphasis = 1 + PRE_EMPHASIS**2 - 2 * PRE_EMPHASIS * angles.cos()
    emphasis[0] = 0  # the mean of every window is subtracted
    return Spectrogram(
        rate=how.RATE,
        hop=step,
        window=torch.hann_window(window, periodic=False, device="cpu"),
        filters=mel_filters(how.RATE, size, how.BINS).T.float(),
        gain=emphasis,
        analyse=how.standard_log_energies,
        energies=lambda values: (values * how.AUDIO_DEVIATION + how.AUDIO_MEAN).exp(),
    )


def _register(model: Model, kind: Kind, title: str) -> None:
    @encoders.register(f"{model}-{kind}")
    @encoder_factory("required", _LICENCES[model], cites=(model,), aliases=(model,))
    def build(source: str, device: str) -> BindTower:
        return BindTower(model, kind, source, device)

    build.__doc__ = f"{kind.capitalize()} tower of {title}; SOURCE is the folder that `omnidistill convert` wrote."


for _kind in get_args(Kind):
    _register("imagebind", _kind, "ImageBind")
    _register("languagebind", _kind, "LanguageBind")
