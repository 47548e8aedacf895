import shutil

import pytest
from PIL import Image

from media_files import cut, write_media
from omnidistill.core.errors import InputError
from omnidistill.encoding.manifests.check import check_manifest
from omnidistill.encoding.manifests.manifest import Manifest, Row

KINDS = {"video": "video", "sound": "audio", "text": "text"}


@pytest.fixture
def root(tmp_path):
    write_media(tmp_path / "good.mp4")
    write_media(tmp_path / "silent.mp4", channels=0)
    cut(write_media(tmp_path / "cut.mkv", num_frames=240))
    (tmp_path / "zero.mp4").touch()
    (tmp_path / "text.mp4").write_text("no film" * 1000)
    (tmp_path / "folder.mp4").mkdir()
    return tmp_path


def row(name, split="train", video="good.mp4", sound="good.mp4", text="a text", **times):
    cells = {"video": video, "sound": sound, "text": text}
    return Row(name, name, split, {key: cell for key, cell in cells.items() if cell is not None}, **times)


def checked(root, *rows, kinds=KINDS, **settings):
    return check_manifest(Manifest(rows, kinds, root), **settings)


BAD = {
    "no file": (row("no file", video="absent.mp4"), "video", "no such file"),
    "zero": (row("zero", video="zero.mp4"), "video", "empty"),
    "silent": (row("silent", video="silent.mp4", sound="silent.mp4"), "sound", "no such track"),
    "no film": (row("no film", video="text.mp4"), "video", "unreadable"),
    "folder": (row("folder", video="folder.mp4"), "video", "unreadable"),
    "cut": (row("cut", video="cut.mkv"), "video", "truncated"),
    "none": (row("none", sound=None), "sound", "absent"),
    "blank": (row("blank", text=" \n"), "text", "empty"),
    "late": (row("late", video="silent.mp4", start=3.0), "video", "ends before its start"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_used_is_found_dropped_and_counted(root, name):
    bad, modality, what = BAD[name]
    found = checked(root, row("fine", start=0.5, end=1.5), bad)
    assert (modality, what) in [(problem.modality, problem.what) for problem in found.problems]
    assert {problem.id for problem in found.problems} == {name}
    assert [kept.id for kept in found.manifest.rows] == ["fine"]
    with pytest.raises(InputError, match=r"1 of 2 items cannot be used \(first problem: "):
        checked(root, row("fine"), bad, missing="fail")


def test_a_link_out_of_the_root(root):
    inner = root / "inner"
    inner.mkdir()
    (inner / "link.mp4").symlink_to(root / "good.mp4")
    shutil.copy(root / "good.mp4", inner)
    found = checked(inner, row("fine"), row("link", video="link.mp4"))
    assert [(problem.id, problem.what) for problem in found.problems] == [("link", "outside the root")]


def test_pictures_are_decoded(root):
    Image.effect_noise((200, 200), 50).save(root / "good.jpg")
    shutil.copy(root / "good.jpg", root / "cut.jpg")
    cut(root / "cut.jpg")
    rows = [Row(name, name, "train", {"image": name}) for name in ("good.jpg", "cut.jpg", "good.mp4")]
    found = checked(root, *rows, kinds={"image": "image"})
    assert [(problem.id, problem.what) for problem in found.problems] == [
        ("cut.jpg", "truncated"),
        ("good.mp4", "no such track"),
    ]


def test_the_table_counts_each_modality(root):
    rows = [row("fine"), *(bad for bad, _, _ in BAD.values())]
    table = {line[0]: line[1:] for line in checked(root, *rows).table()}
    assert table[""] == ("video", "sound", "text", "for example")
    assert table["usable"] == ("4", "7", "9", "")
    assert table["no such track"] == ("0", "1", "0", "silent")
    assert table["unreadable"] == ("2", "0", "0", "no film")
    assert "outside the root" not in table


def test_what_is_left_is_told_by_splits(root):
    found = checked(root, row("a"), row("b", split="test", sound=None), row("c", split="test", end=1.0))
    assert found.lines() == ["2 of 3 items can be used: train 1, test 1"]


def test_duplicates_across_splits_are_told_by_their_bytes(root):
    shutil.copy(root / "good.mp4", root / "copy.mp4")
    data = bytearray((root / "good.mp4").read_bytes())
    data[-1] ^= 1
    (root / "other.mp4").write_bytes(bytes(data))  # the same size
    rows = [
        Row(name, name, split, {"video": video, "text": "one label"}, start)
        for name, video, split, start in [
            ("a", "good.mp4", "train", None),
            ("b", "copy.mp4", "train", None),
            ("c", "copy.mp4", "test", None),
            ("d", "other.mp4", "test", None),
            ("e", "good.mp4", "test", 0.5),
        ]
    ]
    found = checked(root, *rows, kinds={"video": "video", "text": "text"})
    assert [(pair.modality, pair.ids, pair.splits) for pair in found.duplicates] == [
        ("video", ("c", "a"), ("test", "train"))
    ]
    assert found.lines()[1] == "WARNING: 1 test items have the same video as train items (data leak): 'c' = 'a'"
    assert len(found.manifest) == 5


def test_nothing_left(root):
    with pytest.raises(InputError, match=r"none of the 1 items can be used .*absent\.mp4: no such file"):
        checked(root, row("a", video="absent.mp4"))
