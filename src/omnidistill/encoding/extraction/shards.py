"""Store a shard of features as an artifact of kind "encoded shard". Rows that could not be encoded are left out.

OUT/shards/00000    tensors {modality: rows x width}, or rows x views x width if every view of an item is stored
                    meta: digest of the input rows; ids, groups and splits of the encoded rows; items that could not
                    be encoded; number of truncated items by modality
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from jaxtyping import Float
from torch import Tensor

from omnidistill.core.errors import InputError
from omnidistill.io.artifacts import load_artifact, save_artifact
from omnidistill.io.input_files import reading

KIND = "encoded shard"


@dataclass(frozen=True)
class BadItem:
    """An item that could not be encoded, and the reason."""

    id: str
    modality: str
    why: str


@dataclass(frozen=True, eq=False)
class Shard:
    """Content of a shard.

    Attributes:
        features: {modality: rows x width, or rows x views x width}, memory-mapped if loaded from a file.
        ids: ids of the encoded rows.
        groups: groups of the encoded rows.
        splits: splits of the encoded rows.
        bad: the items that could not be encoded. Their rows are dropped.
        cut: {modality: number of encoded rows with a truncated item}. Modalities without such rows are left out.
    """

    features: dict[str, Float[Tensor, "rows ..."]]
    ids: tuple[str, ...]
    groups: tuple[str, ...]
    splits: tuple[str, ...]
    bad: tuple[BadItem, ...]
    cut: dict[str, int]


def shard_folder(out: Path, number: int) -> Path:
    """Return the folder of the shard with this number."""
    return out / "shards" / f"{number:05d}"


def save_shard(folder: Path, shard: Shard, digest: str) -> None:
    """Write a shard, and the digest of its input rows.

    Raises:
        InputError: the shard cannot be written.
    """
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
    """Load a shard.

    Args:
        folder: folder of the shard.
        digest: expected digest of the input rows; None accepts any digest.
        verify: whether to read all features once and compare their checksum.

    Raises:
        InputError: the shard is missing or damaged, or does not have the expected digest.
    """
    artifact = load_artifact(folder, KIND, verify)
    meta = artifact.meta
    if digest is not None and meta.get("rows") != digest:
        raise InputError(
            f"{folder}: this shard was encoded from rows or files that differ from those of the manifest; run "
            "'encode' again"
        )
    with reading(str(folder), "run 'encode' again"):
        shard = Shard(
            {name: artifact.tensors[name] for name in meta["modalities"]},
            tuple(meta["ids"]),
            tuple(meta["groups"]),
            tuple(meta["splits"]),
            tuple(BadItem(**item) for item in meta["bad"]),
            dict(meta.get("cut", {})),
        )
        counts = {len(shard.ids), len(shard.groups), len(shard.splits), *map(len, shard.features.values())}
        texts = (*shard.ids, *shard.groups, *shard.splits)
        if len(counts) != 1 or not all(isinstance(text, str) for text in texts):
            raise ValueError("the ids, groups, splits and features do not belong to the same rows")
    return shard


def is_complete(folder: Path, digest: str) -> bool:
    """Return whether the folder contains a complete shard whose input rows have this digest."""
    try:
        load_shard(folder, digest)
    except InputError:
        return False
    return True
