"""Two repairs for identical rows: drop rows that leak between splits, and merge groups that share identical rows.

Neither reads the features: codes show which rows are identical in a modality (see `data.duplicates`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

import torch

from omnidistill.core.arguments import argument
from omnidistill.core.errors import InputError, nearest
from omnidistill.core.json_value import Json
from omnidistill.data.duplicates import SCORED, CodedRows, earlier_splits
from omnidistill.data.raw_rows import RawRows
from omnidistill.data.row_checks import check_groups, check_ids


@dataclass(frozen=True)
class DroppedRows:
    """Rows of one split that were dropped.

    Attributes:
        split: the split that lost rows.
        identical_to: `test` or `validation`, the split that contains the identical rows.
        rows: number of dropped rows.
        modalities: {modality: number of dropped rows that are identical in this modality}, omitting zeros.
    """

    split: str
    identical_to: str
    rows: int
    modalities: dict[str, int]

    def counts(self) -> str:
        """Return the number of dropped rows per modality as text, such as "image 12, text 3"."""
        return ", ".join(f"{name} {count:,}" for name, count in self.modalities.items())


@dataclass(frozen=True)
class MergedGroups:
    """Groups of one split that were merged.

    Attributes:
        split: name of the split.
        before: number of groups that were merged.
        after: number of groups that they form after the merge.
    """

    split: str
    before: int
    after: int


@dataclass(frozen=True, eq=False)
class Repaired:
    """The result of `repair`.

    Attributes:
        raw: all rows of the source, including the dropped rows. Only the remaining rows have merged groups; dropped
            rows keep their old groups. The provenance records the repairs.
        rows: the remaining rows, without their features.
        dropped: how many rows were dropped from each split, and which split contains the identical rows.
        merged: how many groups were merged in each split.
    """

    raw: RawRows
    rows: CodedRows
    dropped: tuple[DroppedRows, ...]
    merged: tuple[MergedGroups, ...]


def repair(
    raw: RawRows, rows: CodedRows, drop_leaks: bool | Sequence[str], merge_duplicates: bool | Sequence[str]
) -> Repaired:
    """Apply the requested repairs: first drop rows that leak, then merge groups that share identical rows.

    Args:
        raw: the rows.
        rows: the same rows without their features, with codes that show which rows are identical.
        drop_leaks, merge_duplicates: which repairs to apply, and to which modalities; see `data.pack.pack`.

    Raises:
        InputError: a modality is unknown, a split would be empty, ids repeat, or a group is in several splits.
    """
    dropping = _modalities("drop_leaks", drop_leaks, raw)
    merging = _modalities("merge_duplicates", merge_duplicates, raw)
    dropped, merged = tuple[DroppedRows, ...](), tuple[MergedGroups, ...]()
    done: dict[str, Json] = {}
    if dropping or merging:  # a repair must not hide an invalid table
        check_ids(raw.ids)
        check_groups(raw.groups, raw.splits)
    if dropping:
        rows, dropped = without_leaks(rows, dropping)
        done["drop_leaks"] = {"modalities": [*dropping], "rows": [asdict(each) for each in dropped]}
    if merging:
        rows, merged = with_merged_groups(rows, merging)
        done["merge_duplicates"] = {"modalities": [*merging], "groups": [asdict(each) for each in merged]}
        groups = list(raw.groups)
        for number, group in zip(rows.numbers.tolist(), rows.groups, strict=True):
            groups[number] = group
        raw = replace(raw, groups=tuple(groups))
    return Repaired(replace(raw, provenance={**raw.provenance, **done}), rows, dropped, merged)


def without_leaks(rows: CodedRows, modalities: Sequence[str]) -> tuple[CodedRows, tuple[DroppedRows, ...]]:
    """Drop all leaks: rows of other splits that are identical to a test row or to a validation row.

    First, rows that are identical to test rows are dropped from heads, train and validation. Then rows that are
    identical to the remaining validation rows are dropped from heads and train. The test split is unchanged.

    Args:
        rows: the rows.
        modalities: two rows count as identical if they are equal in at least one of these modalities.

    Returns:
        The rows that remain, and what was dropped.

    Raises:
        InputError: a split would be empty.
    """
    dropped: list[DroppedRows] = []
    for scored in SCORED:
        repeats = {name: rows.repeats(name, scored) for name in modalities}
        leaks = torch.zeros(len(rows.ids), dtype=torch.bool, device="cpu")
        for split in earlier_splits(scored):
            leaks_of_split = torch.stack([*repeats.values()]).any(0) & rows.in_split(split)
            if count := int(leaks_of_split.sum()):
                counts = {name: int((leaks_of_split & repeated).sum()) for name, repeated in repeats.items()}
                nonzero = {name: number for name, number in counts.items() if number}
                dropped.append(DroppedRows(split, scored, count, nonzero))
            leaks |= leaks_of_split
        before, rows = rows, rows.select(~leaks) if leaks.any() else rows
        for split in earlier_splits(scored):
            if split in before.splits and split not in rows.splits:
                raise InputError(_nothing_left(split, dropped))
    return rows, tuple(dropped)


def with_merged_groups(rows: CodedRows, modalities: Sequence[str]) -> tuple[CodedRows, tuple[MergedGroups, ...]]:
    """Merge the groups of a split that share identical rows, directly or through other groups of the split.

    A merged group takes the name of the first group in it. Groups of different splits are never merged.

    Args:
        rows: the rows; each group is in one split.
        modalities: two rows count as identical if they are equal in at least one of these modalities.

    Returns:
        The rows with merged groups, and what was merged.
    """
    forest = _Forest({group: number for number, group in enumerate(dict.fromkeys(rows.groups))})
    for name in modalities:
        codes, first = rows.codes[name], dict[tuple[str, int], str]()
        repeated = (torch.bincount(codes)[codes] > 1).nonzero()[:, 0]
        for row, code in zip(repeated.tolist(), codes[repeated].tolist(), strict=True):
            forest.join(first.setdefault((rows.splits[row], code), rows.groups[row]), rows.groups[row])
    groups = tuple(forest.root(group) for group in rows.groups)
    names: dict[str, dict[str, set[str]]] = {}
    for split, before, after in zip(rows.splits, rows.groups, groups, strict=True):
        names.setdefault(split, {}).setdefault(after, set()).add(before)
    merged = []
    for split, groups_of in names.items():
        sizes = [len(before) for before in groups_of.values() if len(before) > 1]
        if sizes:
            merged.append(MergedGroups(split, sum(sizes), len(sizes)))
    return replace(rows, groups=groups), tuple(merged)


class _Forest:
    """A union-find structure over groups. The root of a tree is the first group in the tree."""

    def __init__(self, order: dict[str, int]) -> None:
        self._order = order
        self._parents: dict[str, str] = {}

    def root(self, group: str) -> str:
        """Return the first of all groups that were merged with this group: the root of its tree.

        The path from the group to the root is shortened, so that later calls are faster.
        """
        while (parent := self._parents.get(group, group)) != group:
            self._parents[group] = self._parents.get(parent, parent)
            group = parent
        return group

    def join(self, one: str, other: str) -> None:
        """Merge two groups and all groups that were merged with them before. All of them get the same root."""
        first, second = sorted((self.root(one), self.root(other)), key=self._order.__getitem__)
        self._parents[second] = first


def _modalities(name: str, choice: bool | Sequence[str], raw: RawRows) -> tuple[str, ...]:
    known = ", ".join(raw.widths)
    if isinstance(choice, bool):
        return tuple(raw.widths) if choice else ()
    if isinstance(choice, str) or not choice:
        raise InputError(
            f"{argument(name)}: found {choice!r}; pass a list with one or more modalities of the dataset ({known})"
        )
    for modality in choice:
        if modality not in raw.widths:
            hint = nearest(modality, raw.widths)
            raise InputError(f"{argument(name)}: the dataset has no modality {modality!r}; choose from {known}{hint}")
    return tuple(dict.fromkeys(choice))


def _nothing_left(split: str, dropped: Sequence[DroppedRows]) -> str:
    reasons = [
        f"{each.rows:,} {'is' if each.rows == 1 else 'are'} identical to {each.identical_to} rows ({each.counts()})"
        for each in dropped
        if each.split == split
    ]
    return (
        f"{argument('drop_leaks')}: no {split} row would remain, because {' and '.join(reasons)}; correct the splits, "
        "or list the modalities whose identical rows are leaks (omit texts that are class labels)"
    )
