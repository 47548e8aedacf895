"""CovMatch (Lee & Chung, NeurIPS 2025, arXiv 2510.18583) in closed form, for any number of modalities.

    min over rows of  sum_{m<n} ||rho C_mn - C~_mn||_F^2  with equal means:   X~_m = 1 mu_m^T + sqrt(rho (N-1)) Q B_m^T

C_mn are the cross-covariances of the data or, with weights = "errors", those that drive InfoNCE's gradient along an
expert (C(gamma): UniCon, Sui et al. 2026, arXiv 2604.16678). See `closed_form.covmatch`.
"""

from __future__ import annotations

import time
from dataclasses import replace

from omnidistill.config import CovmatchConfig
from omnidistill.core.streams import Streams
from omnidistill.distill import Distillation
from omnidistill.methods.recipe_choice import tuned
from omnidistill.methods.task import Task
from omnidistill.training.closed_form import accumulate_moments, covmatch_rows, error_weighted_cross

_EPOCHS = (0, 2, 5)  # of the first expert, at which errors are taken


def match_covariances(task: Task) -> Distillation:
    """Compute the rows, then choose step size and number of steps on validation."""
    settings, train = task.config.distill, task.development.train
    assert isinstance(settings, CovmatchConfig)
    snapshots = []
    if settings.weights == "errors":
        buffer = task.experts()
        task, snapshots = task.of(buffer), [buffer.heads(0, e) for e in _EPOCHS if e <= buffer.last_epochs[0]]
    begun = time.monotonic()
    moments = accumulate_moments(train, settings.pairing)
    if snapshots:
        moments = replace(moments, cross=error_weighted_cross(train, snapshots))
    generator = Streams(task.config.seed)["rotation"]
    rows = covmatch_rows(moments, settings.size, settings.rho, settings.rotation, generator)
    return tuned(task, [task.as_set({f"rows/{name}": x for name, x in rows.items()})], begun)
