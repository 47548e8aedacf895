"""`Distiller`, a scikit-learn-compatible estimator from arrays to trained heads; a thin wrapper of `run_distill`.

{modality: N x p_m} --fit--> distilled set, heads --transform--> {modality: N x d}, rows of unit norm
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
    """Distil a set from arrays and train heads on it.

    Args:
        size: number of synthetic rows; None uses that of the preset.
        budget: maximum size of the set in bytes ("64kB", "1%"), instead of `size`.
        preset: name of a method; None uses the recommended one, or `compact` with a budget.
        settings: individual settings, such as "distill.iterations=100".
        heads: initial heads {modality: d x p_m}; None pre-trains them on the split `heads`, or draws random ones if
            there is no such split.
        seed: seed of every random stream.
        folder: folder for SET and RUN, which the commands can read. A fit with the same rows and arguments resumes
            the run in it; other rows or arguments raise InputError. None stores nothing.

    Attributes:
        distilled_: the distilled set.
        start_: the initial heads.
        heads_: the heads trained on the set.
        modalities_: names of the modalities.
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
        """Prepare the features, distil a set, and train heads on it.

        Args:
            features: raw features of encoders, {modality: N x p_m}, where row i of all modalities is one instance; or a
                set that already has ids, groups and splits.
            ids: unique names of the rows; None is 0, 1, ...
            groups: group of each row; rows of one group are positives of each other. None: every row is its own group.
            splits: split of each row: heads, train, validation or test; None: all train. Without validation rows, a
                fifth of the training groups (at most 1,000) becomes the validation split, with a warning.

        Raises:
            InputError: `prepare` or `run_distill` reject the input, or both size and budget are set.
            NotFiniteError: training diverged.
        """
        config = self._config()
        given = isinstance(features, (RawFeatures, FeatureSet))
        if given and not (ids is None and groups is None and splits is None):
            raise InputError(f"ids, groups, splits: the {type(features).__name__} already has them; omit them")
        if not isinstance(features, FeatureSet):
            raw = features if isinstance(features, RawFeatures) else _raw(features, ids, groups, splits)
            features = raw if "validation" in raw.splits else _with_validation(raw, self.seed)
        if self.folder is None:
            with tempfile.TemporaryDirectory() as folder:
                return self._fit(features, config, Path(folder))
        return self._fit(features, config, Path(self.folder))

    def transform(self, features: Mapping[str, Array]) -> dict[str, Float[Tensor, "_ _"]]:
        """Return embeddings of unit norm, {modality: N x d}.

        Args:
            features: raw features {modality: N x p_m} of any of the modalities; rows need not be paired. They are
                preprocessed in the same way as those of `fit`.

        Raises:
            InputError: the estimator is not fitted, or a modality is unknown or has another width.
        """
        if not hasattr(self, "heads_"):
            raise InputError("Distiller: not fitted yet; call fit first")
        tensors = {name: _tensor(name, x) for name, x in features.items()}
        for name in tensors:
            if name not in self.heads_:
                known = ", ".join(self.modalities_)
                raise InputError(f"modality {name!r} was not fitted; choose from {known}{nearest(name, self.heads_)}")
        prepared = self.distilled_.preprocessing.apply(tensors)
        return embed({name: self.heads_[name] for name in prepared}, prepared)

    def get_params(self, deep: bool = True) -> dict[str, object]:
        """Return the parameters of the estimator."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def set_params(self, **params: object) -> Distiller:
        """Set parameters and return the estimator. Raises InputError for an unknown parameter."""
        known = [field.name for field in fields(self)]
        for name, value in params.items():
            if name not in known:
                raise InputError(
                    f"Distiller: no parameter {name!r}; choose from {', '.join(known)}{nearest(name, known)}"
                )
            setattr(self, name, value)
        return self

    def _config(self) -> RunConfig:
        if self.size is not None and self.budget is not None:
            raise InputError(
                f"size = {self.size}, budget = {self.budget!r}: both set the number of rows; pass only one"
            )
        preset = self.preset or (None if self.budget is None else "compact")
        size = self.size if self.budget is None else self.budget
        return load_config(preset=preset, overrides=self.settings, distill__size=size, seed=self.seed)

    def _fit(self, features: RawFeatures | FeatureSet, config: RunConfig, folder: Path) -> Distiller:
        features, heads = _stored(features, folder / "SET"), None
        with tempfile.TemporaryDirectory() as scratch:
            if self.heads is not None:
                heads, given = (
                    Path(scratch, "heads"),
                    {name: _tensor(name, x).float() for name, x in self.heads.items()},
                )
                save_heads(given, heads, {"origin": "given"})
            run = run_distill(str(folder / "SET"), config, folder / "RUN", heads=heads, resume=True)
        # Copy: loaded tensors are memory-mapped, and the folder may be temporary.
        self.distilled_: DistilledSet = copy.deepcopy(run.distilled())
        self.start_: Heads = copy.deepcopy(run.heads(features))
        self.heads_: Heads = self.distilled_.train(self.start_)
        self.modalities_: tuple[str, ...] = self.distilled_.modalities
        return self


def _stored(features: RawFeatures | FeatureSet, place: Path) -> FeatureSet:
    """Prepare the features, save them in `place` and return them; an existing set must have the same rows."""
    if not place.exists():
        return _save(features, place)
    with tempfile.TemporaryDirectory(dir=place.parent) as other:
        if fingerprint(_save(features, Path(other, "SET")), SPLITS) != fingerprint(load_features(place), SPLITS):
            raise InputError(f"{place}: contains other features; choose another folder, or folder=None")
    return load_features(place)


def _save(features: RawFeatures | FeatureSet, place: Path) -> FeatureSet:
    if isinstance(features, RawFeatures):
        return prepare_raw(RawRows.of(features)).save(place)
    save_features(features, place)
    return features


_VALIDATION_SHARE = 0.2
_MOST_VALIDATION_GROUPS = 1000  # limits the standard error of a score to 1.6 points


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
    """Return the same rows with a random subset of the training groups moved to the validation split."""
    known = list(dict.fromkeys(g for g, split in zip(raw.groups, raw.splits, strict=True) if split == "train"))
    count = min(round(_VALIDATION_SHARE * len(known)), _MOST_VALIDATION_GROUPS)
    if not count:
        raise InputError(
            f"splits: no row is 'validation', and {len(known)} training groups are too few to split; add more groups"
        )
    order = torch.randperm(len(known), generator=Streams(seed)["estimator/validation"])[:count]
    drawn = {known[number] for number in order.tolist()}
    splits = tuple("validation" if g in drawn else split for g, split in zip(raw.groups, raw.splits, strict=True))
    warnings.warn(
        f"no validation split given: {count} of {len(known)} training groups ({splits.count('validation')} rows) were "
        f"chosen at random with seed {seed}; pass splits to choose them yourself",
        stacklevel=3,
    )
    return RawFeatures(raw.features, raw.ids, raw.groups, splits, raw.provenance, raw.captions)


def _tensor(name: str, x: Array) -> Float[Tensor, "_ _"]:
    """Return an array of numbers, rows x width, as a floating-point tensor; shares memory if possible."""
    if not isinstance(x, Tensor):
        array = np.asarray(x)
        if array.dtype.kind not in "fiu":
            raise InputError(f"modality {name!r}: dtype is {array.dtype}; features must be numbers, rows x width")
        x = torch.from_numpy(np.require(array, requirements="W"))
    if x.ndim != 2:
        raise InputError(f"modality {name!r}: shape is {tuple(x.shape)}; features must be rows x width")
    rows: Tensor = x if x.is_floating_point() else x.float()
    return rows
