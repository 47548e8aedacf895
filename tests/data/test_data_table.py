import errno
import json
import os

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from omnidistill.core.errors import InputError
from omnidistill.data.arrow_columns import parquet_file
from omnidistill.data.table import Table, read_splits, read_table, text_column
from omnidistill.io import input_files

COLUMNS = {"id": ["x", "y", "z"], "count": [1, 2, 3], "wörd": ["a,b", 'q"uote', "🕚\nline"]}


def write(path):
    rows = [dict(zip(COLUMNS, values, strict=True)) for values in zip(*COLUMNS.values(), strict=True)]
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n\n" for row in rows), encoding="utf-8")
    elif path.suffix == ".csv":
        path.write_bytes('\ufeffid,count,wörd\r\nx,1,"a,b"\r\ny,2,"q""uote"\r\nz,3,"🕚\nline"\r\n'.encode())
    else:
        pq.write_table(pa.table({**COLUMNS, "features": [[1.0], [2.0], [3.0]]}), path)
    return path


@pytest.mark.parametrize("name", ["t.jsonl", "t.csv", "t.parquet"])
def test_each_format_gives_the_same_columns(tmp_path, name):
    path = write(tmp_path / name)
    columns = read_table(path)
    assert list(columns) == list(COLUMNS)
    for column, values in COLUMNS.items():
        assert text_column(path, columns, column, "why") == tuple(str(value) for value in values)


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_the_separator_of_a_csv_file_is_detected(tmp_path, separator):
    cells = [["id", '"a,b;c|d"', "split"], ["x", '"1,5"', "train"], ["y", f'"{separator}"', "test"]]
    (tmp_path / "t.csv").write_text("\n".join(separator.join(row) for row in cells))
    expected = {"id": ["x", "y"], "a,b;c|d": ["1,5", separator], "split": ["train", "test"]}
    assert read_table(tmp_path / "t.csv") == expected


def test_a_separator_can_be_given(tmp_path):
    (tmp_path / "t.csv").write_text("id#a,b\nx#1,5\n")
    assert read_table(tmp_path / "t.csv", "#") == {"id": ["x"], "a,b": ["1,5"]}
    (tmp_path / "u.csv").write_text("id1a\nx1y1z\n")
    with pytest.raises(InputError, match=r"line 2 has 3 cells, but the header has 2; .* contain '1'"):
        read_table(tmp_path / "u.csv", "1")


@pytest.mark.parametrize(
    ("name", "separator", "message"),
    [
        ("t.csv", ";;", "separator=';;': must be a single character, found 2 characters"),
        ("t.csv", "", "found 0 characters"),
        ("t.csv", '"', "quotes and line breaks cannot separate columns"),
        ("t.jsonl", ";", "only .csv and .tsv files have a separator"),
    ],
)
def test_a_separator_that_cannot_be_used_is_rejected(tmp_path, name, separator, message):
    (tmp_path / name).write_text("{}\n")
    with pytest.raises(InputError, match=message):
        read_table(tmp_path / name, separator)


@pytest.mark.parametrize(
    ("name", "content", "names"),
    [
        ("t.jsonl", b'{"id": "x"}\n{"id": \n', "line 2 is not JSON"),
        ("t.jsonl", b'{"id": "x"}\n[1, 2]\n', "line 2 must be a JSON object, found a list"),
        ("t.jsonl", b"[" * 100_000, "line 1 is not JSON"),
        ("t.jsonl", b"\xff\xfe", "cannot be read"),
        ("t.jsonl", b"", "no rows"),
        ("t.jsonl", b"{}\n", "no rows"),
        ("t.jsonl", b'{"id": "x", "id": "y"}\n', "line 1 is not JSON .a key occurs twice"),
        ("t.jsonl", b'{"id": ' + b"[" * 100 + b"]" * 100 + b"}\n", "line 1 is not JSON .values are nested"),
        ("t.csv", b"id,split\nx,train\ny\n", "line 3 has 1 cells, but the header has 2"),
        ("t.csv", b"id,split\nx,train,extra\n", "line 2 has 3 cells"),
        ("t.csv", b"id,id\nx,y\n", "two columns in the header have the same name"),
        ("t.csv", b'id,split\n"x,train\n', "cannot be read"),
        ("t.csv", b"id,split\n" + b"x" * 200_000 + b",train\n", "cannot be read"),
        ("t.csv", b"\xff\xfe", "cannot be read"),
        ("t.csv", b"id;split\nx;train;y\n", "line 2 has 3 cells, but the header has 2; .* contain semicolons"),
        ("t.csv", b"", "no rows"),
        ("t.csv", b"id,split\n", "no rows"),
        ("t.parquet", b"PAR1", "cannot be read"),
        ("t.parquet", b"", "cannot be read"),
        ("t.txt", b"id", r"\.jsonl, \.csv, \.parquet"),
    ],
)
def test_tables_that_cannot_be_read(tmp_path, name, content, names):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=names) as caught:
        read_table(tmp_path / name)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["t.jsonl", "t.csv", "t.parquet"])
def test_tables_that_are_not_there(tmp_path, name):
    with pytest.raises(InputError, match=name):
        read_table(tmp_path / name)
    (tmp_path / name).mkdir()
    with pytest.raises(InputError, match=name):
        read_table(tmp_path / name)


@pytest.mark.parametrize("name", ["t.jsonl", "t.csv", "t.parquet"])
def test_devices_and_pipes_are_not_opened(tmp_path, name):
    (tmp_path / name).symlink_to("/dev/null")
    with pytest.raises(InputError, match="is not a regular file"):
        read_table(tmp_path / name)
    (tmp_path / name).unlink()
    os.mkfifo(tmp_path / name)  # opening it would wait for a writer
    with pytest.raises(InputError, match="is not a regular file"):
        read_table(tmp_path / name)


