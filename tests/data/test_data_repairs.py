"""Repairs of leaks and duplicates, on codes and on whole packed sets, against brute force."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from omnidistill.core.errors import InputError
from omnidistill.data.duplicates import CodedRows, find_leaks
from omnidistill.data.names import SPLITS
from omnidistill.data.pack import pack
from omnidistill.data.repairs import DroppedRows, MergedGroups, with_merged_groups, without_leaks

LATER = {"heads": ("test", "validation"), "train": ("test", "validation"), "validation": ("test",), "test": ()}
VALUES = np.random.default_rng(0).normal(size=(2, 6, 4)).astype(np.float16)


def coded(splits: str, groups: str | None = None, **codes: str) -> CodedRows:
    """Rows of the splits h, t, v, e (test); equal letters in `codes` are identical rows."""
    names = {"h": "heads", "t": "train", "v": "validation", "e": "test"}
    return CodedRows(
        torch.arange(len(splits)),
        tuple(str(row) for row in range(len(splits))),
        tuple(groups or map(str, range(len(splits)))),
        tuple(names[letter] for letter in splits),
        {name: torch.tensor([ord(letter) - ord("a") for letter in text]) for name, text in codes.items()},
    )


def test_rows_that_repeat_test_or_remaining_validation_rows_are_dropped() -> None:
    """Row 2 repeats only row 3, which is dropped itself, and row 5 of heads; neither is a leak."""
    rows = coded("httvvhee", image="abcdbcde", text="stuuvwxs")
    remaining, dropped = without_leaks(rows, ["image", "text"])
    assert remaining.numbers.tolist() == [2, 4, 5, 6, 7]
    assert remaining.ids == ("2", "4", "5", "6", "7")
    assert dropped == (
        DroppedRows("heads", "test", 1, {"text": 1}),
        DroppedRows("validation", "test", 1, {"image": 1}),
        DroppedRows("train", "validation", 1, {"image": 1}),
    )
    assert find_leaks(remaining) == ()
    assert without_leaks(rows, ["text"])[1] == (
        DroppedRows("heads", "test", 1, {"text": 1}),
        DroppedRows("train", "validation", 1, {"text": 1}),
    )


def test_a_split_that_would_be_empty_is_an_error_with_the_reasons() -> None:
    rows = coded("tttve", image="abcde", text="vveve")
    with pytest.raises(InputError) as caught:
        without_leaks(rows, ["image", "text"])
    assert str(caught.value) == (
        "drop_leaks: no train row would remain, because 1 is identical to test rows (text 1) and 2 are identical to "
        "validation rows (text 2); correct the splits, or list the modalities whose identical rows are leaks (omit "
        "texts that are class labels)"
    )
    assert without_leaks(rows, ["image"]) == (rows, ())


def test_groups_merge_over_chains_within_a_split_only() -> None:
    """Rows 0-1 share an image and 1-2 a text; row 4 of test has the image of rows 0-1, which is a leak."""
    rows = coded("ttttee", image="aabcad", text="xyyzpq")
    merged, report = with_merged_groups(rows, ["image", "text"])
    assert merged.groups == ("0", "0", "0", "3", "4", "5")
    assert report == (MergedGroups("train", 3, 1),)
    assert with_merged_groups(rows, ["image"])[1] == (MergedGroups("train", 2, 1),)
    assert find_leaks(merged) == find_leaks(rows) != ()


def test_rows_of_one_group_merge_nothing() -> None:
    rows = coded("tttv", "aabc", image="aabb", text="wxyz")
    assert with_merged_groups(rows, ["image", "text"])[1] == ()


@st.composite
def any_rows(draw: st.DrawFn) -> tuple[list[str], list[str], list[list[int]]]:
    """Splits with train, validation and test, groups within splits, and one code in 0..5 per modality and row."""
    splits = draw(
        st.permutations(["train", "validation", "test", *draw(st.lists(st.sampled_from(SPLITS), max_size=9))])
    )
    groups = [f"{split}-{draw(st.integers(0, 3))}" for split in splits]
    codes = [draw(st.lists(st.integers(0, 5), min_size=len(splits), max_size=len(splits))) for _ in range(2)]
    return splits, groups, codes


def expected_rows(splits: list[str], codes: list[list[int]]) -> list[int]:
    """Numbers of the rows without leaks, pair by pair."""
    remaining = list(range(len(splits)))
    for scored in ("test", "validation"):
        remaining = [
            row
            for row in remaining
            if scored not in LATER[splits[row]]
            or not any(each[row] == each[other] for other in remaining if splits[other] == scored for each in codes)
        ]
    return remaining


def expected_pairs(
    rows: list[int], splits: list[str], groups: list[str], codes: list[list[int]]
) -> set[frozenset[int]]:
    """Pairs of rows that are positives of each other: the transitive closure of 'same group or identical rows'."""
    component = {row: row for row in rows}
    for one, other in itertools.combinations(rows, 2):
        same = groups[one] == groups[other] or any(each[one] == each[other] for each in codes)
        if same and splits[one] == splits[other]:
            component = {row: component[one] if own == component[other] else own for row, own in component.items()}
    return {frozenset(pair) for pair in itertools.combinations(rows, 2) if component[pair[0]] == component[pair[1]]}


@settings(max_examples=60)
@given(drawn=any_rows())
def test_a_packed_set_has_no_leak_and_its_identical_rows_are_positives(
    tmp_path_factory: pytest.TempPathFactory, drawn: tuple[list[str], list[str], list[list[int]]]
) -> None:
    splits, groups, codes = drawn
    folder = tmp_path_factory.mktemp("drawn")
    np.savez(folder / "f.npz", a=VALUES[0][codes[0]], b=VALUES[1][codes[1]])
    lines = [
        {"id": row, "group": group, "split": split}
        for row, (group, split) in enumerate(zip(groups, splits, strict=True))
    ]
    (folder / "t.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    remaining = expected_rows(splits, codes)

    def packed(out: Path | None) -> None:
        report = pack(folder / "f.npz", folder / "t.jsonl", out, centre=False, drop_leaks=True, merge_duplicates=True)
        data = report.data
        assert sorted(map(int, data.ids)) == remaining
        assert [row for row in map(int, data.ids) if splits[row] == "test"] == [
            row for row in range(len(splits)) if splits[row] == "test"
        ]
        assert report.duplicates == ()
        pairs = set()
        for one, other in itertools.combinations(range(len(data)), 2):
            identical = any(torch.equal(x[one], x[other]) for x in data.features.values())
            leak = data.splits[other] in LATER[data.splits[one]] or data.splits[one] in LATER[data.splits[other]]
            assert not (identical and leak)
            if data.groups[one] == data.groups[other]:
                pairs.add(frozenset((int(data.ids[one]), int(data.ids[other]))))
        assert pairs == expected_pairs(remaining, splits, groups, codes)
        assert sum(each.rows for each in report.dropped) == len(splits) - len(remaining)
        lost = len({groups[row] for row in remaining}) - report.groups
        assert sum(each.before - each.after for each in report.merged) == lost

    if {splits[row] for row in remaining} == set(splits):
        packed(None)
        packed(folder / "set")
    else:
        with pytest.raises(InputError, match=r"drop_leaks: no .* row would remain"):
            packed(folder / "set")
        assert not (folder / "set").exists()
