"""The command `plot`: which sources it reads, how it picks a figure, and what it refuses, each in one line."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest

from omnidistill.plotting.kinds import KINDS
from plot_sources import GOLDEN, comparison, crossed, migration, paper_tables, transfer
from small_runs import Outcome, cli


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """Folders that the commands write: of a comparison, a crossed table, a transfer table, the paper, and a kit."""
    contents = {
        "COMPARISON/table": comparison(),
        "CROSSED/crossed": crossed(),
        "TRANSFER/transfer": transfer(),
        "PAPER/paper": paper_tables(),
        "KIT-report": migration(),
        "KIT/manifest": {"kind": "migration kit"},
        "COMPARISON/comparison.lock": {"data": "0"},
    }
    for name, content in contents.items():
        path = tmp_path / f"{name}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(content if isinstance(content, dict) else content.to_json()))
    for name in ("RUN-float", "RUN-bits", "RUN-interrupted"):
        shutil.copytree(GOLDEN / name, tmp_path / name)
    return tmp_path


def refused(outcome: Outcome) -> str:
    """The message of a command that failed because of its input."""
    assert (outcome.code, outcome.out, outcome.err.count("\n")) == (2, "", 1)
    return outcome.err


@pytest.mark.parametrize(
    ("sources", "text"),
    [
        (["COMPARISON"], "gain retained at R@5"),
        (["COMPARISON/table.json"], "gain retained at R@5"),
        (["CROSSED"], "gain retained at R@1"),
        (["TRANSFER"], "share of direct distillation"),
        (["PAPER"], "mean R@1, %"),
        (["KIT"], "old to new, queries"),
        (["RUN-float"], "outer iteration"),
        (["RUN-float", "RUN-bits"], "RUN-bits"),
    ],
)
def test_the_sources_decide_the_figure(sources: list[str], text: str, here: Path) -> None:
    outcome = cli("plot", *(here / name for name in sources), "-o", here / "figure.svg")
    assert (outcome.code, outcome.err) == (0, "")
    assert f"{here / 'figure.svg'} (3.3 x " in outcome.out
    assert text in (here / "figure.svg").read_text("utf-8")


def test_kind_width_and_format_are_options(here: Path) -> None:
    out = here / "figure.pdf"
    outcome = cli("plot", here / "RUN-float", "--kind", "intervals", "--width", "6.9", "-o", out, "--json")
    result = json.loads(outcome.out)
    assert (result["output"], result["width"], result["bytes"]) == (str(out), 6.9, out.stat().st_size)
    assert out.read_bytes().startswith(b"%PDF")
    first = out.read_bytes()
    assert "--force" in refused(cli("plot", here / "COMPARISON", "-o", out))
    assert out.read_bytes() == first
    assert cli("plot", here / "COMPARISON", "-o", out, "--force").code == 0
    assert out.read_bytes() != first


def test_what_cannot_be_read_or_written_is_refused(here: Path) -> None:
    figure = here / "figure.svg"
    for name, message in {"x.jpg": "unknown format; use one of the suffixes .svg, .pdf, .png", "x": "unknown"}.items():
        assert message in refused(cli("plot", here / "COMPARISON", "-o", here / name))
    assert "no such file" in refused(cli("plot", here / "NONE", "-o", figure))
    assert "nothing that can be plotted" in refused(cli("plot", GOLDEN / "SET", "-o", figure))
    assert "not a table" in refused(cli("plot", here / "COMPARISON/comparison.lock.json", "-o", figure))
    assert "not finished" in refused(cli("plot", here / "RUN-interrupted", "-o", figure))
    shutil.copy(here / "COMPARISON/table.json", here / "COMPARISON/other.json")
    assert "contains 2 tables (other.json, table.json)" in refused(cli("plot", here / "COMPARISON", "-o", figure))
    (here / "KIT-report.json").unlink()
    assert "KIT-report.json) is missing" in refused(cli("plot", here / "KIT", "-o", figure))
    (here / "CROSSED/crossed.json").write_text(json.dumps({**crossed().to_json(), "levels": 3}))
    assert "field levels is 3" in refused(cli("plot", here / "CROSSED", "-o", figure))
    message = refused(cli("plot", here / "TRANSFER", "--kind", "gain", "-o", figure))
    assert "--kind gain" in message
    assert message.rstrip().endswith("these sources can be drawn as: intervals")
    assert "--table 6: not in the results" in refused(cli("plot", here / "PAPER", "--table", "6", "-o", figure))
    assert not figure.exists()


def test_without_matplotlib_the_extra_is_named(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    message = refused(cli("plot", here / "COMPARISON", "-o", here / "figure.svg"))
    assert "pip install 'omnidistill[plot]'" in message


def test_the_help_lists_every_kind(capsys: pytest.CaptureFixture[str]) -> None:
    text = " ".join(cli("plot", "--help").out.split())
    assert all(f"{kind.name} (" in text for kind in KINDS)