@pytest.mark.parametrize(
    "lines",
    [
        [json.dumps({f"c{number}": 1}) for number in range(400)],  # every row has its own column
        [json.dumps({f"c{number}": 1 for number in range(50)}), *["{}"] * 2000],
    ],
)
def test_a_table_of_mostly_empty_cells_is_refused_before_they_are_made(tmp_path, monkeypatch, lines):
    monkeypatch.setattr(input_files, "FREE_BYTES", 2**14)
    path = tmp_path / "t.jsonl"
    path.write_text("\n".join(lines))
    with pytest.raises(InputError, match=r"t\.jsonl: would take [\d,]+ bytes in memory, more than 100 times its size"):
        read_table(path)


def test_a_repeated_text_of_a_parquet_column_is_one_object(tmp_path):
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"id": ["x" * 1000, "y", None, "x" * 1000]}), path, row_group_size=3)
    values = read_table(path)["id"]
    assert values == ["x" * 1000, "y", None, "x" * 1000]
    pq.write_table(pa.table({"id": ["x" * 1000] * 50}), path)
    assert len({id(value) for value in read_table(path)["id"]}) == 1


def test_half_a_surrogate_pair_is_no_text(tmp_path):
    path = tmp_path / "t.jsonl"
    path.write_text('{"id": "a"}\n{"id": "\\ud800"}\n')
    with pytest.raises(InputError, match=r"line 2, column 'id': .*surrogate pair"):
        text_column(path, read_table(path), "id", "why")


def test_a_missing_column_is_answered_with_the_nearest(tmp_path):
    with pytest.raises(
        InputError, match=r"the column 'idx' is missing \(why\); found the columns id, count; did you mean 'id'"
    ):
        text_column(tmp_path / "t.csv", Table({"id": ["x"], "count": ["1"]}), "idx", "why")


@pytest.mark.parametrize("value", [None, "", 1.5, True, ["x"], {"a": 1}])
def test_values_that_name_nothing(tmp_path, value):
    with pytest.raises(InputError, match="row 1, column 'id' is"):
        text_column(tmp_path / "t.csv", Table({"id": ["x", value]}), "id", "why")


def test_synonyms_of_validation_are_read_and_noted(tmp_path):
    given = ["train", "val", "dev", "valid", "validation", "test", "heads"]
    splits, notes = read_splits(tmp_path / "t.csv", Table({"split": given}), "split")
    assert splits == ("train", *["validation"] * 4, "test", "heads")
    assert notes == [f"split {name!r} is read as 'validation'" for name in ("val", "dev", "valid")]


@pytest.mark.parametrize(
    ("given", "names"),
    [
        (
            ["train", "validation", "tets"],
            "row 2, column 'fold': unknown split 'tets'; known splits: .*; did you mean 'test'",
        ),
        (["Train", "validation", "test"], "row 0.*'Train'.*did you mean 'train'"),
        (["train", "validation"], "no 'test' rows; found only train, validation"),
        (["train", "test"], "no 'validation' rows"),
        (["heads", "val", "test"], "no 'train' rows; found only heads, validation, test"),
    ],
)
def test_splits_that_are_wrong_or_missing(tmp_path, given, names):
    with pytest.raises(InputError, match=names):
        read_splits(tmp_path / "t.csv", Table({"fold": given}), "fold")


def test_no_split_column_says_what_it_is_for(tmp_path):
    with pytest.raises(InputError, match=r"column 'split' is missing .it names the split of every row: train"):
        read_splits(tmp_path / "t.csv", Table({"id": ["x"]}), "split")


@pytest.mark.parametrize(
    ("name", "content", "place"),
    [
        ("t.csv", b'id,split\n\n"x\n1",train\ny,tets\n', "line 5"),
        ("t.jsonl", b'{"split": "train"}\n\n{"split": "tets"}\n', "line 3"),
    ],
)
def test_messages_name_the_line_of_the_file(tmp_path, name, content, place):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=rf"{name}: {place}, column 'split': unknown split 'tets'"):
        read_splits(tmp_path / name, read_table(tmp_path / name), "split")


def test_a_lack_of_memory_is_not_a_damaged_parquet_file(tmp_path):
    pq.write_table(pa.table({"id": ["a"]}), tmp_path / "t.parquet")
    with pytest.raises(OSError, match="allocate"), parquet_file(tmp_path / "t.parquet"):
        raise OSError(errno.ENOMEM, "Cannot allocate memory")
    with pytest.raises(InputError, match="cannot be read as a Parquet file"), parquet_file(tmp_path / "t.parquet"):
        raise OSError(errno.EIO, "bad bytes")


def test_a_parquet_file_whose_indices_leave_the_dictionary_is_damaged(tmp_path):
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"id": ["a", "b", "c", "d"], "group": ["x", "y", "z", "x"]}), path, compression="none")
    good = path.read_bytes()
    end_of_data = len(good) - 8 - int.from_bytes(good[-8:-4], "little")
    found = 0
    for at in range(4, end_of_data):
        path.write_bytes(good[:at] + bytes([good[at] ^ 0xFF]) + good[at + 1 :])
        try:
            pq.read_table(path, read_dictionary=["id", "group"]).validate(full=True)
        except pa.ArrowInvalid as error:
            if "dictionary" in str(error).lower() or "indices" in str(error).lower():
                found += 1
                with pytest.raises(InputError, match="cannot be read as a Parquet file"):
                    read_table(path)
        except OSError:
            continue
    assert found
