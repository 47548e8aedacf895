"""A run folder: its layout, and the check that it belongs to the requested data and settings.

    RUN/run.json          settings, data reference and fingerprint, versions, command
    RUN/heads/            initial heads of students
    RUN/experts/          expert trajectories, if they were trained in this run
    RUN/distilled/        the set; its manifest is written last, so a run with a manifest is finished
    RUN/timings.json      seconds per stage
    RUN/metrics.jsonl     one record per iteration of the outer loop
    RUN/pairs/A~B/        with joint = false: one run per pair of modalities instead of one set of all modalities

The fingerprint covers the splits heads, train and validation: all rows used in training and in choices. The test split
enters neither the fingerprint nor any artifact.
"""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from itertools import combinations
from pathlib import Path

import torch

from omnidistill.core.errors import InputError
from omnidistill.data.emoji import load_emoji
from omnidistill.data.featureset import FeatureSet, prepare
from omnidistill.data.fingerprint import fingerprint
from omnidistill.data.store import load_features
from omnidistill.distill import DistilledSet
from omnidistill.distill.version_0_1 import upgraded_config
from omnidistill.experiments.config import RunConfig, parse_config
from omnidistill.io.artifacts import read_json, write_atomic
from omnidistill.models.heads import Heads, load_heads

EMOJI = "emoji"
STAGES = ("heads", "experts", "distill")


@dataclass(frozen=True)
class Run:
    """An open run folder."""

    folder: Path
    config: RunConfig
    data_reference: str
    fingerprint: str
    modalities: tuple[str, ...]
    budget: str | None = None  # the budget that determined the size

    @property
    def parts(self) -> tuple[Run, ...]:
        """The runs that each produce a set: this run, or one per pair of modalities."""
        return tuple(open_run(folder) for folder in self._pair_folders()) or (self,)

    def heads(self, data: FeatureSet) -> Heads:
        """Return the initial heads of students, {modality: d x p_m}."""
        return load_heads(self.folder / "heads", {name: data.widths[name] for name in self.modalities})[0]

    @property
    def finished(self) -> bool:
        """Whether every set is complete."""
        folders = self._pair_folders() or [self.folder]
        return all((folder / "distilled" / "manifest.json").exists() for folder in folders)

    def sets(self) -> tuple[DistilledSet, ...]:
        """Return the finished sets, one per part. Raises InputError if the run is not finished."""
        if not self.finished:
            raise InputError(
                f"{self.folder}: the run is not finished; resume it with: omnidistill distill ... --resume"
            )
        return tuple(DistilledSet.load(part.folder / "distilled") for part in self.parts)

    def distilled(self) -> DistilledSet:
        """Return the finished set.

        Raises:
            InputError: the run is not finished, or has one set per pair of modalities.
        """
        sets = self.sets()
        if len(sets) > 1:
            raise InputError(
                f"{self.folder}: contains {len(sets)} sets, one per pair of modalities; use one of the runs in pairs/"
            )
        return sets[0]

    def seconds(self) -> dict[str, float]:
        """Return the seconds of each finished stage, summed over the parts."""
        total: dict[str, float] = {}
        for folder in [self.folder, *self._pair_folders()]:
            path = folder / "timings.json"
            timings = read_json(path) if path.exists() else {}
            for stage in STAGES:
                if isinstance(timings.get(stage), float):
                    total[stage] = total.get(stage, 0.0) + timings[stage]
        return {stage: total[stage] for stage in STAGES if stage in total}

    def record_seconds(self, stage: str, seconds: float) -> None:
        """Record the seconds of a stage in timings.json."""
        path = self.folder / "timings.json"
        known = read_json(path) if path.exists() else {}
        write_atomic(path, json.dumps({**known, stage: seconds}, indent=1).encode())

    def _pair_folders(self) -> list[Path]:
        """Return the folders of the pairs; empty for a joint run."""
        if self.config.joint:
            return []
        return [pair_folder(self.folder, pair) for pair in combinations(self.modalities, 2)]


def pair_folder(folder: Path, pair: tuple[str, str]) -> Path:
    """Return the folder of the run of a pair of modalities. Names of modalities cannot contain "~"."""
    return folder / "pairs" / "~".join(pair)


