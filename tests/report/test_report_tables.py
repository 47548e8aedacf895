from __future__ import annotations

import copy
import csv
import io
import json
import subprocess
import sys
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from omnidistill.core.errors import InputError
from omnidistill.evaluation.run_scores import RunScores
from omnidistill.report.run_table import (
    CSV_HEADER,
    combine,
    human_bytes,
    metric_rows,
    percent,
    score_rows,
    scoring_facts,
    to_csv,
    to_markdown,
    to_rich,
)

KS = ("R@1", "R@5", "R@10")
DIRECTIONS = [f"{query}->{gallery}" for query, gallery in permutations(("image", "text", "audio"), 2)]
RECALLS = {
    "zero_shot": ("zero-shot heads", (0.119, 0.235, 0.304)),
    "random": ("random rows, 100", (0.101, 0.208, 0.274)),
    "low_rank": ("rank-100 heads, all rows", (0.179, 0.336, 0.412)),
    "equal_bytes": ("full update, same bytes", (0.149, 0.306, 0.382)),
    "distilled": ("HoPA, 100 rows", (0.138, 0.277, 0.352)),
    "full_own": ("all rows, HoPA", (0.189, 0.347, 0.429)),
    "full": ("all rows, InfoNCE", (0.232, 0.387, 0.456)),
}


def sample(method: str = "hopa", label: str = "HoPA, 100 rows", shift: float = 0.0) -> dict[str, Any]:
    """The content of scores.json; `shift` moves the rows of the run's own method."""
    lines: dict[str, Any] = {}
    zero, full = RECALLS["zero_shot"][1], RECALLS["full"][1]
    for number, (name, (text, recalls)) in enumerate(RECALLS.items()):
        means = [recall + (shift if name in ("distilled", "full_own") else 0.0) for recall in recalls]
        gains = [(mean - low) / (high - low) for mean, low, high in zip(means, zero, full, strict=True)]
        recall = {"mean": {k: {"mean": mean, "std": 0.004} for k, mean in zip(KS, means, strict=True)}}
        for place, direction in enumerate(DIRECTIONS):
            recall[direction] = {
                k: {"mean": mean * (0.7 + 0.1 * place), "std": 0.006} for k, mean in zip(KS, means, strict=True)
            }
        lines[name] = {
            "label": label if name == "distilled" else text,
            "recall": recall,
            "gain_retained": {
                k: {"mean": gain, "low": gain - 0.07, "high": gain + 0.07} for k, gain in zip(KS, gains, strict=True)
            },
            "seconds": 10.0 * number,
            "bytes": 123456 * number,
        }
    del lines["zero_shot"]["seconds"], lines["zero_shot"]["bytes"]
    lines["distilled"]["difference_to_random"] = {
        k: {"mean": 0.037, "low": 0.031, "high": 0.042} if k != "R@5" else None for k in KS
    }
    lines["distilled"]["settings"] = {"size": 100, "rollout": {"steps": 16, "batch": 25}, "optimiser": "adam"}
    return {
        "schema": 1,
        "method": method,
        "size": 100,
        "num_seeds": 10,
        "gallery": "distinct",
        "items": {"image": 10, "text": 12},
        "undefined": [],
        "command": "omnidistill evaluate runs/demo --seeds 10",
        "versions": {"omnidistill": "0.1.0", "torch": "2.8.0"},
        "data": {
            "name": "emoji",
            "widths": {"image": 1280, "text": 384, "audio": 512},
            "rows": {"heads": 1050, "train": 2250, "validation": 300, "test": 1086},
            "licence": ["Noto Emoji: Apache-2.0", {"name": "Twemoji", "licence": "CC-BY-4.0"}],
        },
        "units": {"recall": "fraction", "gain_retained": "fraction of (full - zero_shot)"},
        "lines": list(lines),
        **lines,
        "floor": {"image": 0.02, "text": 0.015, "audio": 0.025},
        "matching_loss": 1.95,
        "seconds": {"experts": 12.1, "distill": 80.0},
        "bytes": {"features": 19584000, "experts": 1234, "distilled": 870400},
    }


def read(tree: dict[str, Any]) -> RunScores:
    return RunScores.from_json(tree, "scores.json")


def test_scores_read_back_as_they_are_written() -> None:
    tree = json.loads(json.dumps(read(sample()).to_json()))
    assert read(tree) == read(sample())
    assert read(tree).to_json() == tree
    assert set(sample()) - {"gain_retained"} == set(tree) - {"gain_retained"}
    assert tree["distilled"]["difference_to_random"] == sample()["distilled"]["difference_to_random"]
    assert tree["gain_retained"] == tree["distilled"]["gain_retained"]


def test_an_unscored_run_has_no_rows() -> None:
    unscored = read(sample()).evolve(rows={})
    assert not unscored.scored
    assert "lines" not in unscored.to_json()
    assert not read(unscored.to_json()).scored


