"""Trajectory matching: which expert and start an iteration gets, and what the loss is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from omnidistill.core.streams import Streams
from omnidistill.distillation import TrajectoryMatching
from omnidistill.training.experts import ExpertBuffer
from omnidistill.training.rollout import ParameterEndpoint
from small_runs import small_config, small_experts


@pytest.fixture(scope="module")
def buffer(tmp_path_factory: pytest.TempPathFactory) -> ExpertBuffer:
    config = small_config("experts.num_experts=5", "experts.num_epochs=5", "distill.outer.num_expert_epochs=2")
    return small_experts(tmp_path_factory.mktemp("experts"), config)


def drawn(outer: TrajectoryMatching, num_iterations: int, streams: Streams) -> list[tuple[int, int]]:
    """Return (expert, start epoch) of each iteration, identified by the values of the heads."""
    found = []
    for iteration in range(num_iterations):
        episode = outer.episode(iteration, streams)
        (place,) = [
            (expert, epoch)
            for expert in range(outer.buffer.num_experts)
            for epoch in range(outer.max_start_epoch)
            if all(
                torch.equal(episode.start[name] - episode.target.difference[name], goal)
                or torch.allclose(episode.start[name] - episode.target.difference[name], goal, atol=1e-6)
                for name, goal in outer.buffer.heads(expert, epoch + outer.num_expert_epochs).items()
            )
        ]
        found.append(place)
    return found


def test_every_expert_comes_once_before_any_comes_again(buffer: ExpertBuffer) -> None:
    experts = [expert for expert, _ in drawn(TrajectoryMatching(buffer, 2, 3), 40, Streams(0))]
    turns = [experts[begin : begin + 5] for begin in range(0, 40, 5)]
    assert all(sorted(turn) == list(range(5)) for turn in turns)
    assert len({tuple(turn) for turn in turns}) > 4


def test_starts_are_all_the_epochs_below_the_last_and_no_other(buffer: ExpertBuffer) -> None:
    for last in (1, 3, 4):
        starts = [epoch for _, epoch in drawn(TrajectoryMatching(buffer, 2, last), 40, Streams(1))]
        assert set(starts) == set(range(last))


def test_draws_derive_from_the_seed_and_the_iteration(buffer: ExpertBuffer) -> None:
    """The expert from the number of the iteration; the start from a stream that a checkpoint keeps."""
    outer = TrajectoryMatching(buffer, 2, 3)
    whole = drawn(outer, 12, Streams(2))
    assert drawn(outer, 12, Streams(2)) == whole
    assert drawn(outer, 12, Streams(3)) != whole
    streams = Streams(2)
    drawn(outer, 7, streams)
    resumed = Streams(2)
    resumed.restore(streams.state())
    for iteration in range(7, 12):
        one, other = outer.episode(iteration, streams), outer.episode(iteration, resumed)
        assert all(torch.equal(one.start[name], other.start[name]) for name in one.start)


def test_the_last_iterations_match_only_own_experts(buffer: ExpertBuffer) -> None:
    """From the given iteration, only own experts are drawn, each once per round; earlier draws do not change."""
    mixed = replace(buffer, own=(True, False, True, False, True))
    whole, cut = (drawn(TrajectoryMatching(mixed, 2, 3, own_from), 33, Streams(5)) for own_from in (None, 12))
    assert cut[:12] == whole[:12]
    experts = [expert for expert, _ in cut[12:]]
    turns = [experts[begin : begin + 3] for begin in range(0, 21, 3)]
    assert all(sorted(turn) == [0, 2, 4] for turn in turns)
    assert len({tuple(turn) for turn in turns}) > 2
    assert [epoch for _, epoch in cut] == [epoch for _, epoch in whole]


def test_the_whole_run_ends_where_each_expert_does(buffer: ExpertBuffer) -> None:
    mixed = replace(buffer, last_epochs=(5, 3, 5, 2, 5))
    outer, streams = TrajectoryMatching(mixed, None, 1), Streams(6)
    seen = set()
    for iteration in range(5):
        episode = outer.episode(iteration, streams)
        (expert,) = [
            expert
            for expert, last in enumerate(mixed.last_epochs)
            if all(
                torch.equal(episode.target.difference[name], buffer.heads(expert, 0)[name] - end)
                for name, end in buffer.heads(expert, last).items()
            )
        ]
        assert torch.equal(
            episode.target.squared_norms, buffer.squared_distances[expert, :, 0, mixed.last_epochs[expert]]
        )
        seen.add(expert)
    assert seen == set(range(5))


def test_an_episode_is_one_expert_at_two_epochs(buffer: ExpertBuffer) -> None:
    outer, streams = TrajectoryMatching(buffer, 2, 3), Streams(4)
    places = drawn(outer, 10, Streams(4))
    for iteration, (expert, first) in enumerate(places):
        episode = outer.episode(iteration, streams)
        for m, (name, start) in enumerate(episode.start.items()):
            goal = buffer.snapshots[first + 2][name][expert]
            assert torch.equal(start, buffer.snapshots[first][name][expert])
            assert torch.equal(episode.target.difference[name], start - goal)
            expected = float((start - goal).double().square().sum())
            assert float(episode.target.squared_norms[m]) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("steps", [1, 2])
def test_the_loss_is_the_relative_squared_distance_of_each_branch(steps: int, buffer: ExpertBuffer) -> None:
    """The loss equals ||W_T - W*||^2 / ||W_0 - W*||^2 in numpy, for a student at random heads."""
    outer = TrajectoryMatching(buffer, 2, 3)
    episode = outer.episode(0, Streams(0))
    generator = torch.Generator().manual_seed(0)
    moved = {
        name: -0.2 * steps * episode.target.difference[name] + 0.01 * torch.randn(w.shape, generator=generator)
        for name, w in episode.start.items()
    }
    end = {name: episode.start[name] + moved[name] for name in moved}
    expected = []
    for name, start in episode.start.items():
        goal = (start - episode.target.difference[name]).double().numpy()
        expected.append(((end[name].double().numpy() - goal) ** 2).sum() / ((start.double().numpy() - goal) ** 2).sum())
    losses = outer.loss(ParameterEndpoint(episode.start, end), episode)
    np.testing.assert_allclose(losses.numpy(), expected, rtol=1e-4)
    still = outer.loss(ParameterEndpoint(episode.start, dict(episode.start)), episode)
    np.testing.assert_allclose(still.numpy(), [1, 1, 1], rtol=1e-5)


def test_the_floor_is_the_tail_of_the_spectrum_mean_over_starts(buffer: ExpertBuffer) -> None:
    outer = TrajectoryMatching(buffer, 2, 3)
    for rank in (0, 1, 3, 7, 8, 50):
        floors = outer.floor(rank)
        assert floors is not None
        assert list(floors) == ["a", "b", "c"]
        for name, floor in floors.items():
            tails = []
            for first in range(3):
                gap = buffer.snapshots[first][name][0] - buffer.snapshots[first + 2][name][0]
                squares = np.linalg.svd(gap.double().numpy(), compute_uv=False) ** 2
                tails.append(squares[rank:].sum() / squares.sum())
            assert floor == pytest.approx(np.mean(tails), rel=1e-6, abs=1e-9)


def test_there_is_no_floor_without_a_stored_spectrum(buffer: ExpertBuffer) -> None:
    assert TrajectoryMatching(buffer, 1, 3).floor(4) is None
    assert TrajectoryMatching(buffer, None, 1).floor(4) is None
    assert TrajectoryMatching(replace(buffer, last_epochs=(2, 5, 5, 5, 5)), None, 1).floor(4) is not None


def test_the_start_of_an_episode_is_mapped_not_copied(buffer: ExpertBuffer) -> None:
    """A view of the file that holds all experts: an outer loop over many of them copies none."""
    episode = TrajectoryMatching(buffer, 2, 1).episode(0, Streams(0))
    for start in episode.start.values():
        assert start.untyped_storage().nbytes() == buffer.num_experts * start.nbytes
