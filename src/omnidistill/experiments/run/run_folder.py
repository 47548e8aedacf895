"""A run folder: what it is of (data, settings), what is in it, and that it is of the run that it is asked for.

    RUN/run.json          settings, data reference and fingerprint, versions, command
    RUN/heads/            where students start
    RUN/experts/          trajectories, where they were trained here
    RUN/distilled/        the set; its manifest is written last, so a run with one is finished
    RUN/timings.json      seconds of every stage
    RUN/metrics.jsonl     one record an iteration, of a set that is learned
    RUN/pairs/A~B/        with joint = false: a run for every pair of modalities instead of one set of all

The fingerprint is taken over the rows that training sees (heads, train, validation), so it names the data that
training saw and the rows that choices were made on. The test split enters neither the fingerprint nor any artifact.
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
    budget: str | None = None  # what the size was derived from

    @property
    def parts(self) -> tuple[Run, ...]:
        """The runs that make a set each: this one, or one for every pair of modalities."""
        return tuple(open_run(folder) for folder in self._pair_folders()) or (self,)

    def heads(self, data: FeatureSet) -> Heads:
        """The heads that students start from."""
        return load_heads(self.folder / "heads", {name: data.widths[name] for name in self.modalities})[0]

    @property
    def finished(self) -> bool:
        """Whether every set is there, whole."""
        folders = self._pair_folders() or [self.folder]
        return all((folder / "distilled" / "manifest.json").exists() for folder in folders)

    def sets(self) -> tuple[DistilledSet, ...]:
        """The finished sets, one of every part."""
        if not self.finished:
            raise InputError(
                f"{self.folder}: the run is not finished; continue it with: omnidistill distill ... --resume"
            )
        return tuple(DistilledSet.load(part.folder / "distilled") for part in self.parts)

    def distilled(self) -> DistilledSet:
        """The finished set. Raises InputError for a run that makes one of every pair."""
        sets = self.sets()
        if len(sets) > 1:
            raise InputError(
                f"{self.folder}: holds {len(sets)} sets, one of every pair of modalities; see pairs/ in it"
            )
        return sets[0]

    def seconds(self) -> dict[str, float]:
        """Seconds of the stages done so far, added over the parts."""
        total: dict[str, float] = {}
        for folder in [self.folder, *self._pair_folders()]:
            path = folder / "timings.json"
            found = read_json(path) if path.exists() else {}
            for stage in STAGES:
                if isinstance(found.get(stage), float):
                    total[stage] = total.get(stage, 0.0) + found[stage]
        return {stage: total[stage] for stage in STAGES if stage in total}

    def record_seconds(self, stage: str, seconds: float) -> None:
        """Keep the seconds of a stage."""
        path = self.folder / "timings.json"
        known = read_json(path) if path.exists() else {}
        write_atomic(path, json.dumps({**known, stage: seconds}, indent=1).encode())

    def _pair_folders(self) -> list[Path]:
        """None for a joint run."""
        if self.config.joint:
            return []
        return [pair_folder(self.folder, pair) for pair in combinations(self.modalities, 2)]


def pair_folder(folder: Path, pair: tuple[str, str]) -> Path:
    """Where the run of a pair of modalities is; no modality has a "~" in its name."""
    return folder / "pairs" / "~".join(pair)


def open_data(reference: str, config: RunConfig | None = None) -> FeatureSet:
    """A packed set by its folder, or the bundled one by the name "emoji"; in the modalities that the run uses."""
    if reference == EMOJI and not Path(reference).exists():
        data = prepare(load_emoji())
    else:
        path = Path(reference)
        if not path.exists():
            raise InputError(
                f"{reference}: no such set; pack one with 'omnidistill pack', or use the bundled '{EMOJI}'"
            )
        data = load_features(path)
    return data if config is None or config.modalities is None else data.only(config.modalities)


def open_run(folder: Path) -> Run:
    """Open an existing run folder. Raises InputError if it is none."""
    if not (folder / "run.json").is_file():
        raise InputError(f"{folder}: not a run folder (no run.json); make one with 'omnidistill distill'")
    state = read_json(folder / "run.json")
    try:
        tree, reference, mark, names = state["config"], state["data"], state["fingerprint"], state["modalities"]
    except KeyError as error:
        raise InputError(f"{folder}/run.json: field {error} is missing; the file was altered") from None
    listed = isinstance(names, list) and all(isinstance(name, str) for name in names)
    if not (isinstance(tree, dict) and isinstance(reference, str) and isinstance(mark, str) and listed):
        raise InputError(
            f"{folder}/run.json: config, data, fingerprint or modalities is of another type; the file was altered"
        )
    config = parse_config(upgraded_config(tree), f"{folder}/run.json, field 'config'")
    budget = state.get("budget")
    return Run(folder, config, reference, mark, tuple(names), budget if isinstance(budget, str) else None)


def begin_run(
    folder: Path,
    reference: str,
    data: FeatureSet,
    config: RunConfig,
    command: str,
    resume: bool,
    budget: str | None = None,
) -> Run:
    """Make a run folder, or reopen the same run.

    Raises:
        InputError: the folder holds another run, other files, or this run and `resume` is False.
    """
    mark = fingerprint(data)
    if (folder / "run.json").exists():
        found = open_run(folder)
        if found.fingerprint != mark or found.config.model_dump(exclude={"evaluate"}) != config.model_dump(
            exclude={"evaluate"}
        ):
            raise InputError(f"{folder}: holds another run (data or settings differ); choose another folder")
        if not resume:
            raise InputError(
                f"{folder}: holds this run already; continue or reuse it with --resume, or choose another folder"
            )
        return found
    if folder.exists() and any(entry.name != ".lock" for entry in folder.iterdir()):
        raise InputError(f"{folder}: exists and is not empty; choose another folder")
    reference = reference if reference == EMOJI and not Path(reference).exists() else str(Path(reference).resolve())
    state = {
        "config": config.model_dump(mode="json"),
        "data": reference,
        "fingerprint": mark,
        "modalities": list(data.modalities),
        "versions": versions(),
        "command": command,
        **({"budget": budget} if budget else {}),
    }
    write_atomic(folder / "run.json", json.dumps(state, indent=1).encode())
    return Run(folder, config, reference, mark, data.modalities, budget)


def heads_fingerprint(heads: Mapping[str, torch.Tensor]) -> str:
    """sha256 over the matrices."""
    digest = hashlib.sha256()
    for name, matrix in sorted(heads.items()):
        digest.update(name.encode())
        digest.update(matrix.contiguous().numpy().data)
    return digest.hexdigest()


def versions() -> dict[str, str]:
    """Versions that a result depends on."""
    packages = ("omnidistill", "torch", "numpy", "safetensors", "pydantic")
    found = {name: metadata.version(name) for name in packages}
    return {
        **found,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "threads": str(torch.get_num_threads()),
    }
