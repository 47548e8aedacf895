"""The sample of texts that a reader judges: it has all kinds, and a seed determines it."""

from __future__ import annotations

import runpy

import pytest

from snippets import ROOT

SCRIPT = runpy.run_path(str(ROOT / "benchmarks" / "sample_texts.py"))


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    SCRIPT["main"](list(arguments))
    return capsys.readouterr().out


def test_the_kinds_have_equal_parts_and_a_seed_determines_the_sample(capsys: pytest.CaptureFixture[str]) -> None:
    sample = printed(capsys, "12", "--seed", "3")
    assert [sample.count(f"[{kind}]") for kind in ("docstring", "message", "help")] == [4, 4, 4]
    assert printed(capsys, "12", "--seed", "3") == sample
    assert printed(capsys, "12", "--seed", "4") != sample


def test_placeholders_and_signatures_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    sample = printed(capsys, "600")
    assert "{path}: " in sample
    assert "\n    def " in sample
    assert "\n    class " in sample
