"""Small runs for tests: planted data with any M, a configuration that takes seconds, and helpers for run folders."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import signal
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from omnidistill.cli.main import main
from omnidistill.data.featureset import FeatureSet, prepare
from omnidistill.data.planted import planted
from omnidistill.data.store import save_features
from omnidistill.distillation import (
    Distillation,
    DistilledSet,
    Outer,
    Provenance,
    TrajectoryMatching,
    ValidationResult,
    Validator,
    distill,
)
from omnidistill.distillation.outer import TrajectoryObjective
from omnidistill.evaluation.baselines import random_real_rows
from omnidistill.evaluation.validation import doubling_steps, validate_set
from omnidistill.experiments.config import RunConfig, load_config
from omnidistill.experiments.evaluate_run import evaluate
from omnidistill.experiments.evaluation_result import Evaluation
from omnidistill.experiments.run import Run, open_run
from omnidistill.experiments.run import distill as distill_features
from omnidistill.io.tracking import SilentProgress
from omnidistill.methods.learn import Learn
from omnidistill.models.heads import Heads, random_heads
from omnidistill.training.experts import ExpertBuffer, Start, train_experts

ROWS = {"heads": 48, "train": 64, "validation": 40, "test": 40}


def widths(num_modalities: int) -> dict[str, int]:
    return {name: 12 + 2 * index for index, name in enumerate("abcdef"[:num_modalities])}


def features(
    num_modalities: int = 3, rows: Mapping[str, int] = ROWS, positives_per_group: int = 2, **settings: Any
) -> FeatureSet:
    return prepare(planted(widths(num_modalities), rows, latent=6, positives_per_group=positives_per_group, **settings))


def small_config(*overrides: str, **fixed: Any) -> RunConfig:
    """The preset "smoke", 8-wide heads."""
    return load_config(preset="smoke", overrides=["heads.width=8", *overrides], **fixed)


def small_heads(data: FeatureSet, width: int = 8, seed: int = 0) -> Heads:
    return random_heads(data.widths, width, torch.Generator().manual_seed(seed))


def small_experts(folder: Path, config: RunConfig, data: FeatureSet | None = None, seed: int = 0) -> ExpertBuffer:
    """A trained buffer from random heads."""
    data = data or features()
    return train_experts(
        [small_start(small_heads(data), config)],
        data.split("train"),
        config.experts,
        folder,
        seed=seed,
        spectrum_epochs=config.distill.expert_span,
    )


def small_start(heads: Heads, config: RunConfig) -> Start:
    """Return the heads that the settings pre-train."""
    return Start(heads, config.experts.learning_rate, config.experts.num_epochs)


def packed(folder: Path, data: FeatureSet | None = None) -> Path:
    """The set on disk, as `pack` leaves it."""
    save_features(data or features(), folder)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    """All files below a folder, by path; lock files hold a process id and are left out."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }


def shipped(folder: Path) -> int:
    """Size of the files in the folder of an artifact that a receiver needs: tensors and manifest."""
    (tensors,) = folder.glob("*.safetensors")
    return tensors.stat().st_size + (folder / "manifest.json").stat().st_size


def without_seconds(files: Mapping[str, bytes]) -> dict[str, Any]:
    """Return the contents with parsed manifests, without times and the checksums that depend on them."""
    kept: dict[str, Any] = dict(files)
    for name, data in files.items():
        if name.endswith("manifest.json"):
            manifest = json.loads(data)
            manifest["meta"].pop("seconds", None)
            manifest.pop("sha256")
            kept[name] = manifest
    return kept


_PROGRESS = re.compile(r"^.*  \d+:\d\d:\d\d  ETA .*\n", re.MULTILINE)


@dataclass(frozen=True)
class Outcome:
    """What a command did. `err` is without lines of progress: a slow machine prints one every ten seconds."""

    code: int
    out: str
    err: str


