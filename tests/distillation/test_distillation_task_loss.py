"""The task loss: exact gradients through training, equal use of all rows, and equal bits after a resume."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import chain, combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import oracles
from omnidistill.core.streams import Streams
from omnidistill.data.featureset import FeatureSet, prepare
from omnidistill.data.planted import planted
from omnidistill.distillation import Episode, Outer, TaskLoss, WithTask
from omnidistill.models.objectives import Hopa, InfoNCE, PairwiseWbce
from omnidistill.training.rollout import Endpoint, ParameterEndpoint, Rollout, bptt_rollout, dual_rollout
from rollout_problems import Problem, assert_close, problem, roll
from small_runs import InterruptAfter, Loop, contents, records, small_config

EXACT = 1e-9
TAU = 0.3
STUDENTS = {"hopa": Hopa(), "wbce": PairwiseWbce(tau=0.2), "infonce": InfoNCE(tau=0.2)}


def real_rows(num_modalities: int = 3, count: int = 24, positives_per_group: int = 3) -> FeatureSet:
    """Training rows as wide as those of `problem`, three of a group, in float64 so that errors show."""
    widths = {f"m{m}": 5 + m for m in range(num_modalities)}
    rows = {"train": count, "validation": 2}
    train = prepare(planted(widths, rows, latent=4, positives_per_group=positives_per_group)).split("train")
    train.features.update({name: x.double() for name, x in train.features.items()})
    return train


def task_of(made: Problem, num_rows: int = 16, **rows: int) -> TaskLoss:
    return TaskLoss(real_rows(len(made.start), **rows), made.start, num_rows, TAU)


def student(name: str, num_modalities: int = 3, num_steps: int = 5) -> Problem:
    made = problem(num_modalities=num_modalities, num_steps=num_steps, objective=STUDENTS[name])
    if name == "infonce":  # affinities are positive
        made = replace(made, factors={key: x.detach().abs().requires_grad_() for key, x in made.factors.items()})
    return made


def trained(made: Problem) -> dict[str, Tensor]:
    """The heads after plain steps in parameter space, each along the gradient that autograd takes of the value."""
    heads = {name: matrix.clone().requires_grad_() for name, matrix in made.start.items()}
    for step, batch in enumerate(made.batches):
        outputs = torch.stack([made.rows[name][batch] @ matrix.mT for name, matrix in heads.items()])
        loss = made.objective.value(outputs, made.targets[step])
        slopes = torch.autograd.grad(loss, list(heads.values()), create_graph=True)
        heads = {
            name: matrix - size * slope
            for (name, matrix), size, slope in zip(heads.items(), made.step_sizes, slopes, strict=True)
        }
    return heads


def infonce(heads: dict[str, Tensor], train: FeatureSet, rows: Tensor) -> Tensor:
    """Mean cross-entropy of both directions of every pair of modalities; positives by the names of the groups."""
    unit = {name: torch.nn.functional.normalize(train.features[name][rows] @ w.mT, dim=1) for name, w in heads.items()}
    groups = [train.groups[row] for row in rows.tolist()]
    positive = torch.tensor([[one == other for other in groups] for one in groups], dtype=torch.float64)
    wanted, total = positive / positive.sum(1, keepdim=True), torch.zeros((), dtype=torch.float64)
    for one, other in combinations(unit, 2):
        for logits in (unit[one] @ unit[other].mT / TAU, unit[other] @ unit[one].mT / TAU):
            total = total - (wanted * logits.log_softmax(1)).sum(1).mean() / 2
    return total


def gradients(loss: Tensor, made: Problem) -> dict[str, Tensor]:
    leaves = made.leaves()
    return dict(zip(leaves, torch.autograd.grad(loss, list(leaves.values())), strict=True))


# value and gradient


@pytest.mark.parametrize("num_steps", [1, 12])
@pytest.mark.parametrize("num_modalities", [2, 3, 4])
@pytest.mark.parametrize("name", STUDENTS)
def test_equals_autograd_through_the_unrolled_training(name: str, num_modalities: int, num_steps: int) -> None:
    """Loss and gradients for rows, similarity factors and step sizes are equal for both exact rollouts."""
    made = student(name, num_modalities, num_steps)
    task = task_of(made)
    episode = task.episode(3, Streams(0))
    expected = infonce(trained(made), task.train, episode.target)
    slopes = gradients(expected, made)
    assert all(float(slope.norm()) > 0 for slope in slopes.values())
    for rollout in (dual_rollout, bptt_rollout):
        loss = task.loss(roll(rollout, made), episode)
        assert loss.shape == (1,)
        torch.testing.assert_close(loss[0], expected, rtol=EXACT, atol=0)
        assert_close(gradients(loss.sum(), made), slopes, EXACT)


def ended(heads: dict[str, Tensor]) -> Endpoint:
    return ParameterEndpoint(heads, heads)


@pytest.mark.parametrize("per_group", [1, 3])
def test_rows_of_one_group_are_positives(per_group: int) -> None:
    """Against loops in numpy; some group has several rows in the batch where groups have several."""
    made = problem()
    task = task_of(made, positives_per_group=per_group)
    rows = task.batch(0, Streams(0))
    groups = np.array(task.train.groups)[rows.numpy()]
    same = (groups[:, None] == groups).astype(np.float64)
    assert (same.sum() > len(rows)) == (per_group > 1)
    outputs = np.stack([(task.train.features[name][rows] @ w.mT).numpy() for name, w in made.start.items()])
    assert float(task.on(ended(made.start), rows)) == pytest.approx(
        oracles.infonce(outputs, same, TAU, None), rel=EXACT
    )


def test_a_second_derivative_through_the_training_is_refused_not_wrong() -> None:
    made = student("infonce")
    task = task_of(made)
    loss = task.loss(roll(dual_rollout, made), task.episode(0, Streams(0))).sum()
    (slope,) = torch.autograd.grad(loss, [made.step_sizes], create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        slope.sum().backward()


# which rows


def batches(task: TaskLoss, iterations: range, seed: int = 0) -> list[list[int]]:
    streams = Streams(seed)
    return [task.episode(iteration, streams).target.tolist() for iteration in iterations]


def test_every_row_comes_once_before_any_comes_again() -> None:
    made = problem()
    task = task_of(made, num_rows=6)
    drawn = batches(task, range(20))
    turns = [sorted(chain(*drawn[begin : begin + 4])) for begin in range(0, 20, 4)]
    assert turns == [list(range(24))] * 5
    assert len({tuple(batch) for batch in drawn}) == 20
    assert task.episode(7, Streams(0)).start is task.start


def test_rows_that_fill_no_batch_are_left_to_the_next_order() -> None:
    drawn = batches(task_of(problem(), num_rows=10), range(40))
    turns = [one + other for one, other in zip(drawn[::2], drawn[1::2], strict=True)]
    assert all(len(batch) == 10 for batch in drawn)
    assert all(len(set(turn)) == 20 for turn in turns)
    assert set(chain(*turns)) == set(range(24))


@pytest.mark.parametrize("num_rows", [24, 25, 512])
def test_all_rows_are_taken_where_there_are_no_more(num_rows: int) -> None:
    assert all(sorted(batch) == list(range(24)) for batch in batches(task_of(problem(), num_rows), range(3)))


def test_rows_follow_from_iteration_and_seed_alone() -> None:
    """They do not depend on how often or in which order batches are requested, and no random stream advances."""
    task = task_of(problem(), num_rows=6)
    whole = batches(task, range(12))
    assert batches(task, range(12)) == whole != batches(task, range(12), seed=1)
    assert [batches(task, range(i, i + 1))[0] for i in reversed(range(12))] == whole[::-1]
    streams = Streams(0)
    before = streams.state()
    task.episode(5, streams)
    assert streams.state().keys() == before.keys()


# beside another objective


class Halves:
    """An outer objective of two terms, whose episodes draw from a stream."""

    terms = ("one", "two")

    def __init__(self, start: dict[str, Tensor]) -> None:
        self.start = start

    def episode(self, iteration: int, streams: Streams) -> Episode:
        return Episode(self.start, float(torch.rand((), generator=streams["halves"])) + iteration)

    def loss(self, endpoint: Endpoint, episode: Episode) -> Tensor:
        squares = torch.stack([matrix.square().sum() for matrix in endpoint.heads().values()]).sum()
        return torch.stack([squares, episode.target * squares])


@pytest.mark.parametrize("rollout", [dual_rollout, bptt_rollout])
def test_a_sum_has_the_terms_of_both(rollout: Rollout) -> None:
    """Terms, draws, losses and gradients are those of both objectives, with the weight applied to the task loss."""
    made = student("wbce")
    other, task = Halves(made.start), task_of(made)
    both: Outer = WithTask(other, task, 0.25)
    assert both.terms == ("one", "two", "task/infonce")
    one, two = Streams(5), Streams(5)
    for iteration in range(3):
        episode, alone = both.episode(iteration, one), other.episode(iteration, two)
        rows = task.batch(iteration, two)
        assert episode.start is alone.start
        assert episode.target[0] == alone.target
        assert torch.equal(episode.target[1], rows)
        loss = both.loss(roll(rollout, made), episode)
        parts = other.loss(roll(rollout, made), alone), 0.25 * task.on(roll(rollout, made), rows)
        torch.testing.assert_close(loss, torch.cat([parts[0], parts[1].unsqueeze(0)]), rtol=EXACT, atol=0)
        assert_close(gradients(loss.sum(), made), gradients(parts[0].sum() + parts[1], made), EXACT)


@pytest.mark.parametrize("rollout", [dual_rollout, bptt_rollout])
def test_the_student_is_the_one_that_the_other_starts(rollout: Rollout) -> None:
    """This also holds if the other objective starts students from other heads than the task loss does."""
    made = student("wbce")
    other = replace(made, start={name: 0.5 * matrix.roll(1, 0) for name, matrix in made.start.items()})
    task = task_of(made)
    both = WithTask(Halves(other.start), task, 0.25)
    episode = both.episode(0, Streams(5))
    assert episode.start is other.start
    loss = both.loss(roll(rollout, other), episode)[-1]
    torch.testing.assert_close(loss, 0.25 * infonce(trained(other), task.train, episode.target[1]), rtol=EXACT, atol=0)


# resume


@pytest.fixture(scope="module")
def loop(tmp_path_factory: pytest.TempPathFactory) -> Loop:
    return Loop.make(tmp_path_factory.mktemp("experts"))


def alone(outer: Outer, task: TaskLoss) -> Outer:
    return task


def beside(outer: Outer, task: TaskLoss) -> Outer:
    return WithTask(outer, task, 0.5)


@pytest.mark.parametrize(
    ("how", "terms"),
    [(alone, {"loss/task/infonce"}), (beside, {"loss/a", "loss/b", "loss/c", "loss/task/infonce"})],
)
def test_interrupted_often_equals_uninterrupted(
    how: Callable[[Outer, TaskLoss], Outer], terms: set[str], loop: Loop, tmp_path: Path
) -> None:
    """The run is interrupted within a random order of the rows, at its end, and in a later order."""
    config = small_config("distill.iterations=7", "distill.validate_every=2")
    task = TaskLoss(loop.data.split("train"), loop.start, num_rows=24)

    def made(folder: str, **settings: Any) -> None:
        loop.distill(tmp_path / folder, config, wrap=lambda outer: how(outer, task), **settings)

    made("whole")
    for cut in (1, 2, 5):
        with pytest.raises(KeyboardInterrupt):
            made("parts", resume=True, progress=InterruptAfter(cut))
    made("parts", resume=True)
    assert contents(tmp_path / "parts" / "distilled") == contents(tmp_path / "whole" / "distilled")
    assert (tmp_path / "parts/metrics.jsonl").read_bytes() == (tmp_path / "whole/metrics.jsonl").read_bytes()
    last = records(tmp_path / "whole")[-1]
    assert {name for name in last if name.startswith("loss/")} == terms
    assert last["loss"] == pytest.approx(sum(last[name] for name in terms), rel=1e-6)


# memory


def bytes_kept(rollout: Rollout, num_steps: int) -> int:
    """Return the bytes that autograd stores for the backward pass of a loss after this number of steps."""
    widths = {"m0": 1500, "m1": 2000}
    train = prepare(planted(widths, {"train": 12, "validation": 2}, latent=4)).split("train")
    train.features.update({name: x.double() for name, x in train.features.items()})
    made = problem(num_modalities=2, num_steps=num_steps, objective=InfoNCE(tau=0.2), widths=(1500, 2000))
    kept: dict[int, int] = {}

    def keep(x: Tensor) -> Tensor:
        kept[x.untyped_storage().data_ptr()] = x.untyped_storage().nbytes()
        return x

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        task = TaskLoss(train, made.start)
        loss = task.loss(roll(rollout, made), task.episode(0, Streams(0)))
    assert loss.requires_grad
    return sum(kept.values())


def test_a_step_keeps_nothing_of_the_size_of_the_heads() -> None:
    """From 8 to 64 steps, the stored bytes grow by a few tensors of the size of the batch outputs per step."""
    outputs, heads = 8 * 2 * 4 * 4, 8 * 4 * (1500 + 2000)  # M b d, and d sum p_m, in bytes
    growth = {
        rollout: (bytes_kept(rollout, 64) - bytes_kept(rollout, 8)) / 56 for rollout in (dual_rollout, bptt_rollout)
    }
    assert growth[dual_rollout] < 20 * outputs < heads / 20
    assert growth[bptt_rollout] > heads
