"""Snapshots of the heads of E experts after every epoch. Interrupted training resumes from the last snapshot.

FOLDER/epoch-00.safetensors ...     one file per epoch, {modality: tensor of shape E x d x p_m}
FOLDER/progress.json                the list of complete snapshots, a key that identifies the training, and its duration
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
from omnidistill.io.artifacts import FileRecord, create_again, read_tensors, write_atomic, write_tensors
from omnidistill.io.input_files import read_json
from omnidistill.training.experts.expert_key import ExpertKey


@runtime_checkable
class Snapshots(Protocol):
    """Read-only sequence of snapshots: the heads of E experts after each epoch, {modality: E x d x p_m}."""

    def __len__(self) -> int: ...

    def __getitem__(self, epoch: int, /) -> Mapping[str, Float[Tensor, "_ _ _"]]: ...


@dataclass(frozen=True)
class StoredSnapshots:
    """Snapshots on disk. The files are memory-mapped when they are accessed, so unused snapshots take no memory."""

    paths: tuple[Path, ...]

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, epoch: int) -> dict[str, Float[Tensor, "_ _ _"]]:
        return read_tensors(self.paths[epoch])


def open_snapshots(folder: Path, records: Sequence[FileRecord], verify: bool) -> StoredSnapshots:
    """Open stored snapshots. Check the sizes of the files and, with `verify`, also their sha256 checksums.

    Raises:
        InputError: a file is missing or differs from its record.
    """
    paths = tuple(folder / Path(record.name).name for record in records)
    for path, record in zip(paths, records, strict=True):
        if not path.is_file() or path.stat().st_size != record.bytes:
            raise InputError(
                f"{path}: this file of expert trajectories is missing or does not have {record.bytes} bytes; "
                f"{create_again(folder)}"
            )
        read_tensors(path, record if verify else None)
    return StoredSnapshots(paths)


@dataclass(frozen=True)
class BlockKey:
    """Identifies a block of consecutive experts: index of the first expert, and index of the last expert plus 1."""

    runs: tuple[int, int]

    def to_json(self) -> dict[str, Any]:
        """Return the key as a JSON object: {"runs": [index of the first expert, index of the last expert plus 1]}."""
        return {"runs": list(self.runs)}

    @staticmethod
    def from_json(tree: Mapping[str, Any], where: str) -> BlockKey:
        """Create a key from the result of `to_json`.

        Args:
            tree: the result of `to_json`.
            where: name of the file, for error messages.

        Raises:
            InputError: the field "runs" is missing or does not contain two numbers.
        """
        try:
            start, stop = tree["runs"]
            return BlockKey((int(start), int(stop)))
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"{where}: field 'runs' must contain two numbers, such as [0, 4] for the experts with indices 0 to 3 "
                f"({error}); delete this file, and train the experts again"
            ) from error


TrainingKey = ExpertKey | BlockKey
"""Identifies a complete buffer, or one block of its runs."""


@dataclass
class SnapshotWriter:
    """Writes snapshots to a folder during training, and reads them when interrupted training resumes.

    Attributes:
        folder: folder of the snapshots.
        key: identifies the training by its settings and inputs.
        seconds: duration of the training so far.
        records: name, size and checksum of every snapshot file, in the order of the epochs.
    """

    folder: Path
    key: TrainingKey
    seconds: float = 0.0
    records: list[FileRecord] = field(default_factory=list)

    @staticmethod
    def open(folder: Path, key: TrainingKey, seconds: float = 0.0) -> SnapshotWriter:
        """Return a writer that appends to the snapshots in a folder.

        Args:
            folder: folder of the snapshots; it may be missing or empty.
            key: identifies the training by its settings and inputs.
            seconds: duration of the preparations before the first snapshot.

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
            raise InputError(f"{path}: the file is damaged ({error}); {create_again(folder)}") from error
        require_same(folder, type(key).from_json(stored, str(path)), key)
        return SnapshotWriter(folder, key, seconds, records)

    def __len__(self) -> int:
        return len(self.records)

    def last(self, modalities: Sequence[str]) -> dict[str, Tensor]:
        """Return the heads of the last snapshot as a copy on the CPU, in the given order of modalities."""
        heads = read_tensors(self.folder / self.records[-1].name, self.records[-1])
        return {name: heads[name].clone() for name in modalities}

    def add(self, epoch: int, heads: Mapping[str, Tensor], seconds: float) -> None:
        """Write a snapshot of the heads after an epoch. `seconds` is the duration of the training so far."""
        self.records.append(write_tensors(snapshot_path(self.folder, epoch), moved(heads, "cpu")))
        self.seconds = seconds
        state = {"key": self.key.to_json(), "files": [asdict(record) for record in self.records], "seconds": seconds}
        write_atomic(self.folder / "progress.json", json.dumps(state).encode())

    def snapshots(self) -> Snapshots:
        """Return all snapshots that were written."""
        return open_snapshots(self.folder, self.records, verify=False)


@dataclass
class MemorySnapshotWriter:
    """Stores snapshots in memory only. Interrupted training cannot be resumed.

    Attributes:
        seconds: duration of the training so far.
    """

    seconds: float = 0.0
    folder: None = None
    _snapshots: list[dict[str, Tensor]] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self._snapshots)

    def last(self, modalities: Sequence[str]) -> dict[str, Tensor]:
        """Return the heads of the last snapshot as a copy, in the given order of modalities."""
        return {name: self._snapshots[-1][name].clone() for name in modalities}

    def add(self, epoch: int, heads: Mapping[str, Tensor], seconds: float) -> None:
        """Store a copy of the heads after an epoch. `seconds` is the duration of the training so far."""
        self._snapshots.append({name: matrix.clone() for name, matrix in heads.items()})
        self.seconds = seconds

    def snapshots(self) -> Snapshots:
        """Return all snapshots that were stored."""
        return tuple(self._snapshots)


def snapshot_path(folder: Path, epoch: int) -> Path:
    """Return the path of the snapshot for an epoch."""
    return folder / f"epoch-{epoch:02d}.safetensors"


def require_same(folder: Path, stored: TrainingKey, expected: TrainingKey) -> None:
    """Check that a folder contains the expected experts. Experts are identified by a key, such as `ExpertKey`.

    Raises:
        InputError: the keys `stored` and `expected` differ. The message names the fields that differ.
    """
    if stored != expected:
        names = [each.name for each in fields(expected)]
        differing = [name for name in names if getattr(stored, name) != getattr(expected, name)]
        raise InputError(
            f"{folder}: contains expert trajectories of another run (different {', '.join(differing)}); choose another "
            "folder or remove this one"
        )
