"""Snapshots of heads after every epoch of a training, from which an interrupted training resumes.

FOLDER/epoch-00.safetensors ...     one file per epoch, {modality: E x d x p_m}
FOLDER/progress.json                the complete snapshots, the key of the training, and the seconds spent
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
    """The heads after each epoch, {modality: E x d x p_m}. Every access maps the file again; do not write to them."""

    paths: tuple[Path, ...]

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, epoch: int) -> dict[str, Float[Tensor, "_ _ _"]]:
        return read_tensors(self.paths[epoch])


def open_snapshots(folder: Path, records: Sequence[FileRecord], verify: bool) -> Snapshots:
    """Open snapshots, comparing the sizes of the files, and with `verify` their sha256, with the records.

    Raises:
        InputError: a file is missing or differs.
    """
    paths = tuple(folder / Path(record.name).name for record in records)
    for path, record in zip(paths, records, strict=True):
        if not path.is_file() or path.stat().st_size != record.bytes:
            raise InputError(f"{path}: missing or not {record.bytes} bytes long; train the experts again")
        read_tensors(path, record if verify else None)
    return Snapshots(paths)


@dataclass
class Trail:
    """The snapshots of a training so far.

    key: identifies the training. seconds: time spent on it. records: one per finished epoch.
    """

    folder: Path
    key: Mapping[str, Any]
    seconds: float = 0.0
    records: list[FileRecord] = field(default_factory=list)

    @staticmethod
    def open(folder: Path, key: Mapping[str, Any], seconds: float = 0.0) -> Trail:
        """Return the snapshots in the folder, or an empty trail with `seconds` if there are none.

        Raises:
            InputError: the folder is damaged or belongs to another training.
        """
        path = folder / "progress.json"
        if not path.exists():
            return Trail(folder, key, seconds)
        try:
            state = read_json(path)
            stored_key, seconds = dict(state["key"]), float(state["seconds"])
            records = [FileRecord(**{**record, "name": Path(record["name"]).name}) for record in state["files"]]
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{path}: damaged ({error}); remove {folder} and train the experts again") from error
        require_same(folder, stored_key, key)
        return Trail(folder, key, seconds, records)

    def last(self, modalities: Sequence[str]) -> dict[str, Tensor]:
        """Return a copy of the heads of the last snapshot, in the given order."""
        heads = read_tensors(self.folder / self.records[-1].name, self.records[-1])
        return {name: heads[name].clone() for name in modalities}

    def add(self, epoch: int, heads: Mapping[str, Tensor], seconds: float) -> None:
        """Save the heads after an epoch; `seconds` is the time spent so far."""
        self.records.append(write_tensors(snapshot_path(self.folder, epoch), heads))
        self.seconds = seconds
        state = {"key": self.key, "files": [asdict(record) for record in self.records], "seconds": seconds}
        write_atomic(self.folder / "progress.json", json.dumps(state).encode())


def snapshot_path(folder: Path, epoch: int) -> Path:
    """Return the file of the heads after an epoch."""
    return folder / f"epoch-{epoch:02d}.safetensors"


def require_same(folder: Path, stored_key: Any, key: Mapping[str, Any]) -> None:
    """Raise InputError, naming the fields that differ, if a folder belongs to another training."""
    if stored_key != json.loads(json.dumps(key)):
        differing = [name for name in key if stored_key.get(name) != json.loads(json.dumps(key[name]))]
        raise InputError(
            f"{folder}: holds experts of another run (different {', '.join(differing)}); "
            "choose another folder or remove it"
        )
