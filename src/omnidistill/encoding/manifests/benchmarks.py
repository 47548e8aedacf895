"""Manifests for benchmarks, built from their original annotation files, with the published splits.

Annotations and videos may be in any subfolders. Each video is one item, which consists of its frames, its sound and one
text. Some videos are no longer available online. The argument `missing` of `build_recipe` selects what happens to
missing videos: they are dropped and reported ("drop"), or InputError is raised ("fail").
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from omnidistill.core.arguments import argument
from omnidistill.core.errors import InputError, nearest
from omnidistill.data.media_kinds import SUFFIXES
from omnidistill.data.table import read_table, text_column
from omnidistill.encoding.manifests.manifest import Manifest, Missing, Row
from omnidistill.io.input_files import files_below, one_line, parse_json, read_text

MSRVTT = {"train": 9000, "test": 1000}
DIDEMO = {"train": 8395, "validation": 1065, "test": 1004}
VGGSOUND_S = {"train": 10_000, "test": 2000}  # every fifth training clip becomes a validation clip
_FIFTH = 5


@dataclass(frozen=True)
class Recipe:
    """Result of `build_recipe`.

    Attributes:
        manifest: the manifest of the benchmark.
        missing: ids of the missing videos.
        notes: facts about the manifest that the user should know, one line each.
    """

    manifest: Manifest
    missing: tuple[str, ...]
    notes: tuple[str, ...]


def build_recipe(name: str, folder: Path, missing: Missing = "drop", seed: int = 0) -> Recipe:
    """Build the manifest of a benchmark.

    Args:
        name: name of the benchmark: "msrvtt-1ka", "didemo" or "vggsound-s".
        folder: folder with the annotations and videos. Paths in the manifest are relative to this folder.
        missing: how to handle missing videos: "drop" omits them, "fail" raises InputError.
        seed: seed for the random subset of "vggsound-s"; not used for the other benchmarks.

    Raises:
        InputError: the name is unknown; an annotation file is missing, exists twice, is damaged or has the wrong number
            of videos; all videos are missing; or `missing` is "fail" and a video is missing.
    """
    if name not in RECIPES:
        raise InputError(f"benchmark {name!r} is unknown; choose from {', '.join(RECIPES)}{nearest(name, RECIPES)}")
    clips, absent, notes = RECIPES[name](_Files(folder), seed)
    if absent and missing == "fail":
        raise InputError(
            f"{folder}: {len(absent):,} videos are missing (the first is {absent[0]}); add them, or omit them with "
            f"{argument('missing', 'drop')}"
        )
    if not clips:
        raise InputError(
            f"{folder}: all {len(absent):,} videos are missing (the first is {absent[0]}); add them to this folder"
        )
    rows = tuple(
        Row(clip.id, clip.id, clip.split, {"video": path, "audio": path, "text": clip.text}, end=clip.end)
        for clip, path in clips
    )
    return Recipe(Manifest(rows, {"video": "video", "audio": "audio", "text": "text"}, folder), absent, notes)


@dataclass(frozen=True)
class _Clip:
    """An annotated video.

    Attributes:
        id: id of the item in the manifest.
        split: train, validation or test.
        text: caption or label.
        names: possible names of the video file, with or without suffix.
        end: end of the clip, in seconds from the start of the video; None means the end of the file.
    """

    id: str
    split: str
    text: str
    names: tuple[str, ...]
    end: float | None = None


_Matches = tuple[list[tuple[_Clip, str]], tuple[str, ...], tuple[str, ...]]  # clips with their paths, missing, notes


class _Files:
    """Index of all files in a folder and its subfolders, by name. The name of a video may be given without suffix."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._named: dict[str, list[PurePosixPath]] = defaultdict(list)
        self._stems: dict[str, list[PurePosixPath]] = defaultdict(list)
        for path in files_below(folder):
            self._named[path.name].append(path)
            if path.suffix.lower() in SUFFIXES["video"]:
                self._stems[path.stem].append(path)

    def annotation(self, name: str) -> Path:
        """Return the path of the annotation file with this name. Raise InputError unless there is exactly one."""
        paths = self._named.get(name, [])
        if len(paths) != 1:
            problem = f"{name} is missing" if not paths else f"{len(paths)} files are named {name}"
            raise InputError(
                f"{self.folder}: {problem}; the folder and its subfolders must contain exactly one file of this name"
            )
        return self.folder / paths[0]

    def video(self, clip: _Clip) -> str | None:
        """Return the path of the video of a clip, relative to the folder; None if the video is missing."""
        for name in clip.names:
            paths = self._named.get(name) or self._stems.get(name) or self._stems.get(PurePosixPath(name).stem, [])
            if len(paths) > 1:
                raise InputError(
                    f"{self.folder}: {paths[0]} and {paths[1]} both match video {clip.id!r}; remove one of them"
                )
            if paths:
                return str(paths[0])
        return None

    def split(self, clips: list[_Clip]) -> tuple[list[tuple[_Clip, str]], tuple[str, ...]]:
        """Return the clips whose video exists, each with its path, and the ids of the clips without a video."""
        paths = [(clip, self.video(clip)) for clip in clips]
        return [(clip, path) for clip, path in paths if path], tuple(clip.id for clip, path in paths if not path)


