"""The content of a transfer table: the recall of several ways to use a distilled set with a new encoder.

For a row of the table with recall r,

    improvement     r - r_random                              r_random: recall with as many random rows as the set has
    share           (r - r_random) / (r_direct - r_random)    r_direct: recall with a set distilled on the new encoder

All rows of a table use the same encoder. Heads on distilled sets, random rows and group means are trained by the same
recipe. All values are fractions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from omnidistill.evaluation.intervals import Coverage, Interval
from omnidistill.evaluation.run_scores import Intervals, Level
from omnidistill.io.artifacts import JsonContent


class TransferRow(JsonContent):
    """One row of a transfer table.

    Attributes:
        name: name of the row: a way to use the set, a baseline, or direct distillation with the new encoder.
        recall: mean recall over directions, with its interval.
        directions: recall in each direction, averaged over sets or runs.
        improvement: recall minus the recall of random rows; None for the row "random rows".
        share: improvement, divided by the improvement of direct distillation; None for the row "random rows".
        coverage: the sources of variation that the intervals cover.
        bytes: size of the files that a user of the new encoder needs. The items to encode are not counted. None for the
            row "initial heads".
        needs: which items a user must encode with the new encoder, such as "all 5,000 items" or "none".
        seconds: mean time for one set or, for a baseline, one training repetition.
        settings: the settings that were chosen on validation, with one element per set. Most baselines have a single
            element.
    """

    name: str
    recall: Mapping[Level, Interval | None]
    directions: Mapping[str, Mapping[Level, float]]
    improvement: Intervals | None
    share: Intervals | None
    coverage: Coverage
    bytes: int | None
    needs: str
    seconds: float
    settings: Sequence[Mapping[str, Any]]


class TransferTarget(JsonContent):
    """The table of one new encoder.

    Attributes:
        name: name of the features that the new encoder computed.
        widths: feature width of each modality.
        split_rows: number of rows in each split.
        levels: names of the recall metrics.
        facts: sentences about queries and galleries.
        rows: the rows of the table.
    """

    name: str
    widths: Mapping[str, int]
    split_rows: Mapping[str, int]
    levels: Sequence[Level]
    facts: Sequence[str]
    rows: Sequence[TransferRow]


class TransferContent(JsonContent):
    """The content of transfer.json.

    Attributes:
        command: the command that computed the table.
        versions: versions of the packages that were used.
        data: the data of the runs.
        method: method of the runs.
        size: number of rows of the set.
        seeds: seeds of the runs.
        recipe: how heads are trained on distilled sets, random rows and group means: "anchor" (ridge regression to
            anchors) or "sgd".
        targets: one table per new encoder.
    """

    remedy: ClassVar[str] = "compute the table again"
    layout_version: ClassVar[int | None] = 1

    command: str = ""
    versions: Mapping[str, str] = {}
    data: str
    method: str
    size: int
    seeds: Sequence[int]
    recipe: str
    targets: Sequence[TransferTarget]
