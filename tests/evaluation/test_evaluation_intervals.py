"""The bootstrap against a slow reference that resamples rows one by one, and against what it must not change."""

from __future__ import annotations

import random
import statistics
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from omnidistill.core.errors import InputError, NotFiniteError
from omnidistill.evaluation import intervals as measured
from omnidistill.evaluation.intervals import Interval, mean_std


def gain_retained(zero: Tensor, full: Tensor, method: Tensor, groups: Tensor, **options) -> list[Interval | None]:
    """One direction; zero is N x K, the others are R x N x K."""
    return measured.gain_retained([zero[None]], [full], [method], [groups], **options)


def paired_difference(a: Tensor, b: Tensor, groups: Tensor, **options) -> list[Interval]:
    """One direction; hits are R x N x K."""
    return measured.paired_difference([a], [b], [groups], **options)


def bernoulli(chance: float, *shape: int, seed: int = 0) -> Tensor:
    return (torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) < chance).double()


def example() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Hits at two cut-offs of 40 groups of unequal size, the group and the run each with an effect of its own."""
    generator = torch.Generator().manual_seed(11)
    groups = torch.cat([torch.full((1 + size % 5,), size) for size in range(40)])
    ease = torch.rand(40, generator=generator)[groups]

    def scored(level: float, runs: int) -> Tensor:
        luck = 0.15 * torch.randn(runs, 1, 1, generator=generator)
        chance = level * torch.stack([ease, 1.4 * ease], -1) + luck
        return (torch.rand(runs, len(groups), 2, generator=generator) < chance).double()

    return scored(0.3, 1)[0], scored(1.0, 4), scored(0.7, 3), groups


def reference_intervals(zero: Tensor, full: Tensor, method: Tensor, groups: Tensor, resamples: int, column: int):
    draw = random.Random(5)
    rows_of = {g: [i for i, other in enumerate(groups.tolist()) if other == g] for g in set(groups.tolist())}
    labels = sorted(rows_of)
    z, f, m = zero[:, column].tolist(), full[:, :, column].tolist(), method[:, :, column].tolist()
    gains, differences = [], []
    for _ in range(resamples):
        rows = [i for _ in labels for i in rows_of[draw.choice(labels)]]
        mean_zero = statistics.fmean(z[i] for i in rows)
        mean_full = statistics.fmean(run[i] for run in draw.choices(f, k=len(f)) for i in rows)
        mean_method = statistics.fmean(run[i] for run in draw.choices(m, k=len(m)) for i in rows)
        gains.append((mean_method - mean_zero) / (mean_full - mean_zero))
        differences.append(mean_full - mean_method)

    def ends(values: list[float]) -> tuple[float, float]:
        cuts = statistics.quantiles(values, n=40, method="inclusive")
        return cuts[0], cuts[-1]

    return ends(gains), ends(differences)


def test_intervals_agree_with_a_slow_reference() -> None:
    zero, full, method, groups = example()
    gains = gain_retained(zero, full, method, groups, resamples=8000)
    differences = paired_difference(full, method, groups, resamples=8000)
    for column, (gain, difference) in enumerate(zip(gains, differences, strict=True)):
        assert gain is not None
        (gain_low, gain_high), (low, high) = reference_intervals(zero, full, method, groups, 3000, column)
        means = [hits[..., column].mean().item() for hits in (zero, full, method)]
        assert gain.mean == pytest.approx((means[2] - means[0]) / (means[1] - means[0]))
        assert difference.mean == pytest.approx(means[1] - means[2])
        # The Monte Carlo error of an end is a few hundredths of the width at these numbers of resamples.
        assert (gain.low, gain.high) == pytest.approx((gain_low, gain_high), abs=0.06 * (gain_high - gain_low))
        assert (difference.low, difference.high) == pytest.approx((low, high), abs=0.06 * (high - low))


def test_intervals_cover_the_truth_as_often_as_they_say() -> None:
    trials = 200
    covered_difference = covered_gain = 0
    for trial in range(trials):
        ease = torch.rand(300, 1, generator=torch.Generator().manual_seed(trial), dtype=torch.float64)
        uniform = torch.rand(3, 300, 1, generator=torch.Generator().manual_seed(9000 + trial), dtype=torch.float64)
        zero, full, method = (uniform[0] < 0.2 * ease), (uniform[1:2] < 0.9 * ease), (uniform[2:3] < 0.6 * ease)
        groups = torch.arange(300)
        [difference] = paired_difference(full.double(), method.double(), groups, resamples=300, seed=trial)
        [gain] = gain_retained(zero.double(), full.double(), method.double(), groups, resamples=300, seed=trial)
        assert gain is not None
        covered_difference += difference.low <= 0.15 <= difference.high  # (0.9 - 0.6) * E[ease]
        covered_gain += gain.low <= 4 / 7 <= gain.high
    assert 0.9 * trials <= covered_difference <= 0.985 * trials
    assert 0.9 * trials <= covered_gain <= 0.985 * trials


def test_rows_of_one_group_are_drawn_together() -> None:
    zero, full, method = bernoulli(0.1, 50, 1), bernoulli(0.7, 1, 50, 1, seed=1), bernoulli(0.5, 1, 50, 1, seed=2)
    copies = torch.arange(50).repeat_interleave(6)
    repeated = (zero[copies], full[:, copies], method[:, copies])
    once = gain_retained(zero, full, method, torch.arange(50))[0]
    together = gain_retained(*repeated, copies)[0]
    apart = gain_retained(*repeated, torch.arange(300))[0]
    assert once is not None
    assert together is not None
    assert apart is not None
    assert (together.mean, together.low, together.high) == pytest.approx((once.mean, once.low, once.high))
    assert apart.high - apart.low < 0.6 * (once.high - once.low)


def test_the_same_queries_are_drawn_for_all_methods() -> None:
    b = bernoulli(0.5, 1, 80, 2)
    shifted = 0.25 + b / 2 + b / 2
    groups = torch.arange(80) // 2
    for interval in paired_difference(shifted, b, groups):
        assert (interval.mean, interval.low, interval.high) == pytest.approx((0.25, 0.25, 0.25))
    [spread, _] = paired_difference(b, torch.zeros_like(b), groups)
    assert spread.high - spread.low > 0.1
    zero = 0.4 * b[0]
    [kept, _] = gain_retained(zero, zero + 0.5 * b, zero + 0.2 * b, groups)
    assert kept is not None
    assert (kept.mean, kept.low, kept.high) == pytest.approx((0.4, 0.4, 0.4))


def test_runs_are_drawn_too() -> None:
    runs = torch.tensor([0.2, 0.4, 0.9])[:, None, None].expand(3, 30, 1).double()
    base = torch.zeros(1, 30, 1, dtype=torch.float64)
    [several] = paired_difference(runs, base, torch.arange(30))
    assert (several.low, several.high) == pytest.approx((0.2, 0.9))  # all three draws the worst, or the best: 1 in 27
    [single] = paired_difference(runs[:1], base, torch.arange(30))
    assert (single.low, single.high) == pytest.approx((0.2, 0.2))


def test_keeping_all_is_one_and_keeping_nothing_is_zero() -> None:
    zero, full, _, groups = example()
    for interval in gain_retained(zero, full[:1], full[:1], groups):
        assert interval == Interval(1.0, 1.0, 1.0)
    for interval in gain_retained(zero, full, zero[None], groups):
        assert interval is not None
        assert (interval.mean, interval.low, interval.high) == pytest.approx((0.0, 0.0, 0.0))


def test_no_share_is_told_of_a_gain_within_noise() -> None:
    zero = bernoulli(0.30, 200, 3)
    full = torch.stack([bernoulli(0.32, 200, seed=1), bernoulli(0.9, 200, seed=2), bernoulli(0.05, 200, seed=3)], -1)
    kept = gain_retained(zero, full[None], full[None], torch.arange(200))
    assert kept == [None, Interval(1.0, 1.0, 1.0), None]
    [gain, *_] = paired_difference(full[None], zero[None], torch.arange(200))
    assert gain.low <= 0 < gain.mean  # what the first n/a is about: positive on this sample, not beyond noise


@settings(max_examples=150, deadline=None)
@given(st.integers(2, 12), st.integers(0, 10_000), st.sampled_from([0.5, 0.8, 0.95]), st.floats(0.2, 0.9))
def test_intervals_are_finite_and_ordered_however_small_the_gain(n: int, seed: int, level: float, chance: float):
    zero, full, method = (
        bernoulli(0.2, n, 1, seed=seed),
        bernoulli(chance, 2, n, 1, seed=seed + 1),
        bernoulli(0.5, 1, n, 1, seed=seed + 2),
    )
    [kept] = gain_retained(zero, full, method, torch.arange(n), resamples=60, level=level)
    [gain] = paired_difference(full, zero[None], torch.arange(n), resamples=60, level=level)
    assert gain.low <= gain.high
    if kept is not None:
        assert -1e6 < kept.low <= kept.high < 1e6


def test_resamples_without_gain_count_as_the_worst_and_do_not_flip_their_sign() -> None:
    # 1 - 0.05 / gain rises with the gain, so the interval of the share is the image of the interval of the gain.
    zero = torch.zeros(8, 1, dtype=torch.float64)
    full = torch.tensor([1.0, 0.8, 0.55, 0.5, 0.3, 0.0, -0.15, -0.35], dtype=torch.float64)[None, :, None]
    [gain] = paired_difference(full, zero[None], torch.arange(8))
    [worst] = paired_difference(full, zero[None], torch.arange(8), level=0.999)
    [kept] = gain_retained(zero, full, full - 0.05, torch.arange(8))
    assert worst.low < 0 < gain.low
    assert kept is not None
    assert (kept.low, kept.high) == pytest.approx((1 - 0.05 / gain.low, 1 - 0.05 / gain.high))


def test_wider_levels_contain_narrower_ones() -> None:
    zero, full, method, groups = example()
    intervals = [gain_retained(zero, full, method, groups, level=level)[0] for level in (0.5, 0.8, 0.95, 0.99)]
    for narrow, wide in pairwise(intervals):
        assert narrow is not None
        assert wide is not None
        assert wide.low < narrow.low < narrow.high < wide.high


def test_the_seed_decides_and_global_randomness_is_left_alone() -> None:
    zero, full, method, groups = example()
    state = torch.get_rng_state()
    first = gain_retained(zero, full, method, groups, seed=3)
    assert torch.equal(torch.get_rng_state(), state)
    with torch.random.fork_rng():
        torch.manual_seed(2)
        assert gain_retained(zero, full, method, groups, seed=3) == first
    assert gain_retained(zero, full, method, groups, seed=4) != first


def test_labels_and_row_order_are_only_names() -> None:
    zero, full, method, groups = example()
    order = torch.randperm(len(groups), generator=torch.Generator().manual_seed(0))
    plain = gain_retained(zero, full, method, groups)
    moved = gain_retained(zero[order], full[:, order], method[:, order], 5 * groups[order] - 40)
    for a, b in zip(plain, moved, strict=True):
        assert a is not None
        assert b is not None
        assert (a.mean, a.low, a.high) == pytest.approx((b.mean, b.low, b.high))


def test_many_groups_are_drawn_in_blocks_with_the_same_result(monkeypatch: pytest.MonkeyPatch) -> None:
    zero, full, method, groups = example()
    at_once = gain_retained(zero, full, method, groups, resamples=101)
    monkeypatch.setattr(measured, "_DRAWS_AT_ONCE", 130)
    in_blocks = gain_retained(zero, full, method, groups, resamples=101)
    for a, b in zip(at_once, in_blocks, strict=True):
        assert a is not None
        assert b is not None
        assert (a.mean, a.low, a.high) == pytest.approx((b.mean, b.low, b.high))


def test_mean_and_standard_deviation_of_runs() -> None:
    values = [0.31, 0.42, 0.27, 0.4]
    assert mean_std(torch.tensor(values, dtype=torch.float64)) == pytest.approx(
        (statistics.fmean(values), statistics.stdev(values))
    )
    assert mean_std(torch.tensor([0.5])) == (0.5, 0.0)
    with pytest.raises(InputError, match="no runs"):
        mean_std(torch.empty(0))


def test_what_cannot_be_resampled_is_refused() -> None:
    hits, groups = bernoulli(0.5, 2, 8, 3), torch.arange(8)
    unchecked = paired_difference
    with pytest.raises(InputError, match=r"'b' have shape \(2, 7, 3\)"):
        unchecked(hits, hits[:, :7], groups)
    with pytest.raises(InputError, match=r"'b' have shape \(2, 8, 2\)"):
        unchecked(hits, hits[:, :, :2], groups)
    with pytest.raises(InputError, match=r"'a' have shape \(0, 8, 3\)"):
        paired_difference(hits[:0], hits, groups)
    with pytest.raises(InputError, match="no queries"):
        paired_difference(hits[:, :0], hits[:, :0], groups[:0])
    for settings_ in ({"resamples": 0}, {"level": 0.0}, {"level": 1.0}):
        with pytest.raises(InputError, match="resamples must be at least 1 and level in"):
            paired_difference(hits, hits, groups, **settings_)
    hits = hits.clone()
    hits[1, 3, 0] = float("nan")
    with pytest.raises(NotFiniteError, match="'full'"):
        gain_retained(torch.zeros(8, 3), hits, torch.zeros(1, 8, 3), groups)


def test_directions_count_equally_and_groups_are_drawn_in_all_of_them() -> None:
    """One direction has a third of the queries of the other: with equal groups, it has the same weight."""
    zero, full, method, groups = example()
    first = torch.tensor([int((groups == group).nonzero()[0]) for group in range(40)])
    few = [each[..., first, :] for each in (zero, full, method)]
    both = [[zero[None], few[0][None]], [full, few[1]], [method, few[2]]]
    assert measured.mean_hits(both[1]).tolist() == pytest.approx(
        ((full.mean((0, 1)) + few[1].mean((0, 1))) / 2).tolist()
    )
    by_direction = [groups, groups[first]]
    [share, _] = measured.gain_retained(both[0], both[1], both[2], by_direction)
    [twice, _] = measured.gain_retained([zero[None]] * 2, [full] * 2, [method] * 2, [groups] * 2)
    assert twice == gain_retained(zero, full, method, groups)[0]
    assert share is not None
    means = [measured.mean_hits(each)[0] for each in both]
    assert share.mean == pytest.approx(float((means[2] - means[0]) / (means[1] - means[0])))
    assert share.low < share.mean < share.high
    with pytest.raises(InputError, match="'a' have 1 directions, groups have 2"):
        measured.paired_difference([full], [method], by_direction)
