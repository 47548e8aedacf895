"""Numbers and verdicts of the proxy study: paired differences over draws, and which claims of the HoPA paper hold.

A difference is "up" or "down" if its 95 % interval (Student's t over the paired draws) excludes 0, otherwise "open".
With only two draws, it is up or down if both agree.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from omnidistill.evaluation.student_t import quantile
from proxy_regimes import REGIMES

Cell = Mapping[str, Any]


@dataclass(frozen=True)
class Mean:
    """A mean over draws, its standard error, and the number of draws."""

    mean: float
    error: float
    draws: int

    def __str__(self) -> str:
        return f"{self.mean:.1f}{self._spread}"

    @property
    def signed(self) -> str:
        return f"{self.mean:+.1f}{self._spread}"

    @property
    def _spread(self) -> str:
        return f" ± {self.error:.1f}" if self.draws > 1 else ""


def mean_of(values: Sequence[float]) -> Mean:
    error = statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else 0.0
    return Mean(statistics.fmean(values), error, len(values))


@dataclass(frozen=True)
class Difference(Mean):
    """The mean of paired differences, and whether it is up, down or open."""

    sign: str


def difference_of(values: Sequence[float]) -> Difference:
    found = mean_of(values)
    if found.draws > 2:
        clear = abs(found.mean) > quantile(0.95, found.draws - 1) * found.error
    else:
        clear = found.draws > 1 and all(value * found.mean > 0 for value in values)
    return Difference(found.mean, found.error, found.draws, "open" if not clear else "up" if found.mean > 0 else "down")


class Numbers:
    """The cells of the study: {draw: cell} by part ("start", "full", "distilled"), regime and name."""

    def __init__(self, cells: Mapping[str, Cell]) -> None:
        self._cells: dict[tuple[str, str, str], dict[int, Cell]] = {}
        for key, cell in cells.items():
            part, regime, *name, draw = key.split("/")
            if cell["recall"] is not None:
                self._cells.setdefault((part, regime, "/".join(name)), {})[int(draw)] = cell

    def names(self, part: str, regime: str) -> list[str]:
        return [name for at, where, name in self._cells if (at, where) == (part, regime)]

    def regimes(self, part: str) -> list[str]:
        return [regime for regime in REGIMES if self.names(part, regime)]

    def cells(self, part: str, regime: str, name: str) -> dict[int, Cell]:
        return self._cells.get((part, regime, name), {})

    def recall(self, part: str, regime: str, name: str, place: int) -> Mean:
        """Return R@1, R@5 or R@10 (place 0, 1 or 2)."""
        return mean_of([cell["recall"][place] for cell in self.cells(part, regime, name).values()])

    def validation(self, part: str, regime: str, name: str) -> Mean:
        return mean_of([cell["validation"] for cell in self.cells(part, regime, name).values()])

    def difference(self, part: str, regime: str, name: str, other: str, of: str | None = None) -> Difference | None:
        """Return the paired difference of the means of R@1, R@5 and R@10; None if no draw has both."""
        mine, its = self.cells(part, regime, name), self.cells(of or part, regime, other)
        draws = mine.keys() & its.keys()
        if not draws:
            return None
        return difference_of([_score(mine[draw]) - _score(its[draw]) for draw in sorted(draws)])

    def gain(self, part: str, regime: str, name: str) -> Difference | None:
        """Return the difference from the initial heads."""
        return self.difference(part, regime, name, "", of="start")

    def directions_won(self, part: str, regime: str, name: str, others: Sequence[str]) -> tuple[int, int] | None:
        """Return in how many directions the name has the highest mean R@1, and how many there are."""
        found = {each: self.cells(part, regime, each) for each in (name, *others)}
        if not all(found.values()):
            return None
        ways = next(iter(found[name].values()))["directions"]
        at_1 = {
            each: {way: statistics.fmean(cell["directions"][way][0] for cell in cells.values()) for way in ways}
            for each, cells in found.items()
        }
        return sum(all(at_1[name][way] > at_1[other][way] for other in others) for way in ways), len(ways)


def _score(cell: Cell) -> float:
    return statistics.fmean(cell["recall"])


@dataclass(frozen=True)
class Claim:
    """A claim of the paper: one objective is better than another, on all rows or distilled."""

    table: str
    text: str
    name: str
    other: str
    part: str = "full"


def claims_of(reading: str) -> tuple[Claim, ...]:
    """Return what could be claimed of another reading of HoPA than the published one."""
    others = ("HoPA", "3-pair, tau 0.2", "3-pair, tau 0.5", "T-bind, tau 0.2", "InfoNCE", "InfoNCE, tau 0.2")
    on_all_rows = [Claim("", f"{reading} is better than {other}", reading, other) for other in others]
    distilled = [
        Claim("", f"distilled, {reading} is better than {other}", reading, other, "distilled")
        for other in ("HoPA", *(f"{name}, HoPA's loop" for name in ("3-pair, tau 0.2", "LoRS", "InfoNCE")))
    ]
    return (*on_all_rows, *distilled)


CLAIMS = (
    Claim("5", "HoPA is better than 3-pair", "HoPA", "3-pair"),
    Claim("5", "HoPA is better than 3-pair with HoPA's temperature 0.2", "HoPA", "3-pair, tau 0.2"),
    Claim("5", "HoPA is better than T-bind", "HoPA", "T-bind"),
    Claim("5", "HoPA is better than V-bind", "HoPA", "V-bind"),
    Claim("5", "3-pair is better than T-bind", "3-pair", "T-bind"),
    Claim("5", "distilled, HoPA is better than 3-pair", "HoPA", "3-pair", "distilled"),
    Claim("5", "distilled, HoPA is better than T-bind", "HoPA", "T-bind", "distilled"),
    Claim("5", "distilled, HoPA is better than V-bind", "HoPA", "V-bind", "distilled"),
    Claim("6", "L_mod helps", "HoPA", "no L_mod"),
    Claim("6", "L_ins helps", "HoPA", "no L_ins"),
    Claim("6", "one mode in the proxy is better than two", "HoPA", "rank-2 proxy"),
    Claim("6", "the singular vector is better than the mean embedding", "HoPA", "mean, no SVD"),
    Claim("6", "distilled, similarity mining helps", "HoPA", "HoPA, S = I", "distilled"),
    Claim("10", "HoPA is better than LoRS's loss, which is that of 3-pair", "HoPA", "3-pair"),
    Claim("10", "HoPA is better than InfoNCE (the loss of MTT)", "HoPA", "InfoNCE"),
    Claim("10", "distilled, HoPA is better than LoRS", "HoPA", "LoRS", "distilled"),
    Claim("10", "distilled, HoPA is better than MTT with InfoNCE", "HoPA", "InfoNCE", "distilled"),
)


def verdict(numbers: Numbers, claim: Claim) -> str:
    """Return where the claim holds, where the opposite does, and where the draws do not decide, in words."""
    places: dict[str, list[str]] = {"up": [], "down": [], "open": []}
    for regime in numbers.regimes(claim.part):
        found = numbers.difference(claim.part, regime, claim.name, claim.other)
        if found is not None and found.draws > 1:
            places[found.sign].append(f"{REGIMES[regime].title} ({found.signed})")
    total = sum(map(len, places.values()))
    if not total:
        return f"*{claim.text}*: not measured."
    words = {"up": "holds", "down": "the opposite holds", "open": "open"}
    parts = [f"{words[sign]}: {'; '.join(where)}" for sign, where in places.items() if where]
    counted = f"holds in {len(places['up'])} of {total} regimes"
    if places["down"]:
        counted += f", the opposite in {len(places['down'])}"
    return f"*{claim.text}*: **{counted}**. {'. '.join(part[0].upper() + part[1:] for part in parts)}."


def direction_verdict(numbers: Numbers, part: str, name: str, others: Sequence[str]) -> str:
    """Return in how many directions a name is the best of all, by regime, in words."""
    found = {regime: numbers.directions_won(part, regime, name, others) for regime in numbers.regimes(part)}
    known = {regime: won for regime, won in found.items() if won is not None}
    if not known:
        return f"*{name}, {part}*: directions not measured."
    each = "; ".join(f"{REGIMES[regime].title} {won} of {total}" for regime, (won, total) in known.items())
    won, total = (sum(pair[place] for pair in known.values()) for place in (0, 1))
    how = "distilled, " if part == "distilled" else ""
    versus = " and ".join([", ".join(others[:-1]), others[-1]])
    return f"*{how}{name} has the best R@1 in every direction, against {versus}*: **{won} of {total}**. {each}."
