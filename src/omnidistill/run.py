"""One run: its folder, and the stages that fill it. Each stage takes what the one before left and can be called alone.

    RUN/run.json          configuration, data reference, fingerprints, versions (the lock), command
    RUN/heads, experts    made here when they are not given
    RUN/metrics.jsonl, checkpoint, distilled
    RUN/scores.json, scores.csv, report.html      written by the evaluation

The data stay where they are: a run keeps a reference and a fingerprint of the rows that choices were made on. The
test split enters neither the fingerprint nor any artifact.
"""

from __future__ import annotations

import hashlib
import json
import platform
import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from omnidistill.artifacts import exclusive, read_json, write_atomic
from omnidistill.config import RunConfig, parse_config
from omnidistill.data.emoji import load_emoji
from omnidistill.distill import DistilledSet, TrajectoryMatching, distill
from omnidistill.errors import InputError
from omnidistill.evaluation.choosing import judge_set, validation_score
from omnidistill.experts import ExpertBuffer, load_experts, pretrain_heads, train_experts
from omnidistill.features.featureset import FeatureSet, prepare
from omnidistill.features.store import load_features
from omnidistill.heads import Heads, load_heads, save_heads
from omnidistill.objectives import objective_from
from omnidistill.tracking import Progress, SilentProgress

EMOJI = "emoji"


@dataclass(frozen=True)
class Run:
    """An open run folder."""

    folder: Path
    config: RunConfig
    data_reference: str
    fingerprint: str

    def heads(self, data: FeatureSet) -> Heads:
        """The heads that students start from."""
        return load_heads(self.folder / "heads", data.widths)[0]

    @property
    def finished(self) -> bool:
        """Whether the set is there, whole."""
        return (self.folder / "distilled" / "manifest.json").exists()

    def distilled(self) -> DistilledSet:
        """The finished set."""
        if not self.finished:
            raise InputError(
                f"{self.folder}: the run is not finished; continue it with: omnidistill distill ... --resume"
            )
        return DistilledSet.load(self.folder / "distilled")

    def seconds(self) -> dict[str, float]:
        """Seconds of the stages done so far."""
        path = self.folder / "timings.json"
        found = read_json(path) if path.exists() else {}
        return {stage: found[stage] for stage in ("heads", "experts", "distill") if isinstance(found.get(stage), float)}

    def record_seconds(self, stage: str, seconds: float) -> None:
        """Keep the seconds of a stage."""
        write_atomic(self.folder / "timings.json", json.dumps({**self.seconds(), stage: seconds}, indent=1).encode())


def open_data(reference: str) -> FeatureSet:
    """A packed set by its folder, or the bundled one by the name "emoji"."""
    if reference == EMOJI and not Path(reference).exists():
        return prepare(load_emoji())
    path = Path(reference)
    if not path.exists():
        raise InputError(f"{reference}: no such set; pack one with 'omnidistill pack', or use the bundled '{EMOJI}'")
    return load_features(path)


def fingerprint(data: FeatureSet) -> str:
    """sha256 over the rows that training and choices see (heads, train, validation): content, ids, groups, splits."""
    digest = hashlib.sha256()
    development = [row for row, split in enumerate(data.splits) if split in ("heads", "train", "validation")]
    for name, matrix in sorted(data.features.items()):
        digest.update(f"{name}{tuple(matrix.shape[1:])}".encode())
        digest.update(matrix[development].contiguous().numpy().data)
    for row in development:
        digest.update(f"{data.ids[row]}\0{data.groups[row]}\0{data.splits[row]}\n".encode())
    return digest.hexdigest()


def open_run(folder: Path) -> Run:
    """Open an existing run folder. Raises InputError if it is none."""
    if not (folder / "run.json").is_file():
        raise InputError(f"{folder}: not a run folder (no run.json); make one with 'omnidistill distill'")
    state = read_json(folder / "run.json")
    try:
        tree, reference, mark = state["config"], state["data"], state["fingerprint"]
    except KeyError as error:
        raise InputError(f"{folder}/run.json: field {error} is missing; the file was altered") from None
    if not (isinstance(tree, dict) and isinstance(reference, str) and isinstance(mark, str)):
        raise InputError(f"{folder}/run.json: config, data or fingerprint is of another type; the file was altered")
    return Run(folder, parse_config(tree, f"{folder}/run.json, field 'config'"), reference, mark)


def begin_run(folder: Path, reference: str, data: FeatureSet, config: RunConfig, command: str, resume: bool) -> Run:
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
        "versions": versions(),
        "command": command,
    }
    write_atomic(folder / "run.json", json.dumps(state, indent=1).encode())
    return Run(folder, config, reference, mark)


def make_heads(
    data: FeatureSet, config: RunConfig, folder: Path, given: Path | None = None, progress: Progress | None = None
) -> Heads:
    """The heads of `folder`; made when missing: read from `given`, or pre-trained on the `heads` split (random
    without one).
    """
    if (folder / "manifest.json").exists():
        heads = load_heads(folder, data.widths)[0]
        if given is not None and heads_fingerprint(load_heads(given, data.widths)[0]) != heads_fingerprint(heads):
            raise InputError(f"{folder}: holds other heads than {given}; choose another folder")
        return heads
    if given is not None:
        heads, meta = load_heads(given, data.widths)
        save_heads(heads, folder, {"origin": "given", **{key: meta[key] for key in ("source",) if key in meta}})
        return heads
    development = data.development()
    heads, epoch = pretrain_heads(
        development,
        config.heads,
        lambda heads: validation_score(heads, development.validation),
        seed=config.seed,
        progress=progress,
    )
    origin = "random" if development.heads is None else "pre-trained on the heads split"
    meta = {"origin": origin, "epoch": epoch, "config": config.heads.model_dump(mode="json"), "seed": config.seed}
    save_heads(heads, folder, {**meta, "data": fingerprint(data)})
    return heads


