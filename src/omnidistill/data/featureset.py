"""FeatureSet, the data type that all parts of the library use for real features and for coresets.

The rows are already preprocessed; `Preprocessing` records the steps that were applied.

Shapes: N is the number of rows, M the number of modalities, and p_m the width of modality m.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property

import torch
from jaxtyping import Int
from torch import Tensor

from omnidistill.core.device import device_of, moved
from omnidistill.core.errors import InputError
from omnidistill.core.html_table import html_table
from omnidistill.core.json_value import Json
from omnidistill.data.arrays import Array, raw_from_arrays
from omnidistill.data.distinct_rows import distinct_rows
from omnidistill.data.names import SPLITS
from omnidistill.data.prepare import fit_preprocessing, prepare_chunks
from omnidistill.data.preprocessing import Preprocessing
from omnidistill.data.raw import RawFeatures
from omnidistill.data.raw_rows import RawRows
from omnidistill.data.row_checks import check_parts, check_rows, check_selected_modalities


@dataclass(frozen=True, eq=False)
class FeatureSet:
    """N paired, preprocessed instances with M >= 2 modalities. They are validated on construction.

    Attributes:
        features: {modality: N x width}, float32 and finite.
        ids: one unique name per row.
        groups: group of each row. Rows in the same group are positives of each other and must be in the same split.
        splits: split of each row, one of `data.names.SPLITS`.
        preprocessing: the preprocessing steps that were applied.
        provenance: where the rows come from, as JSON values.
        pairing: N x N matrix with the similarity of every two rows, in [0, 1]. None means that two rows have the
            similarity 1 if they are in the same group, and 0 otherwise.
        location: folder or dataset name from which `data.datasets.load` read the set. None means that the set exists
            only in memory.

    Raises:
        InputError: an attribute does not satisfy its description. The message names the row, if there is a single one.
    """

    features: dict[str, Tensor]
    ids: tuple[str, ...]
    groups: tuple[str, ...]
    splits: tuple[str, ...]
    pairing: Tensor | None
    preprocessing: Preprocessing
    provenance: dict[str, Json]
    location: str | None = None

    def __post_init__(self) -> None:
        check_parts(self.features, self.ids, self.groups, self.splits, self.pairing, self.preprocessing)

    @staticmethod
    def from_arrays(
        features: Mapping[str, Array],
        *,
        ids: Sequence[object] | None = None,
        groups: Sequence[object] | None = None,
        splits: Sequence[str] | None = None,
        name: str = "arrays",
        standardise: bool = True,
        centre: bool = True,
        seed: int = 0,
    ) -> FeatureSet:
        """Preprocess arrays {modality: rows x width} that encoders returned, and return them as a feature set.

        Args:
            features, ids, groups, splits, name, seed: see `data.arrays.raw_from_arrays`.
            standardise, centre: whether to apply these preprocessing steps; see `data.preprocessing`.

        Raises:
            InputError: the arrays do not fit together, or `prepare` rejects a row.
        """
        raw = raw_from_arrays(features, ids=ids, groups=groups, splits=splits, name=name, seed=seed)
        return prepare(raw, standardise, centre)

    def __len__(self) -> int:
        return len(self.ids)

    def __repr__(self) -> str:
        widths = ", ".join(f"{name} {width}" for name, width in self.widths.items())
        rows = ", ".join(f"{split} {count:,}" for split, count in self.split_sizes.items())
        return f"FeatureSet({self.provenance.get('name', 'data')}: {len(self):,} rows of {widths}; {rows})"

    def _repr_html_(self) -> str:
        splits = ", ".join(f"{split} {count:,}" for split, count in self.split_sizes.items())
        rows = [
            ("rows", f"{len(self):,} ({splits})"),
            ("groups", f"{len(set(self.groups)):,}"),
            ("modalities and widths", ", ".join(f"{name} {width:,}" for name, width in self.widths.items())),
            ("bytes in float32", f"{self.bytes:,}"),
        ]
        return html_table(f"FeatureSet: {self.provenance.get('name', 'data')}", rows)

    @property
    def modalities(self) -> tuple[str, ...]:
        """Names of the modalities, in the order of `features`."""
        return tuple(self.features)

    @property
    def widths(self) -> dict[str, int]:
        """Number of values per row in each modality, {modality: width}."""
        return {name: x.shape[1] for name, x in self.features.items()}

    @property
    def device(self) -> torch.device:
        """The device of the features."""
        return device_of(self.features)

    @property
    def bytes(self) -> int:
        """Size of all rows in float32, in bytes: 4 N sum_m p_m for N rows with the widths p_m."""
        return 4 * len(self) * sum(self.widths.values())

    @property
    def split_sizes(self) -> dict[str, int]:
        """Number of rows per split, {split: rows}, in the order of `SPLITS`. Splits without rows are omitted."""
        return {split: count for split in SPLITS if (count := self.splits.count(split))}

    @cached_property
    def group_codes(self) -> Int[Tensor, " n"]:
        """Group number of each row (N, int64, on the device of the rows). Groups are numbered by first appearance."""
        codes = {group: code for code, group in enumerate(dict.fromkeys(self.groups))}
        return torch.tensor([codes[group] for group in self.groups], device=self.device)

    @cached_property
    def distinct_rows(self) -> dict[str, Int[Tensor, " _"]]:
        """Rows that do not repeat an earlier row of their group, {modality: ascending row numbers}, on the CPU."""
        return {name: distinct_rows(x, self.group_codes) for name, x in self.features.items()}

    def to(self, device: torch.device | str) -> FeatureSet:
        """Return the set with its features and pairing on a device; return the same object if nothing has to move."""
        features = moved(self.features, device)
        pairing = None if self.pairing is None else self.pairing.to(device)
        if pairing is self.pairing and all(features[name] is x for name, x in self.features.items()):
            return self
        result = _copy(self, features=features, pairing=pairing)
        vars(result)["fingerprints"] = self.fingerprints  # the rows have not changed
        return result

    @cached_property
    def fingerprints(self) -> dict[tuple[str, ...], str]:
        """Cache for `data.fingerprint`: {splits: fingerprint}. It stays valid because rows of a set never change."""
        return {}

    def select(self, rows: Int[Tensor, " k"] | Sequence[int]) -> FeatureSet:
        """Return a copy of the feature set with only these rows, in the given order.

        Args:
            rows: row numbers from 0 to N - 1, each at most once.

        Raises:
            InputError: no row is given, or a row number is repeated or outside the set.
        """
        index = torch.as_tensor(rows, dtype=torch.int64, device="cpu")
        check_rows(index, len(self))
        order, index = index.tolist(), index.to(self.device)
        return _copy(
            self,
            features={name: x[index] for name, x in self.features.items()},
            ids=tuple(self.ids[row] for row in order),
            groups=tuple(self.groups[row] for row in order),
            splits=tuple(self.splits[row] for row in order),
            pairing=None if self.pairing is None else self.pairing[index][:, index],
            location=None,
        )

    def only(self, modalities: Sequence[str]) -> FeatureSet:
        """Return the feature set with only these modalities. They keep the order that they have in the set.

        Args:
            modalities: names of at least two modalities.

        Raises:
            InputError: the set does not have one of the modalities, or fewer than two are given.
        """
        check_selected_modalities(modalities, self.features)
        return _copy(
            self,
            features={name: x for name, x in self.features.items() if name in modalities},
            preprocessing=self.preprocessing.only(modalities),
        )

    def split(self, name: str) -> FeatureSet:
        """Return the rows of one split, in their order in the set.

        If the rows of the split are consecutive, as in a packed set, the result is a view; otherwise it is a copy.

        Raises:
            InputError: the split has no rows. The message lists the splits that the set has.
        """
        count = self.splits.count(name)
        if not count:
            present = ", ".join(f"{split} ({count})" for split, count in self.split_sizes.items())
            raise InputError(
                f"split {name!r}: no rows; the splits with rows are {present}; to add rows, set their split to "
                f"{name!r} (in a table: column 'split') and create the dataset again"
            )
        first = self.splits.index(name)
        rows = slice(first, first + count)
        if self.splits[rows].count(name) < count:
            return self.select([row for row, split in enumerate(self.splits) if split == name])
        return _copy(
            self,
            features={modality: x[rows] for modality, x in self.features.items()},
            ids=self.ids[rows],
            groups=self.groups[rows],
            splits=self.splits[rows],
            pairing=None if self.pairing is None else self.pairing[rows, rows],
            location=None,
        )

    def at(self, location: str) -> FeatureSet:
        """Return the same feature set, and record in `location` the folder or name from which it was loaded."""
        return _copy(self, location=location)

    def development(self) -> Development:
        """Return the splits that training and model selection may use."""
        heads = self.split("heads") if "heads" in self.splits else None
        return Development(heads, self.split("train"), self.split("validation"))


@dataclass(frozen=True, eq=False)
class Development:
    """The splits for training and model selection. Test rows are not included, so they cannot leak.

    Attributes:
        heads: rows for pre-training the heads; None if the set has no split `heads`.
        train: training rows.
        validation: validation rows.
    """

    heads: FeatureSet | None
    train: FeatureSet
    validation: FeatureSet

    def to(self, device: torch.device | str) -> Development:
        """Return the splits on a device."""
        heads = None if self.heads is None else self.heads.to(device)
        return Development(heads, self.train.to(device), self.validation.to(device))


def prepare(raw: RawFeatures, standardise: bool = True, centre: bool = True) -> FeatureSet:
    """Preprocess raw features: standardise each row, then subtract the mean of the `train` rows.

    Raises:
        InputError: a value is NaN or Inf, a row is a zero vector (or constant, if rows are standardised), there are no
            `train` rows to compute the mean from, or the features do not form a valid `FeatureSet`. The message names
            the modality, the row and its id.
    """
    return prepare_rows(RawRows.of(raw), torch.arange(len(raw.ids), device="cpu"), standardise, centre)


def prepare_rows(
    raw: RawRows,
    rows: Int[Tensor, " n"],
    standardise: bool = True,
    centre: bool = True,
    steps: Preprocessing | None = None,
) -> FeatureSet:
    """Preprocess selected rows as `prepare` does, and return them in memory, in the order of `rows`.

    Args:
        raw: all rows. All of them are validated, not only the selected rows.
        rows: numbers of the selected rows.
        standardise, centre: see `prepare`.
        steps: preprocessing of another set to apply; `standardise` and `centre` then have no effect. If None,
            centring uses the means of the selected rows of the split `train`.

    Raises:
        InputError: see `prepare`.
    """
    steps = fit_preprocessing(raw, standardise, centre, rows, steps)
    features = {}
    for name, width in raw.widths.items():
        features[name], begin = torch.empty(len(rows), width, device="cpu"), 0
        for chunk in prepare_chunks(raw, name, steps, rows):
            features[name][begin : (begin := begin + len(chunk))] = chunk
    return FeatureSet(features, *raw.labels(rows), None, steps, dict(raw.provenance))


def _copy(data: FeatureSet, **changes: object) -> FeatureSet:
    """Return a copy of the set with some attributes replaced. The new values must be valid; they are not checked."""
    result = object.__new__(FeatureSet)
    vars(result).update({each.name: getattr(data, each.name) for each in fields(FeatureSet)} | changes)
    return result
