"""Lock runs while they are read, and find the runs that were distilled from a dataset."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from omnidistill.core.errors import InputError
from omnidistill.experiments.run.run_folder import RUN
from omnidistill.io.artifacts import unchanged
from omnidistill.io.input_files import read_json


@contextmanager
def runs_unchanged(folders: Iterable[Path]) -> Iterator[None]:
    """Lock run folders while the `with` block reads them.

    Read-only folders, and folders that are not runs (such as the folder of a single set), are not locked.

    Raises:
        InputError: one of the runs is already locked by this or another process, or cannot be locked.
    """
    distinct = {folder.resolve(): folder for folder in folders if (folder / RUN).is_file()}
    with ExitStack() as stack:
        for _, folder in sorted(distinct.items()):
            stack.enter_context(unchanged(folder))
        yield


def runs_on(dataset: Path) -> list[Path]:
    """Return the folders of the runs that were distilled from a dataset.

    The search covers the folders next to the dataset and the folders in the current folder.
    """
    result: dict[Path, Path] = {}
    for file in (file for place in (dataset.parent, Path()) for file in place.glob(f"*/{RUN}")):
        try:
            location = read_json(file).get("data")
        except InputError:  # not a run, or a damaged one
            continue
        if isinstance(location, str) and Path(location).resolve() == dataset.resolve():
            result.setdefault(file.parent.resolve(), file.parent)
    return sorted(result.values())
