"""`Distiller`, a scikit-learn-compatible estimator that turns arrays into trained heads by calling `distill`.

{modality: N x p_m} --fit--> distilled set, heads --transform--> {modality: N x d}, rows of unit norm
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from jaxtyping import Float
from torch import Tensor

from omnidistill.core.errors import InputError, nearest
from omnidistill.data.arrays import Array, as_rows, raw_from_arrays, with_validation
from omnidistill.data.datasets import load
from omnidistill.data.featureset import FeatureSet, prepare
from omnidistill.data.fingerprint import fingerprint
from omnidistill.data.names import SPLITS
from omnidistill.data.raw import RawFeatures
from omnidistill.data.store import save_features
from omnidistill.distillation import DistilledSet
from omnidistill.experiments.config import SettingValues, requested_config
from omnidistill.experiments.run import distill
from omnidistill.experiments.run.start_heads import GivenHeads
from omnidistill.models.heads import Heads, embed


@dataclass(eq=False)
class Distiller:
    """Distil a set from arrays and train heads on it, in memory.

    Args:
        size: number of synthetic rows; None uses the number from the preset.
        budget: instead of `size`, the maximum size in bytes ("64kB") or in percent of the training features ("1%").
        preset: name of a method; None uses `anchor`, or `anchor-coded` if there is a budget.
        settings: individual settings, such as {"distill.iterations": 100} or ["distill.iterations=100"].
        heads: initial heads {modality: d x p_m}; None pre-trains them on the `heads` split, or draws random ones if
            the data have no `heads` split.
        seed: seed for every random stream.
        device: "auto", "cpu", "cuda", "cuda:1" or "mps".
        folder: output folder; None stores nothing. `fit` stores the features in the subfolder SET and the run in the
            subfolder RUN, where commands can use them. A second call of `fit` with the same rows and parameters resumes
            the run, or reuses it if it is finished. If the rows or a parameter that affects the set differ, `fit`
            raises InputError.

    Attributes:
        distilled_: the distilled set.
        start_: the initial heads.
        heads_: the heads trained on the set.
        modalities_: names of the modalities.
    """

    size: int | None = None
    budget: str | None = None
    preset: str | None = None
    settings: SettingValues = ()
    heads: GivenHeads | None = None
    seed: int = 0
    device: str = "auto"
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
            features: raw features from encoders, {modality: N x p_m}, where row i of all modalities is one instance; or
                a `RawFeatures` or `FeatureSet`, which already has ids, groups and splits.
            ids: unique names of the rows; None uses 0, 1, ...
            groups: group of each row; rows in the same group are positives of each other. None puts every row in a
                separate group.
            splits: split of each row: heads, train, validation or test; None assigns all rows to train. If there are no
                validation rows, a fifth of the training groups (at most 1,000) becomes the validation split, with a
                warning.

        Raises:
            InputError: `prepare` or `distill` rejects the input, or both `size` and `budget` are set.
            NotFiniteError: training diverged.
        """
        if self.size is not None and self.budget is not None:
            raise InputError(
                f"size = {self.size}, budget = {self.budget!r}: both determine the number of synthetic rows; pass only "
                "one"
            )
        config = requested_config(
            size=self.size, bytes=self.budget, preset=self.preset, settings=self.settings, seed=self.seed
        )
        if isinstance(features, (RawFeatures, FeatureSet)):
            if not (ids is None and groups is None and splits is None):
                raise InputError(
                    f"ids, groups, splits: a {type(features).__name__} already contains them; omit these three "
                    "arguments"
                )
        else:
            features = raw_from_arrays(features, ids=ids, groups=groups, splits=splits, seed=self.seed)
        if isinstance(features, RawFeatures):
            features = prepare(with_validation(features, self.seed))
        folder = None if self.folder is None else Path(self.folder)
        if folder is not None:
            features = _stored(features, folder / "SET")
        result = distill(
            features,
            config=config,
            heads=self.heads,
            folder=None if folder is None else folder / "RUN",
            resume=folder is not None,
            device=self.device,
            progress=False,
        )
        self.distilled_: DistilledSet = result.set
        self.start_: Heads = result.start
        self.heads_: Heads = self.distilled_.train(self.start_)
        self.modalities_: tuple[str, ...] = self.distilled_.modalities
        return self

    def transform(self, features: Mapping[str, Array]) -> dict[str, Float[Tensor, "_ _"]]:
        """Return embeddings of unit norm, {modality: N x d}.

        Args:
            features: raw features {modality: N x p_m} for one or more of the fitted modalities; rows need not be
                paired. They are preprocessed like the features that were passed to `fit`.

        Raises:
            InputError: the estimator is not fitted, or a modality is unknown or has the wrong width.
        """
        if not hasattr(self, "heads_"):
            raise InputError("Distiller: not fitted yet; call fit first")
        if not isinstance(features, Mapping):
            raise InputError(
                f"features: found a {type(features).__name__}; pass a dict that maps modalities to arrays of shape "
                "(rows, width)"
            )
        for name in features:
            if name not in self.heads_:
                known = ", ".join(self.modalities_)
                raise InputError(
                    f"modality {name!r}: the Distiller was not fitted to this modality; choose from {known}"
                    f"{nearest(name, self.heads_)}"
                )
        tensors = {name: as_rows(f"modality {name!r}", x) for name, x in features.items()}
        prepared = self.distilled_.preprocessing.apply(tensors)
        return embed({name: self.heads_[name] for name in prepared}, prepared)

    def get_params(self, deep: bool = True) -> dict[str, object]:
        """Return the parameters of the estimator."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def set_params(self, **params: object) -> Distiller:
        """Set parameters and return the estimator. Raises InputError for an unknown parameter."""
        known = [field.name for field in fields(self)]
        for name in params:
            if name not in known:
                raise InputError(
                    f"Distiller has no parameter {name!r}; choose from {', '.join(known)}{nearest(name, known)}"
                )
        for name, value in params.items():
            setattr(self, name, value)
        return self


def _stored(features: FeatureSet, place: Path) -> FeatureSet:
    """Return the features, loaded from the folder `place`.

    If the folder does not exist, the features are saved there first.

    Raises:
        InputError: the folder exists and contains other features.
    """
    if not place.exists():
        save_features(features, place)
    stored = load(place)
    if fingerprint(stored, SPLITS) != fingerprint(features, SPLITS):
        raise InputError(
            f"{place}: contains other features than those passed to fit; choose another folder, or pass folder=None to "
            "store nothing"
        )
    return stored
