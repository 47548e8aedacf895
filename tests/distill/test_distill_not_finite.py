"""NaN or Inf anywhere in the outer loop: it stops, says where, and leaves the last set that was good."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from omnidistill.distill import DistilledSet, Episode, Outer, Verdict
from omnidistill.distill.distiller import LAST_GOOD
from omnidistill.errors import NotFiniteError
from omnidistill.randomness import Streams
from omnidistill.similarity import LowRank
from small_runs import Loop, records, small_config

OBJECTIVES = ("hopa", "pairwise-wbce", "infonce")


@pytest.fixture(scope="module")
def loop(tmp_path_factory: pytest.TempPathFactory) -> Loop:
    return Loop.make(tmp_path_factory.mktemp("experts"))


class Poisoned:
    """An outer objective whose loss of one modality, or the gradient of all, is not finite in one iteration."""

    def __init__(self, inner: Outer, iteration: int, value: float, where: str) -> None:
        self.inner, self.at, self.value, self.where = inner, iteration, value, where
        self.terms = inner.terms

    def episode(self, iteration: int, streams: Streams) -> Episode:
        self.now = iteration
        return self.inner.episode(iteration, streams)

    def loss(self, endpoint: Any, episode: Episode) -> Tensor:
        losses = self.inner.loss(endpoint, episode)
        if self.now != self.at:
            return losses
        if self.where == "gradient":
            losses.register_hook(lambda gradient: gradient * self.value)
            return losses
        return losses * torch.tensor([1.0, self.value, 1.0])


class Scaled:
    """An outer objective whose losses, and so their gradients, are huge."""

    def __init__(self, inner: Outer) -> None:
        self.inner, self.terms = inner, inner.terms

    def episode(self, iteration: int, streams: Streams) -> Episode:
        return self.inner.episode(iteration, streams)

    def loss(self, endpoint: Any, episode: Episode) -> Tensor:
        return self.inner.loss(endpoint, episode) * 1e12


def sets_of(loop: Loop, folder: Path) -> list[dict[str, Tensor]]:
    """The set after 0, 1, 2, ... iterations of the same run without poison."""
    kept: list[dict[str, Tensor]] = []

    def keep(distilled: DistilledSet) -> Verdict:
        kept.append(distilled.tensors)
        return loop.judge(distilled)

    loop.distill(folder, small_config("distill.validate_every=1"), judge=keep)
    return kept


@pytest.mark.parametrize("where", ["loss", "gradient"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_it_stops_at_once_and_keeps_the_last_set_that_trained(
    where: str, value: float, loop: Loop, tmp_path: Path
) -> None:
    """Poison in iteration 4. A set is good if a student trained on it came to a finite loss; of a gradient that is not
    finite nothing is kept."""
    with pytest.raises(NotFiniteError, match=rf"^distill: .*'[ab]'.* in iteration 4; .*{LAST_GOOD}") as caught:
        loop.distill(tmp_path / "run", small_config(), wrap=lambda outer: Poisoned(outer, 3, value, where))
    assert where in str(caught.value)
    assert where == "gradient" or "'b'" in str(caught.value)
    saved, iterations = DistilledSet.load(tmp_path / "run" / LAST_GOOD), {"loss": 2, "gradient": 3}[where]
    assert saved.provenance["iteration"] == iterations
    expected = sets_of(loop, tmp_path / "same")[iterations]
    assert saved.tensors.keys() == expected.keys()
    assert all(torch.equal(saved.tensors[name], expected[name]) for name in expected)
    assert [record["iteration"] for record in records(tmp_path / "run")] == [0, 1, 2, 3]
    assert not (tmp_path / "run" / "distilled").exists()  # that one is a finished set


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize(
    "settings",
    [
        ("distill.optimiser.rows=1e30",),
        ("distill.optimiser.similarity=1e30",),
        ("distill.optimiser.step_sizes=1e3", "distill.initial_step_size=1e-3"),
        ("distill.optimiser.step_sizes=60.0", "distill.initial_step_size=1e-3"),
    ],
    ids=["rows", "similarity", "step sizes", "large step sizes"],
)
def test_a_run_that_blows_up_says_so(objective: str, settings: tuple[str, ...], loop: Loop, tmp_path: Path) -> None:
    """Learning rates far too large: one error that names the iteration, and a set that can be trained on is left."""
    config = small_config(
        f"distill.student.kind={objective}", "distill.schedule=constant", "distill.validate_every=0", *settings
    )
    with pytest.raises(NotFiniteError, match=r"^distill: .*iteration \d"):
        loop.distill(tmp_path, config)
    saved = DistilledSet.load(tmp_path / LAST_GOOD)
    assert all(bool(tensor.isfinite().all()) for tensor in saved.tensors.values())
    assert all(0 < size < float("inf") for size in saved.recipe.step_sizes)
    assert all(bool(w.isfinite().all()) for w in saved.train(loop.start).values())


@pytest.mark.parametrize("leaf", ["diagonal", "left", "right"])
def test_gradients_of_the_similarity_count_too(
    leaf: str, loop: Loop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rows' gradient is finite, that of one similarity factor is not: no update may be made of it."""
    calls, targets = 0, LowRank.targets

    def poisoned(self: LowRank, tensors: dict[str, Tensor], batches: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        if calls == 3:
            tensors = {**tensors, leaf: tensors[leaf].clone()}
            tensors[leaf].register_hook(lambda gradient: gradient * float("nan"))
        return targets(self, tensors, batches)

    monkeypatch.setattr(LowRank, "targets", poisoned)
    with pytest.raises(NotFiniteError, match=r"similarity.*in iteration 3"):
        loop.distill(tmp_path, small_config("distill.validate_every=0"))
    saved = DistilledSet.load(tmp_path / LAST_GOOD)
    assert saved.provenance["iteration"] == 2
    assert all(bool(tensor.isfinite().all()) for tensor in saved.tensors.values())


def test_the_last_update_counts_too(loop: Loop, tmp_path: Path) -> None:
    """No iteration comes after it that would tell."""
    settings = ("distill.iterations=1", "distill.validate_every=0", "distill.optimiser.rows=1e30")
    config = small_config(*settings, 'distill.optimiser={kind="sgd", momentum=0.0}', "distill.optimiser.rows=1e30")
    with pytest.raises(NotFiniteError, match=r"set of the rows of '.' is NaN or Inf in iteration 1"):
        loop.distill(tmp_path, config, wrap=lambda outer: Scaled(outer))
    assert not (tmp_path / "distilled").exists()
