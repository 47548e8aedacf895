"""Shards of webdataset and img2dataset: .tar files in which the members of an item share a key.

    00000.tar: 000000012.jpg, 000000012.txt, 000000012.json    a picture, its caption, and further fields
    00000.tar: a.img.npy, a.text.npy                           features: one row, or one row per caption of the item

The key of a member is its name up to the first dot after the last slash. Members of an item follow each other. A shard
is read from start to end, and nothing is unpacked. Pickles (.pyd, .pickle, .pt and others) are never read.

img2dataset writes 00000.parquet next to the shard. It lists the items that were downloaded, so it shows whether the
shard is complete.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch
from torch import Tensor

from omnidistill.core.errors import InputError
from omnidistill.data.arrow_columns import parquet_file
from omnidistill.data.media_kinds import KIND_OF
from omnidistill.data.parted_rows import PartedRows
from omnidistill.data.source_layouts.layout import Choice, Item, Layout, Media, Source, StoredFeatures, layouts
from omnidistill.data.source_layouts.source_names import only_suffixes, split_in_path
from omnidistill.data.sources import read_npy_bytes
from omnidistill.data.table import Table
from omnidistill.io.input_files import files_below, one_line, parse_json
from omnidistill.io.tar_members import tar_members

_BESIDE = (".parquet", ".json", ".md", ".txt", ".csv", ".tsv", ".idx", "")  # files that may be in a folder of shards
_TEXT_FIELDS = ("caption", "captions", "text")


@layouts.register("shards")
class TarShards(Layout):
    """Shards of webdataset and img2dataset: .tar files in which the members of an item share a key."""

    @classmethod
    def matches(cls, source: Source) -> bool:
        """Return whether the source is a .tar file, or a folder of .tar files and files that may accompany them."""
        if not isinstance(source, Path):
            return False
        if source.is_dir():
            return only_suffixes(source, (".tar",), _BESIDE)
        return source.suffix.lower() == ".tar"

    def features(self, choice: Choice) -> StoredFeatures:
        """Return the arrays of the .npy members. Each contains one row, or several rows, such as one per caption.

        Raises:
            InputError: a shard is damaged, or an item lacks an array that the first item has.
        """
        rows: dict[str, list[tuple[str, Tensor]]] = {}
        counts: dict[str, list[int]] = {}
        selected: dict[str, str] = {}
        files: dict[str, Path] = {}
        labels: list[tuple[str, str | None, str | None]] = []
        fields: dict[str, None] = {}
        for shard, path in self._shards():
            files[str(shard)] = path
            arrays: dict[str, list[np.ndarray[Any, np.dtype[Any]]]] = {}
            for sample in self._samples(shard, path):
                if not sample.arrays and not labels:
                    return super().features(choice)
                selected = selected or choice.select(self.where, list(sample.arrays), [], ".npy arrays")
                for modality, name in selected.items():
                    if name not in sample.arrays:
                        raise InputError(
                            f"{path}: item {sample.key!r} has no array {name!r}; every item needs one, so add it or "
                            "remove the item"
                        )
                    array = _rows(f"{path}: item {sample.key!r}, array {name!r}", sample.arrays[name])
                    arrays.setdefault(modality, []).append(array)
                    counts.setdefault(modality, []).append(len(array))
                labels.append(sample.labels(choice))
                fields |= dict.fromkeys(sample.fields)
            for modality, each in arrays.items():
                if len({array.shape[1] for array in each}) > 1:
                    raise InputError(
                        f"{path}: the arrays of {selected[modality]!r} have different widths; encode all items with "
                        "the same model"
                    )
                rows.setdefault(modality, []).append((shard.name, torch.from_numpy(np.concatenate(each))))
        if not labels:
            raise InputError(f"{self.where}: the shards contain no items; check the path")
        choice.check_columns(self.where, fields)
        columns = dict(zip((choice.id, choice.group, choice.split), map(list, zip(*labels, strict=True)), strict=True))
        table = {name: values for name, values in columns.items() if choice.with_table and any(values)}
        several = {modality: each for modality, each in counts.items() if set(each) != {1}}
        parted = {name: PartedRows.of(f"{self.where}, array {selected[name]!r}", x) for name, x in rows.items()}
        return StoredFeatures(self.where, parted, Table(table), files, several)

    def items(self, choice: Choice) -> Iterator[Item]:
        """Yield the items of all shards with their pictures, sounds, videos and texts.

        Raises:
            InputError: a shard is damaged or incomplete, or no item has a chosen modality.
        """
        usable: dict[str, None] = {}
        fields: dict[str, None] = {}
        for shard, path in self._shards():
            for sample in self._samples(shard, path):
                available = {**sample.texts(), **sample.contents()}
                usable |= dict.fromkeys(available)
                fields |= dict.fromkeys(sample.fields)
                contents = sample.contents()
                if choice.modalities:
                    contents = {m: available[name] for m, name in choice.modalities.items() if name in available}
                id, group, split = sample.labels(choice)
                yield Item(id, group, split, contents)
        choice.select(self.where, list(usable), [name for name in fields if name not in usable], "media or texts")
        choice.check_columns(self.where, fields)

    def _shards(self) -> list[tuple[PurePosixPath, Path]]:
        if self.source.is_file():
            return [(PurePosixPath(self.source.name), self.source)]
        return [(path, self.source / path) for path in files_below(self.source) if path.suffix.lower() == ".tar"]

    def _samples(self, shard: PurePosixPath, path: Path) -> Iterator[_Sample]:
        """Yield the items of a shard, and check at its end that it is complete."""
        ignored: Counter[str] = Counter()
        keys = set()
        sample: _Sample | None = None
        for name, data in tar_members(path):
            stem, _, extension = name.name.partition(".")
            key = str(name.parent / stem)
            if stem == "" or extension == "":
                ignored["files without a suffix"] += 1
                continue
            if sample is None or key != sample.name:
                if sample is not None:
                    yield sample
                keys.add(key)
                sample = _Sample(key, f"{shard.with_suffix('')}/{key}", split_in_path(shard))
            sample.add(f"{path}: member {str(name)!r}", extension.lower(), data, ignored)
        if sample is not None:
            yield sample
        self.notes += [f"{shard}: ignored {count:,} {suffix}" for suffix, count in sorted(ignored.items())]
        _check_complete(path, keys)


@dataclass
class _Sample:
    """The members of one item.

    Attributes:
        name: path of the members in the shard, up to the first dot of the file name. All members share it.
        key: path of the shard without .tar, then `name`. It identifies the item among all shards.
        split: the split that the shard is named after.
        media: {modality: file or text}.
        arrays: {name: array}.
        fields: what the .json member contains.
    """

    name: str
    key: str
    split: str | None
    media: dict[str, Media | str | list[str]] = field(default_factory=dict)
    arrays: dict[str, np.ndarray[Any, np.dtype[Any]]] = field(default_factory=dict)
    fields: dict[str, Any] = field(default_factory=dict)

    def add(self, where: str, extension: str, data: bytes, ignored: Counter[str]) -> None:
        """Add the member with this extension, such as "jpg" or "left.jpg"; count it if it is not used."""
        prefix, _, last = extension.rpartition(".")
        kind = KIND_OF.get(f".{last}")
        if last == "npy":
            self.arrays[prefix or "npy"] = read_npy_bytes(where, data)
        elif last == "json":
            self.fields |= _json(where, data)
        elif kind is None:
            ignored[f".{last}"] += 1
        elif (modality := prefix or kind) in self.media:
            raise InputError(f"{where}: the item has two members of the modality {modality!r}; remove one of them")
        else:
            self.media[modality] = _text(where, data) if kind == "text" else Media(kind, data, f".{last}")

    def texts(self) -> dict[str, str | list[str]]:
        """Return the fields of the .json member that are texts or lists of texts."""
        return {name: value for name, value in self.fields.items() if _is_text(value)}

    def contents(self) -> dict[str, Media | str | list[str]]:
        """Return the media, and the caption in the .json member if there is no .txt member."""
        caption = next((self.fields[name] for name in _TEXT_FIELDS if _is_text(self.fields.get(name))), None)
        return self.media if "text" in self.media or caption is None else {**self.media, "text": caption}

    def labels(self, choice: Choice) -> tuple[str, str | None, str | None]:
        """Return the id, group and split of the item, which are fields of its .json member.

        Without these fields, the id is `key`, the group is None, and the split is the split of the shard.
        """
        id, group, split = (str(self.fields[name]) if name in self.fields else None
                            for name in (choice.id, choice.group, choice.split))  # fmt: skip
        return id or self.key, group, split or self.split


def _is_text(value: object) -> bool:
    return isinstance(value, str) or (isinstance(value, list) and all(isinstance(each, str) for each in value))


def _json(where: str, data: bytes) -> dict[str, Any]:
    try:
        value = parse_json(data.decode(), finite=False)
    except ValueError as error:
        raise InputError(f"{where}: not valid JSON ({one_line(error)}); write the shard again") from error
    if not isinstance(value, dict):
        raise InputError(f"{where}: expected a JSON object, found a {type(value).__name__}; write the shard again")
    return value


def _text(where: str, data: bytes) -> str:
    try:
        return " ".join(data.decode("utf-8-sig").split())
    except UnicodeDecodeError as error:
        raise InputError(f"{where}: not UTF-8 ({one_line(error)}); write the text as UTF-8") from error


def _rows(where: str, array: np.ndarray[Any, np.dtype[Any]]) -> np.ndarray[Any, np.dtype[Any]]:
    if array.ndim not in (1, 2) or 0 in array.shape:
        raise InputError(
            f"{where}: shape is {array.shape}; write one row as (width,), or one row per caption as (captions, width)"
        )
    return array.reshape(-1, array.shape[-1])


def _check_complete(path: Path, keys: set[str]) -> None:
    """Check that a shard contains all downloaded items. The Parquet file of img2dataset next to it lists them."""
    listing = path.with_suffix(".parquet")
    if not listing.is_file():
        return
    with parquet_file(listing) as file:
        if not {"key", "status"} <= set(file.schema_arrow.names):
            return
        columns = file.read(columns=["key", "status"]).to_pydict()
    listed = [str(key) for key, status in zip(columns["key"], columns["status"], strict=True) if status == "success"]
    if missing := [key for key in listed if key not in keys]:
        raise InputError(
            f"{path}: contains {len(keys):,} items, but {listing.name} lists {len(listed):,} downloaded items, and "
            f"{missing[0]!r} is missing; the shard is incomplete, so download it again, or delete {listing.name}"
        )
