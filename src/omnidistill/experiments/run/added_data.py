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
    """Check that the set of a run can be merged with the earlier set, before the run begins.

    Raises:
        InputError: the run has one set per pair of modalities, or its recipe or objective is not that of the earlier
            set.
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
    """Return the result with its set merged with the earlier set. The provenance is that of the new set."""
    merged = merged_set([earlier, result.distilled])
    own = result.distilled.provenance
    origin = {"method": earlier.provenance.method, "rows": heads_fingerprint(earlier.rows())}
    note = f"{result.distilled.size} rows of the new data merged with {earlier.size} rows of an earlier set"
    licences = merged.provenance.licences
    provenance = replace(own, licences=licences, initial_set=origin, notes=(note, *own.notes), validation=None)
    return replace(result, distilled=replace(merged, provenance=provenance))


def store_earlier(folder: Path, earlier: DistilledSet) -> None:
    """Store the earlier set in a run folder.

    Raises:
        InputError: the folder already contains a different earlier set.
    """
    place = folder / EARLIER
    if not (place / "manifest.json").exists():
        earlier.save(place)
    elif heads_fingerprint(DistilledSet.load(place).rows()) != heads_fingerprint(earlier.rows()):
        raise InputError(f"{folder}: contains a run that adds data to another set; choose another folder")


def as_in_run(folder: Path, data: FeatureSet) -> FeatureSet:
    """Return data as a run used them: centred by the means of the earlier set, if the run has one."""
    place = folder / EARLIER
    if not (place / "manifest.json").exists():
        return data
    earlier = DistilledSet.load(place)
    return recentred(data, earlier.preprocessing, dict(earlier.spec.modalities))
