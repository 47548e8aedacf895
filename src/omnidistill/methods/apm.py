"""Analytic parameter matching (APM; Bo & Wang, ICML 2026) in closed form, for any number of modalities.

Let mu_m be the mean of modality m, S_m its covariance with a ridge, and C_mn the cross-covariance of modalities m and
n. Heads W_m that minimise a least-squares loss satisfy, up to scale,

    W_m^T W_n = A_mn,   A_mn = S_m^-1 C_mn S_n^-1

The A_mn are called analytic parameters. APM computes N synthetic rows with about the same analytic parameters, up to
scale. Let B_m be matrices with N - 1 columns whose products B_m B_n^T approximate A_mn, and B_m^+ the pseudo-inverses.
Let the N x (N - 1) matrix Q have orthonormal columns. With a scale s and the vector of ones 1, the rows are

    X_m = 1 mu_m^T + s Q B_m^+

The module `training.closed_form.analytic_parameters` has the details.
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
