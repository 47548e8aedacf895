"""Compute the rows of a distilled set from the features of another encoder, if the rows are mixtures of items."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from omnidistill.core.errors import InputError
from omnidistill.data.featureset import FeatureSet
from omnidistill.distillation.item_mixture import Missing, Mixture, named
from omnidistill.distillation.set_spec import SetSpec


def require_mixture(mixture: Mixture | None) -> Mixture:
    """Return the mixture of a set.

    Raises:
        InputError: it is None, because the rows are not mixtures of items.
    """
    if mixture is None:
        raise InputError(
            "the rows of this synthetic set are not stored as mixtures (weighted sums) of items; distil a set with "
            "the preset 'mixture', or use transfer(), which supports sets without mixtures"
        )
    return mixture


def realised_rows(
    mixture: Mixture, spec: SetSpec, data: FeatureSet, missing: Missing, stores_targets: bool
) -> tuple[dict[str, Float[Tensor, "_ _"]], Mixture]:
    """Return the rows of a set, computed from other features of its items, and the mixture that was used.

    The mixture that was used is `mixture`, or a copy without the items that `data` lack.

    Args:
        mixture: mixture of the set.
        spec: specification of the set.
        data, missing: see `DistilledSet.realise`.
        stores_targets: whether the set stores target similarities for its rows. If True, an error is raised if `data`
            lack all items of a row, because this row would be omitted.

    Raises:
        InputError: see `DistilledSet.realise`.
    """
    absent = [name for name in spec.modalities if name not in data.features]
    if absent:
        raise InputError(
            f"{named(data)}: modality {absent[0]!r} is missing (found only {', '.join(data.modalities)}); pass "
            f"data with all modalities of the synthetic set ({', '.join(spec.modalities)})"
        )
    rows, used = mixture.rows(data.only(tuple(spec.modalities)), missing)
    if len(used) < spec.size and stores_targets:
        raise InputError(
            f"{named(data)}: {spec.size - len(used)} synthetic rows have no item in these data, but cannot be omitted, "
            "because the set stores target similarities for all rows; pass features of all items"
        )
    return rows, used