def open_data(reference: str, config: RunConfig | None = None) -> FeatureSet:
    """Load a packed set from its folder, or the bundled set by the name "emoji", with the modalities that a run uses.

    Raises:
        InputError: the set does not exist or is damaged.
    """
    if reference == EMOJI and not Path(reference).exists():
        data = prepare(load_emoji())
    else:
        path = Path(reference)
        if not path.exists():
            raise InputError(
                f"{reference}: no such set; create one with 'omnidistill pack', or use the bundled '{EMOJI}'"
            )
        data = load_features(path)
    return data if config is None or config.modalities is None else data.only(config.modalities)


def open_run(folder: Path) -> Run:
    """Open an existing run folder. Raises InputError if it is not one, or is damaged."""
    if not (folder / "run.json").is_file():
        raise InputError(f"{folder}: not a run folder (no run.json); create one with 'omnidistill distill'")
    state = read_json(folder / "run.json")
    try:
        tree, reference, digest, names = state["config"], state["data"], state["fingerprint"], state["modalities"]
    except KeyError as error:
        raise InputError(f"{folder}/run.json: field {error} is missing; the file was altered") from None
    listed = isinstance(names, list) and all(isinstance(name, str) for name in names)
    if not (isinstance(tree, dict) and isinstance(reference, str) and isinstance(digest, str) and listed):
        raise InputError(
            f"{folder}/run.json: config, data, fingerprint or modalities has the wrong type; the file was altered"
        )
    config = parse_config(upgraded_config(tree), f"{folder}/run.json, field 'config'")
    budget = state.get("budget")
    return Run(folder, config, reference, digest, tuple(names), budget if isinstance(budget, str) else None)


def begin_run(
    folder: Path,
    reference: str,
    data: FeatureSet,
    config: RunConfig,
    command: str,
    resume: bool,
    budget: str | None = None,
) -> Run:
    """Create a run folder, or reopen it if it contains the same run.

    Args:
        folder: the run folder.
        reference: folder of the packed set, or "emoji".
        data: the set.
        config: the settings.
        command: command line, recorded in run.json.
        resume: whether an existing run may be reopened.
        budget: the budget that determined the size, recorded in run.json.

    Raises:
        InputError: the folder contains another run, other files, or this run and `resume` is False.
    """
    digest = fingerprint(data)
    if (folder / "run.json").exists():
        run = open_run(folder)
        if run.fingerprint != digest or run.config.model_dump(exclude={"evaluate"}) != config.model_dump(
            exclude={"evaluate"}
        ):
            raise InputError(f"{folder}: contains another run (data or settings differ); choose another folder")
        if not resume:
            raise InputError(
                f"{folder}: contains this run already; resume or reuse it with --resume, or choose another folder"
            )
        return run
    if folder.exists() and any(entry.name != ".lock" for entry in folder.iterdir()):
        raise InputError(f"{folder}: exists and is not empty; choose another folder")
    reference = reference if reference == EMOJI and not Path(reference).exists() else str(Path(reference).resolve())
    state = {
        "config": config.model_dump(mode="json"),
        "data": reference,
        "fingerprint": digest,
        "modalities": list(data.modalities),
        "versions": versions(),
        "command": command,
        **({"budget": budget} if budget else {}),
    }
    write_atomic(folder / "run.json", json.dumps(state, indent=1).encode())
    return Run(folder, config, reference, digest, data.modalities, budget)


def heads_fingerprint(heads: Mapping[str, torch.Tensor]) -> str:
    """Return the SHA-256 digest of names and matrices, in hex."""
    digest = hashlib.sha256()
    for name, matrix in sorted(heads.items()):
        digest.update(name.encode())
        digest.update(matrix.contiguous().numpy().data)
    return digest.hexdigest()


def versions() -> dict[str, str]:
    """Return the versions of packages and platform that a result depends on, and the number of threads."""
    packages = ("omnidistill", "torch", "numpy", "safetensors", "pydantic")
    return {
        **{name: metadata.version(name) for name in packages},
        "python": platform.python_version(),
        "platform": platform.platform(),
        "threads": str(torch.get_num_threads()),
    }
