"""Published weights to a folder that encoders open: all is checked first, and a failed conversion leaves nothing.

    imagebind       imagebind_huge.pth                     -> DIR/vision, DIR/audio, DIR/text
    languagebind    the folder of a published model        -> DIR/MODALITY, DIR/text

DIR also gets the vocabulary of CLIP, which texts are read by, where there is one beside the weights.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from omnidistill.core.errors import InputError
from omnidistill.encoding.encoders.imagebind import load_imagebind as imagebind
from omnidistill.encoding.encoders.imagebind.clip_tokens import ClipTokenizer, find_vocabulary
from omnidistill.encoding.encoders.languagebind import load_languagebind as languagebind
from omnidistill.io.artifacts import load_artifact

Model = Literal["imagebind", "languagebind"]
Modality = Literal["video", "image", "audio"]

MODELS: tuple[Model, ...] = get_args(Model)
LICENCES: dict[Model, str] = {"imagebind": imagebind.LICENCE, "languagebind": languagebind.LICENCE}

_READ: tuple[imagebind.Modality, ...] = ("vision", "audio", "text")  # the other towers have no encoder


@dataclass(frozen=True)
class Tower:
    """What was made of one. parameters: how many numbers. bytes: of its weights. sha256: theirs, 64 hex digits."""

    name: str
    parameters: int
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Converted:
    """encoders: references that `open_encoder` takes. vocabulary: its file name, None where none was found."""

    towers: tuple[Tower, ...]
    encoders: tuple[str, ...]
    vocabulary: str | None


def convert(
    model: Model, source: Path, folder: Path, modality: Modality | None = None, vocabulary: Path | None = None
) -> Converted:
    """Write the towers of published weights, and their vocabulary, into a new folder.

    source: see above. modality: of a LanguageBind model. vocabulary: CLIP's `merges.txt`,
    `bpe_simple_vocab_16e6.txt.gz` or `tokenizer.json`; None: that beside the weights, if there is one.

    Raises InputError for a folder that exists, a modality that is missing or not wanted, files that are missing,
    damaged or would run code, a key that is missing, unknown or of another shape, and what cannot be written.
    """
    if os.path.lexists(folder):
        raise InputError(f"{folder}: exists already; choose another folder or remove it")
    if (model == "languagebind") != (modality is not None):
        raise InputError(f"convert {model}: {_ABOUT_MODALITY[model]}")
    words = vocabulary or find_vocabulary(source if source.is_dir() else source.parent)
    if words is not None:
        ClipTokenizer.from_file(words)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(prefix=".omnidistill-converting-", dir=folder.parent))
        try:
            if modality is None:
                imagebind.convert(source, made, _READ)
            else:
                languagebind.convert(source, made, modality)
            if words is not None:
                shutil.copyfile(words, made / words.name)
            made.chmod(0o755)  # a temporary folder is its owner's alone
            made.rename(folder)
        finally:
            shutil.rmtree(made, ignore_errors=True)
    except OSError as error:
        raise InputError(f"{folder}: cannot be written ({error.strerror}); choose another folder") from error
    towers = tuple(_tower(place) for place in sorted(folder.iterdir()) if place.is_dir())
    kinds = ("video", "audio", "text") if modality is None else (modality, "text")
    encoders = tuple(f"{model}-{kind}:{folder}" for kind in kinds)
    return Converted(towers, encoders, None if words is None else words.name)


_ABOUT_MODALITY: dict[Model, str] = {
    "imagebind": "its file holds every modality; leave --modality out",
    "languagebind": f"say what the model reads besides texts: --modality {', '.join(get_args(Modality))}",
}


def _tower(place: Path) -> Tower:
    artifact = load_artifact(place, "encoder", verify=False)
    numbers = sum(tensor.numel() for tensor in artifact.tensors.values())
    return Tower(place.name, numbers, artifact.files[0].bytes, artifact.files[0].sha256)
