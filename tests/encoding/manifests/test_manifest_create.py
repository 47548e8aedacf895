"""Manifests of media that other tools store: shards of .tar files, and Hugging Face datasets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from layout_files import npy, picture, vectors, write_img2dataset, write_tar
from omnidistill.core.errors import InputError
from omnidistill.data.pack import pack
from omnidistill.encoding.manifests.create import create_manifest
from omnidistill.encoding.manifests.manifest import read_manifest
from small_runs import cli


def test_shards_of_img2dataset_become_files_and_a_manifest(tmp_path: Path) -> None:
    for shard, rows in enumerate((range(40), range(40, 60))):
        write_img2dataset(tmp_path / f"shards/{shard:05d}.tar", rows)
    with pytest.raises(
        InputError, match="shards: contains no features; to encode its media, run 'omnidistill manifest'"
    ):
        pack(tmp_path / "shards")
    lines = cli("manifest", tmp_path / "shards", "-o", tmp_path / "items.csv").out
    assert "60 of 60 items can be used" in lines
    manifest = read_manifest(tmp_path / "items.csv")
    assert manifest.kinds == {"image": "image", "text": "text"}
    rows = {row.id: row for row in manifest.rows}
    assert rows["00001/000000041"].media["text"] == "caption 41"
    assert manifest.content(rows["00001/000000041"], "image").read_bytes() == picture(41, "JPEG")  # type: ignore[union-attr]
    assert {row.split for row in manifest.rows} == {"train", "validation", "test"}
    assert "already exists" in cli("manifest", tmp_path / "shards", "-o", tmp_path / "items.csv").err
    (tmp_path / "items.csv").unlink()
    assert "items-media: already exists" in cli("manifest", tmp_path / "shards", "-o", tmp_path / "items.csv").err


def test_an_incomplete_shard_is_named_and_nothing_is_left(tmp_path: Path) -> None:
    path = write_img2dataset(tmp_path / "shards/00000.tar", range(5))
    listing = path.with_suffix(".parquet").read_bytes()
    write_img2dataset(path, range(4))
    path.with_suffix(".parquet").write_bytes(listing)
    match = r"00000.tar: contains 4 items, but 00000.parquet lists 5 downloaded items, and '000000004' is missing"
    with pytest.raises(InputError, match=match):
        create_manifest(tmp_path / "shards", tmp_path / "items.csv")
    assert [each.name for each in tmp_path.iterdir()] == ["shards"]


def shard(tmp_path: Path, members: dict[str, bytes], name: str = "train-0.tar") -> Path:
    return write_tar(tmp_path / "shards" / name, members)


def test_fields_of_json_members_and_splits_of_shard_names(tmp_path: Path) -> None:
    fields = {"captions": ["a dog", "it barks"], "alt": "other", "page": 7}
    shard(tmp_path, {"d/a.png": picture(0), "d/a.json": json.dumps(fields).encode(), "d/a.cls": b"3"})
    shard(tmp_path, {"b.left.png": picture(1), "b.txt": "später\n".encode(), "b.json": b'{"page": 8}'}, "val-0.tar")
    checked = create_manifest(tmp_path / "shards", tmp_path / "m.csv", modalities=["text"], group_column="page")
    assert [(row.id, row.group, row.split, row.media) for row in checked.manifest.rows] == [
        ("train-0/d/a", "7", "train", {"text": "a dog"}),
        ("train-0/d/a#1", "7", "train", {"text": "it barks"}),
        ("val-0/b", "8", "validation", {"text": "später"}),
    ]
    assert "train-0.tar: ignored 1 .cls" in checked.notes
    checked = create_manifest(tmp_path / "shards", tmp_path / "n.csv", modalities={"image": "image", "text": "alt"})
    assert [row.media["text"] for row in checked.manifest.rows] == ["other"]
    for option, match in (
        ({"modalities": ["capt"]}, "no column 'capt' with media or texts .*such columns: captions, alt, image, text"),
        ({"group_column": "pag"}, "no column 'pag', which you chose with group_column; found .*mean 'page'"),
    ):
        with pytest.raises(InputError, match=match):
            create_manifest(tmp_path / "shards", tmp_path / "o.csv", **option)  # type: ignore[arg-type]
    assert not (tmp_path / "o-media").exists()


def test_a_tar_file_in_a_folder_of_media_is_ignored(tmp_path: Path) -> None:
    shard(tmp_path, {"a.txt": b"a"})
    (tmp_path / "shards/b.png").write_bytes(picture(0))
    checked = create_manifest(tmp_path / "shards", modalities=["image"])
    assert [row.id for row in checked.manifest.rows] == ["b"]
    assert "ignored 1 .tar" in checked.notes


def test_pickles_in_shards_are_ignored_with_a_line(tmp_path: Path) -> None:
    bomb = b"cos\nmkdir\n(S'" + str(tmp_path / "exploded").encode() + b"'\ntR."
    ends = ("pyd", "pickle", "pt", "pth")
    members = {"a.jpg": picture(0, "JPEG"), "a.txt": b"a"} | {f"a.{end}": bomb for end in ends}
    checked = create_manifest(shard(tmp_path, members), tmp_path / "shards/m.csv")
    assert {f"train-0.tar: ignored 1 .{end}" for end in ends} <= set(checked.notes)
    assert len(checked.manifest) == 1
    for content in (bomb, npy(np.array([{}], dtype=object), allow_pickle=True), npy(np.ones(3))[:-8], b"\x93NUMPY"):
        path = shard(tmp_path, {"a.x.npy": content, "a.y.npy": npy(np.ones(2))}, "bad.tar")
        with pytest.raises(InputError, match=r"bad\.tar: member 'a\.x\.npy': "):
            pack(path)
    assert not (tmp_path / "exploded").exists()


def test_arrays_in_shards_are_packed(tmp_path: Path) -> None:
    image, text = vectors().values()
    for name, rows in (("train", range(40)), ("validation", range(40, 50)), ("test", range(50, 60))):
        members = {}
        for row in rows:
            members |= {f"{row}.image.npy": npy(image[row]), f"{row}.text.npy": npy(np.stack([text[row], -text[row]]))}
        shard(tmp_path, members, f"{name}.tar")
    data = pack(tmp_path / "shards", standardise=False, centre=False).data
    assert data.split_sizes == {"train": 80, "validation": 20, "test": 20}
    rows = [int(name.rpartition("/")[2].partition("#")[0]) for name in data.ids]
    np.testing.assert_array_equal(data.features["image"], image[rows])
    assert data.groups[data.ids.index("test/50#1")] == "test/50"
    shard(tmp_path, {"60.image.npy": npy(image[0])}, "train.tar")
    with pytest.raises(InputError, match=r"train\.tar: item 'train/60' has no array 'text'; every item needs one"):
        pack(tmp_path / "shards")


def dataset() -> Any:
    import datasets

    datasets.disable_progress_bars()
    features = {"photo": datasets.Image(), "captions": datasets.Sequence(datasets.Value("string"))}
    columns = {
        "photo": [{"bytes": picture(row), "path": f"{row}.png"} for row in range(60)],
        "captions": [[f"first {row}", f"second {row}"] for row in range(60)],
        "album": [row // 3 for row in range(60)],
    }
    return datasets.Dataset.from_dict(columns, datasets.Features({**features, "album": datasets.Value("int64")}))


def test_a_dataset_with_pictures_and_several_captions(tmp_path: Path) -> None:
    given = dataset()
    given.save_to_disk(tmp_path / "saved")
    given.to_parquet(tmp_path / "rows.parquet")
    for number, source in enumerate((given, tmp_path / "saved", tmp_path / "rows.parquet")):
        checked = create_manifest(source, tmp_path / f"{number}.csv", group_column="album")
        manifest = read_manifest(tmp_path / f"{number}.csv")
        assert manifest.kinds == {"image": "image", "text": "text"}
        assert len(manifest) == checked.total == 120
        row = manifest.rows[9]
        assert (row.id, row.group, row.media["text"]) == ("4#1", "1", "second 4")
        assert manifest.content(row, "image").read_bytes() == picture(4)  # type: ignore[union-attr]
        assert len(list((tmp_path / f"{number}-media").rglob("*.png"))) == 60
    with pytest.raises(InputError, match="saved: contains no features; to encode its media, run 'omnidistill"):
        pack(tmp_path / "saved")
    with pytest.raises(InputError, match=r"pass the path of the manifest to write, such as out='items\.csv'"):
        create_manifest(tmp_path / "saved")


def test_paths_in_stored_datasets_are_not_opened(tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_bytes(picture(1))
    table = dataset().select(range(2)).with_format("arrow")[:]
    outside = [{"bytes": None, "path": str(tmp_path / "secret.png")}] * 2
    photo = table.schema.field("photo")
    column = table.schema.get_field_index("photo")
    pq.write_table(table.set_column(column, photo, pa.array(outside, photo.type)), tmp_path / "rows.parquet")
    with pytest.raises(InputError, match=r"row 0, column 'photo': .* the content .*, only its path .*secret\.png'; "):
        create_manifest(tmp_path / "rows.parquet", tmp_path / "m.csv")
    assert not (tmp_path / "m-media").exists()


def test_captions_in_lists_of_a_manifest(tmp_path: Path) -> None:
    rows = [{"id": 1, "text": ["a dog", "it barks"], "image": "1.png"}, {"id": 2, "text": "a cat", "image": "2.png"}]
    (tmp_path / "m.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert [(row.id, row.group, row.media) for row in read_manifest(tmp_path / "m.jsonl").rows] == [
        ("1", "1", {"text": "a dog", "image": "1.png"}),
        ("1#1", "1", {"text": "it barks", "image": "1.png"}),
        ("2", "2", {"text": "a cat", "image": "2.png"}),
    ]
    (tmp_path / "m.jsonl").write_text(json.dumps({"id": 1, "text": ["a"], "image": ["1.png"]}))
    with pytest.raises(InputError, match=r"m\.jsonl: the columns 'text' and 'image' both contain lists; only one"):
        read_manifest(tmp_path / "m.jsonl")


def test_a_table_without_splits_gets_them_in_a_new_table(tmp_path: Path) -> None:
    """Checked only, it is unchanged, and a note says what it lacks."""
    (tmp_path / "texts.csv").write_text("id,text\n" + "".join(f"i{row},text {row}\n" for row in range(60)), "utf-8")
    checked = cli("manifest", tmp_path / "texts.csv").out
    assert "no validation and no test items, but distillation needs them; --output FILE.csv draws them" in checked
    drawn = cli("manifest", tmp_path / "texts.csv", "-o", tmp_path / "drawn.csv").out
    assert "10 % each of the training groups, drawn at random, become validation and test" in drawn
    assert f"next   omnidistill encode {tmp_path / 'drawn.csv'} --encoder minilm-l6 -o SET" in drawn
    assert {row.split for row in read_manifest(tmp_path / "drawn.csv").rows} == {"train", "validation", "test"}


def test_files_of_different_names_form_no_item(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(picture(0))
    (tmp_path / "b.txt").write_text("a square", "utf-8")
    with pytest.raises(InputError, match=r"none of the 2 items has all modalities \(image, text\); .*the columns id"):
        create_manifest(tmp_path)
