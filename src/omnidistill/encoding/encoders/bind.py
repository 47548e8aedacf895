"""ImageBind and LanguageBind as encoders, from the folders that their `convert` wrote.

Features are those that the pretrained projection reads, a row a view: 15 of a video and 3 of a sound for ImageBind, 1
of anything else. The texts' vocabulary (CLIP's `merges.txt` or `tokenizer.json`) lies in the same folder.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from omnidistill.encoding.encoders.decode import decoders, frame_rate_of, frames_at, picture_of, seconds_of, sound_of
from omnidistill.encoding.encoders.encoder import Item, Kind, Lazy
from omnidistill.encoding.encoders.imagebind import imagebind_inputs as imagebind_input
from omnidistill.encoding.encoders.imagebind import load_imagebind as imagebind_loading
from omnidistill.encoding.encoders.imagebind.clip_tokens import ClipTokenizer
from omnidistill.encoding.encoders.languagebind import languagebind_inputs as languagebind_input
from omnidistill.encoding.encoders.languagebind import load_languagebind as languagebind_loading

_PREPARATION: dict[str, ModuleType] = {"imagebind": imagebind_input, "languagebind": languagebind_input}
_IMAGEBIND_TOWERS: dict[Kind, imagebind_loading.Modality] = {
    "image": "vision",
    "video": "vision",
    "audio": "audio",
    "text": "text",
}
_VIEWS = {("imagebind", "video"): 15, ("imagebind", "audio"): 3}


@dataclass(frozen=True)
class BindTower(Lazy):
    """One tower. model: whose. kind: of its items. source: the folder. device: of the weights."""

    model: Literal["imagebind", "languagebind"]
    kind: Kind
    source: str
    device: str = "cpu"

    @property
    def name(self) -> str:
        """`imagebind-video` and so on."""
        return f"{self.model}-{self.kind}"

    @property
    def licence(self) -> str:
        """Of the published weights."""
        return languagebind_loading.LICENCE if self.model == "languagebind" else imagebind_loading.LICENCE

    @property
    def width(self) -> int:
        """Of a feature."""
        return int(self.tower.head().shape[1])

    @property
    def views(self) -> int:
        """Features of an item."""
        return _VIEWS.get((self.model, self.kind), 1)

    @cached_property
    def loaded(self) -> Any:
        """Tower and checksum."""
        folder = Path(self.source)
        if self.model == "languagebind":
            return languagebind_loading.load(folder, self.kind)
        return imagebind_loading.load(folder, _IMAGEBIND_TOWERS[self.kind])

    @cached_property
    def tower(self) -> Any:
        """The model."""
        return self.loaded.tower.to(self.device)

    @cached_property
    def tokenizer(self) -> ClipTokenizer:
        """Of the vocabulary in the folder."""
        return ClipTokenizer.from_file(Path(self.source))

    def prepare(self, item: Item) -> Tensor:
        """The item's views, as the published model is given them (see `preprocessing` of either)."""
        prepared = self._prepared(item)
        return prepared if self.views > 1 else prepared[None]

    def truncates(self, item: Item) -> bool:
        """Whether it is a text of more than 75 tokens."""
        return self.kind == "text" and self.tokenizer([item.text]).num_truncated > 0

    @torch.no_grad()
    def encode(self, batch: Shaped[Tensor, "n views ..."]) -> Float[Tensor, "n views width"]:
        """What the projection reads."""
        features: Tensor = self.tower.features(batch.flatten(0, 1).to(self.device))
        return features.float().cpu().view(len(batch), self.views, -1)

    def head(self) -> Float[Tensor, "d width"]:
        """The pretrained projection."""
        matrix: Tensor = self.tower.head()
        return matrix.cpu()

    def fingerprint(self) -> dict[str, str]:
        """Weights, and the versions of what prepares."""
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
                begin, end = seconds_of(item)
                times = preparation.frame_times(end - begin, frame_rate_of(item))
                prepared = preparation.video_input(frames_at(item, [begin + time for time in times]))
        return prepared
