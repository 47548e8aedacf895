"""How often intervals cover the truth: `python benchmarks/coverage.py`. Writes results/coverage.json and .md.

Simulated test splits with known recall: a query is a hit if

    a_method + group + query + unit + residual > 0

All effects are normal; the variances of group, query and residual are 0.4, 0.3 and 0.3.
`group` and `query` are shared by all methods, `unit` (a set, or a run on all rows) is shared by all queries. The
recall of a method is Phi(a / sqrt(1 + variance of units)), and that of one set is Phi(a + unit). The *share of runs* is
the variance between units, divided by its sum with the variance over test splits of the recall of one unit. It is the
same for the sets and for the five runs on all rows; initial heads have no variance between runs.

The functions under test are those of `omnidistill.evaluation.intervals`. A percentile bootstrap of groups and units,
both resampled independently (crossed), is computed for comparison; version 0.1 used it.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from itertools import product
from statistics import NormalDist

import torch
from torch import Tensor

from measuring import RESULTS, Table
from omnidistill.evaluation.hits import Hits
from omnidistill.evaluation.intervals import Interval, gain_retained, paired_difference

RUNS = 5
"""Runs on all rows, the denominator of gain retained."""
DIRECTIONS = 2
LEVEL = 0.95
SPLITS = {"150 groups of 1 query": [1] * 150, "200 groups of 1 to 3 queries": [1 + number % 3 for number in range(200)]}
GAINS = {"large": (-1.0, 0.6, 0.2), "small": (-0.2, 0.1, 0.05)}
"""The a of initial heads, of all rows and of the method."""
SETS = (1, 2, 3, 5, 10)
SHARES = (0.0, 0.2, 0.5, 0.9, 0.97)
_AT_ONCE = 100
_RESAMPLES = 400
_Phi = torch.special.ndtr


@dataclass(frozen=True)
class Setting:
    """A row of the table."""

    split: str
    gain: str
    sets: int
    share: float


@dataclass(frozen=True)
class Outcome:
    """Shares of trials.

    Attributes:
        difference, gain_retained: in which the interval covers the truth; with one set, that of this set.
        bootstrap: the same for the gain retained by the percentile bootstrap.
        defined: in which gain retained is defined; its coverages refer to these trials.
        width: median width of the interval of gain retained.
        of_method: in which the interval of gain retained covers the truth of the method.
    """

    difference: float
    gain_retained: float
    bootstrap: float
    defined: float
    width: float
    of_method: float


def main() -> None:
    parser = argparse.ArgumentParser(description="Simulate how often confidence intervals cover the truth.")
    parser.add_argument("--trials", type=int, default=2000, help="simulated test splits per row of the table")
    parser.add_argument("--seed", type=int, default=0, help="seed of the simulation")
    parser.add_argument("--workers", type=int, default=2, help="number of processes")
    arguments = parser.parse_args()
    started_at, settings = time.monotonic(), all_settings()
    tasks = [(setting, arguments.trials, arguments.seed + number) for number, setting in enumerate(settings)]
    with ProcessPoolExecutor(arguments.workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        outcomes = []
        for setting, outcome in zip(settings, pool.map(_run, tasks), strict=True):
            outcomes.append(outcome)
            print(setting, outcome, flush=True)
    tables = [_several(settings, outcomes, arguments.trials), _single(settings, outcomes)]
    seconds = time.monotonic() - started_at
    content = {
        "trials": arguments.trials,
        "seed": arguments.seed,
        "level": LEVEL,
        "runs_on_all_rows": RUNS,
        "seconds": round(seconds),
        "rows": [asdict(setting) | asdict(outcome) for setting, outcome in zip(settings, outcomes, strict=True)],
    }
    (RESULTS / "coverage.json").write_text(json.dumps(content, indent=1) + "\n")
    head = f"{arguments.trials} trials per row, seed {arguments.seed}; {os.cpu_count()} cores, {seconds / 60:.1f} min."
    text = f"# Coverage of 95 % intervals\n\n`python benchmarks/coverage.py`: {head}\n\n"
    (RESULTS / "coverage.md").write_text(text + "\n".join(table.markdown() for table in tables))


def all_settings() -> list[Setting]:
    """Return the rows of the table; the small gain is simulated on one split only."""
    return [
        Setting(split, gain, sets, share)
        for split, gain, sets, share in product(SPLITS, GAINS, SETS, SHARES)
        if gain == "large" or split == next(iter(SPLITS))
    ]


def simulate(setting: Setting, trials: int, seed: int) -> Outcome:
    """Return how often intervals cover the truth."""
    generator = torch.Generator().manual_seed(seed)
    groups = torch.repeat_interleave(torch.arange(len(SPLITS[setting.split])), torch.tensor(SPLITS[setting.split]))
    zero, full, method = GAINS[setting.gain]
    by_query = _variance_over_splits(groups, method)
    deviation = _deviation(method, by_query * setting.share / (1 - setting.share))
    covered: dict[str, list[bool]] = {name: [] for name in ("difference", "gain", "bootstrap", "of_method")}
    widths: list[float] = []
    for first in range(0, trials, _AT_ONCE):
        number = min(_AT_ONCE, trials - first)
        shared = _shared(groups, number, generator)
        zero_hits, _ = _hits(zero, shared, 1, 0.0, generator)
        full_hits, _ = _hits(full, shared, RUNS, deviation, generator)
        hits, units = _hits(method, shared, setting.sets, deviation, generator)
        low, high, truth = _recall(zero, 0.0), _recall(full, deviation), _recall(method, deviation)
        here = _Phi(method + units[0, 0]) if setting.sets == 1 else torch.full((number,), truth).double()
        of_directions = [groups] * DIRECTIONS
        retained = gain_retained(zero_hits, full_hits, hits, of_directions, LEVEL)
        percentile = bootstrap(zero_hits, full_hits, hits, groups, generator)
        differences = paired_difference(hits, full_hits, of_directions, LEVEL)
        for trial, (gain, ends, difference) in enumerate(zip(retained, percentile, differences, strict=True)):
            recall = float(here[trial])
            covered["difference"].append(_covers(difference, recall - high))
            if gain is not None:
                share = (recall - low) / (high - low)
                covered["gain"].append(_covers(gain, share))
                covered["bootstrap"].append(ends[0] <= share <= ends[1])
                covered["of_method"].append(_covers(gain, (truth - low) / (high - low)))
                widths.append(gain.high - gain.low)
    rates = {name: sum(each) / max(len(each), 1) for name, each in covered.items()}
    width = sorted(widths)[len(widths) // 2] if widths else float("nan")
    defined = len(widths) / trials
    return Outcome(rates["difference"], rates["gain"], rates["bootstrap"], defined, width, rates["of_method"])


def bootstrap(zero: Hits, full: Hits, method: Hits, groups: Tensor, generator: torch.Generator) -> list[list[float]]:
    """Return the ends of percentile intervals of gain retained; groups are drawn once for all methods and units."""
    num_groups = int(groups.max()) + 1
    drawn = _multiplicities(num_groups, generator)
    queries = drawn @ torch.bincount(groups).double()
    means = []
    for hits in (zero, full, method):
        by_query = torch.stack(list(hits)).mean(0)  # U x Q x K
        totals = torch.zeros(num_groups, len(by_query), by_query.shape[2]).double()
        totals.index_add_(0, groups, by_query.transpose(0, 1))
        scores = torch.einsum("bg,guk->buk", drawn, totals) / queries[:, None, None]
        weights = _multiplicities(len(by_query), generator) / len(by_query)
        means.append(torch.einsum("bu,buk->bk", weights, scores))
    ratio = (means[2] - means[0]) / (means[1] - means[0])
    ends: list[list[float]] = torch.quantile(ratio, torch.tensor([0.025, 0.975]).double(), dim=0).T.tolist()
    return ends


def _run(task: tuple[Setting, int, int]) -> Outcome:
    return simulate(*task)


def _multiplicities(items: int, generator: torch.Generator) -> Tensor:
    drawn = torch.randint(items, (_RESAMPLES, items), generator=generator)
    return torch.zeros(_RESAMPLES, items).double().scatter_add_(1, drawn, torch.ones(_RESAMPLES, items).double())


def _shared(groups: Tensor, trials: int, generator: torch.Generator) -> Tensor:
    """Return group + query, DIRECTIONS x Q x trials; a group has one effect in all directions."""
    group = torch.randn(int(groups.max()) + 1, trials, generator=generator)
    query = torch.randn(DIRECTIONS, len(groups), trials, generator=generator)
    return 0.4**0.5 * group[groups] + 0.3**0.5 * query


def _hits(
    level: float, shared: Tensor, units: int, deviation: float, generator: torch.Generator
) -> tuple[list[Tensor], Tensor]:
    """Return the hits by direction, units x Q x trials, and the effects of the units, units x 1 x trials."""
    effects = deviation * torch.randn(units, 1, shared.shape[2], generator=generator)
    hits = []
    for each in shared:
        residual = 0.3**0.5 * torch.randn(units, *each.shape, generator=generator)
        hits.append((level + each + effects + residual > 0).double())
    return hits, effects.double()


def _recall(level: float, deviation: float) -> float:
    return NormalDist().cdf(level / (1 + deviation**2) ** 0.5)


def _variance_over_splits(groups: Tensor, level: float) -> float:
    """Return the variance over test splits of the recall of one unit without variance between units."""
    generator = torch.Generator().manual_seed(1)
    hits, _ = _hits(level, _shared(groups, 2000, generator), 1, 0.0, generator)
    return float(torch.stack(hits).mean((0, 1, 2)).var())


def _deviation(level: float, variance: float) -> float:
    """Return the standard deviation of unit effects with which recall has this variance between units."""
    normal = torch.special.ndtri((torch.arange(4000).double() + 0.5) / 4000)
    low, high = 0.0, 100.0
    for _ in range(60):
        middle = (low + high) / 2
        if float(_Phi(level + middle * normal).var()) < variance:
            low = middle
        else:
            high = middle
    return low


def _covers(interval: Interval, value: float) -> bool:
    return interval.low <= value <= interval.high


def _several(settings: Sequence[Setting], outcomes: Iterable[Outcome], trials: int) -> Table:
    rows = tuple(
        (
            *(setting.split, setting.gain, setting.sets, f"{setting.share:.2f}"),
            *(_percent(outcome.difference), _percent(outcome.gain_retained), _percent(outcome.bootstrap)),
            *(_percent(outcome.defined), f"{outcome.width:.2f}"),
        )
        for setting, outcome in zip(settings, outcomes, strict=True)
        if setting.sets > 1
    )
    error = 100 * (LEVEL * (1 - LEVEL) / trials) ** 0.5
    return Table(
        "Several sets: the truth is that of the method",
        f"Coverage in % (standard error {error:.1f}) of the difference to all rows and of gain retained, the coverage "
        "of gain retained by the percentile bootstrap, in how many trials gain retained is defined (its coverages "
        "refer to these), and the median width of its interval.",
        (
            *("test split", "gain of all rows", "sets", "share of runs", "difference", "gain retained"),
            *("bootstrap", "defined", "width"),
        ),
        rows,
    )


def _single(settings: Sequence[Setting], outcomes: Iterable[Outcome]) -> Table:
    rows = tuple(
        (
            *(setting.split, setting.gain, f"{setting.share:.2f}", _percent(outcome.difference)),
            *(_percent(outcome.gain_retained), _percent(outcome.of_method), _percent(outcome.defined)),
        )
        for setting, outcome in zip(settings, outcomes, strict=True)
        if setting.sets == 1
    )
    return Table(
        "One set: queries only",
        "Coverage in % of the difference and of the gain retained of this set, which is what the interval claims, and "
        "of the gain retained of the method, which it does not claim.",
        (
            *("test split", "gain of all rows", "share of runs", "difference", "gain retained"),
            *("gain retained of the method", "defined"),
        ),
        rows,
    )


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"


if __name__ == "__main__":
    main()
