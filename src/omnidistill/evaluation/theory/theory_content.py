"""What `diagnose` measures: the content of theory.json.

Symbols and equations are those of `modes`, `mode_gradients`, `discrepancy` and `error_growth`. Lists over modes start
with k = 1. Bounds that exceed the range of float64 are None.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from omnidistill.io.artifacts import JsonContent

SCHEMA = 1


class SpectrumMeans(JsonContent):
    """Means over the instances of a batch, by mode: sigma_k and p_k = softmax(sigma / tau)_k."""

    sigma: Sequence[float]
    shares: Sequence[float]


class Terms(JsonContent):
    """The terms of the complete bound on Delta.

    Attributes:
        modes: C_J (1/b) sum_i omega_k eps_k for every mode k, with the omega_k of the synthetic instances.
        modes_real: the same with the omega_k of the real instances; not part of the complete bound.
        coefficients: C_J (1/b) sum_i ||c - c'||.
        rest: C_J (1/b) sum_i ||R - R'||.
        jacobian: (1/b) sum_i ||(J - J')^T G'||.
    """

    modes: Sequence[float]
    modes_real: Sequence[float]
    coefficients: float
    rest: float
    jacobian: float

    @property
    def eq_10(self) -> float:
        """The right side of eq. 10, for whichever omega_k give the larger sum."""
        return max(sum(self.modes), sum(self.modes_real))

    @property
    def total(self) -> float:
        """The complete bound on Delta."""
        return sum(self.modes) + self.coefficients + self.rest + self.jacobian


class TheoryStep(JsonContent):
    """Measurements before one step of the students.

    Attributes:
        step: number of steps done before.
        step_size: eta, the largest step size of this step.
        distance: e = ||theta^real - theta^syn||, the left side of Lemma 1 and Theorem 1.
        discrepancy: Delta = ||g^real - g^syn|| at the heads of the student of the set.
        lipschitz: largest spectral norm of the Hessian between the two students, on real rows.
        secant: ||g^real(theta^real) - g^real(theta^syn)|| / e, which Lemma 1 needs L to exceed; None if e = 0.
        jacobian_norm: C_J of this step.
        synthetic: spectrum of the synthetic batch at the heads of the student of the set.
        real: spectrum of the real batch at the same heads.
        real_student: spectrum of the real batch at the heads of the student of real rows.
        omega, omega_real: mean of omega_k over the synthetic and over the real batch.
        predicted: mean over the synthetic batch of the omega_k of eq. 14; None if the objective is not HoPA.
        eps: mean of eps_k over the batch.
        terms: terms of the complete bound on Delta, with the C_J of this step.
        single_mode: C_J (1/b) sum_i eps_1, the right side of eq. 10 for L_mod = -sigma_1.
        lemma_2, lemma_3, eq_14: largest violation of each identity in both batches; `eq_14` is None if the objective
            is not HoPA.
    """

    step: int
    step_size: float
    distance: float
    discrepancy: float
    lipschitz: float
    secant: float | None
    jacobian_norm: float
    synthetic: SpectrumMeans
    real: SpectrumMeans
    real_student: SpectrumMeans
    omega: Sequence[float]
    omega_real: Sequence[float]
    predicted: Sequence[float] | None
    eps: Sequence[float]
    terms: Terms
    single_mode: float
    lemma_2: float
    lemma_3: float
    eq_14: float | None


class InstanceModes(JsonContent):
    """One instance: sigma_k, p_k and omega_k of the synthetic row, sigma_k and p_k of its real row, and eps_k."""

    row: int
    real_id: str
    sigma: Sequence[float]
    shares: Sequence[float]
    omega: Sequence[float]
    real_sigma: Sequence[float]
    real_shares: Sequence[float]
    eps: Sequence[float]


class Excitation(JsonContent):
    """Which modes an objective excites on the synthetic rows.

    Attributes:
        objective: title of the objective.
        step: number of steps done before.
        omega: mean of omega_k over the instances.
        energy: share of sum_i ||G_i||^2 in each mode.
        rest: share of sum_i ||G_i||^2 in no mode.
    """

    objective: str
    step: int
    omega: Sequence[float]
    energy: Sequence[float]
    rest: float


class Bounds(JsonContent):
    """Bounds on the distance of the two students after each number of steps, from 0 to T.

    Attributes:
        distance: e_t, which is bounded.
        lemma_1: Lemma 1 with the largest L of all steps (paper).
        lemma_1_local: Lemma 1 with the L of each step.
        theorem_1: Theorem 1 with the largest L and C_J of all steps (paper).
        theorem_1_single: the same for L_mod = -sigma_1: only mode 1 counts, with omega_1 = 1 (eq. 13).
        theorem_1_complete: Theorem 1 with the complete bound on Delta and the L and C_J of each step.
    """

    distance: Sequence[float]
    lemma_1: Sequence[float | None]
    lemma_1_local: Sequence[float | None]
    theorem_1: Sequence[float | None]
    theorem_1_single: Sequence[float | None]
    theorem_1_complete: Sequence[float | None]


class TheoryContent(JsonContent):
    """The content of theory.json.

    Attributes:
        run: name of the run folder.
        data: name of the dataset.
        method: name of the method.
        objective: title of the student's objective.
        spectral: whether the objective is HoPA, whose gradient eq. 14 predicts.
        tau: temperature of p_k.
        modalities: names of the modalities.
        rows: number of synthetic rows N.
        batch_size: rows per step b.
        recipe_steps: number of steps of the recipe; `steps` may contain fewer.
        real_rows: how a real row was assigned to each synthetic row.
        seed: seed of the mini-batches and of the power iteration.
        steps: one record per step.
        bounds: bounds on the distance of the students.
        instances: all instances before the first and after the last step, {"start": ..., "end": ...}.
        excitation: which modes each objective excites, before the first and after the last step.
        versions: versions of the packages that were used.
        command: the command line, if there was one.
    """

    remedy: ClassVar[str] = "run 'omnidistill diagnose' again"

    run: str
    data: str
    method: str
    objective: str
    spectral: bool
    tau: float
    modalities: Sequence[str]
    rows: int
    batch_size: int
    recipe_steps: int
    real_rows: str
    seed: int
    steps: Sequence[TheoryStep]
    bounds: Bounds
    instances: Mapping[str, Sequence[InstanceModes]]
    excitation: Sequence[Excitation]
    versions: Mapping[str, str] = {}
    command: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the content of theory.json."""
        return {"schema": SCHEMA, **self.model_dump(mode="json")}

    @classmethod
    def from_json(cls, tree: Mapping[str, Any], where: str) -> TheoryContent:
        """Create the content from that of a theory.json. Raises InputError if a field is missing or invalid."""
        cls.require_schema(tree, SCHEMA, where)
        return super().from_json({name: value for name, value in tree.items() if name != "schema"}, where)
