"""Datasets by name, and loading of a set: a registered name, or the folder of a packed set.

@datasets.register("mine")                         from Python
def load_mine(): ...                               returns RawFeatures

[project.entry-points."omnidistill.datasets"]      from an installed package
mine = "my_package:load_mine"
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

from omnidistill.core.errors import InputError, nearest
from omnidistill.core.registry import Registry
from omnidistill.data.featureset import FeatureSet, prepare
from omnidistill.data.raw import RawFeatures
from omnidistill.data.store import load_features


@runtime_checkable
class DatasetLoader(Protocol):
    """Type of the entries of `datasets`: functions without required arguments that return raw features."""

    def __call__(self) -> RawFeatures:
        """Return the features of all rows."""


datasets: Registry[DatasetLoader] = Registry(
    "dataset", {"emoji": "omnidistill.data.emoji"}, group="omnidistill.datasets"
)
"""Datasets by name."""


def load(source: str | Path) -> FeatureSet:
    """Return a set, prepared for training, with memory-mapped rows if it is stored.

    Args:
        source: name of a registered dataset, such as "emoji", or the Path of a folder written by `pack` or `encode`.

    Raises:
        InputError: no dataset has this name, or the folder is missing, damaged or of another kind.
    """
    if isinstance(source, Path):
        if not source.exists():
            raise InputError(f"{source}: no such set; create one with 'omnidistill pack', or use the bundled 'emoji'")
        return load_features(source).at(str(source.resolve()))
    if not isinstance(source, str):
        raise InputError(f"data: found a {type(source).__name__}; give the name of a dataset, or a Path")
    if source not in datasets:
        known = f"not a registered dataset (registered: {', '.join(datasets.names())})"
        raise InputError(f"{source!r}: {known}; for a folder, pass Path({source!r}){nearest(source, datasets.names())}")
    return prepare(datasets.get(source)()).at(source)


def open_reference(reference: str) -> FeatureSet:
    """Return a set by the text that names it on the command line and in a run folder.

    Args:
        reference: a folder, or the name of a registered dataset if there is no such folder.

    Raises:
        InputError: see `load`.
    """
    return load(reference if reference in datasets and not Path(reference).exists() else Path(reference))


Data = FeatureSet | RawFeatures | str | Path
"""Data that the public functions accept: a set, raw features, the name of a dataset, or the Path of a packed set."""


def opened(data: Data, modalities: Sequence[str] | None = None) -> FeatureSet:
    """Return a set unchanged, preprocess raw features, or load a set by name or path.

    Args:
        data: the set, the raw features, or the name or path of a set.
        modalities: those to keep, at least two; None keeps all.

    Raises:
        InputError: see `load` and `FeatureSet.only`.
    """
    read = prepare(data) if isinstance(data, RawFeatures) else data
    features = read if isinstance(read, FeatureSet) else load(read)
    return features if modalities is None else features.only(modalities)
