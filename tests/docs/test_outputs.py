"""Pages that show what their code prints: it runs from top to bottom in an empty folder, and prints every word shown.

Numbers differ, and notes about small data are added, because presets and the emoji features are small here;
docs/execute.py writes the real outputs.
"""

from __future__ import annotations

import re
from contextlib import ExitStack
from pathlib import Path

import pytest

import snippets
from omnidistill.experiments.components import component_registries
from plugins import installed
from snippets import ROOT

execute = snippets.module(ROOT / "docs/execute.py")
PAGES = {str(path.relative_to(ROOT)): path for path in execute.pages()}


def words(text: str) -> set[str]:
    """The words of an output, without numbers, the units that depend on them, hashes of files that hold numbers (whose
    last bits depend on the processor), and the baseline that is best.
    """
    text = re.sub(r"^chosen +best on all rows.*$", "", text, flags=re.MULTILINE)
    text = re.sub(r"\b[0-9a-f]{64}\b", "", text)
    return set(re.findall(r"[^\W\d_]{2,}", text)) - {"kB", "MB"}


@pytest.mark.parametrize("name", PAGES)
def test_a_page_prints_what_it_shows(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    snippets.make_presets_quick(monkeypatch)
    snippets.make_emoji_narrow(monkeypatch)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("COLUMNS", execute.COLUMNS)
    monkeypatch.delitem(execute.sys.modules, "page", raising=False)
    text = PAGES[name].read_text("utf-8")
    with ExitStack() as stack:
        for registry in component_registries().values():  # what a page registers is gone after it
            stack.enter_context(installed(registry))
        results = execute.outputs(text, name)
    for number, (shown, printed) in enumerate(zip(execute.shown(text), results, strict=True), 1):
        assert shown.strip(), f"output {number} is empty; run docs/execute.py {name}"
        assert words(shown) <= words(printed), f"output {number}"
