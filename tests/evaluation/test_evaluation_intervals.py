"""Intervals against Fieller's closed form and a jackknife, and what must not change them."""

from __future__ import annotations

import math
import statistics
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor

from omnidistill.core.errors import InputError
from omnidistill.evaluation import intervals as measured
from omnidistill.evaluation.hits import mean_hits, mean_unit
from omnidistill.evaluation.intervals import Coverage, Interval, mean_std


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


def ends(interval: Interval | None) -> tuple[float, float, float]:
    assert interval is not None
    return interval.mean, interval.low, interval.high


def test_the_interval_of_a_ratio_is_that_of_fieller() -> None:
    """With one unit each, the degrees of freedom do not depend on the ratio; its ends solve a quadratic equation."""
    zero, full, method = bernoulli(0.2, 60, 1), bernoulli(0.8, 1, 60, 1, seed=1), bernoulli(0.5, 1, 60, 1, seed=2)
    whole, part = (full[0] - zero)[:, 0].numpy(), (method[0] - zero)[:, 0].numpy()
    [[parts, both], [_, wholes]] = np.cov(part, whole) / 60
    t = stats.t.ppf(0.975, 59)
    a, b, c = (
        whole.mean() ** 2 - t**2 * wholes,
        part.mean() * whole.mean() - t**2 * both,
        part.mean() ** 2 - t**2 * parts,
    )
    root = math.sqrt(b**2 - a * c)
    [interval] = gain_retained(zero, full, method, torch.arange(60))
    expected = (part.mean() / whole.mean(), (b - root) / a, (b + root) / a)
    assert ends(interval) == pytest.approx(expected, abs=1e-8)


def test_groups_of_unequal_size_agree_with_a_jackknife() -> None:
    _, full, method, groups = example()
    full, method = full[:1], method[:1]
    for column, interval in enumerate(paired_difference(full, method, groups)):
        without = []
        for group in groups.unique():
            rest = groups != group
            without.append(float(full[:, rest, column].mean() - method[:, rest, column].mean()))
        error = math.sqrt(39 / 40 * 40 * np.var(without))
        assert interval.high - interval.mean == pytest.approx(stats.t.ppf(0.975, 39) * error, rel=0.08)
        assert interval.mean - interval.low == pytest.approx(interval.high - interval.mean)


@pytest.mark.parametrize("luck", [0.0, 0.03, 0.2])
def test_intervals_of_five_sets_cover_the_truth_as_often_as_they_say(luck: float) -> None:
    """Every cut-off is a trial with queries and sets of its own; benchmarks/coverage.py simulates more cases."""
    trials, generator = 100, torch.Generator().manual_seed(5)
    ease = torch.rand(1, 120, trials, generator=generator, dtype=torch.float64)

    def hits(level: float, units: int, luck: float) -> Tensor:
        effect = luck * (2 * torch.rand(units, 1, trials, generator=generator, dtype=torch.float64) - 1)
        uniform = torch.rand(units, 120, trials, generator=generator, dtype=torch.float64)
        return (uniform < level * (0.5 + 0.5 * ease) + effect).double()

    zero, full, method = hits(0.2, 1, 0.0)[0], hits(0.9, 5, luck / 2), hits(0.6, 5, luck)
    differences = paired_difference(full, method, torch.arange(120))
    gains = gain_retained(zero, full, method, torch.arange(120))
    truth = 0.75 * 0.3, 4 / 7
    covered = [each.low <= truth[0] <= each.high for each in differences]
    assert 0.88 <= sum(covered) / trials < 1
    covered = [low <= truth[1] <= high for _, low, high in map(ends, gains)]
    assert 0.88 <= sum(covered) / trials < 1


def test_equal_sets_give_the_interval_of_one_set() -> None:
    zero, full, method, groups = example()
    one, equal = method[:1], method[:1].expand(5, -1, -1)
    for a, b in zip(gain_retained(zero, full, one, groups), gain_retained(zero, full, equal, groups), strict=True):
        assert ends(a) == pytest.approx(ends(b), abs=1e-8)
    for a, b in zip(paired_difference(one, full, groups), paired_difference(equal, full, groups), strict=True):
        assert ends(a) == pytest.approx(ends(b), abs=1e-9)


