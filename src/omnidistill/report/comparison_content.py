"""The content of a comparison of methods and baselines: recall, gain retained and costs.

A row is one method or baseline at one size or budget. This size or budget is the group of the row. A baseline that
depends on neither has no group. A row has no recall if all of its runs failed. Recall, gain retained and differences
are fractions. Time is in seconds and memory in bytes. In comparison.json, rows are stored under the key "lines", and
baselines have the kind "reference".
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from omnidistill.evaluation.intervals import Coverage, Interval
from omnidistill.evaluation.run_scores import MEAN, Amount, Count, Intervals, RecallTable, Spread
from omnidistill.io.artifacts import JsonContent

SCHEMA = 1

_FAMILIES = {
    "random": "random rows",
    "low-rank": "heads of rank N",
    "equal-bytes": "heads of equal bytes",
    "equal-bytes-4-bit": "heads in 4 bits",
    "cca": "ridge CCA heads",
    "cca-bytes": "CCA heads of rank r",
    "cca-bytes-4-bit": "CCA heads, 4 bits",
    "cca-bytes-coded": "CCA heads, coded",
    "direct-heads": "learned heads",
    "direct-heads-4-bit": "learned heads, 4 bits",
    "direct-heads-coded": "learned heads, coded",
    "random-anchor": "random rows, anchor",
    "group-means-anchor": "group means, anchor",
}
_FAMILIES |= {
    f"{name}-stacked": f"{family}, stacked"
    for name, family in _FAMILIES.items()
    if name.startswith(("cca-", "direct-")) or name.endswith("-anchor")
}

Size = Annotated[int, Field(ge=1)]


class Seconds(JsonContent):
    """Seconds that each stage takes for one set; None for a stage that the method or baseline does not have."""

    distill: Amount | None = None
    experts: Amount | None = None
    students: Amount | None = None

    @property
    def total(self) -> float | None:
        """Total time of all stages in seconds; None if there are no stages."""
        stages = [seconds for seconds in (self.experts, self.distill, self.students) if seconds is not None]
        return sum(stages) if stages else None


class Failure(JsonContent):
    """A failed run: its seed and the error."""

    seed: int
    error: str


class ComparisonRow(JsonContent):
    """One method or baseline at one size (in rows) or budget (in bytes).

    If every run failed, `metrics` is empty, and all other results, such as `recall` and `bytes`, are None.

    Attributes:
        name: unique name of the row.
        method: name of the method or baseline, the same at every size.
        label: name to show in tables.
        kind: "method", or "reference" for a baseline.
        size: number of rows of the set. For a baseline, it is that of the sets with which the baseline is compared, or
            None if the baseline does not depend on their size or if they have a budget.
        budget: size limit in bytes, from which the number of rows of a method was derived; None if there is no limit.
        recall, metrics: recall, and the other retrieval metrics, over all runs.
        gain_retained: gain retained relative to heads trained with InfoNCE on all rows; None if the comparison has no
            scores of these heads or of the initial heads.
        gain_retained_best: gain retained relative to the best heads trained on all rows; None if the comparison lacks
            these heads.
        difference_to_best: paired difference in recall to the best method with the same size or budget; None for the
            best method itself and for baselines.
        coverage: sources of variation that the intervals include (queries, sets or runs); None if unknown.
        seconds: mean time for one set; for a baseline, the time to tune it and to train all its runs.
        bytes: size of the files that a user of the set or baseline needs, without the initial heads.
        needs_start: whether a user also needs the initial heads; None if this is not recorded.
        peak_bytes: largest known peak memory of a run; None if no peak is known. A peak is unknown if the process had
            already used as much memory before the run, or if the system does not report it.
        choices: number of students that were compared on the validation split, the largest of all runs.
        failures: runs that failed.
    """

    name: str
    method: str
    label: str
    kind: Literal["method", "reference"]
    size: Size | None
    budget: Size | None = None
    recall: RecallTable | None
    metrics: Mapping[str, Mapping[str, Spread]] = {}
    gain_retained: Intervals | None = None
    gain_retained_best: Intervals | None = None
    difference_to_best: Intervals | None = None
    coverage: Coverage | None = None
    seconds: Seconds | None = None
    bytes: Count | None = None
    needs_start: bool | None = None
    peak_bytes: Count | None = None
    choices: Count | None = None
    failures: Sequence[Failure] = ()

    @property
    def group(self) -> int | None:
        """The budget or, if there is none, the size. Rows in the same group are compared with each other."""
        return self.size if self.budget is None else self.budget

    @property
    def is_method(self) -> bool:
        """Whether the row is a method and not a baseline."""
        return self.kind == "method"

    @property
    def stage_seconds(self) -> Seconds:
        """Seconds of each stage; empty if every run failed."""
        return self.seconds or Seconds()

    def gain(self, level: str) -> Interval | None:
        """Return the gain retained at a recall level; None if it is not defined."""
        return (self.gain_retained or {}).get(level)

    def gain_of_best(self, level: str) -> Interval | None:
        """Return the gain retained at a recall level, relative to the best heads trained on all rows of the data.

        Return None if it is undefined.
        """
        return (self.gain_retained_best or {}).get(level)

    def difference(self, level: str) -> Interval | None:
        """Return the recall of this row minus the recall of the best method with the same size or budget.

        Return None for the best method itself and for baselines. `level` is a recall level, such as "R@1".
        """
        return (self.difference_to_best or {}).get(level)

    def to_json(self) -> dict[str, Any]:
        """Return the row in the format of comparison.json.

        The key "seconds" contains the time of each stage, such as "distill"; stages without a time are omitted.
        """
        seconds = None if self.seconds is None else self.seconds.model_dump(mode="json", exclude_none=True)
        tree = self.model_dump(mode="json")
        if self.gain_retained_best is None:
            del tree["gain_retained_best"]
        return {**tree, "seconds": seconds}


class ComparisonData(JsonContent):
    """The dataset: name, feature width per modality, number of rows per split, size of the training rows in bytes."""

    name: str
    widths: Mapping[str, Count]
    rows: Mapping[str, Count] = {}
    bytes: Size | None = None


class Comparison(JsonContent):
    """The content of a comparison.

    Attributes:
        name: name of the comparison and of its files.
        command: the command that ran the comparison.
        layout: name of the table layout.
        versions: versions of the packages that were used.
        heads: fingerprint of the initial heads, which all students share.
        data: the dataset.
        protocol: sentences about how the numbers were obtained.
        seeds: seeds of the runs; each row has one set per seed.
        num_students: number of students that are trained on each set.
        rows: methods and baselines.
    """

    remedy: ClassVar[str] = "run the comparison again"

    name: str
    command: str = ""
    layout: str
    versions: Mapping[str, str] = {}
    heads: str | None = None
    data: ComparisonData
    protocol: Sequence[str]
    seeds: Sequence[int]
    num_students: int
    rows: Annotated[Sequence[ComparisonRow], Field(min_length=1)]

    @property
    def has_best(self) -> bool:
        """Whether any row has a value of `gain_of_best`: the gain retained, relative to the best heads on all rows."""
        return any(row.gain_retained_best is not None for row in self.rows)

    @property
    def by_budget(self) -> bool:
        """Whether rows are grouped by budget instead of size."""
        return any(row.budget is not None for row in self.rows)

    def share(self, num_bytes: int | float) -> float:
        """Return a number of bytes as a fraction of the size of the training rows.

        Raises:
            InputError: the comparison does not contain the size of the training rows.
        """
        if self.data.bytes is None:
            raise self.damaged("comparison", "data.bytes is missing")
        return num_bytes / self.data.bytes

    def families(self) -> dict[str, str]:
        """Return {name of a method or baseline: label without a size, such as "heads of rank N"}.

        If several methods or baselines have the same label, each of these labels is followed by the name in brackets.
        """
        labels = {row.method: row.label for row in self.rows}
        labels |= {
            row.method: _FAMILIES[row.method] for row in self.rows if not row.is_method and row.method in _FAMILIES
        }
        counts = Counter(labels.values())
        return {method: label if counts[label] == 1 else f"{label} ({method})" for method, label in labels.items()}

    def to_json(self) -> dict[str, Any]:
        """Return the comparison in the format of comparison.json."""
        tree = self.model_dump(mode="json", exclude={"rows"})
        return {"schema": SCHEMA, **tree, "lines": [row.to_json() for row in self.rows]}

    @classmethod
    def from_json(cls, tree: Mapping[str, Any], where: str) -> Comparison:
        """Create a comparison from the content of a comparison.json, written by this version or by version 0.1.

        Args:
            tree: the content of the file.
            where: name of the file, for error messages.

        Raises:
            InputError: a field is missing or has an invalid value. The message names the first such field.
        """
        cls.require_schema(tree, SCHEMA, where)
        fields = {name: value for name, value in tree.items() if name not in ("schema", "rows", "lines")}
        comparison = super().from_json(fields | ({"rows": tree["lines"]} if "lines" in tree else {}), where)
        _require_unique_names(comparison.rows, where)
        _require_same_recalls(comparison.rows, where)
        return comparison

    @classmethod
    def _path(cls, parts: Iterable[int | str]) -> list[str]:
        first, *others = super()._path(parts)
        return ["lines" if first == "rows" else first, *others]


def _require_unique_names(rows: Sequence[ComparisonRow], where: str) -> None:
    name, count = Counter(row.name for row in rows).most_common(1)[0]
    if count > 1:
        raise Comparison.damaged(where, f"'lines' contains {count} rows named {name!r}")


def _require_same_recalls(rows: Sequence[ComparisonRow], where: str) -> None:
    """Check that all rows have a mean over directions, the same directions, and the same recall levels."""
    expected: tuple[set[str], set[str]] | None = None
    for number, row in enumerate(rows):
        if row.recall is None:
            continue
        field = f"lines.{number}.recall"
        if not row.recall.get(MEAN):
            raise Comparison.damaged(where, f"{field}.{MEAN} is missing")
        directions, levels = expected = expected or (set(row.recall), set(row.recall[MEAN]))
        if set(row.recall) != directions:
            raise Comparison.damaged(where, f"{field} has directions other than {', '.join(sorted(directions))}")
        for direction, recalls in row.recall.items():
            if set(recalls) != levels:
                raise Comparison.damaged(
                    where, f"{field}.{direction} has levels other than {', '.join(sorted(levels))}"
                )
