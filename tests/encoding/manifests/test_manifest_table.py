import json
import string
import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from omnidistill.core.errors import InputError
from omnidistill.encoding.manifests.manifest import KINDS, Manifest, Row, read_manifest, split_name
from omnidistill.encoding.manifests.write_manifest import write_manifest

FORMATS = (".csv", ".jsonl", ".parquet")
LINES = {
    ".csv": "id,group,split,start,end,video,speech:audio,text\na,g,train,1.5,2,v/a.mp4,,hello\nb,g,train,,,,s/b.wav,\n",
    ".jsonl": '{"id": "a", "group": "g", "split": "train", "start": 1.5, "end": 2, "video": "v/a.mp4",'
    ' "text": "hello"}\n'
    '{"id": "b", "group": "g", "split": "train", "speech:audio": "s/b.wav"}\n',
}


@pytest.mark.parametrize("suffix", LINES)
def test_a_table_as_people_write_it(tmp_path, suffix):
    path = tmp_path / f"rows{suffix}"
    path.write_text(LINES[suffix])
    manifest = read_manifest(path)
    assert manifest.rows == (
        Row("a", "g", "train", {"video": "v/a.mp4", "text": "hello"}, 1.5, 2.0),
        Row("b", "g", "train", {"speech": "s/b.wav"}),
    )
    assert manifest.kinds == {"video": "video", "speech": "audio", "text": "text"}
    assert manifest.root == tmp_path
    assert manifest.content(manifest.rows[0], "video") == tmp_path / "v" / "a.mp4"
    assert manifest.content(manifest.rows[0], "text") == "hello"


def test_what_may_be_left_out(tmp_path):
    (tmp_path / "m.csv").write_text("id,video\n7,a.mp4\n")
    assert read_manifest(tmp_path / "m.csv").rows == (Row("7", "7", "train", {"video": "a.mp4"}),)


def test_splits_by_other_names(tmp_path):
    (tmp_path / "m.csv").write_text("id,split,text\na,val,x\nb,dev,x\nc,heads,x\n")
    assert [row.split for row in read_manifest(tmp_path / "m.csv").rows] == ["validation", "validation", "heads"]
    assert split_name("vla") is None


TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=20)
PATHS = st.lists(st.text(string.ascii_letters + "é _-'\",", min_size=1, max_size=6), min_size=1, max_size=3).map(
    "/".join
)
SECONDS = st.none() | st.floats(0, 1e6)


@st.composite
def tables(draw):
    """{modality: kind}, and for each row what a Row takes."""
    kinds = draw(st.dictionaries(st.text("abcxyz", min_size=1, max_size=4), st.sampled_from(KINDS), min_size=1))
    rows = []
    for row_id in draw(st.lists(TEXTS, min_size=1, max_size=5, unique=True)):
        start, length = draw(SECONDS), draw(st.none() | st.floats(0.1, 1e3))
        held = [name for name in kinds if draw(st.integers(0, 3))]
        media = {name: draw(TEXTS if kinds[name] == "text" else PATHS) for name in held}
        end = None if length is None else (start or 0.0) + length
        rows.append((row_id, row_id, draw(st.sampled_from(["heads", "train", "test"])), media, start, end))
    return kinds, rows


@pytest.mark.parametrize("suffix", FORMATS)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(table=tables())
def test_what_is_written_is_read_again(tmp_path, suffix, table):
    saved = Manifest(tuple(Row(*row) for row in table[1]), table[0], tmp_path)
    write_manifest(saved, tmp_path / f"m{suffix}", force=True)
    assert read_manifest(tmp_path / f"m{suffix}") == saved


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_manifest_above_its_files_still_leads_to_them(tmp_path, suffix):
    row = Row("a", "a", "train", {"video": "x/a.mp4", "text": "x/a"})
    manifest = Manifest((row,), {"video": "video", "text": "text"}, tmp_path / "d")
    write_manifest(manifest, tmp_path / f"m{suffix}")
    again = read_manifest(tmp_path / f"m{suffix}")
    assert again.content(again.rows[0], "video") == tmp_path / "d" / "x" / "a.mp4"
    assert again.content(again.rows[0], "text") == "x/a"
    with pytest.raises(InputError, match=r"the media files are in .*save the manifest in this folder"):
        write_manifest(manifest, tmp_path / "other" / f"m{suffix}")


