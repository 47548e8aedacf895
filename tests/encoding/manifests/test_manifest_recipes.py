"""The annotation files, as they are distributed, with made-up contents of the published counts."""

import csv
import json
from collections import Counter

import pytest

from omnidistill.core.errors import InputError
from omnidistill.encoding.manifests.benchmarks import build_recipe


def videos(folder, *names):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_bytes(b"film")


def msrvtt(folder, train=9000, validate=range(6513, 7010)):
    (folder / "anno").mkdir(parents=True)
    held_out = set(validate)
    with (folder / "anno" / "MSRVTT_train.9k.csv").open("w") as file:
        file.write("video_id\n" + "".join(f"video{k}\n" for k in range(train)))
    with (folder / "anno" / "MSRVTT_JSFUSION_test.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["key", "vid_key", "video_id", "sentence"])
        rows.writerows((f"ret{k}", f"msr{k}", f"video{k}", f"test, {k}") for k in range(9000, 10000))
    sentences = [(f"video{k}", 20 * k + n) for n in (1, 0) for k in range(10000)]
    content = {
        "videos": [
            {"video_id": f"video{k}", "split": "validate" if k in held_out else "train", "start time": 0.5}
            for k in range(10000)
        ],
        "sentences": [{"caption": f"caption {n}", "video_id": video, "sen_id": n} for video, n in sentences],
    }
    (folder / "anno" / "MSRVTT_data.json").write_text(json.dumps(content))


def test_msrvtt_has_the_1ka_split_with_its_own_validation_videos_held_out(tmp_path):
    msrvtt(tmp_path)
    videos(tmp_path / "videos" / "all", *(f"video{k}.mp4" for k in (0, 8999, 6513, 9000)), "video9999.avi")
    made = build_recipe("msrvtt-1ka", tmp_path)
    rows = {row.id: row for row in made.manifest.rows}
    assert {name: row.split for name, row in rows.items()} == {
        "video0": "train",
        "video6513": "validation",
        "video8999": "train",
        "video9000": "test",
        "video9999": "test",
    }
    assert rows["video8999"].media == {
        "video": "videos/all/video8999.mp4",
        "audio": "videos/all/video8999.mp4",
        "text": "caption 179980",
    }
    assert rows["video9999"].media["text"] == "test, 9999"
    assert len(made.missing) == 9995
    assert any(note.startswith("497 of the 9,000 training videos") for note in made.notes)
    with pytest.raises(InputError, match=r"9,995 videos are missing \(the first is video1\)"):
        build_recipe("msrvtt-1ka", tmp_path, missing="fail")


def didemo(folder, counts=(8395, 1065, 1004)):
    folder.mkdir(exist_ok=True)
    for name, count in zip(("train", "val", "test"), counts, strict=True):
        moments = [
            {"annotation_id": k, "description": f"{part}  of {k}.", "video": f"u{k}@N00_{name}.mov", "times": [[0, 0]]}
            for part in ("first", "then")
            for k in range(count)
        ]
        (folder / f"{name}_data.json").write_text(json.dumps(moments))


def test_didemo_joins_the_descriptions_of_a_video(tmp_path):
    didemo(tmp_path / "data")
    videos(tmp_path / "a", "u0@N00_train.mp4")  # converted
    videos(tmp_path / "b", "u1@N00_val.mov", "u2@N00_test.mov.mp4")  # as named, and with a suffix more
    made = build_recipe("didemo", tmp_path)
    assert {(row.id, row.split, row.media["video"], row.end) for row in made.manifest.rows} == {
        ("u0@N00_train.mov", "train", "a/u0@N00_train.mp4", 30.0),
        ("u1@N00_val.mov", "validation", "b/u1@N00_val.mov", 30.0),
        ("u2@N00_test.mov", "test", "b/u2@N00_test.mov.mp4", 30.0),
    }
    assert made.manifest.rows[0].media["text"] == "first of 0. then of 0."
    assert len(made.missing) == 8395 + 1065 + 1004 - 3


def vggsound(folder, train=60, test=20, here=lambda k: True):
    with (folder / "vggsound.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        for k in range(train + test):
            rows.writerow([f"-id{k:05d}", k, f"label, {k % 7}", "train" if k < train else "test"])
    names = ("-id{0:05d}_{0:06d}.mp4", "-id{0:05d}_{0}.mp4", "-id{0:05d}_{0}_{1}.mkv", "-id{0:05d}_{0}000_{1}000.mp4")
    videos(folder / "video", *(names[k % 4].format(k, k + 10) for k in range(train + test) if here(k)))


def test_vggsound_s_is_drawn_by_a_seed_four_of_five_to_train(tmp_path, monkeypatch):
    from omnidistill.encoding.manifests import benchmarks as recipes

    monkeypatch.setattr(recipes, "VGGSOUND_S", {"train": 40, "test": 10})
    (tmp_path / "whole").mkdir()
    vggsound(tmp_path / "whole")
    made = build_recipe("vggsound-s", tmp_path / "whole")
    splits = {row.id: row.split for row in made.manifest.rows}
    assert Counter(splits.values()) == {"train": 32, "validation": 8, "test": 10}
    assert all((int(name[3:8]) >= 60) == (split == "test") for name, split in splits.items())
    assert all(row.media["text"] == f"label, {int(row.id[3:8]) % 7}" for row in made.manifest.rows)
    assert not made.missing
    assert build_recipe("vggsound-s", tmp_path / "whole").manifest == made.manifest
    assert {row.id for row in build_recipe("vggsound-s", tmp_path / "whole", seed=1).manifest.rows} != splits.keys()

    (tmp_path / "part").mkdir()
    gone = {int(name[3:8]) for name in list(splits)[:3]}
    vggsound(tmp_path / "part", here=lambda k: k not in gone)
    part = build_recipe("vggsound-s", tmp_path / "part")
    assert len(part.manifest) == 50  # others take their place
    assert {int(name[3:8]) for name in part.missing} == gone
    assert len(splits.keys() - {row.id for row in part.manifest.rows}) == 3


def test_the_published_counts_of_vggsound_s():
    from omnidistill.encoding.manifests.benchmarks import VGGSOUND_S

    assert VGGSOUND_S == {"train": 8000 + 2000, "test": 2000}


def test_annotations_that_are_not_there_or_there_twice(tmp_path):
    with pytest.raises(
        InputError, match=r"MSRVTT_train\.9k\.csv is missing; the folder and its subfolders must contain exactly one"
    ):
        build_recipe("msrvtt-1ka", tmp_path)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "vggsound.csv").touch()
    with pytest.raises(InputError, match=r"2 files are named vggsound\.csv"):
        build_recipe("vggsound-s", tmp_path)


def test_other_counts_than_published(tmp_path):
    msrvtt(tmp_path / "m", train=7010)
    with pytest.raises(InputError, match="split 'train' has 7,010 videos, but the published split has 9,000"):
        build_recipe("msrvtt-1ka", tmp_path / "m")
    didemo(tmp_path / "d", counts=(8395, 1065, 1003))
    with pytest.raises(InputError, match="split 'test' has 1,003 videos, but the published split has 1,004"):
        build_recipe("didemo", tmp_path / "d")


@pytest.mark.parametrize(
    ("content", "names"),
    [
        ("[", "does not have the format of the published file"),
        ('{"a": 1}', "does not have the format of the published file"),
        ('[{"video": 3}]', "KeyError: 'description'"),
        ("[" * 100_000, "nested more than 64"),
    ],
)
def test_damaged_annotations(tmp_path, content, names):
    (tmp_path / "train_data.json").write_text(content)
    with pytest.raises(InputError, match=rf"train_data\.json: .*{names}"):
        build_recipe("didemo", tmp_path)


@pytest.mark.parametrize("line", ["a,1,label", "a,one,label,train", "a,1,label,valid"])
def test_damaged_lines(tmp_path, line):
    (tmp_path / "vggsound.csv").write_text(line + "\n")
    with pytest.raises(InputError, match=r"vggsound\.csv: does not have the format of the published file"):
        build_recipe("vggsound-s", tmp_path)


def test_no_video_and_two_of_one(tmp_path):
    didemo(tmp_path)
    with pytest.raises(InputError, match=r"all 10,464 videos are missing \(the first is u0@N00_train\.mov"):
        build_recipe("didemo", tmp_path)
    videos(tmp_path / "a", "u0@N00_train.mp4")
    videos(tmp_path / "b", "u0@N00_train.mp4")
    with pytest.raises(InputError, match=r"a/u0@N00_train\.mp4 and b/.* both match video"):
        build_recipe("didemo", tmp_path)


def test_unknown_recipe(tmp_path):
    with pytest.raises(InputError, match="choose from msrvtt-1ka, didemo, vggsound-s; did you mean 'msrvtt-1ka'"):
        build_recipe("msrvtt", tmp_path)
