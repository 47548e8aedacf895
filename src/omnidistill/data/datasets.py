"""The registry of datasets, and functions that load a feature set by its registered name or from its folder.

A dataset is a function that returns `RawFeatures`. Register it in Python:

    @datasets.register("mine")
    def load_mine(): ...

or in pyproject.toml of an installed package:

    [project.entry-points."omnidistill.datasets"]
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
    """Type of the entries in `datasets`: functions that return raw features and have no required arguments."""

    def __call__(self) -> RawFeatures:
        """Return the raw features of all rows of the dataset."""


datasets: Registry[DatasetLoader] = Registry(
    "dataset", {"emoji": "omnidistill.data.emoji"}, group="omnidistill.datasets"
)
"""Datasets by name."""


def load(source: str | Path) -> FeatureSet:
    """Return a feature set that is preprocessed for training. If it is stored in a folder, its rows are memory-mapped.

    Args:
        source: name of a registered dataset, such as "emoji", or the Path of a folder that `pack` or `encode` wrote.

    Raises:
        InputError: no dataset has this name, or the folder is missing, damaged or not a feature set.
    """
    if isinstance(source, Path):
        if not source.exists():
            raise InputError(
                f"{source}: no such folder; create a dataset with 'omnidistill pack', or use the bundled dataset "
                "'emoji'"
            )
        return load_features(source).at(str(source.resolve()))
    if not isinstance(source, str):
        raise InputError(
            f"data: found a {type(source).__name__}; pass the name of a dataset or the Path of a dataset folder"
        )
    if source not in datasets:
        known = f"not a registered dataset (registered: {', '.join(datasets.names())})"
        raise InputError(f"{source!r}: {known}; for a folder, pass Path({source!r}){nearest(source, datasets.names())}")
    return prepare(datasets.get(source)()).at(source)


def open_reference(reference: str) -> FeatureSet:
    """Return the feature set with a given path or name, as written on the command line or stored in a run.

    Args:
        reference: path of a folder, or the name of a registered dataset if no folder has this path.

    Raises:
        InputError: see `load`.
    """
    return load(reference if reference in datasets and not Path(reference).exists() else Path(reference))


Data = FeatureSet | RawFeatures | str | Path
"""Data that public functions accept: a set, raw features, the name of a dataset, or the Path of a packed set."""


def opened(data: Data, modalities: Sequence[str] | None = None) -> FeatureSet:
    """Return data as a feature set.

    Raw features are preprocessed. A name or path is loaded. A feature set is returned unchanged.

    Args:
        data: a feature set, raw features, or the name or path of a feature set.
        modalities: modalities to keep, at least two. None keeps all modalities.

    Raises:
        InputError: see `load` and `FeatureSet.only`.
    """
    read = prepare(data) if isinstance(data, RawFeatures) else data
    features = read if isinstance(read, FeatureSet) else load(read)
    return features if modalities is None else features.only(modalities)
