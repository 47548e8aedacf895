"""The datasets of the HoPA paper: their names in presets, and the layout that their features must have.

`omnidistill recipe` builds a manifest with this layout from the distributed files of each dataset.
"""

from __future__ import annotations

from dataclasses import dataclass

from omnidistill.core.errors import InputError, nearest
from omnidistill.data.featureset import FeatureSet

MODALITIES = ("video", "audio", "text")
SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class BenchmarkLayout:
    """A dataset of the HoPA paper.

    Attributes:
        name: short name, used in presets (`paper/hopa-NAME-100`) and as an option of the command `paper`.
        title: name in tables and messages, such as "MSR-VTT".
        recipe: name of the dataset in the command `omnidistill recipe`, which builds its manifest.
    """

    name: str
    title: str
    recipe: str

    def check(self, data: FeatureSet, where: str) -> None:
        """Check that features have the modalities and splits of the dataset.

        Args:
            data: the features.
            where: description of their source, quoted in the error message.

        Raises:
            InputError: a modality or split is missing, or there are other modalities.
        """
        remedy = f"'omnidistill recipe {self.recipe}' builds a manifest with this layout"
        if set(data.modalities) != set(MODALITIES):
            raise InputError(
                f"{where}: found the modalities {', '.join(data.modalities)}, expected those of {self.title}: "
                f"{', '.join(MODALITIES)} ({remedy})"
            )
        missing = [split for split in SPLITS if not data.split_sizes.get(split)]
        if missing:
            raise InputError(
                f"{where}: the split '{missing[0]}' has no rows, but {self.title} has the splits {', '.join(SPLITS)} "
                f"({remedy})"
            )


BENCHMARKS = {
    layout.name: layout
    for layout in (
        BenchmarkLayout("msrvtt", "MSR-VTT", "msrvtt-1ka"),
        BenchmarkLayout("vggsound", "VGGSound-S", "vggsound-s"),
        BenchmarkLayout("didemo", "DiDeMo", "didemo"),
    )
}
"""Datasets by name, in the order of tables 1 to 3."""

USUAL_BENCHMARK = "msrvtt"


def require_benchmark(name: str, where: str) -> str:
    """Check that a dataset of the HoPA paper has this name, and return the name.

    Args:
        name: name of the dataset.
        where: option or setting that contains the name, quoted in the error message.

    Raises:
        InputError: the name is unknown.
    """
    if name not in BENCHMARKS:
        hint = nearest(str(name), BENCHMARKS)
        raise InputError(f"{where}: unknown benchmark '{name}'; choose from {', '.join(BENCHMARKS)}{hint}")
    return name
