"""NaN or Inf in the outer loop: it restarts from a finite set with halved step sizes and reports it.

After three restarts it raises an error and saves the last finite set.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from omnidistill.core.errors import NotFiniteError
from omnidistill.core.streams import Streams
from omnidistill.distillation import DistilledSet, Episode, Outer, ValidationResult
from omnidistill.distillation.outer_loop import LAST_GOOD
from omnidistill.evaluation.paper_protocol import sgd_recipe
from omnidistill.io.artifacts import load_artifact, save_artifact
from omnidistill.models.similarities import LowRank
from small_runs import InterruptAfter, Loop, NoteRecorder, contents, records, small_config

OBJECTIVES = ("hopa", "pairwise-wbce", "infonce")


@pytest.fixture(scope="module")
def loop(tmp_path_factory: pytest.TempPathFactory) -> Loop:
    return Loop.make(tmp_path_factory.mktemp("experts"))


class Poisoned:
    """An outer objective whose loss of one modality, or the gradient of all, is not finite the first `times` that some
    iterations (from 0) are tried."""

    def __init__(self, inner: Outer, iterations: Sequence[int], value: float, where: str, times: int = 99) -> None:
        self.inner, self.value, self.where = inner, value, where
        self.left = dict.fromkeys(iterations, times)
        self.terms = inner.terms

    def episode(self, iteration: int, streams: Streams) -> Episode:
        self.now = iteration
        return self.inner.episode(iteration, streams)

    def loss(self, endpoint: Any, episode: Episode) -> Tensor:
        losses = self.inner.loss(endpoint, episode)
        if not self.left.get(self.now):
            return losses
        self.left[self.now] -= 1
        if self.where == "gradient":
            losses.register_hook(lambda gradient: gradient * self.value)
            return losses
        return losses * torch.tensor([1.0, self.value, 1.0])


def poison(*iterations: int, where: str = "loss", value: float = math.nan, times: int = 1) -> Callable[[Outer], Outer]:
    return lambda outer: Poisoned(outer, iterations, value, where, times)


class Scaled:
    """An outer objective whose losses, and so their gradients, are huge."""

    def __init__(self, inner: Outer) -> None:
        self.inner, self.terms = inner, inner.terms

    def episode(self, iteration: int, streams: Streams) -> Episode:
        return self.inner.episode(iteration, streams)

    def loss(self, endpoint: Any, episode: Episode) -> Tensor:
        return self.inner.loss(endpoint, episode) * 1e12


def sets_of(loop: Loop, folder: Path) -> list[DistilledSet]:
    """The set after 0, 1, 2, ... iterations of the same run without poison."""
    kept: list[DistilledSet] = []

    def keep(distilled: DistilledSet) -> ValidationResult:
        kept.append(distilled)
        return loop.validate(distilled)

    loop.distill(folder, small_config("distill.validate_every=1"), validate=keep)
    return kept


@pytest.mark.parametrize("where", ["loss", "gradient"])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_after_three_restarts_it_raises_and_saves_the_last_finite_set(
    where: str, value: float, loop: Loop, tmp_path: Path
) -> None:
    """Iteration 4 fails in every attempt. The saved set is the last one with a finite loss and gradient."""
    wrap = poison(3, where=where, value=value, times=99)
    with pytest.raises(
        NotFiniteError, match=rf"^distill: .*'[ab]'.* in iteration 4, after 3 restarts .*{LAST_GOOD}"
    ) as caught:
        loop.distill(tmp_path / "run", small_config("distill.validate_every=0"), wrap=wrap)
    assert where in str(caught.value)
    assert where == "gradient" or "'b'" in str(caught.value)
    saved, expected = DistilledSet.load(tmp_path / "run" / LAST_GOOD), sets_of(loop, tmp_path / "same")[2]
    assert saved.provenance.iteration == 2
    assert saved.tensors.keys() == expected.tensors.keys()
    assert all(torch.equal(saved.tensors[name], x) for name, x in expected.tensors.items())
    assert saved.recipe == expected.recipe
    found = records(tmp_path / "run")
    assert [record["iteration"] for record in found] == [0, 1, 2, 3, 4, 4, 4]
    assert [(each["restarts"], each["rate_factor"]) for each in found[4:]] == [(1, 0.5), (2, 0.25), (3, 0.125)]
    assert not (tmp_path / "run" / "distilled").exists()  # that one is a finished set


RATE = 0.01
CONSTANT = ("distill.schedule=constant", f"distill.optimiser.step_sizes={RATE}")


def moves(found: list[dict[str, Any]], before: int, after: int) -> list[float]:
    """How far the logarithm of each step size moved between two records."""
    return [math.log(found[after][name] / found[before][name]) for name in found[after] if name.startswith("step_size")]


@pytest.mark.parametrize("times", [1, 2, 3])
@pytest.mark.parametrize("validated", [True, False])
def test_it_restarts_with_halved_steps_and_reports_it(validated: bool, times: int, loop: Loop, tmp_path: Path) -> None:
    """It restarts from the best set on validation, or from the last finite set. The first step of a new Adam has the
    length of its learning rate, which is halved for each restart, like the step sizes."""
    config = small_config(*CONSTANT, f"distill.validate_every={int(validated)}")

    def validate(distilled: DistilledSet) -> ValidationResult:
        return ValidationResult({2: 1.0}.get(distilled.provenance.iteration or 0, 0.5), 4)

    told = NoteRecorder()
    made = loop.distill(tmp_path, config, wrap=poison(4, times=times), validate=validate, progress=told).distilled
    found, good = records(tmp_path), 2 if validated else 3
    assert [record["iteration"] for record in found] == [0, 1, 2, 3, 4, *[5] * times, 5, 6]
    line = f"iteration 5: loss 'b' is NaN or Inf; restarted from the set from iteration {good} with halved step sizes"
    restarts = [{"iteration": 5, "restarts": n, "rate_factor": 0.5**n, "notes": [line]} for n in range(1, times + 1)]
    assert found[5 : 5 + times] == restarts
    assert told.notes == list(made.provenance.notes) == [line] * times
    for move in moves(found, good, 5 + times):
        assert abs(move + times * math.log(2)) == pytest.approx(RATE * 0.5**times, rel=1e-3)
    assert not (tmp_path / LAST_GOOD).exists()


def test_a_second_restart_halves_what_the_first_one_left(loop: Loop, tmp_path: Path) -> None:
    """Iterations 2 and 5 fail once each: the second restart is from a set with step sizes that are already halved."""
    loop.distill(tmp_path, small_config(*CONSTANT, "distill.validate_every=0"), wrap=poison(1, 4))
    found = [record for record in records(tmp_path) if "loss" in record]
    halvings = [round(-move / math.log(2)) for after in range(1, 6) for move in moves(found, after - 1, after)]
    assert halvings == [1] * 3 + [0] * 6 + [1] * 3 + [0] * 3


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_restarts_fix_step_sizes_that_overflow(objective: str, loop: Loop, tmp_path: Path) -> None:
    """With a learning rate of 60 for log step sizes, the first update makes students diverge; halving fixes it."""
    settings = ("distill.optimiser.step_sizes=60.0", "distill.initial_step_size=1e-3", "distill.schedule=constant")
    config = small_config(f"distill.student.kind={objective}", "distill.validate_every=0", *settings)
    made = loop.distill(tmp_path, config).distilled
    assert 1 <= len(made.provenance.notes) <= 3
    assert all(bool(tensor.isfinite().all()) for tensor in made.tensors.values())
    assert all(0 < size < math.inf for size in sgd_recipe(made).step_sizes)
    assert all(bool(w.isfinite().all()) for w in made.train(loop.start).values())


def test_a_validation_that_overflows_counts_too(loop: Loop, tmp_path: Path) -> None:
    seen: list[int] = []

    def validate(distilled: DistilledSet) -> ValidationResult:
        seen.append(distilled.provenance.iteration or 0)
        if len(seen) == 3:
            raise NotFiniteError("inner products overflow")
        return ValidationResult(0.5, 4)

    made = loop.distill(tmp_path, small_config("distill.validate_every=1"), validate=validate).distilled
    assert seen == [0, 1, 2, 2, 3, 4, 5, 6]
    assert made.provenance.notes == (
        "iteration 2: inner products overflow; restarted from the set from iteration 0 with halved step sizes",
    )


SGD = 'distill.optimiser={kind="sgd", rows=0.1, similarity=0.1, step_sizes=1e-4, momentum=0.5}'


@pytest.mark.parametrize(
    ("every", "average", "optimiser"),
    [(0, 0.0, "distill.optimiser.kind=adam"), (2, 0.5, "distill.optimiser.kind=adam"), (0, 0.0, SGD)],
)
def test_interrupted_between_restarts_equals_uninterrupted(
    every: int, average: float, optimiser: str, loop: Loop, tmp_path: Path
) -> None:
    """Iterations 3 and 5 fail once each; the run is interrupted before, between and after them."""
    settings = (f"distill.validate_every={every}", f"distill.average={average}", "distill.iterations=7", optimiser)
    config = small_config(*settings)
    loop.distill(tmp_path / "whole", config, wrap=poison(2, 4))
    for cut, restarts in ((1, 0), (3, 1), (4, 1), (6, 2)):
        told = InterruptAfter(cut)
        with pytest.raises(KeyboardInterrupt):
            loop.distill(tmp_path / "parts", config, resume=True, wrap=poison(2, 4), progress=told)
        meta = load_artifact(tmp_path / "parts" / "checkpoint", "checkpoint").meta
        assert (meta["iteration"], meta["restarts"], meta["rate_factor"]) == (cut, restarts, 0.5**restarts)
        assert len(told.notes) == (cut in (3, 6))  # nothing is told twice
    made = loop.distill(tmp_path / "parts", config, resume=True, wrap=poison(2, 4)).distilled
    assert len(made.provenance.notes) == 2
    assert contents(tmp_path / "parts" / "distilled") == contents(tmp_path / "whole" / "distilled")
    assert (tmp_path / "parts/metrics.jsonl").read_bytes() == (tmp_path / "whole/metrics.jsonl").read_bytes()


def test_a_checkpoint_from_before_there_were_restarts_is_gone_on_from(loop: Loop, tmp_path: Path) -> None:

    loop.distill(tmp_path / "whole", small_config())
    with pytest.raises(KeyboardInterrupt):
        loop.distill(tmp_path / "parts", small_config(), progress=InterruptAfter(4))
    kept = load_artifact(tmp_path / "parts" / "checkpoint", "checkpoint")
    meta = {key: x for key, x in kept.meta.items() if key not in ("restarts", "rate_factor", "last_good", "notes")}
    del meta["best"]["restarts"]
    tensors = {name: x.clone() for name, x in kept.tensors.items() if not name.startswith("last-good/")}
    save_artifact(tmp_path / "parts" / "checkpoint", "checkpoint", tensors, meta)
    loop.distill(tmp_path / "parts", small_config(), resume=True)
    assert contents(tmp_path / "parts" / "distilled") == contents(tmp_path / "whole" / "distilled")


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize(
    "settings",
    [
        ("distill.optimiser.rows=1e30",),
        ("distill.optimiser.similarity=1e30",),
        ("distill.optimiser.step_sizes=1e3", "distill.initial_step_size=1e-3"),
    ],
    ids=["rows", "similarity", "step sizes"],
)
def test_a_diverging_run_names_the_iteration(
    objective: str, settings: tuple[str, ...], loop: Loop, tmp_path: Path
) -> None:
    """With learning rates that are far too large, one error names the iteration, and a usable set is saved."""
    config = small_config(
        f"distill.student.kind={objective}", "distill.schedule=constant", "distill.validate_every=0", *settings
    )
    with pytest.raises(NotFiniteError, match=r"^distill: .*iteration \d"):
        loop.distill(tmp_path, config)
    saved = DistilledSet.load(tmp_path / LAST_GOOD)
    assert all(bool(tensor.isfinite().all()) for tensor in saved.tensors.values())
    assert all(0 < size < float("inf") for size in sgd_recipe(saved).step_sizes)
    assert all(bool(w.isfinite().all()) for w in saved.train(loop.start).values())


@pytest.mark.parametrize("leaf", ["diagonal", "left", "right"])
def test_gradients_of_the_similarity_count_too(
    leaf: str, loop: Loop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The gradient of the rows is finite, that of a similarity factor is not: there must be no update."""
    calls, targets = 0, LowRank.targets

    def poisoned(self: LowRank, tensors: dict[str, Tensor], batches: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        if calls >= 3:
            tensors = {**tensors, leaf: tensors[leaf].clone()}
            tensors[leaf].register_hook(lambda gradient: gradient * float("nan"))
        return targets(self, tensors, batches)

    with monkeypatch.context() as patched:
        patched.setattr(LowRank, "targets", poisoned)
        with pytest.raises(NotFiniteError, match=r"similarity.*in iteration 3"):
            loop.distill(tmp_path, small_config("distill.validate_every=0"))
    saved = DistilledSet.load(tmp_path / LAST_GOOD)
    assert saved.provenance.iteration == 1
    assert all(bool(tensor.isfinite().all()) for tensor in saved.tensors.values())


def test_the_last_update_counts_too(loop: Loop, tmp_path: Path) -> None:
    """There is no later iteration in which the error would be detected."""
    settings = ("distill.iterations=1", "distill.validate_every=0", "distill.optimiser.rows=1e30")
    config = small_config(*settings, 'distill.optimiser={kind="sgd", momentum=0.0}', "distill.optimiser.rows=1e30")
    with pytest.raises(NotFiniteError, match=r"new value of the rows of '.' is NaN or Inf in iteration 1"):
        loop.distill(tmp_path, config, wrap=lambda outer: Scaled(outer))
    assert not (tmp_path / "distilled").exists()