def test_score_rows_show_each_line_in_percent_in_the_given_order() -> None:
    table = score_rows(read(sample()))
    assert [row[0] for row in table.rows] == [label for label, _ in RECALLS.values()]
    row = dict(zip(table.header, table.rows[4], strict=True))
    assert row == {
        "Method": "HoPA, 100 rows",
        "R@1 %": "13.8 ± 0.4",
        "R@5 %": "27.7 ± 0.4",
        "R@10 %": "35.2 ± 0.4",
        "gain retained R@1": "17 [10, 24] %",
        "gain retained R@5": "28 [21, 35] %",
        "gain retained R@10": "32 [25, 39] %",
        "seconds": "40.0",
        "bytes": "493.8 kB",
    }
    assert table.rows[1][4] == "−16 [−23, −9] %"
    assert table.rows[0][-2:] == ("–", "–")


@pytest.mark.parametrize("gain", [None, {}, {"R@1": None, "R@5": None, "R@10": None}])
def test_undefined_gain_is_not_available_rather_than_zero(gain: Any) -> None:
    scores = sample()
    scores["distilled"]["gain_retained"] = gain
    assert score_rows(read(scores)).rows[4][4:7] == ("n/a", "n/a", "n/a")
    del scores["distilled"]["gain_retained"]
    assert score_rows(read(scores)).rows[4][4:7] == ("n/a", "n/a", "n/a")


def test_recall_levels_are_sorted_by_number_and_missing_spread_is_left_out() -> None:
    scores = sample()
    for name in scores["lines"]:
        scores[name]["recall"]["mean"] = {"R@10": {"mean": 0.5}, "R@5": {"mean": 0.25, "std": None}}
    table = score_rows(read(scores))
    assert table.header[1:3] == ("R@5 %", "R@10 %")
    assert table.rows[0][1:3] == ("25.0", "50.0")


def test_unknown_keys_change_nothing() -> None:
    scores = sample()
    extended = copy.deepcopy(scores) | {"later": {"x": 1}}
    extended["distilled"]["transfer"] = [1, 2]
    assert score_rows(read(extended)) == score_rows(read(scores))
    assert to_csv(read(extended)) == to_csv(read(scores))


def test_csv_parses_back_to_the_exact_numbers() -> None:
    scores = sample()
    scores["distilled"]["gain_retained"]["R@5"] = None
    records = list(csv.DictReader(io.StringIO(to_csv(read(scores)))))
    assert tuple(records[0]) == CSV_HEADER
    assert len(records) == len(scores["lines"]) * 7 * 3
    for record in records:
        line, k = scores[record["line"]], record["metric"]
        assert float(record["mean"]) == line["recall"][record["direction"]][k]["mean"]
        assert float(record["std"]) == line["recall"][record["direction"]][k]["std"]
        gain = line["gain_retained"][k] if record["direction"] == "mean" else None
        for part in ("mean", "low", "high"):
            assert record[f"gain_{part}"] == ("" if gain is None else repr(gain[part]))


def with_metrics(scores: dict[str, Any]) -> dict[str, Any]:
    """The scores with other metrics, on distinct galleries of which one has fewer than ten items."""
    for number, name in enumerate(scores["lines"]):
        values = {"MedR": {"mean": 4.5 + number, "std": 0.25}, "mAP": {"mean": 0.3, "std": None}}
        scores[name]["metrics"] = {"mean": values, "image->text": values}
    return scores | {"gallery": "distinct", "items": {"image": 7, "text": 1809}, "undefined": ["R@20"]}


def test_other_metrics_have_a_table_and_records_of_their_own() -> None:
    scores = read(with_metrics(sample()))
    table = metric_rows(scores)
    assert table is not None
    assert table.header == ("Method", "MedR", "mAP %")
    assert table.rows[1][1:] == ("5.5 ± 0.2", "30.0")
    assert metric_rows(read(sample())) is None
    assert "| Method | MedR | mAP % |" in to_markdown(scores)
    records = list(csv.DictReader(io.StringIO(to_csv(scores))))
    found = [record for record in records if record["metric"] == "MedR" and record["line"] == "random"]
    assert {record["direction"]: record["mean"] for record in found} == {"mean": "5.5", "image->text": "5.5"}


def test_galleries_are_stated_and_undefined_recalls_are_na() -> None:
    scores = read(with_metrics(sample()))
    items = "Queries and gallery items are distinct items (copies count once) of the test split: 7 image, 1,809 text."
    facts = [f"{items} Tied items are in random order.", "R@20 is n/a: the gallery of image has 7 items."]
    assert scoring_facts(scores) == facts
    assert scoring_facts(read(sample() | {"items": {}})) == []  # version 0.1
    table = score_rows(scores)
    assert table.header[4] == "R@20 %"
    assert {row[4] for row in table.rows} == {"n/a"}
    assert all(f"- {fact}" in to_markdown(scores) for fact in facts)
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(to_rich(scores))
    assert "1,809 text" in console.export_text()


