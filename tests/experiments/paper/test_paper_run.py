"""The tables of the paper: all of them in order, next to the printed numbers; resumed, extended, and refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from comparison_problems import Cut, counted
from omnidistill.core.errors import InputError
from omnidistill.experiments.comparison import cells
from omnidistill.experiments.paper.paper_tables import TABLES
from omnidistill.experiments.run import open_run
from omnidistill.io.input_files import read_json
from omnidistill.models.objectives import PairwiseWbce
from omnidistill.report.comparison_content import Comparison
from omnidistill.report.paper_content import PaperContent, PaperNumbers
from paper_problems import SHAPES, SHORTER, Printed, paper_of, stand_in
from small_runs import contents


def test_every_table_is_computed_on_its_datasets_in_the_order_of_the_paper(every_table: Printed) -> None:
    content = every_table.tables.content
    on_all = [(number, name) for number in ("5", "6", "7", "10", "figure-2") for name in SHAPES]
    expected = [("1", "msrvtt"), ("2", "vggsound"), ("3", "didemo"), *on_all]
    assert [(section.number, section.benchmark) for section in content.sections] == expected
    assert every_table.tables.failures == {}
    assert all(row.ours.recall for section in content.sections for row in section.rows)
    assert content.command == "omnidistill paper ..."


def test_our_numbers_are_those_of_the_comparison(every_table: Printed) -> None:
    for section in every_table.tables.content.sections:
        stored = f"{every_table.folder / section.comparison}.json"
        comparison = Comparison.from_json(read_json(Path(stored)), stored)
        for row, own in zip(section.rows, comparison.rows, strict=True):
            assert own.recall is not None
            assert row.ours.recall == {k: value.mean for k, value in own.recall["mean"].items()}
            assert row.ours.directions["text->video"]["R@1"] == own.recall["text->video"]["R@1"].mean
            gains = {k: gain.mean for k in ("R@1", "R@5") if (gain := own.gain(k)) is not None}
            assert row.ours.gain == gains
        assert section.levels == ["R@1", "R@5"]


def test_printed_numbers_are_next_to_ours(every_table: Printed) -> None:
    assert every_table.row("1", "msrvtt", "HoPA").printed.recall == {"R@1": 0.216, "R@5": 0.422}
    assert every_table.row("3", "didemo", "LoRS (pairs)").printed.recall == {"R@1": 0.169, "R@5": 0.36}
    assert every_table.row("10", "msrvtt", "without L_mod").printed.recall == {"R@1": 0.2008}
    assert every_table.row("6", "msrvtt", "rank 2").printed.recall == {"R@1": 0.208}
    random = every_table.row("1", "msrvtt", "random rows").printed
    assert random.directions["text->audio"] == {"R@1": 0.069, "R@5": 0.178}
    assert every_table.row("7", "didemo", "HoPA").printed.seconds == 0.875
    for place in (("10", "didemo", "HoPA"), ("1", "msrvtt", "MTT (pairs)"), ("7", "didemo", "mean instead of SVD")):
        assert every_table.row(*place).printed == PaperNumbers()


def test_gain_of_the_paper_is_relative_to_its_own_rows(every_table: Printed) -> None:
    hopa = every_table.row("1", "msrvtt", "HoPA").printed.gain
    assert hopa == pytest.approx({"R@1": (21.6 - 20.3) / (22.6 - 20.3), "R@5": (42.2 - 39.0) / (44.8 - 39.0)})
    hopa = every_table.row("2", "vggsound", "HoPA").printed.gain  # the zero point is printed in table 4
    assert hopa == pytest.approx({"R@1": (13.3 - 12.25) / (13.7 - 12.25), "R@5": (35.3 - 32.87) / (37.7 - 32.87)})
    assert every_table.row("1", "msrvtt", "random rows").printed.gain == {"R@1": 0, "R@5": 0}
    worse = every_table.row("10", "msrvtt", "without L_mod").printed.gain
    assert worse == pytest.approx({"R@1": (20.08 - 20.3) / (22.6 - 20.3)})


def test_seconds_per_iteration_are_those_of_distillation(every_table: Printed) -> None:
    stored = read_json(every_table.folder / "msrvtt/paper-table-7.json")
    for label in ("HoPA", "LoRS (pairs)", "identity instead of SVD"):
        (line,) = (line for line in stored["lines"] if line["label"] == label)
        assert every_table.row("7", "msrvtt", label).ours.seconds == pytest.approx(line["seconds"]["distill"] / 2)
    assert every_table.row("7", "msrvtt", "all rows, InfoNCE").ours.seconds is None


def test_tables_on_one_dataset_share_their_sets(every_table: Printed) -> None:
    """HoPA with published settings is distilled once for tables 1, 5, 6, 7, 10 and figure 2."""
    cells_of = sorted(path.name for path in (every_table.folder / "msrvtt/cells").iterdir())
    assert sum(name.startswith("paper.hopa-msrvtt-n100-s0-") for name in cells_of) == 1
    recalls = [every_table.row(number, "msrvtt", "HoPA").ours.recall for number in ("1", "5", "7", "10", "figure-2")]
    assert recalls == [every_table.row("6", "msrvtt", "rank 1").ours.recall] * 5


def test_files_have_the_content_and_the_page(every_table: Printed) -> None:
    tables, folder = every_table.tables, every_table.folder
    assert PaperContent.from_json(read_json(folder / "paper.json"), "paper.json") == tables.content
    assert (folder / "paper.md").read_text("utf-8") == tables.table() + "\n"
    assert (folder / "paper.html").read_text("utf-8") == tables.page()
    for section in tables.content.sections:
        assert (folder / f"{section.comparison}.md").exists(), "the page links to it"


def test_a_finished_folder_is_not_computed_again(every_table: Printed, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(every_table.folder, tmp_path / "P"))
    didemo, command = every_table.data["didemo"], "omnidistill paper ..."
    with counted() as calls:
        again = paper_of(didemo=didemo, tables=[3, 7], folder=folder, resume=True, command=command)
    assert calls == []
    assert again.content == every_table.tables.content


def test_an_interrupted_table_is_resumed_and_others_are_added(every_table: Printed, tmp_path: Path) -> None:
    folder, data = tmp_path / "P", {"didemo": every_table.data["didemo"]}
    with pytest.raises(KeyboardInterrupt):
        paper_of(**data, tables=["6"], folder=folder, progress=Cut("paper.hopa-didemo-n100-s0"))
    assert json.loads((folder / "paper.json").read_text())["sections"] == []
    assert "No table is finished yet" in (folder / "paper.html").read_text()
    with pytest.raises(InputError, match=r"already contains tables of the paper; continue or extend them with resume"):
        paper_of(**data, tables=["6"], folder=folder)
    first = paper_of(**data, tables=["6"], folder=folder, resume=True)
    assert [section.number for section in first.content.sections] == ["6"]
    with counted() as calls:
        both = paper_of(**data, tables=["3", "10"], folder=folder, resume=True)
    assert [section.number for section in both.content.sections] == ["3", "6", "10"]
    assert both.content.sections[1] == first.content.sections[0]
    expected = [every_table.section(number, "didemo") for number in ("3", "6", "10")]
    for one, other in zip(both.content.sections, expected, strict=True):
        assert [row.ours.recall for row in one.rows] == [row.ours.recall for row in other.rows]
    assert len(calls) == 3 * 4 + 3  # four rivals on three pairs, and three variants: HoPA itself is there


def test_a_method_that_fails_is_shown_and_the_others_continue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_cell = cells.run_cell

    def failing(context: Any, cell: Any, *more: Any) -> None:
        if cell.config.method == "rank 2":
            raise InputError("no | luck")
        run_cell(context, cell, *more)

    monkeypatch.setattr("omnidistill.experiments.comparison.process_cells.run_cell", failing)
    result = paper_of(msrvtt=stand_in("msrvtt"), tables=[6])
    assert [name.partition(", ")[0] for name in result.failures] == ["table 6 on MSR-VTT"]
    (section,) = result.content.sections
    errors = {row.label: row.error for row in section.rows if row.error}
    assert errors == {"rank 2": "seed 0: no | luck"}
    assert "| rank 2, N = 100 | failed | 20.8 |" in result.table()
    assert "rank 2, N = 100: seed 0: no | luck" in result.table()


def test_a_setting_reaches_the_tables_that_have_it(tmp_path: Path) -> None:
    """Table 6 has no pairwise wBCE, which alone has a temperature of this name; table 5 has."""
    data, settings = {"msrvtt": stand_in("msrvtt")}, (*SHORTER, "distill.student.tau=0.5")
    message = refusal(**data, tables=["6"], settings=settings)
    assert "setting distill.student.tau=0.5: none of the methods in these tables has the setting" in message
    paper_of(**data, tables=["6", "5"], settings=settings, folder=tmp_path / "P")
    runs = [open_run(path.parent) for path in (tmp_path / "P").glob("msrvtt/cells/*/run/run.json")]
    students = [run.config.distill.student for run in runs]
    assert sorted(student.kind for student in students) == ["hopa", "hopa", *["pairwise-wbce"] * 3]
    assert {student.tau for student in students if isinstance(student, PairwiseWbce)} == {0.5}


def refusal(**arguments: Any) -> str:
    with pytest.raises(InputError) as caught:
        paper_of(**arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_cannot_be_is_refused_before_the_work(tmp_path: Path) -> None:
    folder, msrvtt = tmp_path / "P", stand_in("msrvtt")
    for arguments, message in (
        ({}, "no features; pass those of at least one dataset: msrvtt='SET', vggsound='SET', didemo='SET'"),
        ({"msrvtt": msrvtt, "tables": [4]}, "table 4 (other encoders) is computed by 'omnidistill transfer"),
        ({"msrvtt": msrvtt, "tables": ["8"]}, "tables 8 and 9 list settings, which are the presets paper/hopa-*"),
        ({"msrvtt": msrvtt, "tables": ["11"]}, "unknown table '11'; choose from 1, 2, 3, 5, 6, 7, 10, figure-2"),
        ({"msrvtt": msrvtt, "tables": ["figure2"]}, "did you mean 'figure-2'?"),
        ({"msrvtt": msrvtt, "tables": []}, "tables: no table requested"),
        ({"msrvtt": msrvtt, "tables": [1, 2]}, "table 2 needs the features of VGGSound-S; pass vggsound='SET'"),
        (
            {"msrvtt": stand_in("msrvtt", modalities=("image", "audio", "text"))},
            "msrvtt: found the modalities image, audio, text, expected those of MSR-VTT: video, audio, text",
        ),
        (
            {"didemo": stand_in("didemo", modalities=("video", "text"))},
            "found the modalities video, text, expected those of DiDeMo: vid",
        ),
        (
            {"vggsound": stand_in("vggsound", rows={"train": 110, "validation": 12})},
            "vggsound: the split 'test' has no rows, but VGGSound-S has the splits train, validation, test",
        ),
        ({"msrvtt": msrvtt, "sizes": 200}, "table 1 on MSR-VTT: size 200: exceeds the 110 training rows"),
        ({"msrvtt": msrvtt, "sizes": 50, "tables": 6}, "unknown preset 'paper/hopa-msrvtt-50'"),
        (
            {"msrvtt": msrvtt, "settings": ["distill.itertions=5"]},
            "lists settings; did you mean 'distill.iteration",
        ),
    ):
        assert message in refusal(folder=folder, **arguments), arguments
    assert not folder.exists()


def test_a_folder_with_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    before = contents(tmp_path)
    message = refusal(msrvtt=stand_in("msrvtt"), tables=[6], folder=tmp_path, resume=True)
    assert "exists and is not empty; choose another folder" in message
    assert contents(tmp_path) == before


def test_other_features_in_a_folder_are_refused(every_table: Printed, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(every_table.folder, tmp_path / "P"))
    other = stand_in("msrvtt", rows={"train": 111, "validation": 12, "test": 20})
    message = refusal(msrvtt=other, tables=[6], folder=folder, resume=True)
    assert f"{folder / 'msrvtt'}: contains a comparison on different data" in message


def test_numbers_of_tables_are_those_of_the_presets() -> None:
    assert [table.preset for table in TABLES.values()] == [
        *(f"paper-table-{number}" for number in (1, 2, 3, 5, 6, 7, 10)),
        "paper-figure-2",
    ]
