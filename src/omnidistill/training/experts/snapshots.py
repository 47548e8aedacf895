"""Snapshots of the heads after every epoch, from which interrupted training resumes.

FOLDER/epoch-00.safetensors ...     one file per epoch, {modality: E x d x p_m}
FOLDER/progress.json                list of the complete snapshots, the key of the training, and the seconds spent
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor

from omnidistill.core.device import moved
from omnidistill.core.errors import InputError
from omnidistill.io.artifacts import FileRecord, read_json, read_tensors, write_atomic, write_tensors
from omnidistill.training.experts.expert_key import ExpertKey


@runtime_checkable
class Snapshots(Protocol):
    """The heads after each epoch, {modality: E x d x p_m}. They must not be modified."""

    def __len__(self) -> int: ...

    def __getitem__(self, epoch: int, /) -> Mapping[str, Float[Tensor, "_ _ _"]]: ...


@dataclass(frozen=True)
class StoredSnapshots:
    """Snapshots on disk. Each access memory-maps the file again, so only snapshots in use take memory."""

    paths: tuple[Path, ...]

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, epoch: int) -> dict[str, Float[Tensor, "_ _ _"]]:
        return read_tensors(self.paths[epoch])


def open_snapshots(folder: Path, records: Sequence[FileRecord], verify: bool) -> StoredSnapshots:
    """Check the file sizes (if `verify`, also the sha256 checksums) against the records, then open the snapshots.

    Raises:
        InputError: a file is missing or differs from its record.
    """
    paths = tuple(folder / Path(record.name).name for record in records)
    for path, record in zip(paths, records, strict=True):
        if not path.is_file() or path.stat().st_size != record.bytes:
            raise InputError(
                f"{path}: the file is missing or does not have {record.bytes} bytes; train the experts again"
            )
        read_tensors(path, record if verify else None)
    return StoredSnapshots(paths)


@dataclass(frozen=True)
class BlockKey:
    """Identifies a block of runs within a buffer: `runs` is (number of the first run, number of the last run + 1)."""

    runs: tuple[int, int]

    def to_json(self) -> dict[str, Any]:
        """Return the key as JSON values."""
        return {"runs": list(self.runs)}

    @staticmethod
    def from_json(tree: Mapping[str, Any], where: str) -> BlockKey:
        """Restore a key from the result of `to_json`; error messages begin with `where`.

        Raises:
            InputError: the runs are missing or not two numbers.
        """
        try:
            start, stop = tree["runs"]
            return BlockKey((int(start), int(stop)))
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"{where}: the stored range of training runs is damaged ({error}); train the experts again"
            ) from error


TrainingKey = ExpertKey | BlockKey
"""Identifies a complete buffer, or one block of its runs."""


@dataclass
class SnapshotWriter:
    """Writes snapshots to a folder during training, and reads them when interrupted training resumes.

    Attributes:
        folder: folder of the snapshots.
        key: identifies the training.
        seconds: time that training has taken so far.
        records: the files of the snapshots, in the order of the epochs.
    """

    folder: Path
    key: TrainingKey
    seconds: float = 0.0
    records: list[FileRecord] = field(default_factory=list)

    @staticmethod
    def open(folder: Path, key: TrainingKey, seconds: float = 0.0) -> SnapshotWriter:
        """Return a writer for a folder. It continues after the snapshots that are already in the folder.

        Args:
            folder: folder of the snapshots.
            key: identifies the training.
            seconds: time spent before the first snapshot.

        Raises:
            InputError: the folder is damaged, or it contains snapshots of a different training run.
        """
        path = folder / "progress.json"
        if not path.exists():
            return SnapshotWriter(folder, key, seconds)
        try:
            state = read_json(path)
            stored, seconds = dict(state["key"]), float(state["seconds"])
            records = [FileRecord(**{**record, "name": Path(record["name"]).name}) for record in state["files"]]
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"{path}: the file is damaged ({error}); remove {folder} and train the experts again"
            ) from error
        require_same(folder, type(key).from_json(stored, str(path)), key)
        return SnapshotWriter(folder, key, seconds, records)

    def __len__(self) -> int:
        return len(self.records)

    def last(self, modalities: Sequence[str]) -> dict[str, Tensor]:
        """Return a copy of the heads of the last snapshot, on the CPU, in the given order of modalities."""
        heads = read_tensors(self.folder / self.records[-1].name, self.records[-1])
        return {name: heads[name].clone() for name in modalities}

    def add(self, epoch: int, heads: Mapping[str, Tensor], seconds: float) -> None:
        """Write the heads after an epoch; `seconds` is the time that training has taken so far."""
        self.records.append(write_tensors(snapshot_path(self.folder, epoch), moved(heads, "cpu")))
        self.seconds = seconds
        state = {"key": self.key.to_json(), "files": [asdict(record) for record in self.records], "seconds": seconds}
        write_atomic(self.folder / "progress.json", json.dumps(state).encode())

    def snapshots(self) -> Snapshots:
        """Return the snapshots that have been added so far."""
        return open_snapshots(self.folder, self.records, verify=False)


@dataclass
class MemorySnapshotWriter:
    """Stores snapshots in memory only, so interrupted training cannot resume.

    Attributes:
        seconds: time that training has taken so far.
    """

    seconds: float = 0.0
    folder: None = None
    _snapshots: list[dict[str, Tensor]] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self._snapshots)

    def last(self, modalities: Sequence[str]) -> dict[str, Tensor]:
        """Return a copy of the heads of the last snapshot, in the given order of modalities."""
        return {name: self._snapshots[-1][name].clone() for name in modalities}

    def add(self, epoch: int, heads: Mapping[str, Tensor], seconds: float) -> None:
        """Store a copy of the heads after an epoch; `seconds` is the time that training has taken so far."""
        self._snapshots.append({name: matrix.clone() for name, matrix in heads.items()})
        self.seconds = seconds

    def snapshots(self) -> Snapshots:
        """Return the snapshots that have been added so far."""
        return tuple(self._snapshots)


def snapshot_path(folder: Path, epoch: int) -> Path:
    """Return the path of the snapshot after an epoch."""
    return folder / f"epoch-{epoch:02d}.safetensors"


def require_same(folder: Path, stored: TrainingKey, expected: TrainingKey) -> None:
    """Check that the key stored in a folder equals the expected key.

    Raises:
        InputError: the folder belongs to a different training run. The message names the parts of the key that differ.
    """
    if stored != expected:
        names = [each.name for each in fields(expected)]
        differing = [name for name in names if getattr(stored, name) != getattr(expected, name)]
        raise InputError(
            f"{folder}: contains experts from another run (different {', '.join(differing)}); "
            "choose another folder or remove this one"
        )