def test_markdown_has_one_row_per_line_and_survives_bars_in_labels() -> None:
    scores = sample()
    scores["random"]["label"] = "random | stratified"
    header, rule, *rows = to_markdown(read(scores | {"items": {}})).splitlines()
    assert rule.count("---") == header.count("|") - 1 == 9
    assert [row.replace("\\|", "").count("|") for row in rows] == [10] * len(scores["lines"])
    assert "random \\| stratified" in rows[1]
    assert "13.8 ± 0.4" in rows[4]


def test_terminal_table_fits_eighty_columns_and_takes_labels_literally() -> None:
    scores = sample()
    scores["distilled"]["label"] = "[bold]set[/bold] [link=x]"
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(to_rich(read(scores)))
    text = console.export_text()
    assert "[bold]set[/bold]" in text
    assert "…" not in text
    for cell in ("13.8 ± 0.4", "17 [10, 24]", "−16 [−23, −9]", "740.7 kB", "60.0"):
        assert cell in text
    scores["full"]["gain_retained"]["R@1"] = None
    console.print(to_rich(read(scores)))
    assert "n/a" in console.export_text()


def with_best() -> dict[str, Any]:
    """The sample with the best on all rows, whose gain is twice that of InfoNCE."""
    tree = sample()
    tree["best"] = {**tree["full"], "label": "best on all rows (CCA + initial heads)"}
    tree["lines"] = [*tree["lines"], "best"]
    for name in tree["lines"]:
        gains = tree[name]["gain_retained"]
        tree[name]["gain_retained_best"] = {k: {part: x / 2 for part, x in gain.items()} for k, gain in gains.items()}
    tree["distilled"]["gain_retained_best"]["R@10"] = None
    return tree


def test_the_gain_of_the_best_on_all_rows_is_shown_if_it_was_measured() -> None:
    """As further columns, in a terminal as the third number of a cell; scores without it look as before."""
    scores = read(with_best())
    table = score_rows(scores)
    assert table.header[4:10] == tuple(f"gain {of} {k}" for of in ("retained", "of best") for k in KS)
    (row,) = (row for row in table.rows if row[0] == "HoPA, 100 rows")
    assert row[4:] == (
        *("17 [10, 24] %", "28 [21, 35] %", "32 [25, 39] %"),
        *("8 [5, 12] %", "14 [10, 17] %", "n/a", "40.0", "493.8 kB"),
    )
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(to_rich(scores))
    shown = console.export_text()
    assert max(map(len, shown.splitlines())) <= 80
    assert "…" not in shown
    (place,) = (place for place, line in enumerate(shown.splitlines()) if "HoPA, 100 rows" in line)
    assert "14 [10, 17]" in shown.splitlines()[place + 2]
    assert "of best" not in str(score_rows(read(sample())).header)
    records = [each for each in csv.DictReader(io.StringIO(to_csv(scores))) if each["line"] == "distilled"]
    assert records[1]["gain_of_best_mean"] == repr(with_best()["distilled"]["gain_retained_best"]["R@5"]["mean"])
    assert [each["gain_of_best_mean"] for each in records[2:4]] == ["", ""]
    assert read(json.loads(json.dumps(scores.to_json()))) == scores


def test_rich_is_not_imported_before_a_terminal_table_is_wanted() -> None:
    code = "import sys, omnidistill.report.run_table; sys.exit('rich' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_combine_appends_what_is_the_further_runs_own() -> None:
    first, second = sample(), sample("lors", "LoRS, 100 rows", shift=0.02)
    table = score_rows(combine([read(first), read(second)]))
    assert [row[0] for row in table.rows[:-2]] == [row[0] for row in score_rows(read(first)).rows]
    assert [row[:2] for row in table.rows[-2:]] == [
        ("LoRS, 100 rows", "15.8 ± 0.4"),
        ("all rows, HoPA", "20.9 ± 0.4"),
    ]
    records = list(csv.DictReader(io.StringIO(to_csv(combine([read(first), read(second)])))))
    assert {record["line"] for record in records} >= {"distilled", "distilled (lors)", "full_own (lors)"}


def test_combine_keeps_runs_of_one_method_apart_and_shows_an_equal_reference_once() -> None:
    runs = [read(sample()), read(sample(label="seed 1")), read(sample(label="seed 2"))]
    labels = [row[0] for row in score_rows(combine(runs)).rows]
    assert labels[-2:] == ["seed 1", "seed 2"]
    assert labels.count("all rows, HoPA") == 1


