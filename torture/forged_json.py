"""Forge single values of JSON files. A manifest gets a true checksum, as an attacker would compute it."""

from __future__ import annotations

import copy
import hashlib
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

Place = tuple[str | int, ...]
"""Keys and indices that lead to a value."""
VALUES: tuple[Any, ...] = (
    *(None, True, -1, 0, 10**25, 1e308, -1e308, 5e-324, 0.5, "", "x", "\x1b[2J", "\ud800", "../../x"),
    *([], {}, [[]], [1], ["a", "a"], {"a": 1}, {"kind": "x"}),
)
"""Values to put in the place of any value."""
MISSING = object()
"""Stands for the removal of a key."""


def places(tree: Any, here: Place = ()) -> Iterator[Place]:
    """Yield the place of every value in a JSON tree; of a long list, only those of the first and the last entry."""
    entries: list[tuple[str | int, Any]] = []
    if isinstance(tree, dict):
        entries = list(tree.items())
    elif isinstance(tree, list):
        entries = [(number, tree[number]) for number in sorted({0, len(tree) - 1}) if tree]
    for key, value in entries:
        yield (*here, key)
        yield from places(value, (*here, key))


def forge(path: Path, place: Place, value: Any) -> None:
    """Replace the value at a place of a JSON file, or remove it if `value` is `MISSING`."""
    tree = json.loads(path.read_text("utf-8"))
    section = tree
    for key in place[:-1]:
        section = section[key]
    if value is MISSING:
        del section[place[-1]]
    else:
        section[place[-1]] = copy.deepcopy(value)
    write_json(path, tree)


def write_json(path: Path, tree: Any) -> None:
    """Write a JSON tree; a manifest gets the checksum of its content."""
    if path.name == "manifest.json" and isinstance(tree, dict):
        rest = {key: value for key, value in tree.items() if key != "sha256"}
        text = json.dumps(rest, sort_keys=True, separators=(",", ":"))
        tree = {**rest, "sha256": hashlib.sha256(text.encode()).hexdigest()}
    path.write_text(json.dumps(tree), "utf-8")


def forgeries(path: Path, number: int, seed: int) -> list[tuple[Place, Any]]:
    """Return this many (place, value) pairs for a JSON file, drawn at random; every place is drawn equally often."""
    draw = random.Random(f"{seed} {path.name}")
    known = list(places(json.loads(path.read_text("utf-8"))))
    drawn: list[tuple[Place, Any]] = []
    while len(drawn) < number:
        draw.shuffle(known)
        drawn += [(place, draw.choice((*VALUES, MISSING))) for place in known]
    return drawn[:number]


def name_of(place: Place, value: Any) -> str:
    """Return the description of a forgery."""
    return f"{'.'.join(map(str, place))} {'removed' if value is MISSING else f'= {value!r}'}"
