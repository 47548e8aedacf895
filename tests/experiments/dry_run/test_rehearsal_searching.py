"""Searches, tried: those that end in time exactly; what time cuts off by the last that ended."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from omnidistill.experiments.dry_run import search_estimate as searching
from omnidistill.experiments.dry_run.search_estimate import Run, Searched, tried_search


def run(scores: list[float], seconds: float = 0.0) -> Run:
    """Epochs after which these are the scores."""
    seen: list[float] = []

    def epochs() -> Iterator[int]:
        for epoch, score in enumerate(scores):
            time.sleep(seconds)
            seen.append(score)
            yield epoch + 1

    return epochs(), lambda: seen[-1]


def test_what_ends_in_time_is_known() -> None:
    runs = [run([0.1, 0.3] + 20 * [0.2]), run([0.1, 0.2, 0.4] + 20 * [0.3]), run(5 * [0.1])]
    assert tried_search(runs, 3, 23, each=0.01) == Searched(8 + 9 + 5, 3)  # each until it has not risen for six


def test_what_time_cuts_off_goes_on_as_the_last_that_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(searching, "TRIED_SECONDS", 0.3)
    runs = [run([0.1, 0.3] + 20 * [0.2]), run([0.1 * n for n in range(1, 100)], seconds=0.1), run([0.9])]
    found = tried_search(runs, 4, 100, each=0.001)
    assert found.judged == 4 * 8
    assert 2 <= found.chosen <= 5


def test_long_epochs_are_not_tried() -> None:
    assert tried_search([], 6, 100, each=10.0) == Searched(6 * 24, 24)
    assert tried_search([], 6, 5, each=10.0) == Searched(6 * 5, 5)
