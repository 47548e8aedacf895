"""Store the weights of one encoder tower in FOLDER/MODALITY, as an artifact (tensors and metadata) of kind "encoder".

The tensors keep their published names. The metadata contain the model, the modality, the size of the tower, the
licence, and the file from which the weights were converted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from torch import Tensor

from omnidistill.core.errors import InputError
from omnidistill.io.artifacts import load_artifact, save_artifact

Size = TypeVar("Size")

_KIND = "encoder"


@dataclass(frozen=True, eq=False)
class StoredTower(Generic[Size]):
    """A tower's weights, as read from disk.

    Attributes:
        tensors: weights by their published names, memory-mapped and read-only.
        size: size of the tower.
        sha256: checksum of the tensor file, 64 hex digits.
    """

    tensors: dict[str, Tensor]
    size: Size
    sha256: str


def store_tower(
    folder: Path,
    model: str,
    modality: str,
    tensors: Mapping[str, Tensor],
    size: Any,
    licence: str,
    source: Mapping[str, str],
) -> None:
    """Write a tower of `model` into `folder`/`modality`.

    Args:
        folder: folder of the model.
        model: name of the model.
        modality: name of the tower.
        tensors: weights by their published names.
        size: size of the tower, a dataclass of numbers.
        licence: licence of the weights.
        source: the published file, as {"file": name, "sha256": checksum}.

    Raises:
        InputError: the tower cannot be written. A tower that is already in the folder then stays unchanged.
    """
    meta = {"model": model, "modality": modality, "size": asdict(size), "licence": licence, "source": source}
    save_artifact(folder / modality, _KIND, tensors, meta)


def stored_tower(folder: Path, model: str, modality: str, size: type[Size], verify: bool) -> StoredTower[Size]:
    """Read a tower from `folder`/`modality`.

    Args:
        folder: folder of the model.
        model: expected name of the model.
        modality: name of the tower.
        size: dataclass type for the size of the tower.
        verify: whether to check the sha256 of the tensors first.

    Raises:
        InputError: the tower is missing or damaged, or belongs to another model or modality.
    """
    artifact = load_artifact(folder / modality, _KIND, verify)
    stored = tuple(artifact.meta.get(field) for field in ("model", "modality"))
    if stored != (model, modality):
        raise InputError(
            f"{folder / modality}: contains weights for model {stored[0]!r}, modality {stored[1]!r}; "
            f"expected model {model!r}, modality {modality!r}; pass the folder that 'omnidistill convert' wrote for "
            "this model"
        )
    try:
        return StoredTower(artifact.tensors, size(**artifact.meta["size"]), artifact.files[0].sha256)
    except (KeyError, TypeError) as error:
        raise InputError(
            f"{folder / modality}: the stored model size is missing or invalid ({error}); convert the weights again"
        ) from error
