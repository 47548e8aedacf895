"""Find the training items of a run in the data of another encoder, by their ids.

These items must be in the train split for both encoders. They must also form the same groups, whose names may differ.
"""

from __future__ import annotations

from collections.abc import Sequence

from omnidistill.core.arguments import argument
from omnidistill.core.errors import InputError
from omnidistill.data.featureset import FeatureSet
from omnidistill.distillation.item_mixture import Missing, few, named


def require_modalities(data: FeatureSet, modalities: Sequence[str]) -> FeatureSet:
    """Return the data with only the modalities of the run.

    Raises:
        InputError: a modality of the run is missing, or the matching rows are defined by a matrix instead of groups.
    """
    for name in modalities:
        if name not in data.features:
            raise InputError(
                f"{named(data)}: has no modality {name!r}, which the set of the run needs; pass data that contain all "
                f"modalities of the set (found {', '.join(data.modalities)})"
            )
    if data.pairing is not None:
        raise InputError(
            f"{named(data)}: a matrix defines which rows match (positives), but transfer needs groups of matching "
            "rows; pack the features with groups"
        )
    return data.only(modalities)


def shared_training_rows(old: FeatureSet, new: FeatureSet, missing: Missing = "error") -> tuple[FeatureSet, FeatureSet]:
    """Return the training rows of both encoders for the items that both have, in the same order.

    Args:
        old: training rows of the run.
        new: the data of the other encoder, with all splits.
        missing: what to do if `new` lacks training items of the run: "error", or "drop" to continue without them.

    Raises:
        InputError: items are missing, and `missing` is "error"; the two encoders have fewer than two training items in
            common; an item is in another split; the items form different groups; or `missing` has another value.
    """
    if missing not in ("error", "drop"):
        raise InputError(f"{argument('missing', missing)}: unknown; choose 'error' or 'drop'")
    location = {name: row for row, name in enumerate(new.ids)}
    present = [row for row, name in enumerate(old.ids) if name in location]
    absent = [name for name in old.ids if name not in location]
    if len(present) < 2:
        raise InputError(
            f"{named(new)}: has only {len(present)} of the {len(old)} training items of the run; pass features that "
            "another encoder computed from the same dataset"
        )
    if absent and missing == "error":
        raise InputError(
            f"{named(new)}: lacks {len(absent)} of the {len(old)} training items of the run ({few(absent)}); add them, "
            f"or continue without them with {argument('missing', 'drop')}"
        )
    rows = [location[old.ids[row]] for row in present]
    moved = [new.ids[row] for row in rows if new.splits[row] != "train"]
    if moved:
        raise InputError(
            f"{named(new)}: {len(moved)} training items of the run are in another split ({few(moved)}); use the same "
            "splits for both encoders"
        )
    names: dict[str, str] = {}
    others: dict[str, str] = {}
    for row_old, row_new in zip(present, rows, strict=True):
        group, other = old.groups[row_old], new.groups[row_new]
        if names.setdefault(group, other) != other or others.setdefault(other, group) != group:
            raise InputError(
                f"{named(new)}: the groups differ from those of the run; group {group!r} of the run and group "
                f"{other!r} of these data both contain item {old.ids[row_old]!r}, but their other items differ; pass "
                "features of the same dataset"
            )
    return old.select(present), new.select(rows)
