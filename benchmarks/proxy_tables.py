"""The tables and verdicts of the proxy study as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from proxy_readings import ALL_READINGS, PAIRWISE, TEMPERATURES
from proxy_regimes import READ_IN, REGIMES
from proxy_verdicts import CLAIMS, Numbers, claims_of, direction_verdict, verdict

RIVALS = {
    "full": ("3-pair", "T-bind", "V-bind", "InfoNCE"),
    "distilled": ("3-pair", "T-bind", "V-bind", "LoRS", "InfoNCE"),
}
NOTE = (
    "Planted data: 1,500 training rows, widths 160, heads 64 wide, batch 128. Test recall in %: mean over directions, "
    "and mean over data draws ± standard error. `Score` is the mean of R@1, R@5 and R@10. Differences are paired by "
    "draw; a claim holds in a regime if the 95 % interval of its difference (Student's t) is above 0. Step sizes (half "
    "decades) and epochs (at most 30) were chosen on validation for every objective and draw."
)


def markdown(record: Mapping[str, Any]) -> str:
    numbers, best = Numbers(record["cells"]), record["best"]
    parts = [
        f"{NOTE} {record['machine']} {record['minutes']:.0f} minutes.",
        *verdicts(numbers, best),
        *summary(numbers, best),
        *readings(numbers),
        *regimes(numbers),
        *distilled(numbers),
    ]
    return "\n\n".join(parts) + "\n"


def verdicts(numbers: Numbers, best: Sequence[str]) -> Iterable[str]:
    """Yield one list of verdicts per table of the paper, and one for the readings that validate best."""
    yield "### Which claims hold"
    yield "In parentheses: difference of the scores. A claim is open if its interval contains 0."
    for table in ("5", "6", "10"):
        lines = [f"* {verdict(numbers, claim)}" for claim in CLAIMS if claim.table == table]
        if table == "10":
            lines += [f"* {direction_verdict(numbers, part, 'HoPA', rivals)}" for part, rivals in RIVALS.items()]
        yield f"Table {table} of the paper:\n\n" + "\n".join(lines)
    for name in best:
        lines = [f"* {verdict(numbers, claim)}" for claim in claims_of(name)]
        yield f"Another reading, among the three that validate best: {name}\n\n" + "\n".join(lines)


def summary(numbers: Numbers, best: Sequence[str]) -> Iterable[str]:
    """Yield the gain of every objective in every regime."""
    columns = ("HoPA", *dict.fromkeys([*best, "single mode"]), *(name for name in PAIRWISE if name != "LoRS"))
    yield "### Gains on all rows"
    yield "Score of the initial heads, and gain in score from training on all rows."
    rows = []
    for regime in numbers.regimes("start"):
        start = numbers.cells("start", regime, "")
        score = sum(sum(cell["recall"]) / 3 for cell in start.values()) / len(start)
        gains = [numbers.gain("full", regime, name) for name in columns]
        top = max(gain.mean for gain in gains if gain is not None)
        cells = ["" if g is None else f"**{g.signed}**" if g.mean == top else g.signed for g in gains]
        rows.append([REGIMES[regime].title, f"{score:.1f}", *cells])
    yield table(("regime", "start", *columns), rows)


def readings(numbers: Numbers) -> Iterable[str]:
    """Yield the readings of the objective in the regimes of part 1, one factor at a time."""
    yield "### Readings of the objective"
    yield "Validation score (it chose the best readings), test R@1, and difference in test score from published HoPA."
    rows = []
    for name, factor in [(r.name, r.factor) for r in ALL_READINGS] + [
        (name, "pairwise") for name in PAIRWISE | TEMPERATURES
    ]:
        cells: list[str] = []
        for regime in READ_IN:
            if not numbers.cells("full", regime, name):
                cells += ["", "", ""]
                continue
            apart = numbers.difference("full", regime, name, "HoPA")
            cells += [
                f"{numbers.validation('full', regime, name).mean:.1f}",
                str(numbers.recall("full", regime, name, 0)),
                "" if apart is None or name == "HoPA" else apart.signed,
            ]
        rows.append([factor, name, *cells])
    heads = [f"{REGIMES[regime].title}: {what}" for regime in READ_IN for what in ("val", "R@1", "to HoPA")]
    yield table(("factor", "reading", *heads), rows)


def regimes(numbers: Numbers) -> Iterable[str]:
    """Yield one table per regime with the objectives that are compared in it."""
    reading_only = {r.name for r in ALL_READINGS}
    for regime in numbers.regimes("full"):
        shown = [
            name for name in numbers.names("full", regime) if name not in reading_only or _everywhere(numbers, name)
        ]
        yield f"### {REGIMES[regime].title[0].upper()}{REGIMES[regime].title[1:]}"
        start = [f"{numbers.recall('start', regime, '', place)}" for place in range(3)]
        rows = [["initial heads", *start, "", ""], *(_line(numbers, "full", regime, name) for name in shown)]
        yield table(("trained on all rows", "R@1", "R@5", "R@10", "gain in score", "to HoPA"), rows)


def distilled(numbers: Numbers) -> Iterable[str]:
    """Yield one table per regime with distilled sets."""
    for regime in numbers.regimes("distilled"):
        title = REGIMES[regime].title
        yield f"### Distilled to 50 rows: {title}"
        yield "Trajectory matching as in the presets, with the step sizes that are best on all rows; two students."
        names = numbers.names("distilled", regime)
        rows = [_line(numbers, "distilled", regime, name) for name in names]
        shares = [_share(numbers, regime, name) for name in names]
        yield table(
            ("distilled", "R@1", "R@5", "R@10", "gain in score", "to HoPA", "% of InfoNCE's gain on all rows"),
            [[*row, share] for row, share in zip(rows, shares, strict=True)],
        )


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heads, ["---", *["---:"] * (len(heads) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _everywhere(numbers: Numbers, name: str) -> bool:
    """Return whether the reading is trained outside the regimes of part 1."""
    return any(numbers.cells("full", regime, name) for regime in numbers.regimes("full") if regime not in READ_IN)


def _line(numbers: Numbers, part: str, regime: str, name: str) -> list[str]:
    recall = [str(numbers.recall(part, regime, name, place)) for place in range(3)]
    gain, apart = numbers.gain(part, regime, name), numbers.difference(part, regime, name, "HoPA")
    signs = {"up": " ▲", "down": " ▼", "open": ""}
    to_hopa = "" if apart is None or name == "HoPA" else apart.signed + signs[apart.sign]
    return [name, *recall, "" if gain is None else gain.signed, to_hopa]


def _share(numbers: Numbers, regime: str, name: str) -> str:
    """Return the gain of a distilled set as a share of InfoNCE's gain on all rows of the same draws."""
    draws = numbers.cells("distilled", regime, name)
    start, full = numbers.cells("start", regime, ""), numbers.cells("full", regime, "InfoNCE")
    known = [draw for draw in draws if draw in start and draw in full]
    if not known:
        return ""
    gained, whole = (
        sum(sum(cells[draw]["recall"]) - sum(start[draw]["recall"]) for draw in known) for cells in (draws, full)
    )
    return f"{100 * gained / whole:.0f}" if whole > 0 else "n/a"
