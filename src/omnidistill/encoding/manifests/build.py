"""A manifest from a folder: files of one name, but for the suffix, are one item.

    FOLDER/clip7.mp4, FOLDER/clip7.txt                 a video and its caption
    FOLDER/videos/clip7.mp4, FOLDER/sounds/clip7.wav   folders may name a modality; they are no part of the item's id
    FOLDER/train/clip7.mp4, FOLDER/test/clip9.mp4      folders may name a split

Without folders of splits, items are dealt out by the hash of their id: one more item moves none of the others.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from omnidistill.core.errors import InputError, nearest
from omnidistill.data.names import SPLITS
from omnidistill.encoding.manifests.manifest import KINDS, Kind, Manifest, Row, split_name

SUFFIXES: dict[Kind, tuple[str, ...]] = {
    "video": (".mp4", ".mkv", ".webm", ".avi", ".mov", ".m4v", ".mpg", ".mpeg", ".flv", ".wmv", ".ts", ".3gp", ".gif"),
    "audio": (".wav", ".flac", ".mp3", ".m4a", ".aac", ".ogg", ".opus", ".aiff"),
    "image": (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"),
    "text": (".txt",),
}
"""What a file is taken for by its name; checking looks at the content."""

SHARES = {"train": 0.8, "validation": 0.1, "test": 0.1}

_KIND_OF = {suffix: kind for kind, suffixes in SUFFIXES.items() for suffix in suffixes}
_FOLDERS = {*KINDS, *(f"{kind}s" for kind in KINDS), "sound", "sounds", "picture", "pictures", "caption", "captions"}


def make_manifest(folder: Path, modalities: Sequence[str] = (), seed: int = 0) -> tuple[Manifest, tuple[str, ...]]:
    """The manifest of what lies in a folder and below, its root, and a note for each thing worth knowing.

    modalities: which of video, audio, image and text to take; none: all that are found. An item without a sound file
    of its own has the sound of its video. seed: of dealing out 80 % train, 10 % validation and 10 % test.

    Raises InputError for a folder that cannot be read or holds no item, two files of a kind for one item, a caption
    that is not UTF-8, and where only some items are in folders of splits.
    """
    for name in modalities:
        if name not in KINDS:
            raise InputError(f"modality {name!r}: known are {', '.join(KINDS)}{nearest(name, KINDS)}")
    items, ignored = _items(folder)
    wanted = [kind for kind in KINDS if kind in modalities] or _found(items.values())
    has_splits = any(item.split for item in items.values())
    rows = []
    for key, item in items.items():
        if has_splits and not item.split:
            raise InputError(f"{folder}: {key} is in no folder of a split ({', '.join(SPLITS)}), and others are")
        media: dict[str, str] = {kind: cell for kind in wanted if (cell := item.cell(folder, kind))}
        if media:
            rows.append(Row(key, key, item.split or _dealt(key, seed), media))
    if not rows:
        raise InputError(f"{folder}: no {', '.join(wanted or KINDS)} files; files are known by suffixes such as .mp4")
    notes = [f"ignored {count:,} {suffix or 'files without a suffix'}" for suffix, count in sorted(ignored.items())]
    if not has_splits:
        shares = ", ".join(f"{share:.0%} {split}" for split, share in SHARES.items())
        notes.append(f"no folders of splits: dealt out by seed {seed}, {shares}")
    return Manifest(tuple(rows), {kind: kind for kind in wanted}, folder), tuple(notes)


@dataclass
class _Item:
    """The files of one item, {kind: path relative to the folder}, and the split that its folders name."""

    split: str = ""
    files: dict[Kind, PurePosixPath] = field(default_factory=dict)

    def cell(self, folder: Path, kind: Kind) -> str:
        """What stands in the table: a path, or the text of the caption; empty for what there is not."""
        path = self.files.get(kind) or (self.files.get("video") if kind == "audio" else None)
        if path is None:
            return ""
        return _caption(folder / path) if kind == "text" else str(path)


def _items(folder: Path) -> tuple[dict[str, _Item], Counter[str]]:
    """{id: item} in the order of ids, and how many files of which suffix were no part of one."""
    items: dict[str, _Item] = {}
    ignored: Counter[str] = Counter()
    for path in files_below(folder):
        kind = _KIND_OF.get(path.suffix.lower())
        if kind is None:
            ignored[path.suffix] += 1
            continue
        folders = [part for part in path.parts[:-1] if part.lower() not in _FOLDERS]
        item = items.setdefault("/".join([*folders, path.stem]), _Item())
        item.split = next((split for part in folders if (split := split_name(part.lower()))), "")
        if kind in item.files:
            raise InputError(f"{folder}: {item.files[kind]} and {path} are both the {kind} of one item; keep one")
        item.files[kind] = path
    return dict(sorted(items.items())), ignored


def files_below(folder: Path) -> Iterator[PurePosixPath]:
    """Every file in a folder and below, relative to it, sorted; what begins with a dot is left out."""

    def fail(error: OSError) -> None:
        raise InputError(f"{error.filename}: cannot be read ({error.strerror})") from error

    for place, folders, names in os.walk(folder, onerror=fail):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if not name.startswith("."):
                yield PurePosixPath(Path(place, name).relative_to(folder))


def _found(items: Iterable[_Item]) -> list[Kind]:
    kinds = {kind for item in items for kind in item.files}
    return [kind for kind in KINDS if kind in kinds or (kind == "audio" and "video" in kinds)]


def _caption(path: Path) -> str:
    """The text of a file on one line."""
    try:
        return " ".join(path.read_text(encoding="utf-8-sig").split())
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: a caption that is not UTF-8 ({error.reason}); save it as UTF-8") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error


def _dealt(key: str, seed: int) -> str:
    """A split for an item: its hash, as a number in [0, 1), against the cumulated shares."""
    digest = hashlib.sha256(f"{seed}:{key}".encode(errors="surrogateescape")).digest()
    left = int.from_bytes(digest[:6]) / 2**48
    for split, share in SHARES.items():
        left -= share
        if left < 0:
            return split
    return split
