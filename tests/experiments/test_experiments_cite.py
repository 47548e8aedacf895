"""What to cite: the BibTeX of presets, encoders and runs, held against what the presets themselves say they rest on."""

from __future__ import annotations

import json
import re
from importlib import resources
from pathlib import Path

import pytest

from omnidistill.core.errors import InputError
from omnidistill.experiments.cite import SELF, cite, works
from omnidistill.experiments.config import preset_names
from small_runs import SMALL, cli, packed

_ENTRY = re.compile(r"@\w+\{[\w-]+,\n(?:  \w+ = \{.*\},?\n)+\}", re.DOTALL)
UNSAID = {"1308.3432"}  # of rounding, which is no method of its own


def said(preset: str) -> set[str]:
    """arXiv numbers in the comments of a preset."""
    text = (resources.files("omnidistill") / "presets" / f"{preset}.toml").read_text("utf-8")
    comments = " ".join(line.lstrip("# ") for line in text.splitlines() if line.startswith("#"))
    return set(re.findall(r"arXiv\s+(\d{4}\.\d{5})", comments)) - UNSAID


@pytest.mark.parametrize("key", works())
def test_every_work_is_an_entry_of_bibtex(key: str) -> None:
    entry = works()[key]
    assert entry.startswith("@")
    assert _ENTRY.fullmatch(entry), entry
    assert entry.count("{") == entry.count("}")
    for field in ("title", "author") if key == SELF else ("title", "author", "year"):
        assert len(re.findall(rf"^  {field} = ", entry, re.MULTILINE)) == 1


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_cites_something_beside_this_program(name: str) -> None:
    assert len(cite([name])) > 1


@pytest.mark.parametrize("name", ["hopa", "lors", "repblend", "tesla", "mtt", "covmatch", "covmatch-errors",
                                  "shortcut", "recommended", "portable", "task", "k-center", "forgetting", "craig",
                                  "el2n"])  # fmt: skip
def test_what_a_preset_says_it_rests_on_is_cited(name: str) -> None:
    numbers = set(re.findall(r"eprint = \{([\d.]+)\}", " ".join(cite([name]).values())))
    assert said(name)
    assert said(name) <= numbers


def test_a_run_cites_its_method_and_the_encoders_of_its_data(tmp_path: Path) -> None:
    assert cli("distill", "emoji", *SMALL, "--set", "distill.iterations=1", "-o", tmp_path / "RUN").code == 0
    found = json.loads(cli("cite", tmp_path / "RUN", "--json").out)
    assert {"omnidistill", "hopa", "mtt", "lors", "efficientnet", "minilm", "whisper"} <= set(found)
    assert "tesla" not in found
    text = cli("cite", tmp_path / "RUN").out
    assert text == "\n\n".join(found.values()) + "\n"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("hoppa", "did you mean 'hopa'"),
        ("imagebindd-x", "pass a folder, a method, an encoder"),
        ("EMPTY", "contains neither a run nor a synthetic set"),
    ],
)
def test_what_cannot_be_cited_is_told(name: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "EMPTY").mkdir()
    with pytest.raises(InputError, match=message):
        cite([name])


def test_a_set_alone_cites_no_method(tmp_path: Path) -> None:
    packed(tmp_path / "SET")
    outcome = cli("cite", tmp_path / "SET")
    assert outcome.code == 2
    assert cli("cite").out.startswith("@software{omnidistill,")
