"""Names of version 0.1 that now stand for other tables: one line with the new name, and no table is replaced."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from comparison_problems import FEW, Made
from omnidistill.core.errors import InputError
from omnidistill.experiments.comparison import compare
from omnidistill.experiments.comparison.changed_names import NEW_NAMES, require_same_table
from omnidistill.experiments.config import describe_comparisons, load_comparison
from small_runs import NoteRecorder, contents, features


@pytest.mark.parametrize(("name", "new"), [("paper-table-10", "directions"), ("paper-table-6", "hopa-variants")])
def test_a_name_that_stands_for_another_table_is_noted(name: str, new: str) -> None:
    notes = NoteRecorder()
    with pytest.raises(InputError, match="training rows"):
        compare(features(2), preset=name, progress=notes)
    (line,) = (line for line in notes.notes if "0.1" in line)
    assert line == f"{name} is the table of the paper; what 0.1 called {name} is now {new}"


def test_other_names_are_not_noted() -> None:
    notes = NoteRecorder()
    with pytest.raises(InputError, match="training rows"):
        compare(features(2), preset="paper-table-1", progress=notes)
    assert notes.notes == []


def test_a_stored_table_of_version_0_1_is_not_replaced(made: Made, copied: Path) -> None:
    path = copied / "paper-table-10.json"
    path.write_text(json.dumps({"lines": [{"method": "zero-shot"}, {"method": "tesla-separate"}]}))
    before = contents(copied)
    with pytest.raises(
        InputError,
        match=r"10.json: already contains another table \(written by omnidistill 0.1; now called directions\)",
    ):
        made.compare(copied, FEW, name="paper-table-10", resume=True)
    assert contents(copied) == before


def test_only_tables_of_version_0_1_are_refused(tmp_path: Path) -> None:
    for name, (new, method) in NEW_NAMES.items():
        assert new in describe_comparisons()
        assert method in [entry.preset for entry in load_comparison(preset=new)[1].methods]
        present = [entry.preset for entry in load_comparison(preset=name)[1].methods]
        assert method not in present
        path = tmp_path / f"{name}.json"
        require_same_table(path, present)
        path.write_text(json.dumps({"lines": [{"method": each} for each in present]}))
        require_same_table(path, present)
        path.write_text(json.dumps({"lines": [{"method": method}]}))
        require_same_table(path, [method])  # the user compares it
        with pytest.raises(InputError, match=new):
            require_same_table(path, present)
