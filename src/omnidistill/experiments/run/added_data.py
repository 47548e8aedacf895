"""Add new data to a distilled set: the new data are distilled, and the result is merged with the earlier set.

The data of the earlier set are not needed. The new features are centred by the means of the earlier set, so that the
rows of both sets lie in the same feature space. A run stores a copy of the earlier set in RUN/earlier, and does not
depend on the folder from which the earlier set was loaded.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from omnidistill.core.arguments import argument
from omnidistill.core.errors import InputError
from omnidistill.data.featureset import FeatureSet
from omnidistill.data.recentre import recentred
from omnidistill.distillation import Distillation, DistilledSet
from omnidistill.distillation.merged_set import merged_set
from omnidistill.distillation.version_0_1 import upgraded_config
from omnidistill.experiments.config import RunConfig, parse_config
from omnidistill.experiments.run.run_identity import heads_fingerprint

EARLIER = "earlier"
"""Folder of the earlier set within a run folder."""


def config_of(earlier: DistilledSet) -> RunConfig | None:
    """Return the settings with which a set was distilled; None if they are not recorded."""
    config = earlier.provenance.config
    return parse_config(upgraded_config(config), "settings of the earlier set") if config else None


def check_can_add(earlier: DistilledSet, config: RunConfig, widths: dict[str, int]) -> None:
    """Check that a run with this config can add data to the set `earlier`.

    Raises:
        InputError: the run would distil one set per pair of modalities, or its set would differ from `earlier` in
            recipe or objective.
    """
    where = argument("add_to")
    if not config.joint:
        raise InputError(
            f"{where}: data can only be added to a set that covers all modalities, but 'joint = false' distils one set "
            "per pair of modalities; use 'joint = true'"
        )
    spec = config.distill.spec(widths)
    if (spec.recipe.kind, spec.objective) != (earlier.recipe.kind, earlier.objective):
        raise InputError(
            f"{where}: method '{config.method}' gives sets with the recipe '{spec.recipe.kind}', but the earlier set "
            f"has the recipe '{earlier.recipe.kind}', or their objectives differ; use the method of the earlier set"
            + (f" ('{earlier.provenance.method}')" if earlier.provenance.method else "")
        )


def with_earlier(result: Distillation, earlier: DistilledSet) -> Distillation:
    """Return the result of a run after merging its set with `earlier`.

    The merged set has the provenance of the run, and the licences of both sets.
    """
    merged = merged_set([earlier, result.distilled])
    own = result.distilled.provenance
    origin = {"method": earlier.provenance.method, "rows": heads_fingerprint(earlier.rows())}
    note = f"{result.distilled.size} rows of the new data merged with {earlier.size} rows of an earlier set"
    licences = merged.provenance.licences
    provenance = replace(own, licences=licences, initial_set=origin, notes=(note, *own.notes), validation=None)
    return replace(result, distilled=replace(merged, provenance=provenance))


def store_earlier(folder: Path, earlier: DistilledSet) -> None:
    """Store `earlier`, the set to which a run adds data, in the run folder.

    Raises:
        InputError: the run in the folder adds data to a different set.
    """
    place = folder / EARLIER
    if not (place / "manifest.json").exists():
        earlier.save(place)
    elif heads_fingerprint(DistilledSet.load(place).rows()) != heads_fingerprint(earlier.rows()):
        raise InputError(f"{folder}: contains a run that adds data to another set; choose another folder")


def as_in_run(folder: Path, data: FeatureSet) -> FeatureSet:
    """Return the data with the same centring that the run in `folder` used.

    A run that adds data to an earlier set centres its data by the means of that set. For such a run, this function does
    the same. For any other run, it returns the data unchanged.
    """
    place = folder / EARLIER
    if not (place / "manifest.json").exists():
        return data
    earlier = DistilledSet.load(place)
    return recentred(data, earlier.preprocessing, earlier.widths)
