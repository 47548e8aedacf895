"""Convert published weights into a folder from which encoders can load them.

    imagebind       imagebind_huge.pth                     -> DIR/vision, DIR/audio, DIR/text
    languagebind    the folder of a published model        -> DIR/MODALITY, DIR/text

The text towers need CLIP's vocabulary, which is copied into DIR if it is next to the weights. All weights are checked
before anything is written, and a failed conversion leaves no files.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from omnidistill.core.arguments import argument
from omnidistill.core.errors import InputError
from omnidistill.encoding.encoders.imagebind import load_imagebind as imagebind
from omnidistill.encoding.encoders.imagebind.clip_tokens import (
    VOCABULARY_FILES,
    ClipTokenizer,
    find_vocabulary,
    vocabulary_name,
)
from omnidistill.encoding.encoders.languagebind import load_languagebind as languagebind
from omnidistill.io.artifacts import load_artifact, making, move_output, require_new_folder, temp_folder

Model = Literal["imagebind", "languagebind"]
Modality = Literal["video", "image", "audio"]

MODELS: tuple[Model, ...] = get_args(Model)
LICENCES: dict[Model, str] = {"imagebind": imagebind.LICENCE, "languagebind": languagebind.LICENCE}

_CONVERTED: tuple[imagebind.Modality, ...] = ("vision", "audio", "text")  # no encoder uses the other towers


@dataclass(frozen=True)
class Tower:
    """A converted tower.

    Attributes:
        name: modality of the tower.
        parameters: number of parameters.
        bytes: size of the weights.
        sha256: checksum of the weights, 64 hex digits.
    """

    name: str
    parameters: int
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Conversion:
    """Result of `convert`.

    Attributes:
        towers: the converted towers.
        encoders: names of the converted encoders with their folder, such as "imagebind-video:FOLDER". `open_encoder`
            accepts these names.
        vocabulary: file name of the vocabulary, or None if no vocabulary was found.
    """

    towers: tuple[Tower, ...]
    encoders: tuple[str, ...]
    vocabulary: str | None


def convert(
    model: Model,
    source: Path,
    folder: Path,
    modality: Modality | None = None,
    vocabulary: Path | None = None,
    *,
    force: bool = False,
) -> Conversion:
    """Convert published weights, and write them and the vocabulary into a folder.

    The models consist of towers, that is, one network per modality.

    Args:
        model: name of the model.
        source: file with ImageBind's weights, or folder of a LanguageBind model.
        folder: output folder. Unless `force` is True, it must be empty or not exist yet.
        modality: modality of a LanguageBind model; None for ImageBind.
        vocabulary: CLIP's vocabulary, in the format of `merges.txt`, `bpe_simple_vocab_16e6.txt.gz` or
            `tokenizer.json`, or a folder that contains one of these files. None uses a vocabulary next to the weights,
            if there is one.
        force: whether the folder may contain files, such as an earlier conversion. Towers with the same names and the
            vocabulary are replaced; other files are kept.

    Returns:
        The converted towers, and how to open them.

    Raises:
        InputError: the folder is not empty and `force` is False; `modality` is missing for LanguageBind or given for
            ImageBind; a file is missing, damaged or would execute code; a weight is missing, unknown or has the wrong
            shape; or the folder cannot be written.
    """
    require_new_folder(folder, force)
    if (model == "languagebind") != (modality is not None):
        raise InputError(f"convert {model}: {_modality_hint(model)}")
    vocabulary = vocabulary or find_vocabulary(source if source.is_dir() else source.parent)
    if vocabulary is not None:
        ClipTokenizer.from_file(vocabulary)
        if vocabulary.is_dir():
            vocabulary = find_vocabulary(vocabulary)
    try:
        with making(folder.parent), temp_folder(folder) as temporary:
            temporary.mkdir()
            if modality is None:
                imagebind.convert(source, temporary, _CONVERTED)
            else:
                languagebind.convert(source, temporary, modality)
            if vocabulary is not None:
                shutil.copyfile(vocabulary, temporary / vocabulary_name(vocabulary))
            names = sorted(path.name for path in temporary.iterdir() if path.is_dir())
            move_output(temporary, folder)
        if vocabulary is not None:
            for name in {*VOCABULARY_FILES} - {vocabulary_name(vocabulary)}:  # of an earlier conversion
                (folder / name).unlink(missing_ok=True)
    except OSError as error:
        raise InputError(f"{folder}: cannot be written ({error.strerror}); choose another folder") from error
    towers = tuple(_tower(folder / name) for name in names)
    kinds = ("video", "audio", "text") if modality is None else (modality, "text")
    encoders = tuple(f"{model}-{kind}:{folder}" for kind in kinds)
    return Conversion(towers, encoders, None if vocabulary is None else vocabulary_name(vocabulary))


def _modality_hint(model: Model) -> str:
    if model == "imagebind":
        return f"the file contains all modalities; omit {argument('modality')}"
    return f"the model's modality is missing; set {argument('modality')} to one of {', '.join(get_args(Modality))}"


def _tower(path: Path) -> Tower:
    artifact = load_artifact(path, "encoder", verify=False)
    parameters = sum(tensor.numel() for tensor in artifact.tensors.values())
    return Tower(path.name, parameters, artifact.files[0].bytes, artifact.files[0].sha256)
