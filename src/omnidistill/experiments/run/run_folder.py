"""A run folder: its layout, and the check that it belongs to the requested data and settings.

    RUN/run.json          settings, location and fingerprint of the data, versions, command
    RUN/heads/            initial heads of students
    RUN/experts/          expert trajectories, if they were trained in this run
    RUN/earlier/          copy of an existing set, if the run adds new data to that set
    RUN/distilled/        the set; its manifest is written last, so a run with a manifest is finished
    RUN/timings.json      seconds per stage
    RUN/metrics.jsonl     one record per iteration of the outer loop
    RUN/pairs/A~B/        only if joint = false: one run per pair of modalities instead of one set for all modalities

The fingerprint covers all rows that are used for training or for choosing settings: the `heads`, `train` and
`validation` splits. The fingerprint and the artifacts do not include the test split.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path

from omnidistill.core.arguments import argument
from omnidistill.core.errors import InputError
from omnidistill.data.datasets import open_reference
from omnidistill.data.featureset import FeatureSet
from omnidistill.data.fingerprint import fingerprint
from omnidistill.distillation import Distillation, DistilledSet
from omnidistill.distillation.budget import training_bytes
from omnidistill.distillation.outer_loop import CHECKPOINT
from omnidistill.distillation.version_0_1 import upgraded_config
from omnidistill.experiments.config import RunConfig, parse_config
from omnidistill.experiments.run.added_data import as_in_run
from omnidistill.experiments.run.result import STAGES, DistillResult, pair_folder
from omnidistill.experiments.run.run_identity import versions
from omnidistill.experiments.run.run_records import StageSeconds
from omnidistill.experiments.run.stored_part import check_part, load_part
from omnidistill.io.artifacts import write_atomic
from omnidistill.io.input_files import read_json
from omnidistill.models.heads import Heads, load_heads

RUN = "run.json"


@dataclass(frozen=True)
class Run:
    """An open run folder, finished or not.

    Attributes:
        folder: the folder.
        config: the settings.
        location: folder or name of the data; None if they were only in memory.
        fingerprint: fingerprint of the data.
        modalities: names of the modalities.
        budget: the size budget that determined the number of rows.
        versions: versions of the packages that created the run.
        command: the command line, if there was one.
    """

    folder: Path
    config: RunConfig
    location: str | None
    fingerprint: str
    modalities: tuple[str, ...]
    budget: str | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    command: str = ""

    @property
    def parts(self) -> tuple[Run, ...]:
        """The runs that produce one set each: only this run, or one run per pair of modalities."""
        return tuple(open_run(folder) for folder in self._pair_folders()) or (self,)

    def heads(self, data: FeatureSet) -> Heads:
        """Return the initial heads from which students are trained, {modality: embedding width x feature width}.

        Raises:
            InputError: the heads are missing or damaged.
        """
        place = self.folder / "heads"
        if not place.is_dir():
            raise InputError(
                f"{place}: the initial heads of this run are missing; restore this folder from a copy. If the run "
                "trained its heads itself, you can instead train the same heads again: run 'omnidistill heads SET -o "
                f"{shlex.quote(str(place))}' with the settings and the seed of the run"
            )
        return load_heads(place, {name: data.widths[name] for name in self.modalities})[0]

    @property
    def finished(self) -> bool:
        """Whether every set is complete."""
        folders = self._pair_folders() or [self.folder]
        return all((folder / "distilled" / "manifest.json").exists() for folder in folders)

    def sets(self) -> tuple[DistilledSet, ...]:
        """Return the finished sets: one, or one per pair of modalities.

        Raises:
            InputError: the run is not finished.
        """
        if not self.finished:
            raise InputError(f"{self.folder}: the run is not finished; resume it with {argument('resume', True)}")
        return tuple(DistilledSet.load(part.folder / "distilled") for part in self.parts)

    def distilled(self) -> DistilledSet:
        """Return the finished set.

        Raises:
            InputError: the run is not finished, or it has one set per pair of modalities.
        """
        sets = self.sets()
        if len(sets) > 1:
            raise InputError(
                f"{self.folder}: this run has {len(sets)} synthetic sets, one per pair of modalities, but only one can "
                "be used here; use one of the runs in its folder pairs/"
            )
        return sets[0]

    def data(self, current: FeatureSet | None = None) -> FeatureSet:
        """Return the data of the run, restricted to its modalities.

        Args:
            current: the data, if they were moved or were never stored; None loads them from the recorded location.

        Raises:
            InputError: the data are missing, or they are not the data of the run.
        """
        if current is None and self.location is None:
            raise InputError(f"{self.folder}: the data of this run were not stored; pass them with {argument('data')}")
        data = open_reference(str(self.location)) if current is None else current
        named = data.location or "the data"
        missing = [name for name in self.modalities if name not in data.features]
        if not missing:
            data = as_in_run(self.folder, data.only(self.modalities))
        if missing or fingerprint(data) != self.fingerprint:
            remedy = f"pass the data of the run with {argument('data')}"
            raise InputError(f"{named}: not the data of the run {self.folder} (modalities or rows differ); {remedy}")
        return data

    def distillations(self) -> tuple[Distillation, ...]:
        """Return the set, or the set of each pair of modalities, with log and rank floor. The data are not loaded.

        Raises:
            InputError: the run is not finished, or one of its files is damaged.
        """
        return tuple(
            load_part(part.folder, distilled, part.seconds().get("distill", 0.0))
            for part, distilled in zip(self.parts, self.sets(), strict=True)
        )

    def result(self, data: FeatureSet) -> DistillResult:
        """Return the result of a finished run.

        Args:
            data: the data of the run.

        Raises:
            InputError: the run is not finished, or one of its files is damaged.
        """
        return DistillResult(
            self.config,
            self.distillations(),
            self.heads(data),
            self.fingerprint,
            training_bytes(data),
            self.seconds(),
            sum(_tensor_bytes(part.folder / "experts") for part in self.parts),
            self.versions,
            self.budget,
            self.location,
            self.folder,
            self.command,
        )

    def seconds(self) -> dict[str, float]:
        """Return {stage: seconds} for the finished stages, summed over the runs for all pairs of modalities."""
        total: dict[str, float] = {}
        for folder in [self.folder, *self._pair_folders()]:
            timings = StageSeconds.read(folder)
            for stage in STAGES:
                if (seconds := getattr(timings, stage)) is not None:
                    total[stage] = total.get(stage, 0.0) + seconds
        return {stage: total[stage] for stage in STAGES if stage in total}

    def check_records(self) -> None:
        """Check that timings.json, floor.json and the metrics.jsonl of finished sets are not damaged.

        Raises:
            InputError: a file is damaged.
        """
        for folder in [self.folder, *self._pair_folders()]:
            StageSeconds.read(folder)
            check_part(folder, self.modalities)

    def record_seconds(self, stage: str, seconds: float) -> None:
        """Record the seconds of a stage in timings.json."""
        StageSeconds.read(self.folder).evolve(**{stage: seconds}).write(self.folder)

    def remove_checkpoint(self) -> None:
        """Remove the checkpoint, which a finished run no longer needs."""
        folder = self.folder / CHECKPOINT
        if folder.exists():
            for entry in folder.iterdir():
                entry.unlink()
            folder.rmdir()

    def _pair_folders(self) -> list[Path]:
        """Return the run folder of each pair of modalities; empty if the run has one set for all modalities."""
        if self.config.joint:
            return []
        return [pair_folder(self.folder, pair) for pair in combinations(self.modalities, 2)]


def open_run(folder: Path) -> Run:
    """Open an existing run folder. Raises InputError if the folder is damaged or is not a run folder."""
    if not (folder / "run.json").is_file():
        raise InputError(f"{folder}: not a run folder (no run.json); create one with 'omnidistill distill'")
    state = read_json(folder / "run.json")
    try:
        tree, reference, digest, names = state["config"], state["data"], state["fingerprint"], state["modalities"]
    except KeyError as error:
        raise InputError(f"{folder}/run.json: field {error} is missing; the file was altered, so restore it") from None
    listed = isinstance(names, list) and all(isinstance(name, str) for name in names)
    if not (isinstance(tree, dict) and isinstance(reference, str | None) and isinstance(digest, str) and listed):
        raise InputError(
            f"{folder}/run.json: field 'config', 'data', 'fingerprint' or 'modalities' has the wrong type; the file "
            "was altered, so restore it"
        )
    config = parse_config(upgraded_config(tree), f"{folder}/run.json, field 'config'")
    budget, recorded = state.get("budget"), state.get("versions")
    return Run(
        folder,
        config,
        reference,
        digest,
        tuple(names),
        budget if isinstance(budget, str) else None,
        {name: str(version) for name, version in recorded.items()} if isinstance(recorded, dict) else {},
        str(state.get("command") or ""),
    )


def open_or_create_run(
    folder: Path,
    data: FeatureSet,
    config: RunConfig,
    *,
    location: str | None = None,
    command: str = "",
    resume: bool = False,
    budget: str | None = None,
) -> Run:
    """Create a run folder, or reopen it if it contains the same run.

    Args:
        folder: the run folder.
        data: the data, with the modalities of the run.
        config: the settings.
        location: folder or name of the data.
        command: command line, recorded in run.json.
        resume: whether an existing run may be reopened.
        budget: the budget that determined the size, recorded in run.json.

    Raises:
        InputError: the folder contains another run or other files, or it contains this run but `resume` is False.
    """
    digest = fingerprint(data)
    if (folder / RUN).exists():
        run = open_run(folder)
        before, now = (each.model_dump(exclude={"evaluate"}) for each in (run.config, config))
        if run.fingerprint != digest or before != now:
            raise InputError(f"{folder}: contains another run, with different data or settings; choose another folder")
        if not resume:
            raise InputError(
                f"{folder}: already contains this run; resume or reuse it with {argument('resume', True)}, or choose "
                "another folder"
            )
        run.check_records()
        return run
    if folder.exists() and any(entry.name != ".lock" for entry in folder.iterdir()):
        raise InputError(f"{folder}: exists and is not empty; choose another folder")
    state = {
        "config": config.model_dump(mode="json"),
        "data": location,
        "fingerprint": digest,
        "modalities": list(data.modalities),
        "versions": versions(),
        "command": command,
        **({"budget": budget} if budget else {}),
    }
    write_atomic(folder / RUN, json.dumps(state, indent=1).encode())
    return open_run(folder)


def _tensor_bytes(folder: Path) -> int:
    """Return the size in bytes of the tensor files. The manifest is left out: it records times, so its size varies."""
    return sum(file.stat().st_size for file in folder.glob("*.safetensors"))
