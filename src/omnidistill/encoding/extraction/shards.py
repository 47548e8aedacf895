"""One shard of features on disk: an artifact of kind "encoded shard" with the rows of which no item was bad.

OUT/shards/00000    tensors {modality: rows x width}, or rows x views x width where views are kept
                    meta: digest of the rows it was made from, ids, groups, splits of those kept, what was bad, and
                    how many of those kept were cut
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from jaxtyping import Float
from torch import Tensor

from omnidistill.core.errors import InputError
from omnidistill.io.artifacts import load_artifact, save_artifact

KIND = "encoded shard"


@dataclass(frozen=True)
class BadItem:
    """An item that could not be encoded, and why."""

    id: str
    modality: str
    why: str


@dataclass(frozen=True, eq=False)
class Shard:
    """What a shard holds.

    features: {modality: rows x [views x] width}, mapped from the file when loaded. cut: {modality: how many of the rows
    have an item that was longer than its encoder reads}, where there are any.
    """

    features: dict[str, Float[Tensor, "rows ..."]]
    ids: tuple[str, ...]
    groups: tuple[str, ...]
    splits: tuple[str, ...]
    bad: tuple[BadItem, ...]
    cut: dict[str, int]


def shard_folder(out: Path, number: int) -> Path:
    """Where the shard of this number lies."""
    return out / "shards" / f"{number:05d}"


def save_shard(folder: Path, shard: Shard, digest: str) -> None:
    """Write a shard, made from the rows of this digest. Raises InputError if it cannot be written."""
    meta = {
        "rows": digest,
        "modalities": list(shard.features),
        "ids": shard.ids,
        "groups": shard.groups,
        "splits": shard.splits,
        "bad": [asdict(item) for item in shard.bad],
        "cut": shard.cut,
    }
    save_artifact(folder, KIND, shard.features, meta)


def load_shard(folder: Path, digest: str | None = None, verify: bool = True) -> Shard:
    """The shard there; `verify` reads its features once. Raises InputError if it is missing, damaged, or not of these
    rows.
    """
    artifact = load_artifact(folder, KIND, verify)
    meta = artifact.meta
    if digest is not None and meta["rows"] != digest:
        raise InputError(f"{folder}: holds other rows; encode them again")
    return Shard(
        {name: artifact.tensors[name] for name in meta["modalities"]},
        tuple(meta["ids"]),
        tuple(meta["groups"]),
        tuple(meta["splits"]),
        tuple(BadItem(**item) for item in meta["bad"]),
        dict(meta.get("cut", {})),
    )


def is_made(folder: Path, digest: str) -> bool:
    """Whether a whole shard of these rows lies there."""
    try:
        load_shard(folder, digest)
    except InputError:
        return False
    return True
