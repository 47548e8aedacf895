"""Planted stand-ins for the three datasets of the paper, and settings with which its tables take seconds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omnidistill.data.featureset import FeatureSet, prepare
from omnidistill.data.planted import planted
from omnidistill.experiments.paper import PaperTables, paper
from omnidistill.report.paper_content import PaperRow, PaperSection

SHORTER = (
    "heads.width=6",
    "heads.num_epochs=1",
    "experts.num_experts=1",
    "experts.num_epochs=2",
    "distill.iterations=2",
    "distill.step_size_space=log",  # published rates belong to other features, and beta may become negative here
    "distill.validate_every=2",
    "distill.num_student_steps=1",
    "distill.outer.max_start_epoch=1",
    "distill.outer.num_expert_epochs=1",
    "evaluate.max_epochs=1",
    "evaluate.learning_rates=[1.0]",
)
SHAPES: dict[str, tuple[tuple[str, ...], dict[str, int], int]] = {
    "msrvtt": (("video", "audio", "text"), {"train": 110, "validation": 12, "test": 20}, 1),
    "vggsound": (("video", "audio", "text"), {"heads": 16, "train": 110, "validation": 12, "test": 40}, 6),
    "didemo": (("text", "video", "audio"), {"train": 104, "validation": 13, "test": 12}, 1),
}
"""Modalities, rows and rows per group of every dataset."""


def stand_in(name: str, **changes: Any) -> FeatureSet:
    """A planted dataset with the layout of one of the paper; as there, it is neither standardised nor centred."""
    modalities, rows, group = SHAPES[name]
    arguments = {"modalities": modalities, "rows": rows, **changes}
    raw = planted(dict.fromkeys(arguments["modalities"], 9), arguments["rows"], latent=4, positives_per_group=group)
    return prepare(raw, standardise=False, centre=False)


def paper_of(**arguments: Any) -> PaperTables:
    """Small tables of the paper, on the CPU, without showing progress."""
    small = {"sizes": 100, "seeds": 0, "num_students": 2, "settings": SHORTER, "device": "cpu", "progress": False}
    return paper(**{**small, **arguments})


@dataclass(frozen=True)
class Printed:
    """All tables on all stand-ins, in a folder."""

    data: dict[str, FeatureSet]
    folder: Path
    tables: PaperTables

    def section(self, number: str, benchmark: str) -> PaperSection:
        (section,) = (
            each for each in self.tables.content.sections if (each.number, each.benchmark) == (number, benchmark)
        )
        return section

    def row(self, number: str, benchmark: str, label: str) -> PaperRow:
        (row,) = (each for each in self.section(number, benchmark).rows if each.label == label)
        return row
