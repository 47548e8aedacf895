"""CovMatch (Lee & Chung, NeurIPS 2025, arXiv 2510.18583) in closed form, for any number of modalities.

Let C_mn be the cross-covariances of the data, C~_mn those of the N synthetic rows X~_m, and rho a scale. The rows
minimise

    sum_{m<n} ||rho C_mn - C~_mn||_F^2.

Let mu_m be the mean of the data, and Q a matrix with N - 1 orthonormal columns. Let B_m be matrices with N - 1 columns
whose products B_m B_n^T approximate C_mn. The solution is

    X~_m = 1 mu_m^T + sqrt(rho (N - 1)) Q B_m^T.

See `training.closed_form.covariance_matching`.

With weights = "errors", C_mn is computed from all pairs of real rows, weighted by their InfoNCE errors. The errors are
averaged over several epochs of an expert. UniCon (Sui et al. 2026, arXiv 2604.16678) calls the result C(gamma).
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import ClassVar, Literal

from omnidistill.core.device import moved
from omnidistill.core.settings import Positive
from omnidistill.core.streams import Streams
from omnidistill.distillation import Distillation
from omnidistill.methods.method import methods
from omnidistill.methods.recipe_choice import TunedMethod
from omnidistill.methods.task import Task
from omnidistill.models.similarities import FixedIdentity, Similarity
from omnidistill.training.closed_form import accumulate_moments, covmatch_rows, error_weighted_cross

_EPOCHS = (0, 2, 5)  # epochs of the first expert after which errors are computed


@methods.register("covmatch")
class CovMatch(TunedMethod):
    """Rows that have the same cross-covariances as the data (CovMatch). They are computed in closed form."""

    cites: ClassVar[tuple[str, ...]] = ("covmatch",)

    pairing: Literal["rows", "groups"] = "groups"
    """What cross-covariances between modalities are computed from: single real rows ("rows"), or the means of groups of
    rows ("groups")."""
    rho: Positive = 1.0
    """Factor by which the cross-covariances of the synthetic rows are larger than those of the real rows (CovMatch
    paper: 2 for sets of 100 rows, 1 for larger sets)."""
    rotation: Literal["random", "eye"] = "eye"
    """Choice among the sets that have the same moments: about one row per direction ("eye"), or a random rotation of
    these rows ("random")."""
    weights: Literal["uniform", "errors"] = "uniform"
    """Weights of pairs of real rows in the cross-covariances: all equal ("uniform"), or the InfoNCE errors along the
    trajectory of the first expert ("errors", C(gamma) of UniCon)."""

    @property
    def set_similarity(self) -> Similarity:
        """Target similarity of the set: the identity matrix, so each row matches only itself."""
        return FixedIdentity()

    @property
    def uses_experts(self) -> bool:
        """Whether the method needs an expert trajectory to compute the weights of pairs of rows."""
        return self.weights == "errors"

    def citations(self) -> tuple[str, ...]:
        """Return the citation keys of the works that the method and its settings are based on."""
        return (*self.cites, *(("unicon",) if self.weights == "errors" else ()))

    def run(self, task: Task) -> Distillation:
        """Compute the rows, then choose the step size and number of steps for training by validation score."""
        train, snapshots = task.development.train, []
        if self.uses_experts:
            buffer = task.experts()
            task = task.with_experts(buffer)
            epochs = [epoch for epoch in _EPOCHS if epoch <= buffer.last_epochs[0]]
            snapshots = [moved(buffer.heads(0, epoch), train.device) for epoch in epochs]
        started_at = time.monotonic()
        weighted = error_weighted_cross(train, snapshots) if snapshots else None
        moments = accumulate_moments(train, self.pairing)
        if weighted is not None:
            moments = replace(moments, cross=weighted)
        generator = Streams(task.seed)["rotation"]
        rows = covmatch_rows(moments, self.num_stored, self.rho, self.rotation, generator)
        return self.tuned(task, [task.as_set(self, {f"rows/{name}": x for name, x in rows.items()})], started_at)
