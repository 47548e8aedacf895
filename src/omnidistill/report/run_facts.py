"""What is known of a run, as headings of (name, text): settings and recipe, floors, seconds, bytes, versions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from omnidistill.report.run_table import Scores, human_bytes

Facts = dict[str, list[tuple[str, str]]]


def run_facts(scores: Scores, others: Mapping[str, Mapping[str, Any]]) -> Facts:
    """The facts of a run, headings without any left out; `others` come first."""
    line = scores.get("distilled") or {}
    found = {heading: list(flat(content)) for heading, content in others.items()}
    found |= {
        "Recipe": list(flat(line.get("settings") or {})),
        "Rank floor of the matching loss": list(flat(scores.get("floor") or {})),
        "Seconds": list(flat(scores.get("seconds") or {}, lambda seconds: f"{seconds:,.1f}")),
        "Bytes": list(flat(scores.get("bytes") or {}, human_bytes)),
        "Versions": list(flat(scores.get("versions") or {})),
    }
    return {heading: facts for heading, facts in found.items() if facts}


def flat(value: Any, show: Callable[[float], str] | None = None, name: str = "") -> Iterator[tuple[str, str]]:
    """Nested settings as (dotted name, text)."""
    if isinstance(value, Mapping):
        for key, entry in value.items():
            yield from flat(entry, show, f"{name}.{key}" if name else str(key))
    else:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        yield name, show(value) if show is not None and number else plain(value)


def plain(value: Any) -> str:
    """Any JSON value as text."""
    if isinstance(value, Mapping):
        return "; ".join(f"{key}: {plain(entry)}" for key, entry in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(plain(entry) for entry in value)
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "–"}[value]
    return f"{value:.6g}" if isinstance(value, float) else str(value)
