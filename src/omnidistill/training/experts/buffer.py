"""Expert buffers: the trajectories of E experts, i.e. the heads before training (epoch 0) and after every epoch.

    BUFFER/epoch-00.safetensors ...     one file per epoch, {modality: E x d x p_m}
    BUFFER/tensors-....safetensors      squared distances between an expert's heads at any two epochs; spectra
    BUFFER/manifest.json                written last: the key, which identifies the settings and inputs of the training
    BUFFER/progress.json                list of the finished epochs, from which interrupted training resumes

The squared distances are the denominators of the matching loss. The spectra are the singular values of the changes in
the first expert's heads. They determine the rank floor, a lower bound on the matching loss.

The file of an epoch is memory-mapped only while its heads are in use, so memory never has to hold all trajectories.
Experts can start from different initial heads (`experts.starts`), and the number of epochs can differ between them.
After the last epoch of an expert, its heads stay constant.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from omnidistill.io.artifacts import FileRecord, create_again, load_artifact, save_artifact
from omnidistill.io.input_files import reading
from omnidistill.models.heads import Heads
from omnidistill.training.experts.expert_key import ExpertKey
from omnidistill.training.experts.snapshots import Snapshots, open_snapshots
from omnidistill.training.experts.starts import OWN
from omnidistill.training.rank_floor import singular_values


@dataclass(frozen=True, repr=False)
class ExpertBuffer:
    """A finished expert buffer: the stored trajectories of all experts."""

    snapshots: Snapshots
    squared_distances: Float[Tensor, "E M S S"]  # ||W_s - W_t||_F^2 for epochs s and t
    spectra: dict[str, Float[Tensor, "_ _"]]  # {modality: epochs s x k}, of the first expert, see `update_spectra`
    spectrum_epochs: int  # number of epochs over which each update in `spectra` is taken
    own: tuple[bool, ...]  # for each expert, whether it starts from the initial heads of the run; the first always does
    last_epochs: tuple[int, ...]  # last epoch of each expert, after which its heads stay constant
    modalities: tuple[str, ...]
    seconds: float
    key: ExpertKey

    @property
    def num_experts(self) -> int:
        """Number of experts E."""
        return self.squared_distances.shape[0]

    @property
    def num_epochs(self) -> int:
        """Largest number of epochs of any expert, not counting epoch 0."""
        return len(self.snapshots) - 1

    @property
    def own_experts(self) -> tuple[int, ...]:
        """Indices of the experts that start from the initial heads of the run."""
        return tuple(expert for expert, own in enumerate(self.own) if own)

    @property
    def bytes(self) -> int:
        """Size of the trajectories in bytes."""
        first = self.snapshots[0]
        return len(self.snapshots) * sum(matrix.numel() * matrix.element_size() for matrix in first.values())

    @property
    def choices(self) -> dict[str, str]:
        """Settings that validation chose for the experts that start from the run's initial heads.

        The keys are the names of the settings. The values are texts with the value and the reason for the choice.
        """
        own, config = self.key.starts[OWN], self.key.config
        values = {"learning_rate": f"{own.learning_rate:g}", "num_epochs": str(own.num_epochs)}
        reason = "best validation score of training on all rows"
        return {name: f"{value} ({reason})" for name, value in values.items() if config.get(name, 0) is None}

    def table(self) -> str:
        """Return the number of runs, the number of epochs and the training time in seconds as one line of text."""
        return f"{self.num_experts} runs x {self.num_epochs} epochs, {self.seconds:.0f} s"

    def to_json(self) -> dict[str, Any]:
        """Return the number of experts, number of epochs, training time and size in bytes as JSON values."""
        return {
            "experts": self.num_experts,
            "epochs": self.num_epochs,
            "seconds": self.seconds,
            "bytes": self.bytes,
        }

    def __repr__(self) -> str:
        return f"ExpertBuffer({', '.join(self.modalities)}: {self.table()})"

    def heads(self, expert: int, epoch: int) -> Heads:
        """Return one expert's heads (d x p_m) after an epoch. Do not modify them: they share the snapshot's memory."""
        return _of_expert(self.snapshots[epoch], self.modalities, expert)


def save_experts(buffer: ExpertBuffer, folder: Path, records: Sequence[FileRecord]) -> None:
    """Write the manifest of an expert buffer whose snapshots are already in the folder.

    Args:
        buffer: the buffer.
        folder: folder of the buffer.
        records: name, size and checksum of every snapshot file, in the order of the epochs.
    """
    spectra = {f"spectrum/{name}": values for name, values in buffer.spectra.items()}
    meta = {
        "key": buffer.key.to_json(),
        "files": [asdict(record) for record in records],
        "modalities": list(buffer.modalities),
        "seconds": buffer.seconds,
        "spectrum_epochs": buffer.spectrum_epochs,
        "own": list(buffer.own),
        "last_epochs": list(buffer.last_epochs),
    }
    save_artifact(folder, "experts", {"squared_distances": buffer.squared_distances, **spectra}, meta)


def load_experts(folder: Path, verify: bool = True) -> ExpertBuffer:
    """Open stored expert trajectories (a finished expert buffer).

    Args:
        folder: folder of the buffer.
        verify: whether to verify the sha256 checksum of every snapshot. This reads all snapshots once.

    Raises:
        InputError: the buffer is damaged or unfinished.
    """
    artifact = load_artifact(folder, "experts")
    meta = artifact.meta
    with reading(str(folder), create_again(folder)):
        modalities = tuple(meta["modalities"])
        buffer = ExpertBuffer(
            open_snapshots(folder, [FileRecord(**record) for record in meta["files"]], verify),
            artifact.tensors["squared_distances"],
            {name: artifact.tensors[f"spectrum/{name}"] for name in modalities},
            meta["spectrum_epochs"],
            tuple(meta["own"]),
            tuple(meta["last_epochs"]),
            modalities,
            meta["seconds"],
            ExpertKey.from_json(meta["key"], str(folder)),
        )
        _check_shapes(buffer)
    return buffer


def _check_shapes(buffer: ExpertBuffer) -> None:
    """Raise ValueError unless the parts of a buffer agree in the numbers of experts, modalities and snapshots."""
    num_experts, num_snapshots = len(buffer.last_epochs), len(buffer.snapshots)
    expected = (num_experts, len(buffer.modalities), num_snapshots, num_snapshots)
    if tuple(buffer.squared_distances.shape) != expected or len(buffer.own) != num_experts:
        raise ValueError(f"squared_distances have shape {tuple(buffer.squared_distances.shape)}, expected {expected}")
    if not all(type(last) is int and 0 <= last < num_snapshots for last in buffer.last_epochs):
        raise ValueError(f"last_epochs is {list(buffer.last_epochs)} for {num_snapshots} snapshots")
    first = buffer.snapshots[0]
    shapes = {name: tuple(first[name].shape) for name in buffer.modalities}
    if not all(len(shape) == 3 and shape[0] == num_experts for shape in shapes.values()):
        raise ValueError(f"the heads have the shapes {shapes}, expected {num_experts} matrices each")


def squared_distances(snapshots: Snapshots, modalities: Sequence[str]) -> Float[Tensor, "E M S S"]:
    """Return ||W_s - W_t||_F^2 for all pairs of epochs s and t, per expert and modality.

    W_s is the head after epoch s. Only one expert is loaded at a time.
    """
    num_experts, count = len(snapshots[0][modalities[0]]), len(snapshots)
    table = torch.zeros(num_experts, len(modalities), count, count, device="cpu")
    for expert in range(num_experts):
        path = [_of_expert(snapshots[epoch], modalities, expert) for epoch in range(count)]
        for m, name in enumerate(modalities):
            gap = torch.empty_like(path[0][name])
            for s, t in combinations(range(count), 2):
                torch.sub(path[t][name], path[s][name], out=gap)
                table[expert, m, s, t] = table[expert, m, t, s] = gap.square_().sum()
    return table


def update_spectra(
    snapshots: Snapshots, modalities: Sequence[str], span: int, last_epoch: int
) -> dict[str, Float[Tensor, "_ _"]]:
    """Return the singular values of the first expert's updates for each modality.

    An update is the change of a head over `span` epochs. Row s of a result contains the singular values of the update
    from epoch s to epoch s + span.

    Args:
        snapshots: the heads of all experts after each epoch.
        modalities: names of the modalities.
        span: number of epochs in each update.
        last_epoch: last epoch of the first expert.
    """
    pairs = [(snapshots[s], snapshots[s + span]) for s in range(last_epoch - span + 1)]
    return {
        name: torch.stack([singular_values(start[name][0] - end[name][0]) for start, end in pairs])
        for name in modalities
    }


def _of_expert(snapshot: Mapping[str, Tensor], modalities: Sequence[str], expert: int) -> Heads:
    return {name: snapshot[name][expert] for name in modalities}