def make_experts(
    data: FeatureSet, heads: Heads, config: RunConfig, folder: Path, progress: Progress | None = None
) -> ExpertBuffer:
    """The expert buffer of `folder`; trained, or its training continued, when it is not finished."""
    return train_experts(
        heads,
        data.split("train"),
        config.experts,
        folder,
        seed=config.seed,
        spectrum_epochs=config.distill.num_expert_epochs,
        identity={"data": fingerprint(data), "heads": heads_fingerprint(heads)},
        progress=progress,
    )


def run_experts(
    reference: str, config: RunConfig, folder: Path, heads: Path | None = None, progress: Progress | None = None
) -> ExpertBuffer:
    """Heads in FOLDER/heads (made when not given) and the experts that start from them in FOLDER/buffer."""
    data = open_data(reference)
    objective_from(config.experts.objective, data.modalities)
    if heads is not None:
        load_heads(heads, data.widths)
    with exclusive(folder):
        start = make_heads(data, config, folder / "heads", heads, progress)
        return make_experts(data, start, config, folder / "buffer", progress)


def run_distill(
    reference: str,
    config: RunConfig,
    folder: Path,
    *,
    heads: Path | None = None,
    experts: Path | None = None,
    resume: bool = False,
    command: str = "",
    progress: Progress | None = None,
) -> tuple[Run, DistilledSet]:
    """All stages up to the distilled set; what is missing (heads, experts) is made in the run folder."""
    progress = progress or SilentProgress()
    data = open_data(reference)
    development = data.development()
    if config.distill.size > len(development.train):
        raise InputError(
            f"distill.size = {config.distill.size} exceeds the {len(development.train)} training rows of {reference}"
        )
    for objective in (config.distill.student, config.experts.objective):
        objective_from(objective, data.modalities)
    if heads is not None:
        load_heads(heads, data.widths)
    buffer = None if experts is None else _given_experts(experts, data, config, heads)
    with exclusive(folder):
        run = begin_run(folder, reference, data, config, command, resume)
        if run.finished:
            _remove_checkpoint(folder / "checkpoint")
            return run, run.distilled()
        begun = time.monotonic()
        if heads is None and buffer is not None and not (folder / "heads" / "manifest.json").exists():
            save_heads(buffer.heads(0, 0), folder / "heads", {"origin": "the start of the given experts"})
        start = make_heads(data, config, folder / "heads", heads, progress)
        if "heads" not in run.seconds():
            run.record_seconds("heads", time.monotonic() - begun)
        if buffer is None:
            buffer = make_experts(data, start, config, folder / "experts", progress)
        elif heads_fingerprint(buffer.heads(0, 0)) != heads_fingerprint(start):
            raise InputError(f"{folder}: holds a run from other heads than those of {experts}; choose another folder")
        run.record_seconds("experts", buffer.seconds)
        outer = TrajectoryMatching(buffer, config.distill.num_expert_epochs, config.distill.max_start_epoch)
        floors = outer.floor(min(config.distill.size, config.distill.num_student_steps * config.distill.batch))
        write_atomic(folder / "floor.json", json.dumps({"floor": floors}).encode())
        result = distill(
            development.train,
            outer,
            next(iter(start.values())).shape[0],
            config,
            folder,
            judge=lambda distilled: judge_set(distilled, start, development.validation),
            identity=_provenance(data, start, buffer),
            resume=resume,
            progress=progress,
        )
        run.record_seconds("distill", result.seconds)
        _remove_checkpoint(folder / "checkpoint")
    return run, result.distilled


def heads_fingerprint(heads: Heads) -> str:
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


def _given_experts(given: Path, data: FeatureSet, config: RunConfig, heads: Path | None) -> ExpertBuffer:
    """Experts made before, by the folder that 'experts' was told or the buffer in it."""
    buffer = load_experts(given / "buffer" if (given / "buffer").is_dir() else given)
    identity = buffer.meta["key"]["identity"]
    other_heads = heads is not None and heads_fingerprint(load_heads(heads, data.widths)[0]) != identity.get("heads")
    if identity.get("data") != fingerprint(data) or other_heads:
        raise InputError(f"{given}: experts were trained on other data or from other heads; train them again")
    last = config.distill.max_start_epoch - 1 + config.distill.num_expert_epochs
    if last > buffer.num_epochs:
        raise InputError(f"{given}: experts have {buffer.num_epochs} epochs, but the settings read epoch {last}")
    return buffer


def _provenance(data: FeatureSet, start: Heads, buffer: ExpertBuffer) -> dict[str, Any]:
    kept: Mapping[str, Any] = {
        key: data.provenance[key] for key in ("name", "licences", "encoders") if key in data.provenance
    }
    trained = {name: buffer.meta["key"][name] for name in ("config", "seed")}
    return {**kept, "data": fingerprint(data), "heads": heads_fingerprint(start), "experts": trained}


def _remove_checkpoint(folder: Path) -> None:
    if folder.exists():
        for entry in folder.iterdir():
            entry.unlink()
        folder.rmdir()
