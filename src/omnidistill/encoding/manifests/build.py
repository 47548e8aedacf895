"""Build a manifest from a folder. Files whose names differ only in the suffix belong to one item.

    FOLDER/clip7.mp4, FOLDER/clip7.txt                 a video and its caption
    FOLDER/videos/clip7.mp4, FOLDER/sounds/clip7.wav   one folder per modality; its name is not part of the id
    FOLDER/train/clip7.mp4, FOLDER/test/clip9.mp4      one folder per split

If no folder is named after a split, a hash of an item's id determines its split. Adding an item therefore does not
change the splits of other items.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from omnidistill.core.errors import InputError, nearest
from omnidistill.data.media_kinds import KIND_OF, KINDS, Kind
from omnidistill.data.names import SPLITS
from omnidistill.data.splits import SHARES, random_split, split_name
from omnidistill.encoding.manifests.manifest import Manifest, Row
from omnidistill.io.input_files import files_below, read_text

_FOLDERS = {*KINDS, *(f"{kind}s" for kind in KINDS), "sound", "sounds", "picture", "pictures", "caption", "captions"}


def build_manifest(folder: Path, modalities: Sequence[str] = (), seed: int = 0) -> tuple[Manifest, tuple[str, ...]]:
    """Return a manifest of the media files in a folder and its subfolders, and notes for the user.

    If an item has no sound file, the sound of its video is used.

    Args:
        folder: root of the manifest.
        modalities: which of video, audio, image and text to use; empty: all that the folder contains.
        seed: seed for random splits (80 % train, 10 % validation, 10 % test), used if no folders define splits.

    Raises:
        InputError: the folder cannot be read or contains no item, an item has two files of the same kind, a caption is
            not UTF-8, or some items but not all are in folders named after a split.
    """
    for name in modalities:
        if name not in KINDS:
            raise InputError(f"modality {name!r} does not exist; choose from {', '.join(KINDS)}{nearest(name, KINDS)}")
    items, ignored = _items(folder)
    used = [kind for kind in KINDS if kind in modalities] or _kinds_of(items.values())
    has_splits = any(item.split for item in items.values())
    rows = []
    for key, item in items.items():
        if has_splits and not item.split:
            raise InputError(
                f"{folder}: some items are in folders named after a split ({', '.join(SPLITS)}), but item {key} is "
                "not; move it into such a folder"
            )
        media: dict[str, str] = {kind: cell for kind in used if (cell := item.cell(folder, kind))}
        if media:
            rows.append(Row(key, key, item.split or random_split(key, seed), media))
    if not rows:
        raise InputError(
            f"{folder}: contains no files for {', '.join(used or KINDS)}; check the path and the suffixes of the "
            "files, such as .mp4"
        )
    notes = [f"ignored {count:,} {suffix or 'files without a suffix'}" for suffix, count in sorted(ignored.items())]
    if not has_splits:
        shares = ", ".join(f"{share:.0%} {split}" for split, share in SHARES.items())
        notes.append(f"no folders define splits; the splits are random with seed {seed}: {shares}")
    return Manifest(tuple(rows), {kind: kind for kind in used}, folder), tuple(notes)


@dataclass
class _Item:
    """The media files of one item.

    Attributes:
        split: split given by a folder in the item's path, such as "train"; empty if there is no such folder.
        files: {kind of media: path relative to the root}.
    """

    split: str = ""
    files: dict[Kind, PurePosixPath] = field(default_factory=dict)

    def cell(self, folder: Path, kind: Kind) -> str:
        """Return a cell of the manifest: the caption for kind "text", else the path; "" if the item lacks this kind.

        For kind "audio", the video replaces a missing sound file.
        """
        path = self.files.get(kind) or (self.files.get("video") if kind == "audio" else None)
        if path is None:
            return ""
        return _caption(folder / path) if kind == "text" else str(path)


def _items(folder: Path) -> tuple[dict[str, _Item], Counter[str]]:
    """Return {id: item} sorted by id, and the number of ignored files per suffix."""
    items: dict[str, _Item] = {}
    ignored: Counter[str] = Counter()
    for path in files_below(folder):
        kind = KIND_OF.get(path.suffix.lower())
        if kind is None:
            ignored[path.suffix] += 1
            continue
        folders = [part for part in path.parts[:-1] if part.lower() not in _FOLDERS]
        item = items.setdefault("/".join([*folders, path.stem]), _Item())
        item.split = next((split for part in folders if (split := split_name(part.lower()))), "")
        if kind in item.files:
            raise InputError(
                f"{folder}: {item.files[kind]} and {path} are both the {kind} of the same item; remove one of them"
            )
        item.files[kind] = path
    return dict(sorted(items.items())), ignored


def _kinds_of(items: Iterable[_Item]) -> list[Kind]:
    kinds = {kind for item in items for kind in item.files}
    return [kind for kind in KINDS if kind in kinds or (kind == "audio" and "video" in kinds)]


def _caption(path: Path) -> str:
    """Read a caption from a file, and return it as one line."""
    return " ".join(read_text(path).split())
