"""The content of a crossed table: recall of every set with every recipe and model, and what it is compared with.

For recall r of a cell, with the same model (and recipe) throughout,

    improvement     r - r_random                      r_random: random rows of the same size
    gain retained   (r - r_zero) / (r_full - r_zero)  r_full: InfoNCE on all rows; r_zero: before training

r_zero is the recall of the pre-trained heads, cut to the width of the model, also for random starts. For a network it
is the recall of its random weights. All values are fractions; None where a value is undefined or missing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

from omnidistill.evaluation.run_scores import Level
from omnidistill.io.artifacts import JsonContent
from omnidistill.report.comparison_content import ComparisonData

SCHEMA = 1

Values = Mapping[Level, float | None]
"""A value per recall level."""


class CrossedCell(JsonContent):
    """One cell.

    Attributes:
        part: "table", "robustness" (columns are changes to the recipe) or "mismatch" (columns are shares of pairs).
        set: name of the set, or "all rows".
        recipe: name of the recipe.
        column: name of the column: the model, or the change.
        model: name of the model.
        recall: mean recall over directions; None if the cell failed.
        improvement: difference to random rows of the same size; None if there are none.
        gain_retained: gain as a share of the gain from all rows.
        any_start: whether the recipe needs no start, so all starts of a width share the result.
        seconds: time to choose settings and train.
        settings: settings that validation chose, or the recipe.
        error: why the cell failed; None if it did not.
    """

    part: Literal["table", "robustness", "mismatch"]
    set: str
    recipe: str
    column: str
    model: str
    recall: Values | None = None
    improvement: Values | None = None
    gain_retained: Values | None = None
    any_start: bool = False
    seconds: float | None = None
    settings: Mapping[str, Any] = {}
    error: str | None = None


class CrossedReference(JsonContent):
    """References of a model: recall before training and after training on all rows; None if the training failed."""

    model: str
    zero: Values | None
    full: Values | None


class CrossedSet(JsonContent):
    """A set: number of stored rows, size in bytes, and seconds to distil it; None if it failed."""

    name: str
    rows: int | None
    bytes: int | None
    seconds: float | None


class CrossedContent(JsonContent):
    """The content of a crossed table.

    Attributes:
        name: name of the files.
        command: the command that computed the table.
        versions: versions of the packages that were used.
        heads: fingerprint of the pre-trained heads.
        data: the dataset.
        seed: the seed.
        levels: recall levels.
        sets: the sets.
        references: the references, one per model.
        cells: the cells of all parts.
        protocol: sentences about how the numbers were obtained.
    """

    remedy: ClassVar[str] = "compute the table again"

    name: str
    command: str = ""
    versions: Mapping[str, str] = {}
    heads: str
    data: ComparisonData
    seed: int
    levels: Sequence[Level]
    sets: Sequence[CrossedSet]
    references: Sequence[CrossedReference]
    cells: Sequence[CrossedCell]
    protocol: Sequence[str]

    def to_json(self) -> dict[str, Any]:
        """Return the content of crossed.json."""
        return {"schema": SCHEMA, **self.model_dump(mode="json")}

    @classmethod
    def from_json(cls, tree: Mapping[str, Any], where: str) -> CrossedContent:
        """Create the content from that of a crossed.json. Raises InputError if a field is missing or invalid."""
        cls.require_schema(tree, SCHEMA, where)
        return super().from_json({name: value for name, value in tree.items() if name != "schema"}, where)
