"""Heads after every epoch of a training, on disk: what is there when it is cut, and what it goes on from.

FOLDER/epoch-00.safetensors ...     one file an epoch, {modality: E x d x p_m}
FOLDER/progress.json                which of them are whole, of which training, and its seconds
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from jaxtyping import Float
from torch import Tensor

from omnidistill.core.errors import InputError
from omnidistill.io.artifacts import FileRecord, read_json, read_tensors, write_atomic, write_tensors


@dataclass(frozen=True)
class Snapshots:
    """The heads after each epoch, {modality: E x d x p_m}; each mapped anew when asked for, never to be written to."""

    paths: tuple[Path, ...]

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, epoch: int) -> dict[str, Float[Tensor, "_ _ _"]]:
        return read_tensors(self.paths[epoch])


def open_snapshots(folder: Path, records: Sequence[FileRecord], verify: bool) -> Snapshots:
    """The snapshots of these files; their lengths, or their contents too, are as recorded.

    Raises InputError where they are not.
    """
    paths = tuple(folder / Path(record.name).name for record in records)
    for path, record in zip(paths, records, strict=True):
        if not path.is_file() or path.stat().st_size != record.bytes:
            raise InputError(f"{path}: missing or not {record.bytes} bytes long; train the experts again")
        read_tensors(path, record if verify else None)
    return Snapshots(paths)


@dataclass
class Trail:
    """The snapshots that a training has made so far, and the seconds it took. key: names the training."""

    folder: Path
    key: Mapping[str, Any]
    seconds: float = 0.0
    records: list[FileRecord] = field(default_factory=list)

    @staticmethod
    def found(folder: Path, key: Mapping[str, Any], seconds: float = 0.0) -> Trail:
        """What is in the folder; with none of its own, a training begins after `seconds`.

        Raises InputError for a damaged folder, and one of another training.
        """
        path = folder / "progress.json"
        if not path.exists():
            return Trail(folder, key, seconds)
        try:
            state = read_json(path)
            found, seconds = dict(state["key"]), float(state["seconds"])
            records = [FileRecord(**{**record, "name": Path(record["name"]).name}) for record in state["files"]]
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{path}: damaged ({error}); remove {folder} and train the experts again") from error
        require_same(folder, found, key)
        return Trail(folder, key, seconds, records)

    def last(self, modalities: Sequence[str]) -> dict[str, Tensor]:
        """The heads of the last snapshot, in this order and memory of their own."""
        heads = read_tensors(self.folder / self.records[-1].name, self.records[-1])
        return {name: heads[name].clone() for name in modalities}

    def add(self, epoch: int, heads: Mapping[str, Tensor], seconds: float) -> None:
        """Keep the heads after an epoch; all that was done took `seconds`."""
        self.records.append(write_tensors(snapshot_path(self.folder, epoch), heads))
        self.seconds = seconds
        state = {"key": self.key, "files": [asdict(record) for record in self.records], "seconds": seconds}
        write_atomic(self.folder / "progress.json", json.dumps(state).encode())


def snapshot_path(folder: Path, epoch: int) -> Path:
    """Where the heads after an epoch lie."""
    return folder / f"epoch-{epoch:02d}.safetensors"


def require_same(folder: Path, found: Any, wanted: Mapping[str, Any]) -> None:
    """Raise InputError, naming what differs, if a folder is of another training."""
    if found != json.loads(json.dumps(wanted)):
        differing = [name for name in wanted if found.get(name) != json.loads(json.dumps(wanted[name]))]
        raise InputError(
            f"{folder}: holds experts of another run (different {', '.join(differing)}); "
            "choose another folder or remove it"
        )
