"""Centre features by the means of another dataset instead of their own.

The given features x are already centred by their own means mu. With the means mu' of the other dataset, they become

    x' = x + mu - mu'

They can then be used together with a set that was distilled from the other dataset with the same encoders.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from omnidistill.core.arguments import argument
from omnidistill.core.errors import InputError
from omnidistill.data.featureset import FeatureSet
from omnidistill.data.preprocessing import Preprocessing


@runtime_checkable
class Prepared(Protocol):
    """A set that records its preprocessing: a dataset (`FeatureSet`) or a synthetic set (`DistilledSet`)."""

    @property
    def preprocessing(self) -> Preprocessing:
        """The steps that were applied to the rows."""

    @property
    def widths(self) -> dict[str, int]:
        """Feature width of each modality."""


def steps_of(other: Prepared, widths: dict[str, int], name: str) -> Preprocessing:
    """Return the preprocessing of another set, to be applied to raw features of these widths.

    Args:
        other: the other set.
        widths: feature width of each modality of the raw features.
        name: how messages name the other set.

    Raises:
        InputError: the features and the other set have different modalities or widths.
    """
    if widths != other.widths:
        raise InputError(
            f"{name}: the features have the widths {_listed(widths)}, but this set has {_listed(other.widths)}; use "
            f"the same modalities ({argument('modalities')} selects and renames them) from the same encoders"
        )
    return other.preprocessing


def recentred(data: FeatureSet, steps: Preprocessing, widths: dict[str, int]) -> FeatureSet:
    """Return features that are centred by the means in `steps` instead of their own means.

    Args:
        data: the features.
        steps: preprocessing of the synthetic set with which the features will be used.
        widths: feature width of each modality in the synthetic set.

    Raises:
        InputError: the features and the synthetic set have different modalities or widths, or their preprocessing
            differs in more than the means.
    """
    own = data.preprocessing
    if data.widths != widths:
        raise InputError(
            f"the features have {_listed(data.widths)}, but the synthetic set has {_listed(widths)}; use features of "
            "the same modalities from the same encoders"
        )
    if own.difference(steps) is None:
        return data
    if not own.same_options(steps):
        raise InputError(
            f"the features and the synthetic set differ in {own.difference(steps)}; pack the features again with the "
            "preprocessing options of the dataset from which the set was distilled"
        )
    shift = {name: (mean - steps.means[name]).to(data.device) for name, mean in own.means.items()}
    features = {name: x + shift[name] for name, x in data.features.items()}
    return FeatureSet(
        features, data.ids, data.groups, data.splits, data.pairing, steps, data.provenance, location=data.location
    )


def _listed(widths: dict[str, int]) -> str:
    return ", ".join(f"{name} {width}" for name, width in widths.items())
