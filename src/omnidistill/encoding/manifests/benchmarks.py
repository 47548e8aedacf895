"""Manifests of the benchmarks, from the files in which these are distributed: their splits, captions and counts.

Annotations and videos may lie anywhere in the folder. Each video is one item: its pictures, its sound and one text.
Videos that are not there (they vanish from the network) are left out and told, or the recipe fails.
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from omnidistill.core.errors import InputError, nearest
from omnidistill.data.table import read_table, text_column
from omnidistill.encoding.manifests.build import SUFFIXES, files_below
from omnidistill.encoding.manifests.manifest import Manifest, Missing, Row
from omnidistill.io.artifacts.files import one_line

MSRVTT = {"train": 9000, "test": 1000}
DIDEMO = {"train": 8395, "validation": 1065, "test": 1004}
VGGSOUND_S = {"train": 10_000, "test": 2000}  # every fifth of train is for validation
_FIFTH = 5


@dataclass(frozen=True)
class Recipe:
    """A manifest by a recipe. missing: the videos that were not found. notes: one fact each."""

    manifest: Manifest
    missing: tuple[str, ...]
    notes: tuple[str, ...]


def make_recipe(name: str, folder: Path, missing: Missing = "drop", seed: int = 0) -> Recipe:
    """The manifest of a known data set (see RECIPES), made of the files in `folder`, which is its root.

    missing: "drop" leaves out videos that are not there, "fail" makes them an error. seed: of what is drawn
    (vggsound-s). Raises InputError for an unknown name, and for annotation files that are not there, there twice,
    damaged, or of other counts than published; and if no video is there.
    """
    if name not in RECIPES:
        raise InputError(f"recipe {name!r}: known are {', '.join(RECIPES)}{nearest(name, RECIPES)}")
    clips, absent, notes = RECIPES[name](_Files(folder), seed)
    if absent and missing == "fail":
        raise InputError(f"{folder}: {len(absent):,} videos are not there, the first is {absent[0]}")
    if not clips:
        raise InputError(f"{folder}: none of {len(absent):,} videos is there, the first is {absent[0]}")
    rows = tuple(
        Row(clip.id, clip.id, clip.split, {"video": path, "audio": path, "text": clip.text}, end=clip.end)
        for clip, path in clips
    )
    return Recipe(Manifest(rows, {"video": "video", "audio": "audio", "text": "text"}, folder), absent, notes)


@dataclass(frozen=True)
class _Clip:
    """A video as annotated. names: what its file may be called, with or without a suffix. end: in seconds."""

    id: str
    split: str
    text: str
    names: tuple[str, ...]
    end: float | None = None


_Found = tuple[list[tuple[_Clip, str]], tuple[str, ...], tuple[str, ...]]  # clips with their paths, missing, notes


class _Files:
    """Every file in a folder and below, found by its name; videos by their name without the suffix as well."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._named: dict[str, list[PurePosixPath]] = defaultdict(list)
        self._stems: dict[str, list[PurePosixPath]] = defaultdict(list)
        for path in files_below(folder):
            self._named[path.name].append(path)
            if path.suffix.lower() in SUFFIXES["video"]:
                self._stems[path.stem].append(path)

    def annotation(self, name: str) -> Path:
        """The one file of that name."""
        found = self._named.get(name, [])
        if len(found) != 1:
            count = "no" if not found else f"{len(found)} times"
            raise InputError(f"{self.folder}: {count} {name}; the recipe reads one, anywhere in the folder")
        return self.folder / found[0]

    def video(self, clip: _Clip) -> str | None:
        """The path of a clip's video, relative to the folder; None if it is not there."""
        for name in clip.names:
            found = self._named.get(name) or self._stems.get(name) or self._stems.get(PurePosixPath(name).stem, [])
            if len(found) > 1:
                raise InputError(f"{self.folder}: {found[0]} and {found[1]} are both video {clip.id!r}; keep one")
            if found:
                return str(found[0])
        return None

    def split(self, clips: list[_Clip]) -> tuple[list[tuple[_Clip, str]], tuple[str, ...]]:
        """The clips whose videos are there, with their paths, and the ids of the others."""
        placed = [(clip, self.video(clip)) for clip in clips]
        return [(clip, path) for clip, path in placed if path], tuple(clip.id for clip, path in placed if not path)


