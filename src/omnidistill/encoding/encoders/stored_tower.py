"""One tower's weights on disk: an artifact of kind "encoder", in FOLDER/MODALITY.

It holds the tensors by their published names, and says the model, the modality, the size of the tower, the licence and
the file that they came from.
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
class Stored(Generic[Size]):
    """tensors: mapped, never to be written to. sha256: of their file, 64 hex digits."""

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

    size: a dataclass of numbers. source: `file` and `sha256` of what was published.
    Raises InputError if it cannot be written; what was there before is then untouched.
    """
    meta = {"model": model, "modality": modality, "size": asdict(size), "licence": licence, "source": source}
    save_artifact(folder / modality, _KIND, tensors, meta)


def stored_tower(folder: Path, model: str, modality: str, size: type[Size], verify: bool) -> Stored[Size]:
    """Read it again, its size as an instance of `size`; `verify` compares the sha256 of the tensors first.

    Raises InputError if it is missing, damaged, or another tower.
    """
    artifact = load_artifact(folder / modality, _KIND, verify)
    found = tuple(artifact.meta.get(field) for field in ("model", "modality"))
    if found != (model, modality):
        raise InputError(
            f"{folder / modality}: holds weights of {found[0]!r}, {found[1]!r}, expected {model!r}, {modality!r}"
        )
    try:
        return Stored(artifact.tensors, size(**artifact.meta["size"]), artifact.files[0].sha256)
    except (KeyError, TypeError) as error:
        raise InputError(
            f"{folder / modality}: does not say the size of the tower ({error}); convert it again"
        ) from error
