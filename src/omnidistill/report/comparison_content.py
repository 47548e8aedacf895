"""The content of `comparison.json` as a typed tree: lines (a method or a reference at a size or budget) with recall,
gain, cost.

Recall, gain retained and difference are fractions, time is in seconds, memory in bytes. A line without recall is one
whose every run failed; a line without a group (size or budget) depends on neither. Keys that are not known here are
left alone.
"""

from __future__ import annotations

import reprlib
from collections import Counter
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from omnidistill.core.errors import InputError

MEAN = "mean"
"""The name under which a recall holds its mean over directions."""

_AGAIN = "run the comparison again"
_FAMILIES = {
    "random": "random rows",
    "low-rank": "heads of rank N",
    "equal-bytes": "heads of equal bytes",
    "equal-bytes-4-bit": "heads in 4 bits",
    "cca": "ridge CCA heads",
}

Level = Annotated[str, Field(pattern=r"^R@[1-9][0-9]*$")]
Amount = Annotated[float, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, allow_inf_nan=False)


class Recall(_Part):
    """Mean and standard deviation over seeds."""

    mean: Fraction
    std: Amount | None = None


class Interval(_Part):
    """An estimate with the ends of its interval."""

    mean: float
    low: float
    high: float


class Seconds(_Part):
    """Time of each stage for one set; None where it has no such stage."""

    experts: Amount | None = None
    distill: Amount | None = None
    students: Amount | None = None

    @property
    def total(self) -> float | None:
        """All stages added, None without any."""
        known = [seconds for seconds in (self.experts, self.distill, self.students) if seconds is not None]
        return sum(known) if known else None


class Failure(_Part):
    """A run that came to nothing, and why."""

    seed: int
    error: str


class Line(_Part):
    """A method or a reference at one size or budget (bytes)."""

    name: str
    method: str
    label: str
    kind: Literal["method", "reference"]
    size: Annotated[int, Field(ge=1)] | None
    budget: Annotated[int, Field(ge=1)] | None = None
    recall: dict[str, dict[Level, Recall]] | None
    gain_retained: dict[Level, Interval | None] | None = None
    difference_to_best: dict[Level, Interval | None] | None = None
    seconds: Seconds = Seconds()
    bytes: Amount | None = None
    peak_bytes: Amount | None = None
    choices: Amount | None = None
    failures: list[Failure] = []

    @field_validator("seconds", mode="before")
    @classmethod
    def _no_seconds(cls, seconds: Any) -> Any:
        return {} if seconds is None else seconds

    @property
    def group(self) -> int | None:
        """What it is compared within: the budget, or else the size."""
        return self.size if self.budget is None else self.budget

    def gain(self, k: str) -> Interval | None:
        """Gain retained at one K, None where it is not defined."""
        return (self.gain_retained or {}).get(k)

    def difference(self, k: str) -> Interval | None:
        """This method less the best of its group at one K, None for the best and for references."""
        return (self.difference_to_best or {}).get(k)


class Data(_Part):
    """The data set; `widths` are features of each modality, `bytes` those of the training rows."""

    name: str
    widths: dict[str, int]
    bytes: Annotated[int, Field(ge=1)] | None = None


class Comparison(_Part):
    """All lines, and what holds for each of them."""

    version: Literal[1] = Field(alias="schema")
    name: str
    layout: str
    data: Data
    protocol: list[str]
    seeds: list[int]
    num_students: int
    lines: Annotated[list[Line], Field(min_length=1)]

    @property
    def by_budget(self) -> bool:
        """Whether lines are compared within budgets."""
        return any(line.budget is not None for line in self.lines)

    def share(self, num_bytes: int | float) -> float:
        """Bytes in those of the training features. Raises InputError where these are not told."""
        if self.data.bytes is None:
            raise _damaged("data.bytes is missing")
        return num_bytes / self.data.bytes

    def families(self) -> dict[str, str]:
        """{method: the label of its lines at all sizes}, with the method where two are alike."""
        labels = {line.method: line.label for line in self.lines}
        labels |= {
            line.method: _FAMILIES[line.method]
            for line in self.lines
            if line.kind == "reference" and line.method in _FAMILIES
        }
        counts = Counter(labels.values())
        return {method: label if counts[label] == 1 else f"{label} ({method})" for method, label in labels.items()}


def read_comparison(comparison: Mapping[str, Any]) -> Comparison:
    """The tree of a comparison. Raises InputError that names the first field that is missing, damaged or foreign."""
    try:
        read = Comparison.model_validate(comparison)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"] if part != "[key]")
        found = "is missing" if first["type"] == "missing" else f"is {reprlib.repr(first['input'])}: {first['msg']}"
        raise _damaged(f"{field} {found}") from None
    _require_unique_names(read.lines)
    _require_same_recalls(read.lines)
    return read


def level_number(k: str) -> int:
    """K of "R@K"."""
    return int(k.removeprefix("R@"))


def _require_unique_names(lines: list[Line]) -> None:
    name, count = Counter(line.name for line in lines).most_common(1)[0]
    if count > 1:
        raise _damaged(f"lines has {count} lines named {name!r}")


def _require_same_recalls(lines: list[Line]) -> None:
    """Every line has a mean over directions, and all have the same directions, each with the same levels."""
    expected: tuple[set[str], set[str]] | None = None
    for number, line in enumerate(lines):
        if line.recall is None:
            continue
        if not line.recall.get(MEAN):
            raise _damaged(f"lines.{number}.recall.{MEAN} is missing")
        directions, levels = expected = expected or (set(line.recall), set(line.recall[MEAN]))
        if set(line.recall) != directions:
            raise _damaged(f"lines.{number}.recall has directions other than {', '.join(sorted(directions))}")
        for direction, recalls in line.recall.items():
            if set(recalls) != levels:
                raise _damaged(f"lines.{number}.recall.{direction} has levels other than {', '.join(sorted(levels))}")


def _damaged(what: str) -> InputError:
    return InputError(f"comparison: field {' '.join(what.split())}; {_AGAIN}")
