"""What the README says is what happens: its Python runs, its commands and presets exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from omnidistill.cli import main
from omnidistill.config import describe_comparisons, preset_names

README = (Path(__file__).parents[1] / "README.md").read_text("utf-8")


def test_python_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    (block,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    exec(compile(block, "README.md", "exec"), {})
    assert "('image', 'text')" in capsys.readouterr().out


def test_commands_exist(capsys: pytest.CaptureFixture[str]) -> None:
    verbs = set(re.findall(r"^ +omnidistill (\w+)", README, re.MULTILINE))
    assert verbs >= {"pack", "distill", "evaluate"}
    for verb in verbs:
        with pytest.raises(SystemExit) as stop:
            main([verb, "--help"])
        assert stop.value.code == 0


def test_presets_and_comparisons_exist() -> None:
    named = re.findall(r"--(?:preset|methods) ([\w/,-]+)", README)
    assert named
    for name in ",".join(named).split(","):
        assert name in [*preset_names(), *describe_comparisons()]


def test_links_lead_somewhere() -> None:
    for path in re.findall(r"\b(docs/[\w/.-]+\w)", README):
        root = Path(__file__).parents[1]
        assert (root / path).exists() or list((root / path).parent.glob(f"{Path(path).name}*")), path