def test_sets_that_differ_widen_the_interval() -> None:
    base = torch.zeros(1, 30, 1, dtype=torch.float64)
    scores = torch.tensor([0.2, 0.4, 0.9], dtype=torch.float64)
    [interval] = paired_difference(scores[:, None, None].expand(3, 30, 1), base, torch.arange(30))
    half = stats.t.ppf(0.975, 2) * float(scores.std()) / math.sqrt(3)
    assert ends(interval) == pytest.approx((0.5, 0.5 - half, 0.5 + half))
    [single] = paired_difference(scores[:1, None, None].expand(1, 30, 1), base, torch.arange(30))
    assert ends(single) == pytest.approx((0.2, 0.2, 0.2))


def test_students_of_a_set_are_averaged_to_one_unit() -> None:
    _, full, _, groups = example()
    [unit] = mean_unit([full])
    assert unit.shape == (1, *full.shape[1:])
    assert torch.equal(unit[0], full.mean(0))
    narrow, _ = paired_difference(unit, 0 * full[:1], groups)
    wide, _ = paired_difference(full, 0 * full[:1], groups)
    assert narrow.mean == pytest.approx(wide.mean)


@pytest.mark.parametrize(
    ("number", "sets", "runs"),
    [(1, "queries only", "queries only"), (3, "queries and sets", "queries and runs")],
)
def test_coverage_names_what_is_covered(number: int, sets: str, runs: str) -> None:
    assert (Coverage.of_sets(number), Coverage.of_runs(number)) == (Coverage(sets, number), Coverage(runs, number))


def test_rows_of_one_group_count_as_one() -> None:
    zero, full, method = bernoulli(0.1, 50, 1), bernoulli(0.7, 1, 50, 1, seed=1), bernoulli(0.5, 1, 50, 1, seed=2)
    copies = torch.arange(50).repeat_interleave(6)
    repeated = (zero[copies], full[:, copies], method[:, copies])
    once = ends(gain_retained(zero, full, method, torch.arange(50))[0])
    together = ends(gain_retained(*repeated, copies)[0])
    apart = ends(gain_retained(*repeated, torch.arange(300))[0])
    assert together == pytest.approx(once)
    assert apart[2] - apart[1] < 0.6 * (once[2] - once[1])


def test_methods_are_compared_on_the_same_queries() -> None:
    b = bernoulli(0.5, 1, 80, 2)
    shifted = 0.25 + b / 2 + b / 2
    groups = torch.arange(80) // 2
    for interval in paired_difference(shifted, b, groups):
        assert ends(interval) == pytest.approx((0.25, 0.25, 0.25))
    [spread, _] = paired_difference(b, torch.zeros_like(b), groups)
    assert spread.high - spread.low > 0.1
    zero = 0.4 * b[0]
    [kept, _] = gain_retained(zero, zero + 0.5 * b, zero + 0.2 * b, groups)
    assert ends(kept) == pytest.approx((0.4, 0.4, 0.4))


def test_retaining_all_is_one_and_retaining_nothing_is_zero() -> None:
    zero, full, _, groups = example()
    for interval in gain_retained(zero, full[:1], full[:1], groups):
        assert ends(interval) == pytest.approx((1.0, 1.0, 1.0))
    for interval in gain_retained(zero, full, zero[None], groups):
        assert ends(interval) == pytest.approx((0.0, 0.0, 0.0), abs=1e-8)


def test_gain_retained_is_undefined_if_the_gain_of_all_rows_is_within_noise() -> None:
    zero = bernoulli(0.30, 200, 3)
    full = torch.stack([bernoulli(0.32, 200, seed=1), bernoulli(0.9, 200, seed=2), bernoulli(0.05, 200, seed=3)], -1)
    first, second, third = gain_retained(zero, full[None], full[None], torch.arange(200))
    assert (first, third) == (None, None)
    assert ends(second) == pytest.approx((1.0, 1.0, 1.0))
    [gain, *_] = paired_difference(full[None], zero[None], torch.arange(200))
    assert gain.low <= 0 < gain.mean  # positive on this sample, but not beyond noise


