"""What a layout provides: feature rows with a table for `pack`, or media items for `manifest`.

`open_layout` returns the layout of a source. Its methods `features` and `items` read the source:

    Layout --features--> StoredFeatures --pack-----> FeatureSet
    Layout --items-----> Item, ...      --manifest-> media files and their table
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from omnidistill.core.arguments import argument
from omnidistill.core.errors import InputError, nearest
from omnidistill.core.registry import Registry
from omnidistill.data.list_cells import element_id, expand_rows
from omnidistill.data.media_kinds import Kind
from omnidistill.data.parted_rows import PartedRows
from omnidistill.data.table import Table

Source = Any
"""A Path, a name "hub:OWNER/NAME", or an object of another library, such as a `datasets.Dataset`."""


@dataclass(frozen=True)
class Choice:
    """Which parts of the source to use.

    Attributes:
        modalities: {modality: its column, array or file name in the source}; None: what the layout chooses.
        id, group, split: names of the columns with ids, groups and splits. A column with the default name may be
            missing: rows are then numbered, each row is its own group, and splits are drawn at random.
        with_table: whether to read these columns from the source. False if the user passes a separate table.
    """

    modalities: Mapping[str, str] | None = None
    id: str = "id"
    group: str = "group"
    split: str = "split"
    with_table: bool = True

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns with ids, groups and splits to read from the source."""
        return (self.id, self.group, self.split) if self.with_table else ()

    @classmethod
    def of(cls, modalities: Mapping[str, str] | Sequence[str] | None, id: str, group: str, split: str) -> Choice:
        """Create the choice of modalities and columns from the arguments of a public function.

        Args:
            modalities: {modality: name in the source}, or a list of names, each "NAME" or "MODALITY=NAME". If it is
                None or empty, the layout that reads the source chooses the modalities.
            id, group, split: names of the columns with ids, groups and splits.

        Raises:
            InputError: two names are for the same modality.
        """
        if not modalities:
            return cls(None, id, group, split)
        if isinstance(modalities, Mapping):
            return cls(dict(modalities), id, group, split)
        pairs = [(name, column if equals else name) for name, equals, column in (m.partition("=") for m in modalities)]
        chosen = dict(pairs)
        if len(chosen) < len(pairs):
            raise InputError(
                f"{argument('modalities')}: two entries of {list(modalities)} have the same modality; write one of "
                "them as MODALITY=NAME, with another modality"
            )
        return cls(chosen, id, group, split)

    def select(self, where: str, available: Sequence[str], others: Sequence[str], what: str) -> dict[str, str]:
        """Return the chosen modalities as {modality: name of its column or array in the source}.

        If no modalities were chosen, every available name becomes a modality of the same name.

        Args:
            where: the source, for messages.
            available: names that can be chosen.
            others: further names in the source, for messages.
            what: what the available names contain, for messages, such as "lists of numbers".

        Raises:
            InputError: there are no available names, or a chosen name is not available. The message lists the names
                in the source.
        """
        listed = f"such columns: {', '.join(available) or 'none'}; other columns: {', '.join(others) or 'none'}"
        for modality, name in (self.modalities or {}).items():
            if name not in available:
                raise InputError(
                    f"{where}: no column {name!r} with {what} (modality {modality!r}); {listed}; choose with "
                    f"{argument('modalities')} MODALITY=NAME,...{nearest(name, available)}"
                )
        if not available:
            raise InputError(f"{where}: no column with {what}; {listed}")
        return dict(self.modalities) if self.modalities else {name: name for name in available}

    def check_columns(self, where: str, present: Iterable[str]) -> None:
        """Raise InputError if the user named a column for ids, groups or splits that is not `present`."""
        names = list(present)
        for name, default in zip((self.id, self.group, self.split), ("id", "group", "split"), strict=True):
            if name != default and name not in names and self.with_table:
                raise InputError(
                    f"{where}: there is no column {name!r}, which you chose with {argument(f'{default}_column')}; "
                    f"found the columns {', '.join(names) or 'none'}{nearest(name, names)}"
                )


