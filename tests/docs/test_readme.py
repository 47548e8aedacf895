"""The README's first example prints what it says; the rest of it is held by test_docs.py, as every page is."""

from __future__ import annotations

from pathlib import Path

import pytest

from snippets import ROOT, commands, make_emoji_narrow, make_presets_quick, python_blocks

README = (ROOT / "README.md").read_text("utf-8")


def test_python_prints_recall_of_every_direction(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make_presets_quick(monkeypatch)
    make_emoji_narrow(monkeypatch)
    monkeypatch.chdir(tmp_path)
    exec(compile(python_blocks(README)[0], "README.md", "exec"), {})
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].startswith("DistillResult(anchor: 100 rows of image, text, audio, ")
    assert len(printed[1:]) == 6
    assert printed[1].startswith("image → text {'R@1': 0.")


def test_the_verbs_that_matter_are_shown() -> None:
    assert {words[0] for words in commands(README)} >= {"pack", "encode", "distill", "evaluate", "compare", "report"}
