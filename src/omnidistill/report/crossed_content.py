"""The content of a crossed table: scores for every combination of distilled set, training recipe and model.

One such combination is a cell of the table. For a cell with recall r,

    improvement     r - r_random
    gain retained   (r - r_zero) / (r_full - r_zero)

The other terms are recalls of the same model:

    r_random    after training on random rows of the same size by the same recipe. For "own", random rows use their
                own recipe, except if that of the set is "anchor": they then use "anchor" (linear heads) or "map"
                (networks), with the ridge chosen on validation
    r_full      after training on all rows by InfoNCE
    r_zero      before training. For all linear heads, even random ones, it is the recall of the pre-trained heads. If
                these are wider than the model, they are reduced to its width

All values are fractions. Undefined and missing values are None.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

from omnidistill.evaluation.run_scores import Level
from omnidistill.io.artifacts import JsonContent
from omnidistill.report.comparison_content import ComparisonData

Values = Mapping[Level, float | None]
"""A value per recall level."""


class CrossedCell(JsonContent):
    """A cell of a crossed table: the scores of one model that was trained on one set with one recipe.

    Attributes:
        part: "table" (all combinations), "robustness" (changes to a recipe) or "mismatch" (training data with
            mismatched pairs).
        set: name of the set, or "all rows".
        recipe: name of the recipe.
        column: heading of the column in which the cell is shown.
        model: name of the model.
        recall: mean recall over directions; None if the cell failed.
        improvement: recall minus the recall after training on random rows (see the module docstring); None if the cell
            is not compared with random rows.
        gain_retained: (recall - zero) / (full - zero), where `zero` is the recall before training, and `full` the
            recall after training on all rows. A value is None if `full` is not greater than `zero`.
        any_start: True if the recipe does not use initial weights. All linear heads of the same width then have the
            same scores.
        seconds: time to choose settings and train.
        settings: the settings that validation chose, such as {"ridge": 0.3}. For the recipe "own", nothing is chosen,
            and the value is {"recipe": description of the set's recipe}.
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
    """Recall of one model before training and after training on all rows, for comparison with the cells of this model.

    Attributes:
        model: name of the model.
        zero: recall before training; None if it could not be computed.
        full: recall after training on all rows with InfoNCE; None if it could not be computed.
    """

    model: str
    zero: Values | None
    full: Values | None


class CrossedSet(JsonContent):
    """A distilled set: number of stored rows, size in bytes, and seconds to distil it.

    If distillation failed, all three are None.
    """

    name: str
    rows: int | None
    bytes: int | None
    seconds: float | None


class CrossedContent(JsonContent):
    """The content of a crossed table: the recall for combinations of distilled set, training recipe and model.

    A model consists of linear heads, or of one network per modality.

    Attributes:
        name: name of the files.
        command: the command that computed the table.
        versions: versions of the packages that were used.
        heads: fingerprint of the pre-trained heads that the sets are distilled for.
        data: the dataset.
        seed: seed for all random numbers.
        levels: names of the recall metrics, such as "R@1".
        sets: the distilled sets.
        references: recall of each model before training and after training on all rows.
        cells: the entries of the table, one per combination of set, recipe and model.
        protocol: sentences about how the numbers were obtained.
    """

    remedy: ClassVar[str] = "compute the table again"
    layout_version: ClassVar[int | None] = 1

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
