"""Convert ImageBind's published weights into one folder per tower, and load a tower from its folder.

The licence of the weights does not allow this project to distribute them, so users must download them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from omnidistill.encoding.encoders.imagebind.imagebind_keys import published_name
from omnidistill.encoding.encoders.imagebind.imagebind_towers import (
    HUGE,
    MODALITIES,
    Modality,
    Size,
    Tower,
    empty_tower,
)
from omnidistill.encoding.encoders.published_weights import check_weights, file_sha256, read_checkpoint
from omnidistill.encoding.encoders.stored_tower import store_tower, stored_tower

LICENCE = (
    "ImageBind weights, Meta Platforms, CC-BY-NC 4.0: non-commercial use only, also of all that is computed with them"
)
_MODEL = "imagebind"


class Loaded(NamedTuple):
    """A tower with its weights, and the sha256 of the weights (64 hex digits)."""

    tower: Tower
    sha256: str


def convert(
    checkpoint: Path,
    folder: Path,
    modalities: Sequence[Modality] = MODALITIES,
    sizes: Mapping[Modality, Size] = HUGE,
) -> None:
    """Convert the published state dict (`imagebind_huge.pth`, 4.8 GB) into one subfolder per tower.

    Args:
        checkpoint: file with the state dict.
        folder: folder in which the subfolders are created.
        modalities: modalities of the towers to convert.
        sizes: sizes of all towers in the file, including towers that are not converted.

    Raises:
        InputError: the file cannot be read; a weight is missing, unknown or has the wrong shape; or a tower cannot be
            written.
    """
    tensors = read_checkpoint(checkpoint)
    expected = {modality: _weights(empty_tower(modality, size), modality) for modality, size in sizes.items()}
    check_weights(tensors, {k: x for each in expected.values() for k, x in each.items()}, checkpoint, _MODEL)
    source = {"file": checkpoint.name, "sha256": file_sha256(checkpoint)}
    for modality in modalities:
        own = {key: tensors[key] for key in expected[modality]}
        store_tower(folder, _MODEL, modality, own, sizes[modality], LICENCE, source)


def load(folder: Path, modality: Modality, verify: bool = True) -> Loaded:
    """Load a tower that `convert` wrote. Its weights are memory-mapped and on CPU.

    Args:
        folder: folder that `convert` wrote.
        modality: modality of the tower to load.
        verify: whether to check the sha256 of the weights first.

    Raises:
        InputError: the weights are missing or damaged, or belong to another tower.
    """
    stored = stored_tower(folder, _MODEL, modality, Size, verify)
    tower = empty_tower(modality, stored.size)
    check_weights(stored.tensors, _weights(tower, modality), folder / modality, _MODEL)
    own = {name: stored.tensors[published_name(modality, name)] for name in tower.state_dict()}
    tower.load_state_dict(own, assign=True)
    return Loaded(tower.requires_grad_(False), stored.sha256)


def _weights(tower: Tower, modality: Modality) -> dict[str, Tensor]:
    return {published_name(modality, name): tensor for name, tensor in tower.state_dict().items()}