def test_combine_of_one_run_shows_that_run() -> None:
    assert score_rows(combine([read(sample())])) == score_rows(read(sample()))


def test_combine_leaves_its_input_alone() -> None:
    runs = [read(sample()), read(sample("lors", "LoRS", 0.02))]
    before = copy.deepcopy(runs)
    combine(runs)
    assert runs == before


def test_combine_refuses_other_data_other_references_and_nothing() -> None:
    other_data, other_reference = sample(), sample()
    other_data["data"]["rows"]["train"] = 3000
    with pytest.raises(InputError, match=r"data\.rows is .* in run 2"):
        combine([read(sample()), read(other_data)])
    other_reference["full"]["recall"]["mean"]["R@5"]["mean"] += 0.01
    with pytest.raises(InputError, match=r"R@5 of the baseline 'full' is 0\.3970 in run 2 but 0\.3870 in run 1"):
        combine([read(sample()), read(other_reference)])
    with pytest.raises(InputError, match="no scores"):
        combine([])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": 2}, "field schema is 2"),
        ({"lines": []}, "field 'lines' does not contain 'zero_shot'"),
        ({"lines": ["zero_shot", "distilled"]}, "field 'lines' does not contain 'full'"),
        ({"lines": ["zero_shot", "distilled", "full", "gone"]}, "field 'gone' is listed in 'lines' but is missing"),
        ({"lines": "full"}, "field 'lines' is not a list"),
        ({"full": {"label": "all"}}, r"field full\.recall is missing"),
        ({"full": {"label": "all", "recall": {}}}, r"field full\.recall\.mean is missing"),
        ({"full": {"label": 5, "recall": {"mean": {"R@1": {"mean": 0.1}}}}}, r"field full\.label is 5"),
        (
            {"zero_shot": {"label": "", "recall": {"mean": {"MRR": {"mean": 0.1}}}}},
            r"zero_shot\.recall\.mean\.MRR is 'MRR'",
        ),
        ({"zero_shot": {"label": "", "recall": {"mean": {"R@1": {"mean": 2}}}}}, r"recall\.mean\.R@1\.mean is 2"),
        ({"bytes": {"features": 1.5, "distilled": 1}}, r"field bytes\.features is 1\.5"),
        ({"size": 0}, "field size is 0"),
        ({"data": None}, "field data is None"),
    ],
)
def test_damaged_scores_are_refused_in_one_line(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=f"^scores.json: .*{message}") as caught:
        read(sample() | change)
    assert "\n" not in str(caught.value)


def test_a_damaged_difference_is_named_as_the_file_spells_it() -> None:
    scores = sample()
    scores["distilled"]["difference_to_random"]["R@1"]["low"] = "x"
    with pytest.raises(
        InputError, match=r"^scores.json: invalid content: field distilled\.difference_to_random\.R@1\.low is 'x'"
    ):
        read(scores)


@settings(deadline=None, max_examples=100)
@given(st.integers(0, 10**16))
def test_human_bytes_keep_the_number(count: int) -> None:
    number, unit = human_bytes(count).replace(",", "").split(" ")
    scale = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}[unit]
    assert abs(float(number) * scale - count) <= 0.0501 * scale
    assert float(number) < 1000 or unit == "TB"


@pytest.mark.parametrize(
    ("fraction", "sign", "text"),
    [
        (0.1384, False, "13.8"),
        (-0.2, False, "−20.0"),
        (0.01, True, "+1.0"),
        (-0.0001, True, "0.0"),
        (1.0, False, "100.0"),
    ],
)
def test_percent(fraction: float, sign: bool, text: str) -> None:
    assert percent(fraction, sign=sign) == text


def test_notes_state_the_initial_heads_and_the_rows_that_do_without_them() -> None:
    """They are not part of the bytes of a row; scores of version 0.1, which lack the number, say nothing."""
    scores = read(sample())
    assert not any("initial heads" in fact for fact in scoring_facts(scores))
    scores = scores.evolve(bytes=scores.bytes.evolve(initial_heads=2_228_224))
    shared = "Not included: the initial heads (2.2 MB). A receiver needs them as well"
    assert scoring_facts(scores)[-1] == f"{shared}."
    rows = {name: row.evolve(needs_start=name != "full") for name, row in scores.rows.items()}
    scores = scores.evolve(rows=rows)
    assert scoring_facts(scores)[-1] == f"{shared}, except for: {rows['full'].label}."
    assert scoring_facts(scores)[-2].startswith("Bytes: all files that a receiver needs to train")
    assert all(f"- {fact}\n" in to_markdown(scores) for fact in scoring_facts(scores)[-2:])
    again = read(json.loads(json.dumps(scores.to_json())))
    assert again.bytes.initial_heads == 2_228_224
    assert again.rows["full"].needs_start is False
