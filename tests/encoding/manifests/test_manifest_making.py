from pathlib import Path

import pytest

from omnidistill.core.errors import InputError
from omnidistill.encoding.manifests.build import SHARES, build_manifest
from omnidistill.encoding.manifests.manifest import read_manifest
from omnidistill.encoding.manifests.write_manifest import write_manifest


def laid(folder: Path, *names: str, **texts: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(texts.get(path.stem, path.stem) if path.suffix == ".txt" else "media")
    return folder


def media(folder: Path, *modalities: str):
    return {row.id: row.media for row in build_manifest(folder, modalities)[0].rows}


def test_files_of_one_name_are_one_item(tmp_path):
    laid(tmp_path, "a.mp4", "a.txt", "b.MKV", "b.wav", "b.txt", a="a  dog\nbarks\n", b="\ufeffrain")
    assert media(tmp_path) == {
        "a": {"video": "a.mp4", "audio": "a.mp4", "text": "a dog barks"},
        "b": {"video": "b.MKV", "audio": "b.wav", "text": "rain"},
    }


def test_folders_of_modalities_are_no_part_of_an_item(tmp_path):
    laid(tmp_path, "videos/dogs/a.mp4", "Sounds/dogs/a.wav", "captions/dogs/a.txt", "videos/cats/a.mp4")
    assert media(tmp_path) == {
        "cats/a": {"video": "videos/cats/a.mp4", "audio": "videos/cats/a.mp4"},
        "dogs/a": {"video": "videos/dogs/a.mp4", "audio": "Sounds/dogs/a.wav", "text": "a"},
    }


def test_modalities_that_are_wanted(tmp_path):
    laid(tmp_path, "a.mp4", "a.png", "a.txt")
    assert media(tmp_path, "text", "image") == {"a": {"image": "a.png", "text": "a"}}
    with pytest.raises(InputError, match=r"modality 'vidoe'.*did you mean 'video'"):
        build_manifest(tmp_path, ["vidoe"])


@pytest.mark.parametrize("order", ["{split}/video/{name}.mp4", "video/{split}/{name}.mp4"])
def test_folders_of_splits(tmp_path, order):
    places = [("train", "x"), ("val", "x"), ("Test", "y")]
    laid(tmp_path, *(order.format(split=split, name=name) for split, name in places))
    manifest, notes = build_manifest(tmp_path)
    assert {row.id: row.split for row in manifest.rows} == {"train/x": "train", "val/x": "validation", "Test/y": "test"}
    assert not notes
    laid(tmp_path, "stray.mp4")
    with pytest.raises(InputError, match=r"folders named after a split \(.*\), but item stray is not"):
        build_manifest(tmp_path)


def test_without_folders_of_splits_items_are_dealt_out_and_stay_where_they_are(tmp_path):
    few = laid(tmp_path / "few", *(f"{k}.txt" for k in range(0, 400, 2)))
    many = laid(tmp_path / "many", *(f"{k}.txt" for k in range(400)))
    manifest, notes = build_manifest(many)
    splits = {row.id: row.split for row in manifest.rows}
    for split, share in SHARES.items():
        assert abs(list(splits.values()).count(split) / 400 - share) < 0.06
    assert {row.id: row.split for row in build_manifest(few)[0].rows}.items() <= splits.items()
    assert any("the splits are random with seed 0: 80% train" in note for note in notes)
    assert {row.id: row.split for row in build_manifest(many, seed=1)[0].rows} != splits


def test_what_is_no_medium_is_told_and_what_is_hidden_is_not_read(tmp_path):
    laid(tmp_path, "a.mp4", "list.csv", "b.csv", "README", ".cache/c.mp4", ".d.mp4")
    manifest, notes = build_manifest(tmp_path)
    assert [row.id for row in manifest.rows] == ["a"]
    assert notes[:2] == ("ignored 1 files without a suffix", "ignored 2 .csv")


def test_it_can_be_saved_beside_the_files_and_read(tmp_path):
    manifest, _ = build_manifest(laid(tmp_path, "a.mp4", "a.txt"))
    write_manifest(manifest, tmp_path / "m.csv")
    assert read_manifest(tmp_path / "m.csv") == manifest
    assert build_manifest(tmp_path)[0] == manifest


def test_folders_that_make_no_manifest(tmp_path):
    with pytest.raises(InputError, match="absent: cannot be read"):
        build_manifest(tmp_path / "absent")
    with pytest.raises(InputError, match="contains no files for video, audio, image, text"):
        build_manifest(tmp_path)
    laid(tmp_path, "a.mp4", "video/a.mkv")
    with pytest.raises(InputError, match=r"a\.mp4 and video/a\.mkv are both the video of the same item"):
        build_manifest(tmp_path)


def test_a_caption_in_another_encoding(tmp_path):
    (tmp_path / "a.txt").write_bytes("Straße".encode("latin-1"))
    with pytest.raises(InputError, match=r"a\.txt: not UTF-8"):
        build_manifest(tmp_path)
