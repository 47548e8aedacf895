"""Analytic parameter matching (APM; Bo & Wang, ICML 2026) in closed form, for any number of modalities.

Let mu_m be the mean of modality m, S_m(eps) its covariance with ridge eps, and C_mn the cross-covariance of modalities
m and n. Let Q be a matrix with N - 1 orthonormal columns, s a scale, and 1 the vector of ones. Then

    A_mn = S_m(eps)^{-1} C_mn S_n(eps)^{-1}      analytic parameters: the product W_m^T W_n of least-squares heads
    B_m B_n^T ~ A_mn                             factors B_m (p_m x (N - 1)) whose products approximate A_mn
    X~_m = 1 mu_m^T + s Q B_m^+                  the N synthetic rows; B_m^+: pseudo-inverse of B_m

On the rows X~_m, least squares gives the products B_m B_n^T (up to scale), which approximate the analytic parameters of
the data. See `training.closed_form.analytic_parameters`.
"""

from __future__ import annotations

import time
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from omnidistill.core.settings import Positive
from omnidistill.core.streams import Streams
from omnidistill.data.featureset import FeatureSet
from omnidistill.distillation import Distillation
from omnidistill.methods.method import methods
from omnidistill.methods.recipe_choice import TunedMethod
from omnidistill.methods.task import Task
from omnidistill.models.similarities import FixedIdentity, Similarity
from omnidistill.training.closed_form import accumulate_moments, apm_rows


@methods.register("apm")
class Apm(TunedMethod):
    """Rows on which least squares gives about the same heads as on the data (APM). They have a closed form."""

    cites: ClassVar[tuple[str, ...]] = ("apm",)

    pairing: Literal["rows", "groups"] = "groups"
    """What cross-covariances between modalities are computed from: single real rows ("rows"), or the means of groups of
    rows ("groups")."""
    ridges: Annotated[tuple[Positive, ...], Field(min_length=1)] = (1.0,)
    """Candidate ridges of the least-squares heads, relative to the mean eigenvalue of each covariance; chosen on
    validation."""
    norm: Literal["plain", "whitened"] = "whitened"
    """Norm in which the least-squares heads are approximated: "plain" (error of the head parameters) or "whitened"
    (error of the head outputs on the data)."""
    rotation: Literal["random", "eye"] = "random"
    """Choice among the sets that give the same least-squares heads: about one row per direction ("eye"), or a random
    rotation of these rows ("random")."""

    @property
    def set_similarity(self) -> Similarity:
        """Target similarity of the set: the identity matrix, so each row matches only itself."""
        return FixedIdentity()

    def most_rows(self, train: FeatureSet) -> int:
        """Return the largest number of rows: 1 + the smallest feature width, or the number of real rows if smaller."""
        return min(len(train), 1 + min(train.widths.values()))

    def run(self, task: Task) -> Distillation:
        """Compute the rows, then choose the ridge, step size and number of steps by validation score."""
        started_at = time.monotonic()
        moments = accumulate_moments(task.development.train, self.pairing)
        candidates = []
        for ridge in self.ridges:
            generator = Streams(task.seed)["rotation"]
            rows = apm_rows(moments, self.num_stored, ridge, self.rotation, generator, norm=self.norm)
            candidates.append(task.as_set(self, {f"rows/{name}": x for name, x in rows.items()}))
        return self.tuned(task, candidates, started_at)