@pytest.mark.parametrize(
    ("row", "names"),
    [
        ({"video": "/etc/passwd"}, "column 'video': cannot use '/etc/passwd', because it is an absolute path"),
        ({"video": "C:\\clip.mp4"}, "is an absolute path"),
        ({"video": "\\\\server\\clip.mp4"}, "is an absolute path"),
        ({"video": "a/../../b.mp4"}, r"contains '\.\.'"),
        ({"video": "a\\..\\b.mp4"}, r"contains '\.\.'"),
        ({"video": "https://example.org/a.mp4"}, "is a URL"),
        ({"video": "file:///etc/passwd"}, "is a URL"),
        ({"video": "a\0.mp4"}, "is not a file name"),
        ({"video": 5}, "column 'video': found 5, expected a text or a path"),
        ({"video": [["a"]]}, "column 'video': found .*expected a text or a path"),
        ({"split": "tset"}, "column 'split': unknown split 'tset'.*did you mean 'test'"),
        ({"split": 3.5}, "column 'split' is 3.5; enter text"),
        ({"id": "a"}, "column 'id': 'a' is also the id of line 1"),
        ({"id": ""}, "column 'id' is missing"),
        ({"group": "a", "split": "test"}, "column 'split': group 'a' has rows in the splits 'train' and 'test'"),
        ({"start": "soon"}, "column 'start': found 'soon', expected a number of seconds"),
        ({"start": True}, "column 'start': found True, expected a number of seconds"),
        ({"start": -1}, r"column 'start': found -1\.0; enter a finite number of seconds, at least 0"),
        ({"end": "nan"}, "column 'end': found nan"),
        ({"end": "1e999"}, "column 'end': found inf"),
        ({"start": 2, "end": 2}, r"column 'end': the end \(2\.0 s\) must be after the start \(2\.0 s\)"),
        ({"end": 0}, r"column 'end': the end \(0\.0 s\) must be after the start"),
    ],
)
def test_a_bad_cell_is_named_with_file_row_and_column(tmp_path, row, names):
    good, bad = ({"id": name, "group": name, "split": "train", "video": f"{name}.mp4"} for name in "ab")
    (tmp_path / "m.jsonl").write_text("\n".join(json.dumps(each) for each in (good, bad | row)))
    with pytest.raises(
        InputError, match=rf"m\.jsonl: line 2, {names}|m\.jsonl: line 2, column '\w+': .*{names}"
    ) as caught:
        read_manifest(tmp_path / "m.jsonl")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("header", "names"),
    [
        ("id,vidoe", "column 'vidoe' is unknown; expected one of id, .*did you mean 'video'"),
        ("id,clip:film", "column 'clip:film'"),
        ("id,split", "no modality column"),
        ("id,video,video:video", "two of the columns video, video:video are for the same modality"),
        ("id,../a:video", "this name is not allowed"),
        ("id,start:video", "modality 'start': this column name has another meaning in a manifest"),
        ("name,video", "the column 'id' is missing"),
    ],
)
def test_bad_columns(tmp_path, header, names):
    (tmp_path / "m.csv").write_text(f"{header}\n{','.join(['train'] * (header.count(',') + 1))}\n")
    with pytest.raises(InputError, match=rf"m\.csv: .*{names}"):
        read_manifest(tmp_path / "m.csv")


def test_texts_may_be_anything(tmp_path):
    texts = ["/etc/passwd", "https://example.org", "a/../b", 'say "x", y\nand z']
    manifest = Manifest(
        tuple(Row(str(k), str(k), "train", {"text": text}) for k, text in enumerate(texts)), {"text": "text"}, tmp_path
    )
    assert [manifest.content(row, "text") for row in manifest.rows] == texts


def test_addresses_only_where_they_are_asked_for(tmp_path):
    (tmp_path / "m.csv").write_text("id,video\na,https://example.org/a.mp4\n")
    manifest = read_manifest(tmp_path / "m.csv", addresses=True)
    assert manifest.content(manifest.rows[0], "video") == "https://example.org/a.mp4"
    (tmp_path / "m.csv").write_text("id,video\na,file:///etc/passwd\n")
    with pytest.raises(InputError, match="is a URL"):
        read_manifest(tmp_path / "m.csv", addresses=True)


def test_links_may_stay_inside_the_root_and_not_lead_out(tmp_path):
    root = tmp_path / "root"
    (root / "sub").mkdir(parents=True)
    (tmp_path / "secret.mp4").touch()
    (root / "inside.mp4").symlink_to(root / "sub" / "real.mp4")
    (root / "outside.mp4").symlink_to(tmp_path / "secret.mp4")
    (root / "door").symlink_to(tmp_path)
    (root / "circle.mp4").symlink_to(root / "circle.mp4")
    names = ("inside.mp4", "outside.mp4", "door/secret.mp4", "circle.mp4")
    rows = [Row(name, name, "train", {"video": name}) for name in names]
    manifest = Manifest(tuple(rows), {"video": "video"}, root)
    assert manifest.content(rows[0], "video") == root / "inside.mp4"
    for row in rows[1:3]:
        with pytest.raises(InputError, match=r"leads out of .* through a symbolic link"):
            manifest.content(row, "video")
    with pytest.raises(InputError, match=r"circle\.mp4 cannot be resolved"):
        manifest.content(rows[3], "video")


def test_what_cannot_be_saved(tmp_path, monkeypatch):
    manifest = Manifest((Row("a", "a", "train", {"video": "\udcff.mp4"}),), {"video": "video"}, tmp_path)
    with pytest.raises(InputError, match=r"bytes that are not UTF-8: .*udcff\.mp4.*; rename this media file"):
        write_manifest(manifest, tmp_path / "m.csv")
    with pytest.raises(InputError, match=r"save the manifest as \.csv, \.jsonl, \.parquet"):
        write_manifest(manifest, tmp_path / "m.txt")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(InputError, match=r"pip install 'omnidistill\[parquet\]'"):
        write_manifest(manifest, tmp_path / "m.parquet")
    assert not list(tmp_path.iterdir())


def test_a_manifest_of_nothing(tmp_path):
    with pytest.raises(InputError, match="no rows"):
        Manifest((), {"video": "video"}, tmp_path)
