"""Comparisons that were renamed since version 0.1.

In version 0.1, `paper-table-N` was named after table N of the HoPA paper, but had our own settings and sometimes other
contents. Now `paper-table-N` is table N as printed, and the comparisons of version 0.1 have the names in `NEW_NAMES`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from omnidistill.core.errors import InputError
from omnidistill.io.input_files import read_json
from omnidistill.io.tracking import Progress

NEW_NAMES = {
    "paper-table-5": ("hopa-pairs", "three-pair"),
    "paper-table-6": ("hopa-variants", "hopa-rank-2"),
    "paper-table-7": ("hopa-costs", "hopa-tesla"),
    "paper-table-10": ("directions", "tesla-separate"),
}
"""Maps the name of a table in 0.1 to its new name, and to a method that occurs only in the table of 0.1."""
_OTHER_CONTENT = ("paper-table-6", "paper-table-10")


def note_changed_name(preset: str, progress: Progress) -> None:
    """Show a note if `preset` meant another comparison in version 0.1. The note gives that comparison's new name."""
    if preset in _OTHER_CONTENT:
        progress.note(f"{preset} is the table of the paper; what 0.1 called {preset} is now {NEW_NAMES[preset][0]}")


def require_same_table(path: Path, methods: Collection[str]) -> None:
    """Check that a new table does not overwrite a table that version 0.1 wrote for another comparison.

    Args:
        path: the JSON file to which the new table will be written; it need not exist yet.
        methods: names of the methods in the new table.

    Raises:
        InputError: the file contains a table that version 0.1 wrote for another comparison. The message gives the
            current name of that comparison.
    """
    new_name, method = NEW_NAMES.get(path.stem, ("", ""))
    if new_name and method not in methods and path.exists() and method in _methods(read_json(path)):
        raise InputError(
            f"{path}: already contains another table (written by omnidistill 0.1; now called {new_name}); rename this "
            "file, or choose another folder for the new table"
        )


def _methods(tree: Mapping[str, Any]) -> set[str]:
    rows = tree.get("lines", [])
    return {str(row.get("method")) for row in rows if isinstance(row, dict)} if isinstance(rows, list) else set()
