"""The facts of a run, as lists of (name, text) under headings such as "Recipe", "Seconds" and "Versions"."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from omnidistill.core.json_value import Json
from omnidistill.evaluation.run_scores import RunScores
from omnidistill.report.run_table import human_bytes

Facts = dict[str, list[tuple[str, str]]]


def run_facts(scores: RunScores, others: Mapping[str, Mapping[str, Json]]) -> Facts:
    """Return the facts of a run by heading; headings without facts are omitted.

    Args:
        scores: the scores and facts of the run.
        others: further facts, by heading, as nested JSON values. They are shown before the facts from `scores`.
    """
    facts = {heading: list(flat(content)) for heading, content in others.items()}
    facts |= {
        "Recipe": list(flat(scores.distilled.settings if scores.scored else {})),
        "Rank floor of the matching loss": list(flat(scores.floor or {})),
        "Seconds": list(flat(scores.seconds, lambda seconds: f"{seconds:,.1f}")),
        "Bytes": list(flat(scores.bytes.to_json(), human_bytes)),
        "Versions": list(flat(scores.versions)),
    }
    return {heading: named for heading, named in facts.items() if named}


def flat(value: Json, show: Callable[[float], str] | None = None, name: str = "") -> Iterator[tuple[str, str]]:
    """Yield each value in nested JSON as (dotted name, text), such as `("data.name", "emoji")`.

    Args:
        value: a JSON value.
        show: function that converts a number to text; None uses `plain`.
        name: prefix for all names.
    """
    if isinstance(value, Mapping):
        for key, entry in value.items():
            yield from flat(entry, show, f"{name}.{key}" if name else str(key))
    elif show is not None and isinstance(value, int | float) and not isinstance(value, bool):
        yield name, show(value)
    else:
        yield name, plain(value)


def plain(value: Json) -> str:
    """Return a JSON value as text."""
    if isinstance(value, Mapping):
        return "; ".join(f"{key}: {plain(entry)}" for key, entry in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(plain(entry) for entry in value)
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "–"}[value]
    return f"{value:.6g}" if isinstance(value, float) else str(value)
