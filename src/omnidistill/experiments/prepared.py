"""Open the dataset, run or synthetic set whose preprocessing `pack --like` uses."""

from __future__ import annotations

from pathlib import Path

from omnidistill.data.datasets import load
from omnidistill.data.recentre import Prepared
from omnidistill.data.store import KIND
from omnidistill.experiments.run import load_initial_set
from omnidistill.io.input_files import read_json

_MANIFEST = "manifest.json"


def open_prepared(source: str | Path) -> Prepared:
    """Return a dataset or synthetic set, so that `pack` can preprocess other data in the same way.

    Args:
        source: name of a registered dataset, or the Path of a folder with a dataset, a run or a synthetic set. For a
            run, its synthetic set is returned.

    Raises:
        InputError: no dataset has this name; or the folder is missing, damaged, or contains none of these.
    """
    if isinstance(source, Path) and source.exists():
        manifest = source / _MANIFEST
        if not manifest.exists() or read_json(manifest).get("kind") != KIND:
            return load_initial_set(source)
    return load(source)