def _msrvtt(files: _Files, seed: int) -> _Matches:
    """Return the clips of MSR-VTT (Xu et al. 2016) in split 1k-A (Yu et al. 2018), from the lists of CLIP4Clip."""
    train_path, test_path = files.annotation("MSRVTT_train.9k.csv"), files.annotation("MSRVTT_JSFUSION_test.csv")
    train, test = read_table(train_path), read_table(test_path)
    captions: dict[str, tuple[int, str]] = {}
    data = files.annotation("MSRVTT_data.json")
    with _as_distributed(data):
        content = _json(data)
        validation_ids = {video["video_id"] for video in content["videos"] if video["split"] == "validate"}
        for sentence in content["sentences"]:
            caption = (int(sentence["sen_id"]), str(sentence["caption"]))
            captions[sentence["video_id"]] = min(captions.get(sentence["video_id"], caption), caption)
    test_ids = text_column(test_path, test, "video_id", "it names the test videos")
    sentences = text_column(test_path, test, "sentence", "it is the one caption of a test video")
    train_ids = text_column(train_path, train, "video_id", "it names the training videos")
    _check_counts(files.folder, MSRVTT, {"train": set(train_ids), "test": set(test_ids)})
    with _as_distributed(data):
        clips = [
            _Clip(name, "validation" if name in validation_ids else "train", captions[name][1], (name,))
            for name in train_ids
        ]
    clips += [_Clip(name, "test", text, (name,)) for name, text in zip(test_ids, sentences, strict=True)]
    num_validation = sum(clip.split == "validation" for clip in clips)
    notes = (
        f"{num_validation:,} of the 9,000 training videos form the validation split of MSR-VTT, since 1k-A has none",
        "each training video has only its first caption; each test video has its caption from the 1k-A list",
    )
    return *files.split(clips), notes


def _didemo(files: _Files, seed: int) -> _Matches:
    """Return the clips of DiDeMo (Hendricks et al. 2017). All descriptions of a video are joined to one text."""
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
    notes = (
        "the text of a video consists of all its descriptions; only the first 30 s are used, which were annotated",
    )
    return *files.split(clips), notes


def _vggsound_s(files: _Files, seed: int) -> _Matches:
    """Return a random subset of VGGSound (Chen et al. 2020). It depends only on the seed and the ids of the clips."""
    path = files.annotation("vggsound.csv")
    with _as_distributed(path), io.StringIO(read_text(path), newline="") as lines:
        listed = [_vggsound_clip(*row) for row in csv.reader(lines, strict=True) if row]
    ranked = sorted(listed, key=lambda clip: hashlib.sha256(f"{seed}:{clip.id}".encode()).digest())
    clips: list[tuple[_Clip, str]] = []
    absent: list[str] = []
    for split, size in VGGSOUND_S.items():
        subset: list[tuple[_Clip, str]] = []
        for clip in ranked:
            if clip.split == split and len(subset) < size:
                video = files.video(clip)
                if video is None:
                    absent.append(clip.id)
                else:
                    subset.append((clip, video))
        clips += subset
    clips = [
        (clip if clip.split == "test" or rank % _FIFTH else _for_validation(clip), video)
        for rank, (clip, video) in enumerate(clips)
    ]
    notes = (
        f"random subset, seed {seed}: {len(clips):,} of 8,000 (train) + 2,000 (validation) + 2,000 (test) clips",
        "the text of a clip is its label, so many clips have the same text, which matches all of them equally well",
    )
    return clips, tuple(absent), notes


RECIPES: dict[str, Callable[[_Files, int], _Matches]] = {
    "msrvtt-1ka": _msrvtt,
    "didemo": _didemo,
    "vggsound-s": _vggsound_s,
}
"""The function that finds the clips of each benchmark, by name of the benchmark."""


def _vggsound_clip(video: str, start: str, label: str, split: str) -> _Clip:
    if split not in VGGSOUND_S:
        raise ValueError(f"split {split!r}")
    begin = int(start)
    spans = (f"{begin:06d}", f"{begin}", f"{begin}_{begin + 10}", f"{begin * 1000}_{(begin + 10) * 1000}")
    return _Clip(f"{video}_{begin:06d}", split, label, tuple(f"{video}_{span}" for span in spans))


def _for_validation(clip: _Clip) -> _Clip:
    return _Clip(clip.id, "validation", clip.text, clip.names)


def _json(path: Path) -> Any:
    return parse_json(read_text(path), finite=False)


@contextmanager
def _as_distributed(path: Path) -> Iterator[None]:
    """Context manager that raises InputError if an annotation file does not have the published format."""
    try:
        yield
    except InputError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, csv.Error) as error:
        raise InputError(
            f"{path}: does not have the format of the published file ({type(error).__name__}: {one_line(error)}); "
            "download it again"
        ) from error


def _check_counts(folder: Path, published: dict[str, int], actual: dict[str, set[str]]) -> None:
    for split, count in published.items():
        if len(actual[split]) != count:
            raise InputError(
                f"{folder}: split {split!r} has {len(actual[split]):,} videos, but the published split has {count:,}; "
                "check the version of the annotations"
            )
