"""The scores of a run, as stored in scores.json: scores of its set and of every baseline, and facts about the run.

Recall, gain retained and differences of recall are fractions, times are in seconds, sizes in bytes. A run that is not
evaluated yet has no rows. In the file, every row is a separate key, and "lines" lists the names of the rows in order.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, ClassVar

from pydantic import Field

from omnidistill.core.json_value import Json
from omnidistill.evaluation.directions import Gallery
from omnidistill.evaluation.intervals import Interval
from omnidistill.io.artifacts import JsonContent

SCHEMA = 1
MEAN = "mean"
"""Key of the mean over directions in a recall table."""
REQUIRED_ROWS = ("zero_shot", "distilled", "full")
"""Rows of every evaluated run. Gain retained is (row - zero_shot) / (full - zero_shot)."""

_UNITS = {"recall": "fraction", "gain_retained": "fraction of (full - zero_shot)"}
_UNITS_OF_BEST = {"gain_retained_best": "fraction of (best - zero_shot)"}
_DIFFERENCE = "difference_to_"

Level = Annotated[str, Field(pattern=r"^R@[1-9][0-9]*$")]
"""Name of a recall: "R@5" is recall at K = 5."""
Amount = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]


class Spread(JsonContent):
    """Mean and standard deviation of a metric over runs (students)."""

    mean: Amount
    std: Amount | None = None


class Recall(Spread):
    """Mean and standard deviation of a recall over runs (students)."""

    mean: Fraction


RecallTable = Mapping[str, Mapping[Level, Recall]]
"""{"mean" or "query->gallery": {level: recall}}."""
Intervals = Mapping[Level, Interval | None]
"""Estimates by level; None if an estimate is not defined."""


def level_number(level: str) -> int:
    """Return K of "R@K"."""
    return int(level.removeprefix("R@"))


class RowScores(JsonContent):
    """The scores of one row: a baseline or the distilled set.

    Attributes:
        label: name of the row in tables.
        recall: recall by direction and level, and its mean over directions.
        metrics: the other metrics (ranks, MRR, mAP, nDCG) by direction, and their mean over directions.
        gain_retained: share of the gain of training on all rows by InfoNCE; None if that gain is not above noise.
        gain_retained_best: share of the gain of the best heads on all rows, in the same way; None without a row `best`.
        seconds, bytes: time to tune and train all runs, and number of bytes to transmit.
        settings: the settings that validation chose.
        differences: paired differences of recall to other rows, {name of the other row: by level}.
        gain_retained_own: for the distilled set, the share of the gain of training on all rows by its own objective.
    """

    remedy: ClassVar[str] = "evaluate the run again"

    label: str
    recall: RecallTable
    metrics: Mapping[str, Mapping[str, Spread]] = {}
    gain_retained: Intervals | None = None
    gain_retained_best: Intervals | None = None
    seconds: Amount | None = None
    bytes: Count | None = None
    settings: Mapping[str, Json] = {}
    differences: Mapping[str, Intervals] = {}
    gain_retained_own: Intervals | None = None

    def gain(self, level: str) -> Interval | None:
        """Return the gain retained at one level; None if it is not defined."""
        return (self.gain_retained or {}).get(level)

    def gain_of_best(self, level: str) -> Interval | None:
        """Return the share of the gain of the best heads on all rows at one level; None if it is not defined."""
        return (self.gain_retained_best or {}).get(level)

    def to_json(self) -> dict[str, Any]:
        """Return the row as in scores.json."""
        tree = self.model_dump(mode="json")
        if self.gain_retained_best is None:
            del tree["gain_retained_best"]
        own, differences = tree.pop("gain_retained_own"), tree.pop("differences")
        tree |= {f"{_DIFFERENCE}{name}": levels for name, levels in differences.items()}
        return tree if own is None else {**tree, "gain_retained_own": own}


class RunData(JsonContent):
    """The dataset of a run: name, width of every modality, rows of every split, licences."""

    name: str
    widths: Mapping[str, Count]
    rows: Mapping[str, Count]
    licence: tuple[Json, ...] = ()


class RunBytes(JsonContent):
    """Sizes in bytes: training rows (float32), files of the experts, distilled set."""

    features: Count
    experts: Count = 0
    distilled: Count


class RunScores(JsonContent):
    """The scores of a run, and facts about it.

    Attributes:
        method, size: name of the method, and number of synthetic rows.
        versions: versions of the packages that computed the scores or, before the evaluation, the set.
        data: the dataset.
        floor: rank floor of the matching loss by modality; None if the experts do not determine it.
        matching_loss: matching loss at the end of distillation, summed over modalities; None without matching.
        seconds: time of each stage.
        bytes: sizes of data, experts and set.
        num_seeds: number of students per row.
        gallery, items: whether copies of an item count once ("distinct") or every row counts ("rows"), and the number
            of test items of each modality, which are its queries and its gallery.
        undefined: usual recalls whose K exceeds the size of a gallery; tables show n/a.
        command: the command that evaluated the run.
        rows: the scores by name, in table order; empty for a run that is not evaluated.
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

    @property
    def scored(self) -> bool:
        """Whether the run is evaluated."""
        return bool(self.rows)

    @property
    def distilled(self) -> RowScores:
        """The row of the distilled set."""
        return self.rows["distilled"]

    @property
    def has_best(self) -> bool:
        """Whether gain retained was also measured against the best heads on all rows."""
        return any(row.gain_retained_best is not None for row in self.rows.values())

    @property
    def levels(self) -> list[str]:
        """Names of the recalls, "R@1" and so on, with ascending K; empty for a run that is not evaluated."""
        return sorted(next(iter(self.rows.values())).recall[MEAN], key=level_number) if self.rows else []

    @property
    def directions(self) -> list[str]:
        """Names of the directions, "query->gallery"."""
        return [name for name in next(iter(self.rows.values())).recall if name != MEAN] if self.rows else []

    def to_json(self) -> dict[str, Any]:
        """Return the content of scores.json."""
        scored = {"num_seeds", "gallery", "items", "undefined", "command"}
        tree = {"schema": SCHEMA, **self.model_dump(mode="json", exclude={*scored, "rows"})}
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
        }

    @classmethod
    def from_json(cls, tree: Mapping[str, Any], where: str) -> RunScores:
        """Validate the content of scores.json, of this version or of version 0.1.

        Args:
            tree: the content.
            where: name of the file, for error messages.

        Raises:
            InputError: a field is missing or has an invalid value; the message names the first one.
        """
        cls.require_schema(tree, SCHEMA, where)
        names = tree.get("lines", [])
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise cls.damaged(where, "lines is not a list of row names")
        if "lines" in tree:
            for name in REQUIRED_ROWS:
                if name not in names:
                    raise cls.damaged(where, f"lines has no {name!r}")
        for name in names:
            if not isinstance(tree.get(name), Mapping):
                raise cls.damaged(where, f"{name}, which lines names, is missing or not an object")
        rows = {name: _with_differences(tree[name]) for name in names}
        scores = super().from_json({**tree, "rows": rows}, where)
        for name, row in scores.rows.items():
            if not row.recall.get(MEAN):
                raise cls.damaged(where, f"{name}.recall.{MEAN} is missing")
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
    """Return a row of the file with its differences collected under one key."""
    differences = {
        name.removeprefix(_DIFFERENCE): levels for name, levels in row.items() if name.startswith(_DIFFERENCE)
    }
    return {**row, "differences": differences}
