"""The notebooks run from top to bottom, and what they show was made by running them (examples/execute.py)."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import nbformat
import pytest

import snippets
from snippets import ROOT

NAMES = sorted(path.name for path in (ROOT / "examples").glob("*.ipynb"))
MOST_BYTES = 150_000


@pytest.fixture(scope="module")
def execute() -> ModuleType:
    return snippets.module(ROOT / "examples/execute.py")


def notebook(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((ROOT / "examples" / name).read_text("utf-8"))
    return found


def code(book: dict[str, Any]) -> list[dict[str, Any]]:
    return [cell for cell in book["cells"] if cell["cell_type"] == "code"]


def kinds(outputs: list[dict[str, Any]]) -> list[list[str]]:
    return [[output["output_type"], *output.get("data", ())] for output in outputs]


def test_both_are_there() -> None:
    assert NAMES == ["distil_emoji.ipynb", "your_own_features.ipynb"]


@pytest.mark.parametrize("name", NAMES)
def test_it_runs_and_shows_what_is_kept(
    name: str, execute: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    snippets.make_presets_quick(monkeypatch)
    monkeypatch.chdir(tmp_path)
    book = notebook(name)
    for cell in code(book):
        cell["source"] = [re.sub(r'((?:iterations|num_epochs)": )\d+', r"\g<1>2", line) for line in cell["source"]]
    ran = list(execute.outputs(book))
    assert [kinds(shown) for _, shown in ran] == [kinds(cell["outputs"]) for cell in code(book)]


@pytest.mark.parametrize("name", NAMES)
def test_what_is_kept_is_of_one_execution_and_small(name: str) -> None:
    book, text = notebook(name), (ROOT / "examples" / name).read_text("utf-8")
    assert [cell["execution_count"] for cell in code(book)] == list(range(1, len(code(book)) + 1))
    assert not any("/home/" in line or "/tmp" in line for line in text.splitlines())
    assert len(text.encode()) < MOST_BYTES


@pytest.mark.parametrize("name", NAMES)
def test_it_is_a_valid_notebook_whose_links_lead_somewhere(name: str) -> None:
    nbformat.validate(nbformat.read(ROOT / "examples" / name, as_version=4))
    prose = "".join(
        line for cell in notebook(name)["cells"] if cell["cell_type"] == "markdown" for line in cell["source"]
    )
    for link in re.findall(r"\]\(([^)]+)\)", prose):
        assert (ROOT / "examples" / link).exists(), link


def test_outputs_are_what_is_printed_and_the_last_value(execute: ModuleType) -> None:
    cells = ["print('a')\nprint('b')\n", "1 + 1", "x = 3"]
    book = {"cells": [{"cell_type": "code", "source": [source]} for source in cells]}
    (_, printed), (_, value), (_, nothing) = execute.outputs(book)
    assert printed == [{"name": "stdout", "output_type": "stream", "text": ["a\n", "b\n"]}]
    assert value[0]["data"] == {"text/plain": ["2"]}
    assert nothing == []
