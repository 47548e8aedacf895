"""A small crossed table with every part."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omnidistill.data.featureset import FeatureSet
from omnidistill.experiments.crossed import CrossedSettings, CrossedTable, SetEntry, crossed

TINY = (
    "heads.width=8",
    "heads.num_epochs=2",
    "experts.num_experts=2",
    "experts.batch_size=16",
    "experts.num_epochs=3",
    "distill.iterations=4",
    "distill.validate_every=2",
    "distill.num_student_steps=2",
    "distill.outer.max_start_epoch=2",
    "distill.outer.num_expert_epochs=1",
    "distill.max_steps=16",
    "distill.learning_rates=[0.3]",
    "evaluate.max_epochs=2",
    "evaluate.learning_rates=[1.0]",
    "evaluate.batch_size=16",
    "learning_rates=[0.3, 1.0]",
    "max_steps=16",
    "hidden=8",
    "map_steps=3",
    "ridges=[0.1, 1.0]",
    "weights=[0.5, 0.7]",
    "mismatch_shares=[0.0, 0.5]",
)
SETS = CrossedSettings(
    sets=(SetEntry(preset="anchor", size=8), SetEntry(preset="compact", size=8), SetEntry(preset="random", size=8)),
    models=("own", "seed-1", "width-4", "width-12", "random", "mlp-2"),
    mismatch_presets=("anchor",),
)


def crossed_of(data: FeatureSet, **arguments: Any) -> CrossedTable:
    """A small crossed table, on the CPU, without showing progress."""
    return crossed(data, **{"config": SETS, "settings": TINY, "device": "cpu", "progress": False, **arguments})


@dataclass(frozen=True)
class Made:
    """The data, the folder and the table."""

    data: FeatureSet
    folder: Path
    table: CrossedTable

    def cell(self, part: str, name: str, recipe: str, column: str) -> Any:
        (cell,) = (
            each
            for each in self.table.content.cells
            if (each.part, each.set, each.recipe, each.column) == (part, name, recipe, column)
        )
        return cell
