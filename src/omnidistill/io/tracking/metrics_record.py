"""One record of a metrics log: numbers from one outer iteration of distillation, and notes for the user."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omnidistill.core.errors import InputError
from omnidistill.io.input_files import open_input, parse_json

MOST_METRIC = 1e300
"""Largest magnitude of a number in the log. Sums of such numbers are finite."""
MOST_ITERATIONS = 2**53


@dataclass(frozen=True)
class MetricsRecord:
    """One record of a metrics log, which is one line in metrics.jsonl.

    Attributes:
        iteration: the outer iteration; None if the record describes the complete run.
        values: {name: number}, with names such as "loss", "loss/image", "step_size/image" and "validation".
        notes: notes for the user, one sentence each.
    """

    iteration: int | None
    values: Mapping[str, int | float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the record as one JSON object with the iteration, numbers and notes. Empty parts are omitted."""
        iteration = {} if self.iteration is None else {"iteration": self.iteration}
        return {**iteration, **self.values, **({"notes": list(self.notes)} if self.notes else {})}

    @staticmethod
    def from_json(tree: Mapping[str, Any]) -> MetricsRecord:
        """Create a record from the result of `to_json`. Entries that are not numbers, such as texts, are ignored.

        Raises:
            ValueError: the iteration is not a whole number, the notes are not a list, or a number is too large.
        """
        iteration, notes = tree.get("iteration"), tree.get("notes", [])
        if iteration is not None and (type(iteration) is not int or not 0 <= iteration <= MOST_ITERATIONS):
            raise ValueError(f"iteration is {iteration!r}")
        if not isinstance(notes, list):
            raise ValueError(f"notes is {notes!r}")
        values = {
            name: value
            for name, value in tree.items()
            if name != "iteration" and isinstance(value, int | float) and not isinstance(value, bool)
        }
        for name, value in values.items():
            if abs(value) > MOST_METRIC:
                raise ValueError(f"{name} is {value!r}")
        return MetricsRecord(iteration, values, tuple(str(note) for note in notes))


def read_records(path: Path, num_bytes: int = -1) -> list[MetricsRecord]:
    """Return the records in the first `num_bytes` bytes of a metrics log, by default in the complete log.

    Raises:
        InputError: the file cannot be read, or a line is not a valid record.
    """
    with open_input(path) as file:
        content = file.read(num_bytes)
    try:
        trees = [parse_json(line) for line in content.decode().splitlines()]
        if not all(isinstance(tree, dict) for tree in trees):
            raise ValueError("a line is not a JSON object")
        return [MetricsRecord.from_json(tree) for tree in trees]
    except ValueError as error:
        raise InputError(
            f"{path}: the metrics log cannot be read ({error}); it was altered, so distil the set again"
        ) from error
