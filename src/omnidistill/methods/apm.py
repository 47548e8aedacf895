"""APM, analytic parameter matching (Bo & Wang, ICML 2026), in closed form for any number of modalities.

    A_mn = S_m(eps)^{-1} C_mn S_n(eps)^{-1},   B_m B_n^T nearest to A_mn,   X~_m = 1 mu_m^T + c Q B_m^+

so that least squares on the rows gives the projectors of the data, to N - 1 factors. See `closed_form.apm`.
"""

from __future__ import annotations

import time

from omnidistill.config import ApmConfig
from omnidistill.core.streams import Streams
from omnidistill.distill import Distillation
from omnidistill.methods.recipe_choice import tuned
from omnidistill.methods.task import Task
from omnidistill.training.closed_form import accumulate_moments, apm_rows


def match_parameters(task: Task) -> Distillation:
    """Compute the rows, then choose ridge, step size and number of steps on validation."""
    settings = task.config.distill
    assert isinstance(settings, ApmConfig)
    begun = time.monotonic()
    moments = accumulate_moments(task.development.train, settings.pairing)
    candidates = []
    for ridge in settings.ridges:
        generator = Streams(task.config.seed)["rotation"]
        rows = apm_rows(moments, settings.size, ridge, settings.rotation, generator, norm=settings.norm)
        candidates.append(task.as_set({f"rows/{name}": x for name, x in rows.items()}))
    return tuned(task, candidates, begun)
