"""The content of scores.json: the scores of the distilled set and of every baseline, and facts about the run.

Recall, gain retained and recall differences are fractions. Times are in seconds, and sizes are in bytes. A run that has
not been evaluated has no rows. In the file, each row is stored under its name, and the key "lines" lists all row names
in order.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, ClassVar

from pydantic import Field

from omnidistill.core.json_value import Json
from omnidistill.evaluation.directions import Gallery
from omnidistill.evaluation.intervals import Coverage, Interval
from omnidistill.evaluation.membership import Membership
from omnidistill.io.artifacts import JsonContent

SCHEMA = 1
MEAN = "mean"
"""The key under which a recall table stores the mean over directions."""
REQUIRED_ROWS = ("zero_shot", "distilled", "full")
"""Rows that every evaluated run has. Gain retained is (row - zero_shot) / (full - zero_shot)."""

_UNITS = {"recall": "fraction", "gain_retained": "fraction of (full - zero_shot)"}
_UNITS_OF_BEST = {"gain_retained_best": "fraction of (best - zero_shot)"}
_DIFFERENCE = "difference_to_"

Level = Annotated[str, Field(pattern=r"^R@[1-9][0-9]*$")]
"""Name of a recall metric: "R@5" is recall at K = 5."""
Amount = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]


class Spread(JsonContent):
    """Mean and standard deviation of a metric over students (or training runs of a baseline)."""

    mean: Amount
    std: Amount | None = None


class Recall(Spread):
    """Mean and standard deviation of recall at one K over students (or training runs of a baseline)."""

    mean: Fraction


RecallTable = Mapping[str, Mapping[Level, Recall]]
"""Recall by direction ("query->gallery", or "mean" for the mean over directions) and then by level ("R@K")."""
Intervals = Mapping[Level, Interval | None]
"""Value and confidence interval for each level ("R@K"); None where the value is undefined."""


def level_number(level: str) -> int:
    """Return the cut-off K of a recall level, such as 5 for "R@5"."""
    return int(level.removeprefix("R@"))


class RowScores(JsonContent):
    """The scores of one table row: a baseline or the distilled set.

    A level is a recall metric, such as "R@5". The gain of a row is its recall minus the recall of the initial heads.
    Gain retained is the gain of this row divided by the gain of a reference.

    Attributes:
        label: name of the row in tables.
        recall: recall for every direction and level, and its mean over directions.
        metrics: the other metrics (ranks, MRR, mAP, nDCG) for every direction, and their mean over directions.
        gain_retained: {level: gain retained}; the reference is training on all rows with InfoNCE. None at levels where
            the reference has no significant gain.
        gain_retained_best: the same, but the reference is the best heads trained on all rows (the row `best`); None if
            there is no such row.
        seconds: time to tune and train all students or runs.
        bytes: size of the files that are needed to use the result, not counting the initial heads.
        needs_start: whether using the result also requires the initial heads; None if not recorded.
        settings: the settings that were chosen on validation.
        differences: {name of another row: recall of this row minus recall of the other row, for each level}.
        gain_retained_own: the same as `gain_retained`, but the reference is training on all rows with the set's own
            objective. Only for the distilled set.
        coverage: the sources of variation that the intervals of this row cover; None in scores from version 0.1.
    """

    remedy: ClassVar[str] = "evaluate the run again"

    label: str
    recall: RecallTable
    metrics: Mapping[str, Mapping[str, Spread]] = {}
    gain_retained: Intervals | None = None
    gain_retained_best: Intervals | None = None
    seconds: Amount | None = None
    bytes: Count | None = None
    needs_start: bool | None = None
    settings: Mapping[str, Json] = {}
    differences: Mapping[str, Intervals] = {}
    gain_retained_own: Intervals | None = None
    coverage: Coverage | None = None

    def gain(self, level: str) -> Interval | None:
        """Return the gain retained at a level, such as "R@1"; None if it is undefined."""
        return (self.gain_retained or {}).get(level)

    def gain_of_best(self, level: str) -> Interval | None:
        """Return the gain retained relative to the best heads trained on all rows, at a level such as "R@1".

        Return None if it is undefined.
        """
        return (self.gain_retained_best or {}).get(level)

    def to_json(self) -> dict[str, Any]:
        """Return the row as a JSON object, as stored in scores.json."""
        tree = self.model_dump(mode="json")
        if self.gain_retained_best is None:
            del tree["gain_retained_best"]
        own, differences = tree.pop("gain_retained_own"), tree.pop("differences")
        tree |= {f"{_DIFFERENCE}{name}": levels for name, levels in differences.items()}
        return tree if own is None else {**tree, "gain_retained_own": own}


class RunData(JsonContent):
    """The dataset of a run: name, feature width of each modality, number of rows in each split, and licences."""

    name: str
    widths: Mapping[str, Count]
    rows: Mapping[str, Count]
    licence: tuple[Json, ...] = ()


class RunBytes(JsonContent):
    """Sizes of the data and files of a run, in bytes.

    Attributes:
        features: size of the training rows in float32.
        experts: size of the files of the experts.
        distilled: size of the files of the synthetic set.
        initial_heads: size of the files of the initial heads; None if not recorded.
    """

    features: Count
    experts: Count = 0
    distilled: Count
    initial_heads: Count | None = None


class RunScores(JsonContent):
    """The scores of a run, and facts about the run.

    Attributes:
        method: name of the method.
        size: number of synthetic rows.
        versions: {package: version} used for the evaluation, or for distillation if the run has not been evaluated.
        data: the dataset.
        floor: rank floor of each modality, a lower bound on the matching loss of any set of this size; None if the run
            has none.
        matching_loss: matching loss of the returned set, summed over modalities; None if the method has none.
        seconds: {name of a stage: its duration}.
        bytes: sizes in bytes of the data, the experts, the set and the initial heads.
        num_seeds: number of students trained for each row.
        gallery: "distinct" if copies of an item count once, "rows" if every row counts.
        items: number of test items in each modality. Every item is used as a query and as a gallery item.
        undefined: default recall levels whose K exceeds the size of a gallery. Tables show them as n/a.
        command: the command line that evaluated the run.
        rows: {name: scores} of every table row, in order; empty if the run has not been evaluated.
        membership: how well attacks tell training rows from test rows; None if this was not measured.
    """

    remedy: ClassVar[str] = RowScores.remedy

    method: str
    size: Annotated[int, Field(ge=1)]
    versions: Mapping[str, str]
    data: RunData
    floor: Mapping[str, float] | None
    matching_loss: float | None
    seconds: Mapping[str, float]
    bytes: RunBytes
    num_seeds: Count | None = None
    gallery: Gallery = "rows"
    items: Mapping[str, Count] = {}
    undefined: tuple[Level, ...] = ()
    command: str = ""
    rows: Mapping[str, RowScores] = {}
    membership: Membership | None = None

    @property
    def scored(self) -> bool:
        """Whether the run has been evaluated."""
        return bool(self.rows)

    @property
    def distilled(self) -> RowScores:
        """Scores of the distilled set."""
        return self.rows["distilled"]

    @property
    def has_best(self) -> bool:
        """Whether gain retained was also measured relative to the row `best`, the best heads trained on all rows."""
        return any(row.gain_retained_best is not None for row in self.rows.values())

    @property
    def levels(self) -> list[str]:
        """Recall levels ("R@1" and so on) in ascending order of K; empty if the run has not been evaluated."""
        return sorted(next(iter(self.rows.values())).recall[MEAN], key=level_number) if self.rows else []

    @property
    def directions(self) -> list[str]:
        """Names of the directions ("query->gallery"); empty if the run has not been evaluated."""
        return [name for name in next(iter(self.rows.values())).recall if name != MEAN] if self.rows else []

    def to_json(self) -> dict[str, Any]:
        """Return the scores as a JSON object, the content of scores.json."""
        scored = {"num_seeds", "gallery", "items", "undefined", "command"}
        tree = {"schema": SCHEMA, **self.model_dump(mode="json", exclude={*scored, "rows", "membership"})}
        if not self.rows:
            return tree
        rows = {name: row.to_json() for name, row in self.rows.items()}
        return {
            **tree,
            **self.model_dump(mode="json", include=scored),
            "units": _UNITS | (_UNITS_OF_BEST if self.has_best else {}),
            "lines": list(rows),
            **rows,
            "gain_retained": rows["distilled"]["gain_retained"],
            **({} if self.membership is None else {"membership": self.membership.to_json()}),
        }

    @classmethod
    def from_json(cls, tree: Mapping[str, Any], where: str) -> RunScores:
        """Create the scores from the content of a scores.json file. Files written by version 0.1 are accepted.

        Args:
            tree: the content of the file.
            where: name of the file, for error messages.

        Raises:
            InputError: a field is missing or has an invalid value. The message names the field.
        """
        cls.require_schema(tree, SCHEMA, where)
        names = tree.get("lines", [])
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise cls.damaged(where, "'lines' is not a list of row names")
        if "lines" in tree:
            for name in REQUIRED_ROWS:
                if name not in names:
                    raise cls.damaged(where, f"'lines' does not contain {name!r}")
        for name in names:
            if not isinstance(tree.get(name), Mapping):
                raise cls.damaged(where, f"{name!r} is listed in 'lines' but is missing or not an object")
        rows = {name: _with_differences(tree[name]) for name in names}
        scores = super().from_json({**tree, "rows": rows}, where)
        for name, row in scores.rows.items():
            if not row.recall.get(MEAN):
                raise cls.damaged(where, f"{name}.recall.{MEAN} is missing")
            if missing := [level for level in scores.levels if level not in row.recall[MEAN]]:
                raise cls.damaged(where, f"{name}.recall.{MEAN}.{missing[0]} is missing")
            if row.metrics and MEAN not in row.metrics:
                raise cls.damaged(where, f"{name}.metrics.{MEAN} is missing")
        return scores

    @classmethod
    def _path(cls, parts: Iterable[int | str]) -> list[str]:
        path = super()._path(parts)
        if path[0] == "rows":
            path = path[1:]
            if "differences" in path[:-1]:
                place = path.index("differences")
                path[place : place + 2] = [f"{_DIFFERENCE}{path[place + 1]}"]
        return path


def _with_differences(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of a row in which the "difference_to_NAME" entries are collected under "differences"."""
    differences = {
        name.removeprefix(_DIFFERENCE): levels for name, levels in row.items() if name.startswith(_DIFFERENCE)
    }
    return {**row, "differences": differences}