def _msrvtt(files: _Files, seed: int) -> _Found:
    """Source: Xu et al. 2016 (videos, captions), Yu et al. 2018 (test split 1k-A), as packed for CLIP4Clip."""
    train_path, test_path = files.annotation("MSRVTT_train.9k.csv"), files.annotation("MSRVTT_JSFUSION_test.csv")
    train, test = read_table(train_path), read_table(test_path)
    captions: dict[str, tuple[int, str]] = {}
    data = files.annotation("MSRVTT_data.json")
    with _as_distributed(data):
        content = _json(data)
        held_out = {video["video_id"] for video in content["videos"] if video["split"] == "validate"}
        for sentence in content["sentences"]:
            caption = (int(sentence["sen_id"]), str(sentence["caption"]))
            captions[sentence["video_id"]] = min(captions.get(sentence["video_id"], caption), caption)
    test_ids = text_column(test_path, test, "video_id", "it names the test videos")
    sentences = text_column(test_path, test, "sentence", "it is the one caption of a test video")
    train_ids = text_column(train_path, train, "video_id", "it names the training videos")
    _check_counts(files.folder, MSRVTT, {"train": set(train_ids), "test": set(test_ids)})
    with _as_distributed(data):
        clips = [
            _Clip(name, "validation" if name in held_out else "train", captions[name][1], (name,)) for name in train_ids
        ]
    clips += [_Clip(name, "test", text, (name,)) for name, text in zip(test_ids, sentences, strict=True)]
    held = sum(clip.split == "validation" for clip in clips)
    notes = (
        f"{held:,} of the 9,000 training videos, MSR-VTT's own validation split, are for validation: 1k-A has none",
        "a training video has its first caption only; a test video that of the list",
    )
    return *files.split(clips), notes


def _didemo(files: _Files, seed: int) -> _Found:
    """Source: Hendricks et al. 2017. Paragraph retrieval: a video's descriptions, joined in the order of the file."""
    clips: list[_Clip] = []
    videos: dict[str, set[str]] = {}
    for split, name in (("train", "train_data.json"), ("validation", "val_data.json"), ("test", "test_data.json")):
        path = files.annotation(name)
        texts: dict[str, list[str]] = defaultdict(list)
        with _as_distributed(path):
            for moment in _json(path):
                texts[moment["video"]].append(" ".join(moment["description"].split()))
            clips += [_Clip(video, split, " ".join(text), (video,), end=30.0) for video, text in texts.items()]
        videos[split] = set(texts)
    _check_counts(files.folder, DIDEMO, videos)
    notes = ("a video's text is all of its descriptions; its first 30 s count, which is what was described",)
    return *files.split(clips), notes


def _vggsound_s(files: _Files, seed: int) -> _Found:
    """Source: Chen et al. 2020 (clips, labels). Drawn are the first that are there, by the hash of their id."""
    path = files.annotation("vggsound.csv")
    with _as_distributed(path), path.open(encoding="utf-8-sig", newline="") as lines:
        listed = [_vggsound_clip(*row) for row in csv.reader(lines, strict=True) if row]
    ranked = sorted(listed, key=lambda clip: hashlib.sha256(f"{seed}:{clip.id}".encode()).digest())
    clips: list[tuple[_Clip, str]] = []
    absent: list[str] = []
    for split, wanted in VGGSOUND_S.items():
        found: list[tuple[_Clip, str]] = []
        for clip in ranked:
            if clip.split == split and len(found) < wanted:
                video = files.video(clip)
                if video is None:
                    absent.append(clip.id)
                else:
                    found.append((clip, video))
        clips += found
    clips = [
        (clip if clip.split == "test" or rank % _FIFTH else _for_validation(clip), video)
        for rank, (clip, video) in enumerate(clips)
    ]
    notes = (
        f"drawn by seed {seed} from what is there: {len(clips):,} of 8,000 + 2,000 (validation) + 2,000 (test) clips",
        "the text is the label, so texts repeat: by text alone, many items are equally right",
    )
    return clips, tuple(absent), notes


RECIPES: dict[str, Callable[[_Files, int], _Found]] = {
    "msrvtt-1ka": _msrvtt,
    "didemo": _didemo,
    "vggsound-s": _vggsound_s,
}
"""The data sets that are known, and what makes their clips of a folder."""


def _vggsound_clip(video: str, start: str, label: str, split: str) -> _Clip:
    if split not in VGGSOUND_S:
        raise ValueError(f"split {split!r}")
    begin = int(start)
    spans = (f"{begin:06d}", f"{begin}", f"{begin}_{begin + 10}", f"{begin * 1000}_{(begin + 10) * 1000}")
    return _Clip(f"{video}_{begin:06d}", split, label, tuple(f"{video}_{span}" for span in spans))


def _for_validation(clip: _Clip) -> _Clip:
    return _Clip(clip.id, "validation", clip.text, clip.names)


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8-sig"))


@contextmanager
def _as_distributed(path: Path) -> Iterator[None]:
    """Whatever goes wrong in reading an annotation file is one InputError."""
    try:
        yield
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError, csv.Error) as error:
        raise InputError(f"{path}: not as it is distributed ({type(error).__name__}: {one_line(error)})") from error


def _check_counts(folder: Path, published: dict[str, int], found: dict[str, set[str]]) -> None:
    for split, count in published.items():
        if len(found[split]) != count:
            raise InputError(
                f"{folder}: {len(found[split]):,} videos in {split}, {count:,} are published; "
                "is this another version of the annotations?"
            )