def test_runs_on_all_rows_that_differ_count_as_noise_of_their_gain() -> None:
    zero, method = bernoulli(0.2, 100, 1), bernoulli(0.4, 1, 100, 1, seed=1)
    luck = torch.tensor([0.0, 0.9])[:, None, None]
    full = (torch.rand(2, 100, 1, generator=torch.Generator().manual_seed(2)) < 0.1 + luck).double()
    assert gain_retained(zero, full, method, torch.arange(100)) == [None]
    assert gain_retained(zero, mean_unit([full])[0], method, torch.arange(100)) != [None]


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 12), st.integers(0, 10_000), st.sampled_from([0.5, 0.8, 0.95]), st.floats(0.2, 0.9))
def test_intervals_are_finite_and_contain_the_estimate(n: int, seed: int, level: float, chance: float) -> None:
    zero, full, method = (
        bernoulli(0.2, n, 1, seed=seed),
        bernoulli(chance, 2, n, 1, seed=seed + 1),
        bernoulli(0.5, 1, n, 1, seed=seed + 2),
    )
    [kept] = gain_retained(zero, full, method, torch.arange(n), level=level)
    [gain] = paired_difference(full, zero[None], torch.arange(n), level=level)
    assert gain.low <= gain.mean <= gain.high
    assert math.isfinite(gain.high - gain.low)
    if kept is not None:
        assert gain.low > 0
        assert -2e6 < kept.low <= kept.mean <= kept.high < 2e6


def test_wider_levels_contain_narrower_ones() -> None:
    zero, full, method, groups = example()
    intervals = [gain_retained(zero, full, method, groups, level=level)[0] for level in (0.5, 0.8, 0.95, 0.99)]
    for narrow, wide in pairwise(map(ends, intervals)):
        assert wide[1] < narrow[1] < narrow[2] < wide[2]


def test_order_of_rows_and_sets_and_names_of_groups_do_not_matter() -> None:
    zero, full, method, groups = example()
    order = torch.randperm(len(groups), generator=torch.Generator().manual_seed(0))
    plain = gain_retained(zero, full, method, groups)
    moved = gain_retained(zero[order], full[:, order], method[:, order], 5 * groups[order] - 40)
    shuffled = gain_retained(zero, full[[2, 0, 3, 1]], method[[1, 2, 0]], groups)
    for a, b, c in zip(plain, moved, shuffled, strict=True):
        assert ends(a) == pytest.approx(ends(b), abs=1e-8)
        assert ends(a) == pytest.approx(ends(c), abs=1e-8)


def test_global_randomness_is_left_alone() -> None:
    state = torch.get_rng_state()
    zero, full, method, groups = example()
    assert gain_retained(zero, full, method, groups) == gain_retained(zero, full, method, groups)
    assert torch.equal(torch.get_rng_state(), state)


def test_mean_and_standard_deviation_of_runs() -> None:
    values = [0.31, 0.42, 0.27, 0.4]
    assert mean_std(torch.tensor(values, dtype=torch.float64)) == pytest.approx(
        (statistics.fmean(values), statistics.stdev(values))
    )
    assert mean_std(torch.tensor([0.5])) == (0.5, 0.0)
    with pytest.raises(InputError, match="no runs"):
        mean_std(torch.empty(0))


@pytest.mark.parametrize("level", [0.0, 1.0])
def test_invalid_levels_are_refused(level: float) -> None:
    hits = bernoulli(0.5, 2, 8, 3)
    with pytest.raises(InputError, match=r"level=\d.0: the confidence level must be above 0 and below 1"):
        paired_difference(hits, hits, torch.arange(8), level=level)


def test_directions_count_equally_and_share_their_groups() -> None:
    """One direction has a third of the queries of the other: with equal groups, it has the same weight."""
    zero, full, method, groups = example()
    first = torch.tensor([int((groups == group).nonzero()[0]) for group in range(40)])
    few = [each[..., first, :] for each in (zero, full, method)]
    both = [[zero[None], few[0][None]], [full, few[1]], [method, few[2]]]
    assert mean_hits(both[1]).tolist() == pytest.approx(((full.mean((0, 1)) + few[1].mean((0, 1))) / 2).tolist())
    by_direction = [groups, groups[first]]
    [share, _] = measured.gain_retained(both[0], both[1], both[2], by_direction)
    [twice, _] = measured.gain_retained([zero[None]] * 2, [full] * 2, [method] * 2, [groups] * 2)
    assert ends(twice) == pytest.approx(ends(gain_retained(zero, full, method, groups)[0]), abs=1e-8)
    assert share is not None
    means = [mean_hits(each)[0] for each in both]
    assert share.mean == pytest.approx(float((means[2] - means[0]) / (means[1] - means[0])))
    assert share.low < share.mean < share.high
    with pytest.raises(InputError, match="'a' cover 1 retrieval directions, but the groups cover 2"):
        measured.paired_difference([full], [method], by_direction)
