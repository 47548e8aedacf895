"""Shortcut trajectories against the formula: the expert's straight line at its pace, in float64, by autograd through
the parameters.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from omnidistill.core.streams import Streams
from omnidistill.distillation import Episode, ShortcutMatching, TrajectoryMatching
from omnidistill.io.artifacts import write_tensors
from omnidistill.models.heads import Heads
from omnidistill.training.experts import ExpertBuffer
from omnidistill.training.experts.expert_key import ExpertKey
from omnidistill.training.experts.snapshots import StoredSnapshots
from omnidistill.training.rollout import Rollout, bptt_rollout, dual_rollout
from rollout_problems import Problem, assert_close, problem

EXPERTS, EPOCHS, SPAN, STARTS = 3, 5, 2, 3


def buffer_of(made: Problem, folder: Path) -> ExpertBuffer:
    """Return experts that move randomly from the initial heads, with steps of different lengths, in float64."""
    draw = torch.Generator().manual_seed(0)
    path = [{name: matrix.detach().expand(EXPERTS, *matrix.shape).contiguous() for name, matrix in made.start.items()}]
    for epoch in range(EPOCHS):
        path.append(
            {
                name: x + 0.2 * (1 + epoch) ** (-0.5 * m) * torch.randn(x.shape, generator=draw, dtype=torch.float64)
                for m, (name, x) in enumerate(path[-1].items())
            }
        )
    for epoch, heads in enumerate(path):
        write_tensors(folder / f"{epoch}.safetensors", heads)
    squares = torch.stack(
        [
            torch.stack([(one[name] - other[name]).square().sum((-2, -1)) for one in path for other in path], -1)
            for name in made.start
        ],
        dim=1,
    )
    table = squares.view(EXPERTS, len(made.start), EPOCHS + 1, EPOCHS + 1)
    paths = tuple(folder / f"{epoch}.safetensors" for epoch in range(EPOCHS + 1))
    own, last_epochs = (True,) * EXPERTS, (EPOCHS,) * EXPERTS
    return ExpertBuffer(
        StoredSnapshots(paths), table, {}, 0, own, last_epochs, tuple(made.start), 0.0, ExpertKey({}, (), 0)
    )


def line(buffer: ExpertBuffer, expert: int, epoch: int) -> Heads:
    """(1 - b_t) W(0) + b_t W(K), b_t = sum_{s<t} ||W(s+1) - W(s)|| / sum_{s<K} ||W(s+1) - W(s)||, head by head."""
    path = [buffer.heads(expert, at) for at in range(EPOCHS + 1)]
    found = {}
    for name in buffer.modalities:
        lengths = [float((path[s + 1][name] - path[s][name]).norm()) for s in range(EPOCHS)]
        share = sum(lengths[:epoch]) / sum(lengths)
        found[name] = (1 - share) * path[0][name] + share * path[-1][name]
    return found


@dataclass(frozen=True)
class Place:
    """The expert of an episode, and the epochs of its start and target."""

    expert: int
    first: int
    start: Heads
    goal: Heads


def place(episode: Episode, buffer: ExpertBuffer) -> Place:
    """Return the place of an episode, identified by the values of the heads."""
    for expert in range(EXPERTS):
        for first in range(STARTS):
            start, goal = line(buffer, expert, first), line(buffer, expert, first + SPAN)
            reached = {name: matrix - episode.target.difference[name] for name, matrix in episode.start.items()}
            if all(torch.allclose(episode.start[name], start[name], atol=1e-12, rtol=0) for name in start) and all(
                torch.allclose(reached[name], goal[name], atol=1e-12, rtol=0) for name in goal
            ):
                return Place(expert, first, start, goal)
    raise AssertionError("the episode lies on no line of an expert")


@pytest.fixture(scope="module")
def made() -> Problem:
    return problem(num_modalities=3)


@pytest.fixture(scope="module")
def buffer(made: Problem, tmp_path_factory: pytest.TempPathFactory) -> ExpertBuffer:
    return buffer_of(made, tmp_path_factory.mktemp("experts"))


def test_an_episode_goes_along_the_line_at_the_pace_of_the_expert(buffer: ExpertBuffer) -> None:
    """Start and goal by the formula; the denominators are their squared distances."""
    streams, outer = Streams(0), ShortcutMatching(buffer, SPAN, STARTS)
    starts = set()
    for iteration in range(12):
        episode = outer.episode(iteration, streams)
        found = place(episode, buffer)
        starts.add(found.first)
        wanted = [float((found.start[name] - found.goal[name]).square().sum()) for name in buffer.modalities]
        torch.testing.assert_close(episode.target.squared_norms, torch.tensor(wanted, dtype=torch.float64))
    assert starts == set(range(STARTS))


def test_heads_walk_their_own_pace(buffer: ExpertBuffer) -> None:
    """The heads of an expert move at different paces."""
    begin, end, middle = buffer.heads(0, 0), buffer.heads(0, EPOCHS), line(buffer, 0, 2)
    shares = [float((middle[name] - begin[name]).norm() / (end[name] - begin[name]).norm()) for name in middle]
    assert max(shares) - min(shares) > 0.02


def test_it_takes_the_experts_and_starts_that_trajectory_matching_does(buffer: ExpertBuffer) -> None:
    shortcut, path = ShortcutMatching(buffer, SPAN, STARTS), TrajectoryMatching(buffer, SPAN, STARTS)
    one, other = Streams(5), Streams(5)
    for iteration in range(9):
        found = place(shortcut.episode(iteration, one), buffer)
        begun = path.episode(iteration, other).start
        assert all(torch.equal(begun[name], buffer.heads(found.expert, found.first)[name]) for name in begun)


@pytest.mark.parametrize("rollout", [dual_rollout, bptt_rollout])
@pytest.mark.parametrize("iteration", [0, 1, 2, 3])
def test_the_loss_and_its_gradient_are_those_of_the_formula(
    iteration: int, rollout: Rollout, made: Problem, buffer: ExpertBuffer
) -> None:
    """sum_m ||W_T - W*||^2 / ||W_0 - W*||^2 with every SGD step written out and differentiated through."""
    outer = ShortcutMatching(buffer, SPAN, STARTS)
    episode = outer.episode(iteration, Streams(1))
    found, leaves = place(episode, buffer), made.leaves()

    weights = {name: matrix.clone().requires_grad_() for name, matrix in found.start.items()}
    for batch, target in zip(made.batches, made.targets, strict=True):
        outputs = torch.stack([made.rows[name][batch] @ weights[name].mT for name in weights])
        value = made.objective.value(outputs, target)
        slopes = torch.autograd.grad(value, list(weights.values()), create_graph=True)
        weights = {name: matrix - made.step_sizes[m] * slopes[m] for m, (name, matrix) in enumerate(weights.items())}
    by_hand = torch.stack(
        [
            (weights[name] - found.goal[name]).square().sum() / (found.start[name] - found.goal[name]).square().sum()
            for name in weights
        ]
    )

    endpoint = rollout(made.objective, episode.start, made.rows, made.targets, made.batches, made.step_sizes)
    losses = outer.loss(endpoint, episode)
    torch.testing.assert_close(losses, by_hand, rtol=1e-9, atol=1e-12)
    assert float((by_hand.detach() - 1).abs().min()) > 1e-4
    slopes, wanted = (
        dict(zip(leaves, torch.autograd.grad(value.sum(), list(leaves.values())), strict=True))
        for value in (losses, by_hand)
    )
    assert_close(slopes, wanted, 1e-9)


def test_no_floor_is_told(buffer: ExpertBuffer) -> None:
    assert ShortcutMatching(buffer, SPAN, STARTS).floor(4) is None
