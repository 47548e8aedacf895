"""FeatureSet, the data type of all parts of the library: real features and coresets.

The rows are preprocessed: the recorded steps (`Preprocessing`) are already applied.

Shapes: N rows, M modalities, p_m width of modality m.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import cast

import torch
from jaxtyping import Int
from torch import Tensor

from omnidistill.core.device import device_of, moved
from omnidistill.core.errors import InputError
from omnidistill.core.json_value import Json
from omnidistill.data.names import SPLITS, check_modality_names, check_split_names
from omnidistill.data.prepare import check_finite, fit_preprocessing, prepare_chunks
from omnidistill.data.preprocessing import Preprocessing
from omnidistill.data.raw import RawFeatures
from omnidistill.data.raw_rows import RawRows


@dataclass(frozen=True, eq=False)
class FeatureSet:
    """N paired, preprocessed instances of M >= 2 modalities; validated on construction.

    features: {modality: N x p_m}, float32, finite. ids: one unique name per row. groups: rows of one group are
    positives of each other and must be in the same split. splits: names of `data.names.SPLITS`. pairing: optional
    similarities of rows i and j, N x N in [0, 1]; None: 1 within a group, 0 elsewhere. preprocessing: the steps that
    were applied. provenance: where the rows come from (JSON values).

    Raises:
        InputError: a condition above is violated; the message names modality, row and id.
    """

    features: dict[str, Tensor]
    ids: tuple[str, ...]
    groups: tuple[str, ...]
    splits: tuple[str, ...]
    pairing: Tensor | None
    preprocessing: Preprocessing
    provenance: dict[str, Json]

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
        """Names of the modalities, in the order of `features`."""
        return tuple(self.features)

    @property
    def widths(self) -> dict[str, int]:
        """{modality: p_m}."""
        return {name: x.shape[1] for name, x in self.features.items()}

    @property
    def device(self) -> torch.device:
        """Device of the features."""
        return device_of(self.features)

    @property
    def bytes(self) -> int:
        """Size of the rows in float32: 4 N sum_m p_m bytes."""
        return 4 * len(self) * sum(self.widths.values())

    @property
    def split_sizes(self) -> dict[str, int]:
        """{split: number of rows} of the splits that have rows, in the order of `SPLITS`."""
        return {split: count for split in SPLITS if (count := self.splits.count(split))}

    @cached_property
    def group_codes(self) -> Int[Tensor, " n"]:
        """Group of each row as a code (N, int64, device of the rows), numbered in the order of first appearance."""
        codes = {group: code for code, group in enumerate(dict.fromkeys(self.groups))}
        return torch.tensor([codes[group] for group in self.groups], device=self.device)

    def to(self, device: torch.device | str) -> FeatureSet:
        """Return the set with features and pairing on a device; the set itself if they are there already."""
        features = moved(self.features, device)
        pairing = None if self.pairing is None else self.pairing.to(device)
        if pairing is self.pairing and all(features[name] is x for name, x in self.features.items()):
            return self
        result = _trusted(features, self.ids, self.groups, self.splits, pairing, self.preprocessing, self.provenance)
        vars(result)["fingerprints"] = self.fingerprints  # the rows are the same
        return result

    @cached_property
    def fingerprints(self) -> dict[tuple[str, ...], str]:
        """Cache of `data.fingerprint`, by splits; valid because the rows of a set never change."""
        return {}

    def select(self, rows: Int[Tensor, " k"] | Sequence[int]) -> FeatureSet:
        """Return a copy of these rows, in the given order.

        Args:
            rows: numbers in 0..N - 1, each at most once.

        Raises:
            InputError: there are no rows, or a number is outside the set or repeated.
        """
        index = torch.as_tensor(rows, dtype=torch.int64, device="cpu")
        _check_rows(index, len(self))
        order, index = index.tolist(), index.to(self.device)
        return _trusted(
            {name: x[index] for name, x in self.features.items()},
            tuple(self.ids[row] for row in order),
            tuple(self.groups[row] for row in order),
            tuple(self.splits[row] for row in order),
            None if self.pairing is None else self.pairing[index][:, index],
            self.preprocessing,
            self.provenance,
        )

    def only(self, modalities: Sequence[str]) -> FeatureSet:
        """Return the set with these modalities only, in the order of the set.

        Args:
            modalities: at least two.

        Raises:
            InputError: the set does not have a modality, or there are fewer than two.
        """
        for name in modalities:
            if name not in self.features:
                known = ", ".join(self.features)
                raise InputError(f"modality {name!r}: not in the set; it has {known}")
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
        """Return the rows of one split, in their order.

        The result is a view if the rows of the split are consecutive, as in a packed set, and a copy otherwise.

        Raises:
            InputError: the split has no rows; the message lists the splits of the set.
        """
        count = self.splits.count(name)
        if not count:
            present = ", ".join(f"{split} ({count})" for split, count in self.split_sizes.items())
            raise InputError(f"split {name!r}: no rows; the set has {present}")
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
        """Return the splits that training and model selection may use."""
        heads = self.split("heads") if "heads" in self.splits else None
        return Development(heads, self.split("train"), self.split("validation"))


@dataclass(frozen=True, eq=False)
class Development:
    """The splits for training and model selection. It has no test rows, so none can leak.

    heads: None if the set has no such rows.
    """

    heads: FeatureSet | None
    train: FeatureSet
    validation: FeatureSet

    def to(self, device: torch.device | str) -> Development:
        """Return the splits on a device."""
        heads = None if self.heads is None else self.heads.to(device)
        return Development(heads, self.train.to(device), self.validation.to(device))


def prepare(raw: RawFeatures, standardise: bool = True, centre: bool = True) -> FeatureSet:
    """Return the preprocessed features: each row standardised, then centred by the mean of the `train` rows.

    Raises:
        InputError: a value is NaN or Inf, a row is a zero vector (or constant, when standardising), there are no train
            rows to centre by, or the features are not a valid `FeatureSet`; the message names modality, row and id.
    """
    rows = RawRows.of(raw)
    steps, every_row = fit_preprocessing(rows, standardise, centre), torch.arange(len(raw.ids), device="cpu")
    features = {}
    for name, width in rows.widths.items():
        features[name], begin = torch.empty(len(raw.ids), width, device="cpu"), 0
        for chunk in prepare_chunks(rows, name, steps, every_row):
            features[name][begin : (begin := begin + len(chunk))] = chunk
    return FeatureSet(features, raw.ids, raw.groups, raw.splits, None, steps, dict(raw.provenance))


def _trusted(
    features: dict[str, Tensor],
    ids: tuple[str, ...],
    groups: tuple[str, ...],
    splits: tuple[str, ...],
    pairing: Tensor | None,
    preprocessing: Preprocessing,
    provenance: Mapping[str, Json],
) -> FeatureSet:
    """Build a set from parts of a validated set, without validating them again."""
    result = object.__new__(FeatureSet)
    vars(result).update(
        features=features,
        ids=ids,
        groups=groups,
        splits=splits,
        pairing=pairing,
        preprocessing=preprocessing,
        provenance=provenance,
    )
    return result


def _check_counts(data: FeatureSet) -> None:
    if len(data.features) < 2:
        only = f"{next(iter(data.features))!r}" if data.features else "none"
        raise InputError(f"one modality only: {only}; a paired set needs at least two modalities")
    if not data.ids:
        raise InputError("no rows: a feature set needs at least one")
    counts = {"groups": len(data.groups), "splits": len(data.splits)}
    for name, x in data.features.items():
        if x.ndim != 2 or x.shape[1] == 0:
            raise InputError(
                f"modality {name!r}: shape {tuple(x.shape)}; features must be rows x width, with width at least 1"
            )
        counts[f"modality {name!r}"] = x.shape[0]
        steps = data.preprocessing
        if steps.means and (name not in steps.means or len(steps.means[name]) != x.shape[1]):
            raise InputError(
                f"modality {name!r}: {x.shape[1]} wide, but preprocessing has no mean of that width for it; "
                "prepare the features again"
            )
    for what, count in counts.items():
        if count != len(data.ids):
            raise InputError(
                f"{what}: {count} rows, but there are {len(data.ids)} ids; every part needs one row per id"
            )


def _check_ids(ids: Sequence[str]) -> None:
    if len(set(ids)) == len(ids):
        return
    seen: dict[str, int] = {}
    for row, name in enumerate(ids):
        if (first := seen.setdefault(name, row)) != row:
            raise InputError(f"id {name!r}: rows {first} and {row} both have it; ids must be unique")


def _check_groups(groups: Sequence[str], splits: Sequence[str]) -> None:
    split_of: dict[str, str] = {}
    for row, (group, split) in enumerate(zip(groups, splits, strict=True)):
        if (first := split_of.setdefault(group, split)) != split:
            raise InputError(
                f"group {group!r}: in splits {first!r} and {split!r} (row {row}); rows of one group must share a split"
            )


def _check_pairing(pairing: Tensor, rows: int) -> None:
    if tuple(pairing.shape) != (rows, rows) or not pairing.is_floating_point():
        raise InputError(
            f"pairing: {_type(pairing)} of shape {tuple(pairing.shape)}; "
            f"with {rows} rows it must be a float type of shape ({rows}, {rows})"
        )
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
        raise InputError("rows to select: a row is given twice; ids must be unique")


def _type(x: Tensor) -> str:
    return str(cast(object, x.dtype)).removeprefix("torch.")
