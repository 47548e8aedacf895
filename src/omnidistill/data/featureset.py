"""FeatureSet, the one currency: real features, a coreset and a distilled set are all one of these.

Rows are prepared: the recorded steps (`Preprocessing`) are already applied. N rows, M modalities, modality m p_m wide.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import cast

import torch
from jaxtyping import Int
from pydantic import JsonValue
from torch import Tensor

from omnidistill.core.errors import InputError
from omnidistill.data.names import SPLITS, check_modality_names, check_split_names
from omnidistill.data.prepare import check_finite, fitted, prepared
from omnidistill.data.preprocessing import Preprocessing
from omnidistill.data.raw import RawFeatures
from omnidistill.data.raw_rows import RawRows


@dataclass(frozen=True, eq=False)
class FeatureSet:
    """N paired instances of M >= 2 modalities, ready for the heads; validated on construction.

    features: {modality: N x p_m}, float32, finite. ids: unique. groups: rows of one group are positives of each other,
    and no group is in two splits. splits: names of `data.names.SPLITS`. pairing: optional similarity of row i and row
    j, N x N in [0, 1]; None means by group. preprocessing: the steps that were applied. provenance: where the rows come
    from (JSON values).

    Raises InputError, naming modality, row and id, for anything else.
    """

    features: dict[str, Tensor]
    ids: tuple[str, ...]
    groups: tuple[str, ...]
    splits: tuple[str, ...]
    pairing: Tensor | None
    preprocessing: Preprocessing
    provenance: dict[str, JsonValue]

    def __post_init__(self) -> None:
        check_modality_names(self.features)
        _check_counts(self)
        _check_ids(self.ids)
        check_split_names(self.splits)
        _check_groups(self.groups, self.splits)
        for name, x in self.features.items():
            if x.dtype != torch.float32:
                raise InputError(f"modality {name!r}: prepared features are float32, found {_type(x)}; use `prepare`")
            check_finite(name, x, self.ids)
        if self.pairing is not None:
            _check_pairing(self.pairing, len(self.ids))

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def modalities(self) -> tuple[str, ...]:
        """The names, in the order of `features`."""
        return tuple(self.features)

    @property
    def widths(self) -> dict[str, int]:
        """{modality: p_m}."""
        return {name: x.shape[1] for name, x in self.features.items()}

    @property
    def bytes(self) -> int:
        """Bytes of the rows in float32: 4 N sum_m p_m."""
        return 4 * len(self) * sum(self.widths.values())

    @property
    def split_sizes(self) -> dict[str, int]:
        """{split: rows} of the splits that have rows, in the order of `SPLITS`."""
        return {split: count for split in SPLITS if (count := self.splits.count(split))}

    @cached_property
    def group_codes(self) -> Int[Tensor, " n"]:
        """One int64 code a row, equal for equal groups, counted from 0 in the order of first appearance."""
        codes = {group: code for code, group in enumerate(dict.fromkeys(self.groups))}
        return torch.tensor([codes[group] for group in self.groups])

    @cached_property
    def fingerprints(self) -> dict[tuple[str, ...], str]:
        """Fingerprints by the splits that they are of, filled by `data.fingerprint`; rows must not be changed."""
        return {}

    def select(self, rows: Int[Tensor, " k"] | Sequence[int]) -> FeatureSet:
        """The set of these rows (0 <= row < N, each at most once), in the order given, copied.

        Raises InputError for no rows, a row outside the set or a row given twice.
        """
        index = torch.as_tensor(rows, dtype=torch.int64, device="cpu")
        _check_rows(index, len(self))
        order = index.tolist()
        return _trusted(
            {name: x[index.to(x.device)] for name, x in self.features.items()},
            tuple(self.ids[row] for row in order),
            tuple(self.groups[row] for row in order),
            tuple(self.splits[row] for row in order),
            None if self.pairing is None else self.pairing[index][:, index],
            self.preprocessing,
            self.provenance,
        )

    def only(self, modalities: Sequence[str]) -> FeatureSet:
        """The same rows in these modalities alone, at least two, in the order of the set.

        Raises InputError for a modality that the set does not have, or fewer than two.
        """
        for name in modalities:
            if name not in self.features:
                known = ", ".join(self.features)
                raise InputError(f"modality {name!r}: the set has none of that name; it has {known}")
        if len(set(modalities)) < 2:
            raise InputError(f"modalities {list(modalities)}: a paired set needs at least two")
        return _trusted(
            {name: x for name, x in self.features.items() if name in modalities},
            self.ids,
            self.groups,
            self.splits,
            self.pairing,
            self.preprocessing.only(modalities),
            self.provenance,
        )

    def split(self, name: str) -> FeatureSet:
        """The rows of one split, in their order; InputError, listing what exists, if it has none.

        Views of this set where the rows of the split lie together, as they do in a packed set; copies otherwise.
        """
        count = self.splits.count(name)
        if not count:
            found = ", ".join(f"{split} ({count})" for split, count in self.split_sizes.items())
            raise InputError(f"split {name!r}: no rows; the set has {found}")
        first = self.splits.index(name)
        rows = slice(first, first + count)
        if self.splits[rows].count(name) < count:
            return self.select([row for row, split in enumerate(self.splits) if split == name])
        return _trusted(
            {modality: x[rows] for modality, x in self.features.items()},
            self.ids[rows],
            self.groups[rows],
            self.splits[rows],
            None if self.pairing is None else self.pairing[rows, rows],
            self.preprocessing,
            self.provenance,
        )

    def development(self) -> Development:
        """The splits that choices may be made on; `heads` is None where the set has no such rows."""
        heads = self.split("heads") if "heads" in self.splits else None
        return Development(heads, self.split("train"), self.split("validation"))


@dataclass(frozen=True, eq=False)
class Development:
    """All that selection and training code is given: no test rows are in it, so none can leak."""

    heads: FeatureSet | None
    train: FeatureSet
    validation: FeatureSet


def prepare(raw: RawFeatures, standardise: bool = True, centre: bool = True) -> FeatureSet:
    """Raw features -> FeatureSet: each row standardised, then centred by the mean of the `train` rows.

    Raises InputError for NaN or Inf, a zero vector (a constant row when standardising), no train rows to centre by, and
    whatever a FeatureSet refuses; modality, row and id are named.
    """
    rows = RawRows.of(raw)
    steps, everything = fitted(rows, standardise, centre), torch.arange(len(raw.ids))
    features = {}
    for name, width in rows.widths.items():
        features[name], begin = torch.empty(len(raw.ids), width), 0
        for part in prepared(rows, name, steps, everything):
            features[name][begin : (begin := begin + len(part))] = part
    return FeatureSet(features, raw.ids, raw.groups, raw.splits, None, steps, dict(raw.provenance))


def _trusted(
    features: dict[str, Tensor],
    ids: tuple[str, ...],
    groups: tuple[str, ...],
    splits: tuple[str, ...],
    pairing: Tensor | None,
    preprocessing: Preprocessing,
    provenance: Mapping[str, JsonValue],
) -> FeatureSet:
    """A set of rows that a validated set already vouches for: no check runs again."""
    made = object.__new__(FeatureSet)
    vars(made).update(
        features=features,
        ids=ids,
        groups=groups,
        splits=splits,
        pairing=pairing,
        preprocessing=preprocessing,
        provenance=provenance,
    )
    return made


def _check_counts(made: FeatureSet) -> None:
    if len(made.features) < 2:
        only = f"{next(iter(made.features))!r}" if made.features else "none"
        raise InputError(f"one modality only: {only}; a paired set needs at least two modalities")
    if not made.ids:
        raise InputError("no rows: a feature set needs at least one")
    counts = {"groups": len(made.groups), "splits": len(made.splits)}
    for name, x in made.features.items():
        if x.ndim != 2 or x.shape[1] == 0:
            raise InputError(f"modality {name!r}: shape {tuple(x.shape)}; features are rows x width, width at least 1")
        counts[f"modality {name!r}"] = x.shape[0]
        steps = made.preprocessing
        if steps.means and (name not in steps.means or len(steps.means[name]) != x.shape[1]):
            raise InputError(
                f"modality {name!r}: {x.shape[1]} wide, but preprocessing has no mean of that width for it"
            )
    for what, count in counts.items():
        if count != len(made.ids):
            raise InputError(
                f"{what}: {count} rows, but there are {len(made.ids)} ids; every part needs one row per id"
            )


def _check_ids(ids: Sequence[str]) -> None:
    if len(set(ids)) == len(ids):
        return
    seen: dict[str, int] = {}
    for row, name in enumerate(ids):
        if (first := seen.setdefault(name, row)) != row:
            raise InputError(f"id {name!r}: rows {first} and {row} both have it; ids must be unique")


def _check_groups(groups: Sequence[str], splits: Sequence[str]) -> None:
    home: dict[str, str] = {}
    for row, (group, split) in enumerate(zip(groups, splits, strict=True)):
        if (first := home.setdefault(group, split)) != split:
            raise InputError(
                f"group {group!r}: in splits {first!r} and {split!r} (row {row}); rows of one group must share a split"
            )


def _check_pairing(pairing: Tensor, rows: int) -> None:
    if tuple(pairing.shape) != (rows, rows) or not pairing.is_floating_point():
        found = f"{_type(pairing)} of shape {tuple(pairing.shape)}"
        raise InputError(f"pairing: {found}; with {rows} rows it must be a float type of shape ({rows}, {rows})")
    low, high = (float(bound) for bound in torch.aminmax(pairing))
    if not 0 <= low <= high <= 1:
        raise InputError(f"pairing: values from {low:g} to {high:g}; similarities must be finite and in [0, 1]")


def _check_rows(index: Tensor, rows: int) -> None:
    if index.ndim != 1 or index.numel() == 0:
        raise InputError(f"rows to select: shape {tuple(index.shape)}; give a list of at least one row number")
    low, high = (int(bound) for bound in torch.aminmax(index))
    if low < 0 or high >= rows:
        raise InputError(f"rows to select: from {low} to {high}, but the set has rows 0 to {rows - 1}")
    if int(torch.bincount(index, minlength=rows).max()) > 1:
        raise InputError("rows to select: a row is given twice; ids must stay unique")


def _type(x: Tensor) -> str:
    return str(cast(object, x.dtype)).removeprefix("torch.")