def cli(*arguments: object) -> Outcome:
    """Run a command in this process, as the console script does."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as stop:
            code = int(stop.code or 0)
    return Outcome(code, out.getvalue(), _PROGRESS.sub("", err.getvalue()))


SMALL = ("--preset", "smoke", "--set", "heads.width=8")


@dataclass(frozen=True)
class Loop:
    """What the outer loop needs, built once; `distill` runs the loop in a folder."""

    data: FeatureSet
    start: Heads
    buffer: ExpertBuffer

    @staticmethod
    def make(folder: Path, num_modalities: int = 3) -> Loop:
        data = features(num_modalities)
        return Loop(data, small_heads(data), small_experts(folder, small_config(), data))

    def outer(self, config: RunConfig) -> TrajectoryMatching:
        outer = learn_settings(config).outer
        assert isinstance(outer, TrajectoryObjective)
        return TrajectoryMatching(self.buffer, outer.num_expert_epochs, outer.max_start_epoch)

    def validate(self, distilled: DistilledSet) -> ValidationResult:
        """Score a set of the loop, whose recipe still has the number of steps that it is learned with."""
        return validate_set(distilled, self.start, self.data.development().validation, distilled.recipe.num_steps)

    def distill(
        self,
        folder: Path,
        config: RunConfig,
        *,
        wrap: Callable[[Outer], Outer] = lambda outer: outer,
        validate: Validator | None = None,
        validated: bool = True,
        **arguments: Any,
    ) -> Distillation:
        """Run the outer loop with the settings of a run, recorded as a run records them, and save its set."""
        recorded = {"provenance": Provenance(method=config.method, config=config.model_dump(mode="json"))}
        result = distill(
            self.data.split("train"),
            wrap(self.outer(config)),
            8,
            learn_settings(config),
            folder,
            seed=config.seed,
            validate=(validate or self.validate) if validated else None,
            **{**recorded, **arguments},
        )
        result.distilled.save(folder / "distilled")
        return result


def run_distill(reference: str, config: RunConfig, folder: Path, **arguments: Any) -> Run:
    """Distil in a folder on the CPU, without showing progress, and open the run."""
    silent: dict[str, Any] = {"device": "cpu", "progress": False, **arguments}
    distill_features(reference if reference == "emoji" else Path(reference), config=config, folder=folder, **silent)
    return open_run(folder)


@contextlib.contextmanager
def random_rows_trained_fully() -> Iterator[None]:
    """Train random rows four times as long as conftest.py allows, where a set is to beat them: on planted data, more
    steps (users have eight times as many) do not raise their scores.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(random_real_rows, "doubling_steps", lambda longest: doubling_steps(min(longest, 256)))
        yield


def evaluate_run(run: Run, **arguments: Any) -> Evaluation:
    """Evaluate a run on the CPU, without showing progress."""
    return evaluate(run, **{"device": "cpu", "progress": False, **arguments})


def learn_settings(config: RunConfig) -> Learn:
    """Return the settings of the outer loop, with the type that a checker needs."""
    assert isinstance(config.distill, Learn)
    return config.distill


def records(folder: Path) -> list[dict[str, Any]]:
    """The metrics of a run."""
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text("utf-8").splitlines()]


class NoteRecorder(SilentProgress):
    """A progress that records the notes of a run."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, line: str) -> None:
        self.notes.append(line)


class InterruptAfter(NoteRecorder):
    """Press Ctrl-C when this number of steps is reached; the run finishes the iteration and saves a checkpoint."""

    def __init__(self, *done: int) -> None:
        super().__init__()
        self.at = done

    def start(self, total: int, label: str, done: int = 0, seconds: float = 0.0) -> None:
        self.done = done

    def advance(self, n: int = 1, **fields: Any) -> None:
        self.done += n
        if self.done in self.at:
            signal.raise_signal(signal.SIGINT)


class Cut(BaseException):
    """An exception that interrupts a run."""


class Writes:
    """Counts the renames that finish a file, and interrupts before the one with the given number; 0: never."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.replace, self.made, self.limit = os.replace, 0, 0
        monkeypatch.setattr(os, "replace", self._count)

    def cut_before(self, limit: int) -> None:
        self.made, self.limit = 0, limit

    def _count(self, *arguments: Any) -> None:
        self.made += 1
        if self.made == self.limit:
            raise Cut
        self.replace(*arguments)