@dataclass(frozen=True, eq=False)
class StoredFeatures:
    """Features and their table as a layout stores them, before ids, groups and splits are checked.

    Attributes:
        where: path of the table, or name of the source that contains it, for error messages.
        rows: {modality: feature rows}. There is one row per item, unless `counts` contains the modality.
        table: the columns with ids, groups and splits, if the source has them, with one value per item.
        files: {name: path} of the files that were read.
        counts: {modality: number of rows of each item}, only for modalities with several rows per item, such as several
            captions.
    """

    where: str
    rows: dict[str, PartedRows]
    table: Table
    files: dict[str, Path]
    counts: dict[str, list[int]] = field(default_factory=dict)

    def expanded(self, choice: Choice) -> StoredFeatures:
        """Return features with one row per item: an item with several captions becomes several items.

        Raises:
            InputError: an item has no rows in a modality, the table does not have one row per item, or two modalities
                in `counts` have different numbers of rows for the same item.
        """
        if not self.counts:
            return self
        (first, counts), *others = self.counts.items()
        for name, other in others:
            if counts != other:
                row = next(row for row, pair in enumerate(zip(counts, other, strict=True)) if len(set(pair)) > 1)
                raise InputError(
                    f"{self.where}: item {row} has {counts[row]} feature rows for modality {first!r}, but {other[row]} "
                    f"for modality {name!r}; both modalities need the same number of rows per item"
                )
        if 0 in counts:
            raise InputError(f"{self.where}: row {counts.index(0)}, {first!r}: the list is empty; remove this row")
        if any(len(values) != len(counts) for values in self.table.values()):
            rows = len(next(iter(self.table.values())))
            raise InputError(
                f"{self.where}: the table has {rows:,} rows, but modality {first!r} has {len(counts):,} items; write "
                "one row per item"
            )
        places = expand_rows(counts)
        order = torch.tensor([row for row, _ in places], device="cpu")
        ids = self.table.get(choice.id) or list(map(str, range(len(counts))))
        table = {name: [values[row] for row, _ in places] for name, values in self.table.items()}
        table.setdefault(choice.group, [ids[row] for row, _ in places])
        table[choice.id] = [element_id(str(ids[row]), element) if element else ids[row] for row, element in places]
        expanded = {name: x if name in self.counts else x.repeated(order) for name, x in self.rows.items()}
        lines = [self.table.lines[row] for row, _ in places] if self.table.lines else ()
        return replace(self, rows=expanded, table=Table(table, lines, self.table.unread), counts={})


@dataclass(frozen=True)
class Media:
    """The content of a media file.

    Attributes:
        kind: video, audio or image.
        data: the bytes of the file.
        suffix: suffix of the file, such as ".jpg"; may be empty.
    """

    kind: Kind
    data: bytes = field(repr=False)
    suffix: str


@dataclass(frozen=True)
class Item:
    """One item of a layout that contains media.

    Attributes:
        id: a name that is unique in the source.
        group: name of the group; None means that the item is a group of its own, named by its id.
        split: the split as the source names it; None if the source does not say.
        contents: {modality: a file, a text, or several texts}.
    """

    id: str
    group: str | None
    split: str | None
    contents: dict[str, Media | str | list[str]]


class Layout(ABC):
    """One way of storing paired data. A subclass defines `matches` and at least one of `features` and `items`.

    Attributes:
        source: what is read.
        notes: facts for the user, one per element. The list is complete when the source has been read.
    """

    def __init__(self, source: Source) -> None:
        self.source: Source = source
        self.notes: list[str] = []

    @classmethod
    @abstractmethod
    def matches(cls, source: Source) -> bool:
        """Return whether this layout can read the source, without reading more than names of files."""

    @property
    def where(self) -> str:
        """The name by which messages call the source."""
        return str(self.source)

    def features(self, choice: Choice) -> StoredFeatures:
        """Return the features in the source and their table.

        Raises:
            InputError: the source is damaged or contains no features.
        """
        raise InputError(f"{self.where}: contains no features; to encode its media, run 'omnidistill manifest' first")

    def items(self, choice: Choice) -> Iterator[Item]:
        """Yield the media items in the source, in order.

        Raises:
            InputError: the source is damaged or contains no media.
        """
        raise InputError(f"{self.where}: contains features and no media; read it with 'omnidistill pack'")


layouts: Registry[type[Layout]] = Registry(
    "layout",
    {
        "embedding-folder": "omnidistill.data.source_layouts.embedding_folder",
        "arrow": "omnidistill.data.source_layouts.arrow_dataset",
        "shards": "omnidistill.data.source_layouts.tar_shards",
    },
    group="omnidistill.layouts",
)
"""Layouts by name, in the order in which `open_layout` tries them."""


def as_source(source: Source) -> Source:
    """Convert a string to a Path, unless it starts with "hub:". Return any other source unchanged."""
    return Path(source) if isinstance(source, str) and not source.startswith("hub:") else source


def open_layout(source: Source) -> Layout | None:
    """Return the first registered layout that matches the source; None if the source is a path that no layout matches.

    Raises:
        InputError: no layout matches, and the source is not a path.
    """
    for name in layouts.names():
        if (layout := layouts.get(name)).matches(source):
            return layout(source)
    if isinstance(source, Path):
        return None
    raise InputError(
        f"source: found a {type(source).__name__}; pass a path, a dataset name that starts with 'hub:', or a "
        "Dataset or DatasetDict of the library 'datasets'; for arrays, call FeatureSet.from_arrays"
    )
