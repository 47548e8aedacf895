"""All component registries. The key of a registry is the setting or command-line option that uses it."""

from __future__ import annotations

from typing import Any

from omnidistill.core.engines import engines
from omnidistill.core.registry import Registry
from omnidistill.data.source_layouts import layouts
from omnidistill.distillation.optimisers import set_optimisers
from omnidistill.distillation.outer import outer_objectives
from omnidistill.encoding.encoders import encoders
from omnidistill.evaluation.baselines import baselines
from omnidistill.io.tracking import trackers
from omnidistill.methods import methods
from omnidistill.methods.selectors import selectors
from omnidistill.models.objectives import objectives
from omnidistill.models.similarities import similarities
from omnidistill.models.storages import storages
from omnidistill.training.recipes import recipes


def component_registries() -> dict[str, Registry[Any]]:
    """Return all registries to which other packages can add components.

    The key of a registry is the setting or command-line option that selects one of its components.
    """
    return {
        "distill.kind": methods,
        "distill.student, experts.objective": objectives,
        "distill.outer": outer_objectives,
        "distill.similarity": similarities,
        "distill.storage": storages,
        "distill.optimiser": set_optimisers,
        "distill.selector": selectors,
        "recipe of a set": recipes,
        "baselines of a comparison": baselines,
        "SOURCE of pack and manifest": layouts,
        "--encoder": encoders,
        "--tracker": trackers,
        "--engine": engines,
    }
