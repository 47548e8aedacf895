"""A distillation that is interrupted anywhere and resumed gives bitwise the same result."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from omnidistill.core.errors import InputError
from omnidistill.core.streams import Streams
from omnidistill.distillation import Episode, Outer, Provenance
from omnidistill.distillation.checkpoint import CheckpointIdentity
from omnidistill.experiments.config import RunConfig
from omnidistill.io.artifacts import load_artifact
from omnidistill.io.tracking import SilentProgress
from small_runs import InterruptAfter, Loop, contents, records, small_config

OPTIMISERS = {
    "adam": ("distill.optimiser.kind=adam",),
    "sgd": ('distill.optimiser={kind="sgd", rows=0.3, similarity=0.3, step_sizes=0.003, momentum=0.5}',),
    "plain sgd": ('distill.optimiser={kind="sgd", rows=0.3, similarity=0.3, step_sizes=0.003, momentum=0.0}',),
}


@pytest.fixture(scope="module")
def loop(tmp_path_factory: pytest.TempPathFactory) -> Loop:
    return Loop.make(tmp_path_factory.mktemp("experts"))


def config_of(*overrides: str, iterations: int = 7) -> RunConfig:
    return small_config("distill.validate_every=2", f"distill.iterations={iterations}", *overrides)


class During:
    """An outer objective in which something happens while an iteration is computed."""

    def __init__(self, inner: Outer, iteration: int, action: Callable[[], Any]) -> None:
        self.inner, self.at, self.action = inner, iteration, action
        self.terms = inner.terms

    def episode(self, iteration: int, streams: Streams) -> Episode:
        self.now = iteration
        return self.inner.episode(iteration, streams)

    def loss(self, endpoint: Any, episode: Episode) -> Any:
        if self.now == self.at:
            self.action()
        return self.inner.loss(endpoint, episode)


@pytest.mark.parametrize("optimiser", OPTIMISERS)
def test_interrupted_often_equals_uninterrupted(optimiser: str, loop: Loop, tmp_path: Path) -> None:
    """Rows, factors, step sizes, optimiser, streams and log are equal after interruptions at 1, 2, 4 and 7."""
    config = config_of(*OPTIMISERS[optimiser])
    loop.distill(tmp_path / "whole", config)
    for cut in (1, 2, 4, 7):
        with pytest.raises(KeyboardInterrupt):
            loop.distill(tmp_path / "parts", config, resume=True, progress=InterruptAfter(cut))
        assert load_artifact(tmp_path / "parts" / "checkpoint", "checkpoint").meta["iteration"] == cut
    loop.distill(tmp_path / "parts", config, resume=True)
    assert contents(tmp_path / "parts" / "distilled") == contents(tmp_path / "whole" / "distilled")
    assert records(tmp_path / "parts") == records(tmp_path / "whole")
    assert (tmp_path / "parts/metrics.jsonl").read_bytes() == (tmp_path / "whole/metrics.jsonl").read_bytes()


def test_the_last_set_is_the_same_too(loop: Loop, tmp_path: Path) -> None:
    """Without validation the result is the set after the last iteration, so nothing can hide in an earlier best."""
    config = small_config("distill.validate_every=0")
    loop.distill(tmp_path / "whole", config)
    with pytest.raises(KeyboardInterrupt):
        loop.distill(tmp_path / "parts", config, progress=InterruptAfter(3))
    spent = load_artifact(tmp_path / "parts" / "checkpoint", "checkpoint").meta["seconds"]
    resumed = ResumedAt()
    loop.distill(tmp_path / "parts", config, resume=True, progress=resumed)
    assert (resumed.done, resumed.seconds) == (3, spent)  # from which the remaining time is estimated
    assert contents(tmp_path / "parts" / "distilled") == contents(tmp_path / "whole" / "distilled")


class ResumedAt(SilentProgress):
    def start(self, total: int, label: str, done: int = 0, seconds: float = 0.0) -> None:
        self.done, self.seconds = done, seconds


@pytest.mark.parametrize("how", ["a signal", "an exception"])
def test_interrupted_while_an_iteration_is_computed(how: str, loop: Loop, tmp_path: Path) -> None:
    """Ctrl-C usually arrives here: after the batches of the iteration are drawn, and before the update."""
    config = small_config("distill.validate_every=0")
    loop.distill(tmp_path / "whole", config)

    def ctrl_c() -> None:
        if how == "a signal":
            os.kill(os.getpid(), signal.SIGINT)
        else:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        loop.distill(tmp_path / "parts", config, wrap=lambda outer: During(outer, 3, ctrl_c))
    loop.distill(tmp_path / "parts", config, resume=True)
    assert (tmp_path / "parts/metrics.jsonl").read_bytes() == (tmp_path / "whole/metrics.jsonl").read_bytes()
    assert contents(tmp_path / "parts" / "distilled") == contents(tmp_path / "whole" / "distilled")


def test_a_signal_loses_no_iteration(loop: Loop, tmp_path: Path) -> None:
    """Ctrl-C takes effect after the current iteration, which is saved."""
    config = small_config()
    with pytest.raises(KeyboardInterrupt):
        loop.distill(tmp_path, config, wrap=lambda outer: During(outer, 3, lambda: os.kill(os.getpid(), signal.SIGINT)))
    assert load_artifact(tmp_path / "checkpoint", "checkpoint").meta["iteration"] == 4


def test_interrupting_does_not_change_what_ctrl_c_does_afterwards(loop: Loop, tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGINT)
    loop.distill(tmp_path / "whole", small_config("distill.iterations=1"))
    assert signal.getsignal(signal.SIGINT) is before


def test_killed_while_its_first_checkpoint_is_written(loop: Loop, tmp_path: Path) -> None:
    """The folder exists, but not the manifest, which is written last, so there is no checkpoint yet."""
    (tmp_path / "parts" / "checkpoint").mkdir(parents=True)
    (tmp_path / "parts" / "checkpoint" / "tensors-0123456789ab.safetensors").write_bytes(b"half of")
    loop.distill(tmp_path / "parts", small_config(), resume=True)
    loop.distill(tmp_path / "whole", small_config())
    assert contents(tmp_path / "parts" / "distilled") == contents(tmp_path / "whole" / "distilled")


def test_an_interrupted_run_is_not_begun_anew_by_accident(loop: Loop, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        loop.distill(tmp_path, small_config(), progress=InterruptAfter(2))
    before = contents(tmp_path)
    with pytest.raises(InputError, match=r"contains an interrupted run.*resume=True"):
        loop.distill(tmp_path, small_config())
    assert contents(tmp_path) == before


@pytest.mark.parametrize(
    "other",
    ["seed=1", "distill.size=11", "distill.iterations=9", "distill.schedule=constant", "experts.learning_rate=0.5"],
)
def test_the_checkpoint_of_another_run_is_refused(other: str, loop: Loop, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        loop.distill(tmp_path, small_config(), progress=InterruptAfter(2))
    before = contents(tmp_path)
    with pytest.raises(InputError, match="checkpoint belongs to another run"):
        loop.distill(tmp_path, small_config(other), resume=True)
    assert contents(tmp_path) == before


def test_a_checkpoint_of_other_data_is_refused(loop: Loop, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        loop.distill(tmp_path, small_config(), provenance=Provenance(data="a"), progress=InterruptAfter(2))
    with pytest.raises(InputError, match="checkpoint belongs to another run"):
        loop.distill(tmp_path, small_config(), provenance=Provenance(data="b"), resume=True)


def test_a_damaged_identity_is_refused() -> None:
    identity = CheckpointIdentity({"seed": 1, "distill": {}}, {"data": "a"})
    assert CheckpointIdentity.from_json(identity.to_json(), "checkpoint") == identity
    for tree in ({}, {"config": 5, "provenance": {}}, {"config": {}, "provenance": 5}):
        with pytest.raises(InputError, match=r"^checkpoint: the description of the run in the checkpoint is damaged"):
            CheckpointIdentity.from_json(tree, "checkpoint")


def test_evaluation_settings_may_change_between_parts(loop: Loop, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        loop.distill(tmp_path, small_config(), progress=InterruptAfter(2))
    loop.distill(tmp_path, small_config("evaluate.num_seeds=3"), resume=True)


@pytest.mark.parametrize("damage", ["truncated", "altered"])
def test_a_damaged_checkpoint_is_refused_by_name(damage: str, loop: Loop, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        loop.distill(tmp_path, small_config(), progress=InterruptAfter(2))
    (tensors,) = (tmp_path / "checkpoint").glob("*.safetensors")
    data = tensors.read_bytes()
    tensors.write_bytes(data[:-1] if damage == "truncated" else data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(InputError, match=f"{tensors.name}.*delete the folder"):
        loop.distill(tmp_path, small_config(), resume=True)


@pytest.mark.parametrize("lost", ["checkpoint/manifest.json", "checkpoint/tensors-*", "metrics.jsonl", "last lines"])
def test_a_run_that_lost_a_part_recovers_or_says_what_to_delete(lost: str, loop: Loop, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        loop.distill(tmp_path / "parts", small_config(), progress=InterruptAfter(2))
    if lost == "last lines":
        log = tmp_path / "parts" / "metrics.jsonl"
        log.write_bytes(log.read_bytes()[:40])
    else:
        next((tmp_path / "parts").glob(lost)).unlink()
    if lost != "checkpoint/manifest.json":  # without it, there is no checkpoint, so that the loop starts again
        with pytest.raises(InputError, match=f"delete the folder {tmp_path}/parts/checkpoint"):
            loop.distill(tmp_path / "parts", small_config(), resume=True)
        shutil.rmtree(tmp_path / "parts" / "checkpoint")
    loop.distill(tmp_path / "parts", small_config(), resume=True)
    loop.distill(tmp_path / "whole", small_config())
    for name in ("distilled", "metrics.jsonl"):
        parts, whole = (tmp_path / place / name for place in ("parts", "whole"))
        assert contents(parts) == contents(whole) if parts.is_dir() else parts.read_bytes() == whole.read_bytes()
