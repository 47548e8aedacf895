"""Extract the media of a layout (`data.source_layouts`) to files, and list them in a manifest.

    00000.tar, 00001.tar, ... --> FOLDER/00000/000000000.jpg, FOLDER/00000/000000001.jpg, ... and the manifest

Items are read and written one after the other. Files are numbered, so names in the source do not matter. If a
modality of an item has several texts, each becomes a row of the manifest; these rows share the files and the group.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from omnidistill.core.errors import InputError, nearest
from omnidistill.data.list_cells import element_id
from omnidistill.data.media_kinds import KINDS, Kind
from omnidistill.data.names import SPLITS, check_encodable, check_modality_names
from omnidistill.data.source_layouts import Choice, Item, Layout, Media
from omnidistill.data.splits import draw_missing, split_name
from omnidistill.encoding.manifests.manifest import Manifest, Row
from omnidistill.io.artifacts import making, temp_folder
from omnidistill.io.artifacts.files import cannot_write

_FILES_PER_FOLDER = 1000
_MAGIC = ((b"\xff\xd8\xff", ".jpg"), (b"\x89PNG", ".png"), (b"fLaC", ".flac"), (b"OggS", ".ogg"), (b"ID3", ".mp3"))


@dataclass(frozen=True)
class Extracted:
    """Items that were extracted.

    Attributes:
        rows: rows of the manifest, in the order of the source. Paths are relative to the folder of the files.
        kinds: {modality: kind of its media}, such as "image".
        notes: facts for the user, one per element.
    """

    rows: tuple[Row, ...]
    kinds: dict[str, Kind]
    notes: tuple[str, ...]


def extract_media(layout: Layout, folder: Path, choice: Choice, seed: int = 0) -> tuple[Manifest, tuple[str, ...]]:
    """Write the media of a layout to files in a new folder.

    If reading fails, no folder is left.

    Args:
        layout: the source.
        folder: folder for the files. It becomes the root of the manifest.
        choice: modalities, and the names of the columns with ids, groups and splits.
        seed: seed for random splits. If the source has no validation split, random training groups become the
            validation split. The same applies to the test split.

    Returns:
        The manifest, and notes for the user.

    Raises:
        InputError: the source cannot be read or contains no media, a split is unknown, the folder exists, or it cannot
            be written.
    """
    if os.path.lexists(folder):
        raise InputError(
            f"{folder}: already exists, but a new folder of this name is needed for the media files; move or delete "
            "the existing one"
        )
    with making(folder.parent), temp_folder(folder) as temp:
        temp.mkdir()
        extracted = _extract(layout, temp, choice, seed)
        manifest = Manifest(extracted.rows, extracted.kinds, folder)
        os.rename(temp, folder)
    return manifest, extracted.notes


def _extract(layout: Layout, folder: Path, choice: Choice, seed: int) -> Extracted:
    rows: list[Row] = []
    kinds: dict[str, Kind] = {}
    for number, item in enumerate(layout.items(choice)):
        media: dict[str, str] = {}
        for modality, content in item.contents.items():
            kind: Kind = content.kind if isinstance(content, Media) else "text"
            if kinds.setdefault(modality, kind) != kind:
                raise InputError(
                    f"{layout.where}: modality {modality!r} is {kind} in item {item.id!r}, but {kinds[modality]} in "
                    "earlier items; use a different modality name for each kind"
                )
            if isinstance(content, Media):
                check_modality_names([modality])  # it becomes a part of the name of the file
                media[modality] = _write(folder, number, modality, content)
        rows += _rows(layout.where, item, media)
    if not rows:
        raise InputError(f"{layout.where}: contains no items; check the path or name")
    given = {row.split for row in rows}
    if given > {""}:
        raise InputError(
            f"{layout.where}: some items have a split ({', '.join(sorted(given - {''}))}), but others have none; add "
            "the missing splits, or remove all splits"
        )
    splits, notes = draw_missing([row.split or "train" for row in rows], [row.group for row in rows], seed)
    placed = tuple(Row(row.id, row.group, split, row.media) for row, split in zip(rows, splits, strict=True))
    ordered = {name: kinds[name] for name in sorted(kinds, key=lambda name: KINDS.index(kinds[name]))}
    return Extracted(placed, ordered, (*layout.notes, *notes))


def _rows(where: str, item: Item, media: dict[str, str]) -> list[Row]:
    """Return the rows of an item: one, or one per text if it has several. The split of a row may be empty."""
    split = split_name(item.split.lower()) if item.split else ""
    if split is None:
        raise InputError(
            f"{where}: item {item.id!r} has the unknown split {item.split!r}; known splits: {', '.join(SPLITS)}"
            f"{nearest(str(item.split), SPLITS)}"
        )
    texts = {name: content for name, content in item.contents.items() if isinstance(content, str)}
    lists = {name: content for name, content in item.contents.items() if isinstance(content, list) and content}
    if len(lists) > 1:
        raise InputError(
            f"{where}: item {item.id!r}: modalities {' and '.join(lists)} each contain a list of texts, but only one "
            "modality may contain a list; keep one list and replace the others with single texts, or select only one "
            "of these modalities"
        )
    for text in (*texts.values(), *(text for each in lists.values() for text in each)):
        check_encodable(text, f"{where}: item {item.id!r}")
    versions: Sequence[dict[str, str]] = [{name: text} for name, each in lists.items() for text in each] or [{}]
    group = item.group or item.id
    return [
        Row(element_id(item.id, element), group, split, {**media, **texts, **version})
        for element, version in enumerate(versions)
    ]


def _write(folder: Path, number: int, modality: str, media: Media) -> str:
    """Write a file, and return its path relative to `folder`."""
    path = Path(f"{number // _FILES_PER_FOLDER:05d}", f"{number:09d}.{modality}{media.suffix or _suffix(media.data)}")
    try:
        (folder / path.parent).mkdir(exist_ok=True)
        (folder / path).write_bytes(media.data)
    except OSError as error:
        raise cannot_write(folder / path, error) from error
    return path.as_posix()


def _suffix(data: bytes) -> str:
    """Return the file suffix for data in one of the most common formats, and an empty string for other data."""
    if data[:4] == b"RIFF":
        return {b"WEBP": ".webp", b"WAVE": ".wav"}.get(data[8:12], "")
    return next((suffix for magic, suffix in _MAGIC if data.startswith(magic)), "")
