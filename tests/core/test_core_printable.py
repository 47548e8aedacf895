"""Text that is safe to print, and that every output of the commands is."""

from __future__ import annotations

import argparse
import json
import warnings
from pathlib import Path

import numpy as np
import pytest
from rich.table import Table
from rich.text import Text

from omnidistill.cli.output import print_note, print_result, print_table, printable_warnings
from omnidistill.core.printable import printable
from omnidistill.data.store import save_features
from omnidistill.io.tracking import RichProgress
from small_runs import cli, features

CLEAR = "\x1b[2J\x9b1m\u202e\r"


def test_characters_that_control_a_terminal_are_shown_and_others_stay() -> None:
    assert printable("\x1b[2J\x07\x9b\x7f\r\u202eabc\u2066\ud800") == (
        "\\u001b[2J\\u0007\\u009b\\u007f\\u000d\\u202eabc\\u2066\\ud800"
    )
    text = "Zürich\t東京\n👩\u200d🚀 “x” é"
    assert printable(text) == text
    assert json.loads(printable(json.dumps({CLEAR: CLEAR}, ensure_ascii=False))) == {CLEAR: CLEAR}


def shown(capsys: pytest.CaptureFixture[str]) -> str:
    """Everything that was printed; nothing in it may control a terminal."""
    out, err = capsys.readouterr()
    assert printable(out + err) == out + err
    return out + err


def test_every_function_that_prints_shows_escapes(capsys: pytest.CaptureFixture[str]) -> None:
    options = argparse.Namespace(json=False)
    table = Table("head")
    table.add_row(Text(f"cell {CLEAR}"))
    print_result(options, {}, [f"line {CLEAR}"])
    print_note(options, f"note {CLEAR}")
    print_table(table)
    with RichProgress(interval_seconds=0.0) as progress:
        progress.start(1, f"stage {CLEAR}")
        progress.note(f"remark {CLEAR}")
        progress.advance(1, value=f"field {CLEAR}")
    with printable_warnings():
        warning = warnings.formatwarning(UserWarning(f"warning {CLEAR}"), UserWarning, "file.py", 1)
    assert "\\u001b[2J" in warning
    assert printable(warning) == warning
    text = shown(capsys)
    for word in ("line", "note", "cell", "stage", "remark", "field"):
        assert f"{word} \\u001b[2J" in text


def test_names_from_files_are_shown_with_escapes(tmp_path: Path) -> None:
    data = features()
    name = f"name {CLEAR}"
    hostile = {"name": name, "licences": {name: name}, "notes": [name], "sources": {name: name}}
    save_features(data, tmp_path / f"SET{CLEAR}", hostile)
    np.savez(tmp_path / f"{CLEAR}.npz", **{f"array {CLEAR}": np.zeros(3)})
    (tmp_path / "table.csv").write_text(f"id,split,column {CLEAR}\na,train,b\n")
    outcomes = [
        cli("inspect", tmp_path / f"SET{CLEAR}"),
        cli("inspect", tmp_path / f"{CLEAR}.npz"),
        cli("inspect", tmp_path / "table.csv"),
        cli("inspect", tmp_path / f"missing {CLEAR}"),
        cli(f"command {CLEAR}"),
    ]
    for outcome in outcomes:
        assert "\\u001b" in outcome.out + outcome.err or "\\x1b" in outcome.out + outcome.err, outcome
        assert printable(outcome.out + outcome.err) == outcome.out + outcome.err
        assert outcome.err.count("\n") <= 1
