"""When does HoPA's proxy help? `python benchmarks/proxy_study.py [--quick] [--tables]`.

    1  readings    every reading of HoPA's objective, one factor at a time, trained on all rows of two regimes
    2  regimes     HoPA, its best readings and the pairwise objectives, trained on all rows of every regime
    3  distilled   sets of 50 rows, learned by trajectory matching in three regimes
    4  emoji       the main objectives on the bundled data

Step size (half decades, extended until the best is not at an end) and number of epochs are chosen on validation, alike
for every objective; the test split is scored once per cell. The best readings are those with the best validation scores
in part 1. Every finished cell is stored in results/proxy_study.json, so an interrupted run continues.

proxy_regimes.py plants the data, proxy_readings.py has the objectives, proxy_cells.py trains on all rows,
proxy_distilled.py distils, and proxy_verdicts.py and proxy_tables.py write results/proxy_study.md.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from measuring import RESULTS
from proxy_cells import Effort, Store, full_cell, start_cell
from proxy_distilled import distilled_cell, distilled_methods
from proxy_readings import ALL_READINGS, PAIRWISE, TEMPERATURES, Reading
from proxy_regimes import READ_IN, REGIMES
from proxy_tables import markdown

MAIN = ("HoPA", "single mode", *PAIRWISE)
ON_EMOJI = ("HoPA", "single mode", "3-pair", "3-pair, tau 0.2", "InfoNCE")
DISTILLED_ON_EMOJI = ("HoPA", "3-pair", "3-pair, tau 0.2", "LoRS")
SWEPT = ("HoPA", "single mode", "3-pair", "3-pair, tau 0.2", "T-bind", "V-bind", "InfoNCE")
NUM_BEST = 3
DISTILLED_DRAWS = {"paper": range(6), "corrupted": range(3), "weak": range(3)}


@dataclass(frozen=True)
class Plan:
    """What to compute: readings, regimes, draws of data, and distilled methods ({regime: draws})."""

    readings: Sequence[Reading] = ALL_READINGS
    regimes: Sequence[str] = tuple(REGIMES)
    draws: Sequence[int] = (0, 1, 2)
    temperatures_in: Sequence[str] = ("paper", "corrupted", "weak")
    distilled_draws: Mapping[str, Sequence[int]] = field(default_factory=lambda: DISTILLED_DRAWS)
    emoji_draws: Sequence[int] = (0,)
    methods: Sequence[str] | None = None


QUICK = Plan(ALL_READINGS[:16:5], ("paper", "weak", "weak-4"), (0,), (), {"paper": (0,)}, (), ("HoPA", "LoRS"))


def run(store: Store, plan: Plan) -> None:
    """Compute all missing cells."""
    planted = [name for name in plan.regimes if not REGIMES[name].bundled]
    three = [name for name in planted if REGIMES[name].modalities == 3]
    for draw in plan.draws:
        for regime in READ_IN:
            start_cell(store, regime, draw)
            for reading in plan.readings:
                full_cell(store, regime, reading.name, draw)
    best = store.record["best"] = best_readings(store, plan)
    for draw in plan.draws:
        for regime in three:
            train(store, regime, (*MAIN, *best), draw)
    for regime, draws in plan.distilled_draws.items():
        for draw in draws:
            start_cell(store, regime, draw)
            for name, method in distilled_methods(best).items():
                if plan.methods is None or name in plan.methods:
                    distilled_cell(store, regime, name, method, draw)
    for draw in plan.draws:
        for regime in plan.temperatures_in:
            train(store, regime, list(TEMPERATURES), draw)
    for draw in plan.draws:
        for regime in [name for name in planted if name not in three]:
            train(store, regime, SWEPT, draw)
    for draw in plan.emoji_draws:
        train(store, "emoji", (*ON_EMOJI, *best), draw)
        for name in (*DISTILLED_ON_EMOJI, *best):
            distilled_cell(store, "emoji", name, distilled_methods(best)[name], draw)
    store.save()


def train(store: Store, regime: str, names: Sequence[str], draw: int) -> None:
    """Score the initial heads and train every objective on all rows of one draw."""
    start_cell(store, regime, draw)
    for name in dict.fromkeys(names):
        full_cell(store, regime, name, draw)


def best_readings(store: Store, plan: Plan) -> list[str]:
    """Return the readings, other than the published one, with the best mean validation score in part 1."""

    def score(name: str) -> float:
        cells = [store.cells[f"full/{regime}/{name}/{draw}"] for regime in READ_IN for draw in plan.draws]
        return sum(float(cell["validation"]) for cell in cells)

    candidates = [reading.name for reading in plan.readings if reading.settings and not reading.control]
    return sorted(candidates, key=score, reverse=True)[:NUM_BEST]


def main() -> None:
    parser = argparse.ArgumentParser(description="When does the proxy help?")
    parser.add_argument("--quick", action="store_true", help="a few cells with little training; prints the tables")
    parser.add_argument("--tables", action="store_true", help="only write the tables from the stored cells")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.quick:
        with tempfile.TemporaryDirectory() as folder:
            store = Store(Path(folder) / "cells.json", Effort(epochs=2, iterations=4))
            run(store, QUICK)
            print(markdown(store.record))
        return
    store = Store(RESULTS / "proxy_study.json", Effort())
    if not options.tables:
        run(store, Plan())
    (RESULTS / "proxy_study.md").write_text(markdown(store.record))


if __name__ == "__main__":
    main()
