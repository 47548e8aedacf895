"""`omnidistill paper`: the tables, their files, resuming, and one line for what cannot be."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from paper_problems import SHORTER, stand_in
from small_runs import cli, packed

TINY = ("--sizes", "100", "--seeds", "0", "--students", 2, *(part for text in SHORTER for part in ("--set", text)))


@pytest.fixture(scope="module")
def didemo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return packed(tmp_path_factory.mktemp("data") / "SET", stand_in("didemo"))


def test_it_prints_the_tables_and_their_files(didemo: Path, tmp_path: Path) -> None:
    command = ("paper", "--didemo", didemo, "--tables", "6", *TINY, "-o", tmp_path / "P")
    outcome = cli(*command)
    assert outcome.code == 0, outcome
    for part in (
        "## Table 6 on DiDeMo: modes of the proxy",
        "| rank 2, N = 100 | ",
        f"page     {tmp_path / 'P' / 'paper.html'}",
    ):
        assert part in outcome.out
    again = cli(*command, "--resume", "--json")
    assert again.code == 0, again
    assert json.loads(again.out) == json.loads((tmp_path / "P" / "paper.json").read_text("utf-8"))
    assert (tmp_path / "P" / "didemo" / "paper-table-6.csv").exists()
    refused = cli(*command)
    assert (refused.code, refused.out) == (2, "")
    assert "already contains tables of the paper; continue or extend them with --resume" in refused.err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "no features; pass those of at least one dataset: --msrvtt SET, --vggsound SET, --didemo SET"),
        (("--tables", "1"), "--tables: table 1 needs the features of MSR-VTT; pass --msrvtt SET"),
        (("--tables", "4"), "--tables: table 4 (other encoders) is computed by 'omnidistill transfer RUN --to SET2"),
        (("--tables", "33"), "--tables: unknown table '33'; choose from 1, 2, 3, 5, 6, 7, 10, figure-2"),
        (("--tables", "9"), "--tables: tables 8 and 9 list settings"),
        (("--sizes", "200"), "size 200: exceeds the 104 training rows"),
        (("--set", "distill.itertions=5"), "did you mean 'distill.iterations'?"),
        (
            ("--msrvtt", "emoji"),
            "--msrvtt emoji: found the modalities image, text, audio, expected those of MSR-VTT: video, audio, text",
        ),
        (("--vggsound", "nowhere"), "nowhere: no such folder"),
        (("--benchmark", "didemo"), "unknown option '--benchmark'"),
    ],
)
def test_what_cannot_be_is_one_line(options: tuple[str, ...], message: str, didemo: Path, tmp_path: Path) -> None:
    data = ("--didemo", didemo) if options else ()
    sizes = () if "--sizes" in options else ("--sizes", "100")
    outcome = cli("paper", *data, *options, *sizes, "-o", tmp_path / "P")
    assert (outcome.code, outcome.out) == (2, ""), outcome
    assert message in outcome.err
    assert outcome.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_compare_has_the_tables_of_a_dataset(didemo: Path, tmp_path: Path) -> None:
    outcome = cli(
        *("compare", didemo, "--preset", "paper-table-6", "--benchmark", "didemo", *TINY, "-o", tmp_path / "C")
    )
    assert outcome.code == 0, outcome
    names = {path.name.partition("-n100")[0] for path in (tmp_path / "C" / "cells").iterdir()}
    assert "paper.hopa-didemo" in names
    wrong = cli("compare", didemo, "--preset", "paper-table-6", "--benchmark", "flickr", "-o", tmp_path / "D")
    assert (wrong.code, wrong.err.count("\n")) == (2, 1)
    assert "unknown benchmark 'flickr'; choose from msrvtt, vggsound, didemo" in wrong.err
    later = cli("compare", didemo, "--preset", "paper-table-4", "-o", tmp_path / "D")
    assert "use 'omnidistill transfer RUN --to SET2 --preset paper-table-4'" in later.err
