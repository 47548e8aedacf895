"""The README's first example prints what it says; the rest of it is held by test_docs.py, as every page is."""

from __future__ import annotations

from pathlib import Path

import pytest

from snippets import ROOT, commands, python_blocks

README = (ROOT / "README.md").read_text("utf-8")


def test_python_prints_recall_of_every_direction(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    exec(compile(python_blocks(README)[0], "README.md", "exec"), {})
    assert "('image', 'text')" in capsys.readouterr().out


def test_the_verbs_that_matter_are_shown() -> None:
    assert {words[0] for words in commands(README)} >= {"pack", "encode", "distill", "evaluate", "compare", "report"}
