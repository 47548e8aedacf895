"""Read pairs of embeddings, and split them into training, validation and test pairs.

The old and the new embeddings are each given as an array, the Path of a .npy file, or the text "SET:MODALITY" for one
modality of a dataset. If one or both come from a dataset, the pairs have the splits of the dataset. Otherwise,
80 % of the groups are drawn at random for training, 10 % for validation and 10 % for the test. If no groups are given,
every row is its own group.

At most `MOST_TRAINING`, `MOST_VALIDATION` and `MOST_TEST` pairs of the three splits are read, so large indexes need
little memory. If a split has more pairs, a random sample of them is read.

Shapes: n pairs, p and q widths of the old and the new embeddings.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from omnidistill.core.arguments import argument
from omnidistill.core.errors import InputError
from omnidistill.core.streams import Streams
from omnidistill.data.datasets import open_reference
from omnidistill.data.embedding_pairs import Pairs
from omnidistill.data.embedding_rows import EmbeddingRows, Embeddings, open_embeddings
from omnidistill.data.featureset import FeatureSet
from omnidistill.io.input_files import open_input, read_text

Side = Embeddings | str
"""One side of the pairs; the module docstring explains it."""

MOST_TRAINING, MOST_VALIDATION, MOST_TEST = 100_000, 2_000, 10_000
SHARES = (0.8, 0.1, 0.1)
"""Shares of training, validation and test groups."""

SPLITS = ("train", "validation", "test")
_FEWEST = {"train": 4, "validation": 2, "test": 2}


@dataclass(frozen=True, eq=False)
class PairedInput:
    """Pairs of embeddings that are read when they are needed, with the rows of each split.

    Attributes:
        old, new: the embeddings; row i of both belongs to the same item.
        rows: {split: indices of its rows}. The indices increase.
        by: how the splits were made: "row" (at random, row by row), "group" (at random, group by group) or "set" (the
            splits of a packed dataset).
    """

    old: EmbeddingRows
    new: EmbeddingRows
    rows: dict[str, Int[Tensor, " _"]]
    by: str

    def read(self, split: str, seed: int) -> Pairs:
        """Return the pairs of a split in float32, in the order of their rows.

        At most `MOST_TRAINING`, `MOST_VALIDATION` or `MOST_TEST` pairs are returned. If the split has more, they are a
        random sample.

        Raises:
            InputError: a number is NaN or Inf.
        """
        rows = self.rows[split]
        most = dict(zip(SPLITS, (MOST_TRAINING, MOST_VALIDATION, MOST_TEST), strict=True))[split]
        if len(rows) > most:
            order = torch.randperm(len(rows), generator=Streams(seed)[f"migration/{split}"], device="cpu")
            rows = rows[order[:most].sort().values]
        return Pairs(self.old.rows(rows), self.new.rows(rows))

    @property
    def widths(self) -> dict[str, int]:
        """Widths of the old and the new embeddings."""
        return {"old": self.old.width, "new": self.new.width}

    @property
    def training_bytes(self) -> int:
        """Size in bytes of all training pairs in float32."""
        return 4 * len(self.rows["train"]) * (self.old.width + self.new.width)


def open_pairs(old: Side, new: Side, groups: Sequence[object] | Path | None = None, seed: int = 0) -> PairedInput:
    """Open the old and the new embeddings, check that they belong together, and split their rows.

    Args:
        old, new: embeddings of the same items, in the same order.
        groups: group of each row, or a file with them (.npy, or text with one group per line). Rows of a group are in
            the same split. Not allowed for packed sets, which have their own groups.
        seed: seed of the splits.

    Raises:
        InputError: an input cannot be read, the inputs have different numbers of rows or different items, or there are
            too few rows.
    """
    sides = [_opened(side, name) for side, name in ((old, "old"), (new, "new"))]
    (old_rows, old_set), (new_rows, new_set) = sides
    if len(old_rows) != len(new_rows):
        raise InputError(
            f"{old_rows.name}: has {len(old_rows)} rows, but {new_rows.name} has {len(new_rows)}; row i of both must "
            "belong to the same item"
        )
    for data in (old_set, new_set):
        if data is not None and groups is not None:
            raise InputError(f"{argument('groups')}: a packed dataset already defines the groups; omit this argument")
    if old_set is not None and new_set is not None and old_set.ids != new_set.ids:
        raise InputError(
            f"{old_rows.name}: its ids differ from those of {new_rows.name}; pack both datasets from the same items in "
            "the same order"
        )
    data = old_set if old_set is not None else new_set
    if data is not None:
        rows = {name: _where([split == name for split in data.splits]) for name in SPLITS}
        by = "set"
    else:
        rows, by = _drawn(len(old_rows), _labels(groups, len(old_rows)), seed)
    for name, fewest in _FEWEST.items():
        if len(rows[name]) < fewest:
            raise InputError(
                f"{old_rows.name}: the split '{name}' got only {len(rows[name])} of the {len(old_rows)} pairs, but "
                f"needs at least {fewest}; pass more pairs"
            )
    return PairedInput(old_rows, new_rows, rows, by)


def _opened(side: Side, name: str) -> tuple[EmbeddingRows, FeatureSet | None]:
    if not isinstance(side, str):
        return open_embeddings(side, name), None
    reference, colon, modality = side.rpartition(":")
    if not colon or not reference or not modality:
        raise InputError(
            f"{name}: found {side!r}; pass an array, the Path of a .npy file, or SET:MODALITY, such as emoji:image"
        )
    data = open_reference(reference)
    if modality not in data.features:
        raise InputError(f"{side}: the dataset has no modality {modality!r}; choose from {', '.join(data.modalities)}")
    return EmbeddingRows(side, data.features[modality].numpy()), data


def _labels(groups: Sequence[object] | Path | None, num_rows: int) -> list[str] | None:
    if groups is None:
        return None
    name = str(groups) if isinstance(groups, Path) else argument("groups")
    try:
        if not isinstance(groups, Path):
            labels = [str(each) for each in groups]
        elif groups.suffix == ".npy":
            with open_input(groups) as file:
                labels = [str(each) for each in np.lib.format.read_array(file, allow_pickle=False).tolist()]
        else:
            labels = read_text(groups).splitlines()
    except InputError:
        raise
    except Exception as error:  # for damaged files, NumPy raises many types of errors
        reason = " ".join(str(error).split())
        raise InputError(
            f"{name}: cannot be read ({reason}); pass a .npy file, or a text file with one group per line"
        ) from error
    if len(labels) != num_rows:
        raise InputError(f"{name}: found {len(labels)} groups for {num_rows} rows; pass one group per row")
    return labels


def _drawn(num_rows: int, labels: list[str] | None, seed: int) -> tuple[dict[str, Int[Tensor, " _"]], str]:
    """Draw the splits at random, and return the indices of the rows of each split.

    Also return what was drawn: "group" if rows with the same label are in the same split, or "row" if `labels` is None
    and every row was drawn separately.
    """
    if labels is None:
        codes, count = torch.arange(num_rows, device="cpu"), num_rows
    else:
        numbers = {label: number for number, label in enumerate(dict.fromkeys(labels))}
        codes, count = torch.tensor([numbers[label] for label in labels], device="cpu"), len(numbers)
    place = torch.empty(count, dtype=torch.int64, device="cpu")
    order = torch.randperm(count, generator=Streams(seed)["migration/splits"], device="cpu")
    held_out = [max(1, round(share * count)) for share in SHARES[1:]]
    bounds = [count - sum(held_out), count - held_out[1], count]
    place[order] = torch.bucketize(torch.arange(count, device="cpu"), torch.tensor(bounds, device="cpu"), right=True)
    of_rows = place[codes]
    rows = {name: (of_rows == number).nonzero().flatten() for number, name in enumerate(SPLITS)}
    return rows, "row" if labels is None else "group"


def _where(flags: Sequence[bool]) -> Int[Tensor, " _"]:
    return torch.tensor(flags, dtype=torch.bool, device="cpu").nonzero().flatten()
