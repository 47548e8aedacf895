"""From arrays to trained heads in the manner of scikit-learn; a thin front of `run_distill`, which does all of it.

{modality: N x p_m} --fit--> distilled set, heads --transform--> {modality: N x d}, unit rows
"""

from __future__ import annotations

import copy
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import ArrayLike
from torch import Tensor

from omnidistill.core.errors import InputError, nearest
from omnidistill.core.streams import Streams
from omnidistill.data.featureset import FeatureSet
from omnidistill.data.names import SPLITS
from omnidistill.data.raw import RawFeatures
from omnidistill.data.raw_rows import RawRows
from omnidistill.data.store import load_features, prepare_raw, save_features
from omnidistill.distill import DistilledSet
from omnidistill.experiments.config import RunConfig, load_config
from omnidistill.experiments.run import fingerprint, run_distill
from omnidistill.models.heads import Heads, embed, save_heads

Array = Tensor | ArrayLike
"""Rows x width: a tensor, an array of any library that numpy can convert, or nested sequences of numbers."""


@dataclass(eq=False)
class Distiller:
    """Distils a set from arrays and trains heads on it.

    size: synthetic rows; the preset's where it is None. budget: instead of a size, what the set may weigh ("64kB",
    "1%"). preset: a method (default: what is recommended; `compact` for a budget). settings: single ones,
    "distill.iterations=100". heads: {modality: d x p_m} to start from; by default pre-trained on rows of the split
    `heads`, random without such. seed: of every random stream. folder: where SET and RUN are kept for the commands (a
    fit of the same rows and arguments goes on there, one of others is refused); None: nowhere.

    After `fit`: `distilled_` (the set), `start_` (the heads that training on it begins at), `heads_` (those that it
    ends at) and `modalities_`.
    """

    size: int | None = None
    budget: str | None = None
    preset: str | None = None
    settings: Sequence[str] = ()
    heads: Mapping[str, Array] | None = None
    seed: int = 0
    folder: str | Path | None = None

    def fit(
        self,
        features: Mapping[str, Array] | RawFeatures | FeatureSet,
        *,
        ids: Sequence[object] | None = None,
        groups: Sequence[object] | None = None,
        splits: Sequence[str] | None = None,
    ) -> Distiller:
        """Prepare the features, distil, train heads.

        Args:
            features: {modality: N x p_m} as the encoders gave them (row i of all modalities is one instance), or a set
                that has ids, groups and splits already.
            ids: unique names (default: 0, 1, ...).
            groups: rows of one group are positives of each other (default: every row its own).
            splits: heads, train, validation or test a row (default: all train). Without validation rows, a fifth of
                the training groups (at most 1,000) becomes the validation split, and a warning says so.

        Raises:
            InputError: whatever `prepare` and `run_distill` refuse, and a size beside a budget.
            NotFiniteError: training diverged.
        """
        config = self._config()
        given = isinstance(features, (RawFeatures, FeatureSet))
        if given and not (ids is None and groups is None and splits is None):
            raise InputError(f"ids, groups, splits: the {type(features).__name__} has its own; leave them out")
        if not isinstance(features, FeatureSet):
            raw = features if isinstance(features, RawFeatures) else _raw(features, ids, groups, splits)
            features = raw if "validation" in raw.splits else _with_validation(raw, self.seed)
        if self.folder is None:
            with tempfile.TemporaryDirectory() as folder:
                return self._fit(features, config, Path(folder))
        return self._fit(features, config, Path(self.folder))

    def transform(self, features: Mapping[str, Array]) -> dict[str, Float[Tensor, "_ _"]]:
        """Unit embeddings {modality: N x d} of raw features {modality: N x p_m}, prepared as those of `fit` were; any
        of the modalities, which need not be paired.

        Raises InputError before `fit`, and for a modality that it did not see or of another width.
        """
        if not hasattr(self, "heads_"):
            raise InputError("Distiller: has no heads yet; call fit first")
        tensors = {name: _tensor(name, x) for name, x in features.items()}
        for name in tensors:
            if name not in self.heads_:
                known = ", ".join(self.modalities_)
                raise InputError(f"modality {name!r}: was not fitted; known are {known}{nearest(name, self.heads_)}")
        prepared = self.distilled_.preprocessing.apply(tensors)
        return embed({name: self.heads_[name] for name in prepared}, prepared)

    def get_params(self, deep: bool = True) -> dict[str, object]:
        """The arguments it was made with."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def set_params(self, **params: object) -> Distiller:
        """Change some of them. Raises InputError for one that it has not."""
        known = [field.name for field in fields(self)]
        for name, value in params.items():
            if name not in known:
                raise InputError(f"Distiller: has no {name!r}{nearest(name, known)}; it has {', '.join(known)}")
            setattr(self, name, value)
        return self

    def _config(self) -> RunConfig:
        if self.size is not None and self.budget is not None:
            raise InputError(f"size = {self.size}, budget = {self.budget!r}: both decide how many rows; give one")
        preset = self.preset or (None if self.budget is None else "compact")
        size = self.size if self.budget is None else self.budget
        return load_config(preset=preset, overrides=self.settings, distill__size=size, seed=self.seed)

    def _fit(self, features: RawFeatures | FeatureSet, config: RunConfig, folder: Path) -> Distiller:
        features, heads = _kept(features, folder / "SET"), None
        with tempfile.TemporaryDirectory() as scratch:
            if self.heads is not None:
                heads, given = (
                    Path(scratch, "heads"),
                    {name: _tensor(name, x).float() for name, x in self.heads.items()},
                )
                save_heads(given, heads, {"origin": "given"})
            run = run_distill(str(folder / "SET"), config, folder / "RUN", heads=heads, resume=True)
        # copies: what is read from a folder is mapped, and the folder may go
        self.distilled_: DistilledSet = copy.deepcopy(run.distilled())
        self.start_: Heads = copy.deepcopy(run.heads(features))
        self.heads_: Heads = self.distilled_.train(self.start_)
        self.modalities_: tuple[str, ...] = self.distilled_.modalities
        return self


def _kept(features: RawFeatures | FeatureSet, place: Path) -> FeatureSet:
    """The features prepared, as the set in `place`; one that is there stays, and must be of the same rows."""
    if not place.exists():
        return _save(features, place)
    with tempfile.TemporaryDirectory(dir=place.parent) as other:
        if fingerprint(_save(features, Path(other, "SET")), SPLITS) != fingerprint(load_features(place), SPLITS):
            raise InputError(f"{place}: holds other features; give another folder, or none")
    return load_features(place)


def _save(features: RawFeatures | FeatureSet, place: Path) -> FeatureSet:
    if isinstance(features, RawFeatures):
        return prepare_raw(RawRows.of(features)).save(place)
    save_features(features, place)
    return features


_VALIDATION_SHARE = 0.2
_MOST_VALIDATION_GROUPS = 1000  # a score's standard error is 1.6 points at most


def _raw(
    features: Mapping[str, Array],
    ids: Sequence[object] | None,
    groups: Sequence[object] | None,
    splits: Sequence[str] | None,
) -> RawFeatures:
    tensors = {name: _tensor(name, x) for name, x in features.items()}
    rows = len(next(iter(tensors.values()), ()))
    names = tuple(str(name) for name in (range(rows) if ids is None else ids))
    return RawFeatures(
        tensors,
        names,
        names if groups is None else tuple(str(group) for group in groups),
        ("train",) * rows if splits is None else tuple(str(split) for split in splits),
        {"name": "arrays"},
    )


def _with_validation(raw: RawFeatures, seed: int) -> RawFeatures:
    """The same rows, some groups of the training rows drawn for validation."""
    known = list(dict.fromkeys(g for g, split in zip(raw.groups, raw.splits, strict=True) if split == "train"))
    count = min(round(_VALIDATION_SHARE * len(known)), _MOST_VALIDATION_GROUPS)
    if not count:
        raise InputError(f"splits: none is 'validation', and {len(known)} training groups are too few to draw it from")
    order = torch.randperm(len(known), generator=Streams(seed)["estimator/validation"])[:count]
    drawn = {known[number] for number in order.tolist()}
    splits = tuple("validation" if g in drawn else split for g, split in zip(raw.groups, raw.splits, strict=True))
    warnings.warn(
        f"no validation split given: {count} of {len(known)} training groups ({splits.count('validation')} rows) were "
        f"drawn for it by seed {seed}; give splits to choose them yourself",
        stacklevel=3,
    )
    return RawFeatures(raw.features, raw.ids, raw.groups, splits, raw.provenance, raw.captions)


def _tensor(name: str, x: Array) -> Float[Tensor, "_ _"]:
    """An array of numbers, rows x width, as a floating-point tensor; memory is shared where it can be."""
    if not isinstance(x, Tensor):
        array = np.asarray(x)
        if array.dtype.kind not in "fiu":
            raise InputError(f"modality {name!r}: an array of {array.dtype}; features are numbers, rows x width")
        x = torch.from_numpy(np.require(array, requirements="W"))
    if x.ndim != 2:
        raise InputError(f"modality {name!r}: shape {tuple(x.shape)}; features are rows x width")
    rows: Tensor = x if x.is_floating_point() else x.float()
    return rows
