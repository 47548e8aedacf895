"""The content of theory.json: all measurements of the command `diagnose`.

The modules `modes`, `mode_gradients`, `discrepancy` and `error_growth` define the symbols and cite the equations. Lists
over modes start with k = 1. Bounds that exceed the range of float64 are None.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from omnidistill.io.artifacts import JsonContent


class SpectrumMeans(JsonContent):
    """Spectrum of a batch: means over its instances. Each list has one entry per mode k.

    Attributes:
        sigma: mean of the singular values sigma_k.
        shares: mean of the shares p_k = softmax(sigma / tau)_k of the modes, where tau is a temperature.
    """

    sigma: Sequence[float]
    shares: Sequence[float]


class Terms(JsonContent):
    """The terms of the complete bound on Delta, the distance between the gradients of a real and a synthetic batch.

    Each term is the effect of one difference between paired real and synthetic instances. The module `discrepancy`
    contains the formulas. All terms except `jacobian` include the factor C_J, the largest Jacobian norm.

    Attributes:
        modes: for each k, the effect of the distance eps_k between the k-th modes of paired instances, weighted by the
            size omega_k of the synthetic gradient in mode k.
        modes_real: the same, but weighted by the size of the real gradient. The complete bound does not contain it.
        coefficients: effect of different coefficients. Coefficient c_k is the component of a gradient in mode k.
        rest: effect of different rests. The rest R is the part of a gradient outside all modes.
        jacobian: effect of different Jacobians of the embeddings with respect to the heads.
    """

    modes: Sequence[float]
    modes_real: Sequence[float]
    coefficients: float
    rest: float
    jacobian: float

    @property
    def eq_10(self) -> float:
        """The right side of eq. 10 of HoPA, which the paper states as an upper bound on Delta.

        It contains omega_k, the size of a gradient in mode k. The paper does not say whether this is the gradient on
        the synthetic or on the real batch. The right side is computed for both, and the larger value is returned.
        """
        return max(sum(self.modes), sum(self.modes_real))

    @property
    def total(self) -> float:
        """The complete upper bound on Delta, the distance between the gradients on real and on synthetic rows.

        It is the sum of all attributes except `modes_real`, and always holds. Eq. 10 of HoPA (see `eq_10`) omits
        `coefficients`, `rest` and `jacobian`, so Delta can exceed it.
        """
        return sum(self.modes) + self.coefficients + self.rest + self.jacobian


class TheoryStep(JsonContent):
    """Measurements before one step of two students, to check the theory of the HoPA paper.

    The synthetic student trains on synthetic rows, the real student on real rows. Every synthetic row of a batch is
    paired with a real row. The modes of a row are the singular directions of its embeddings. The modules `error_growth`
    and `discrepancy` state the bounds.

    Attributes:
        step: number of steps that the students have already taken.
        step_size: largest step size over modalities.
        distance: distance between the heads of the students, which Lemma 1 and Theorem 1 bound.
        discrepancy: distance between the gradients on real and on synthetic rows, at the heads of the synthetic
            student.
        lipschitz: largest spectral norm of the Hessian on real rows, at the heads of both students and halfway between.
        secant: distance between the gradients on real rows at the heads of the two students, divided by `distance`.
            Lemma 1 requires that it is at most `lipschitz`. None if `distance` is 0.
        jacobian_norm: largest norm of the Jacobian of the embeddings with respect to the heads, over both batches.
        synthetic: singular values of the synthetic batch at the heads of the synthetic student.
        real: singular values of the real batch at the heads of the synthetic student.
        real_student: singular values of the real batch at the heads of the real student.
        omega, omega_real: mean size of the gradient in each mode, on the synthetic and on the real batch.
        predicted: `omega` as predicted by eq. 14; None if the objective is not HoPA.
        eps: for each mode, mean distance between the modes of paired rows.
        terms: terms of the complete bound on the discrepancy.
        single_mode: what the bound in eq. 10 would be if the loss were -sigma_1 (minus the first singular value).
        lemma_2, lemma_3, eq_14: largest error of the equations in Lemma 2, Lemma 3 and eq. 14, over both batches.
            `eq_14` is None if the objective is not HoPA.
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
    """Modes of a synthetic row and of the real row that is assigned to it. Each list has one entry per mode k.

    The embeddings of a row, one per modality, form a matrix. Mode k consists of the k-th singular value sigma_k and the
    k-th singular vectors u_k and v_k of this matrix.

    Attributes:
        row: number of the synthetic row.
        real_id: id of the real row.
        sigma, real_sigma: singular values of the synthetic row, and of the real row.
        shares, real_shares: softmax(sigma / tau) of the synthetic row, and of the real row, with a temperature tau.
        omega: size of the objective's gradient in each mode of the synthetic row.
        eps: distance between the matrices u_k v_k^T of the two rows.
    """

    row: int
    real_id: str
    sigma: Sequence[float]
    shares: Sequence[float]
    omega: Sequence[float]
    real_sigma: Sequence[float]
    real_shares: Sequence[float]
    eps: Sequence[float]


class Excitation(JsonContent):
    """The size of an objective's gradient in each mode, on the synthetic rows; see `mode_gradients`.

    Let Z_i be the matrix of the embeddings of row i, and u_k and v_k its k-th singular vectors. Mode k of the row is
    A_k = u_k v_k^T. G_i is the gradient with respect to Z_i, times the number of rows.

    Attributes:
        objective: title of the objective.
        step: number of steps that the student has already taken.
        omega: for each mode k, the mean of |<G_i, A_k>| over the rows.
        energy: for each mode, its share of the squared norm sum_i ||G_i||^2.
        rest: share of this squared norm outside all modes.
    """

    objective: str
    step: int
    omega: Sequence[float]
    energy: Sequence[float]
    rest: float


class Bounds(JsonContent):
    """The distance between two students after 0, 1, ..., T training steps, and upper bounds on it.

    One student is trained on synthetic rows, the other on real rows. Lemma 1 and Theorem 1 of the HoPA paper are stated
    in the module `error_growth`. Both use a Lipschitz constant of the gradient, and Theorem 1 also uses the largest
    norm of a Jacobian. A bound that exceeds the range of float64 is None.

    Attributes:
        distance: the measured distance.
        lemma_1: Lemma 1 with the largest constant of all steps, as in the paper.
        lemma_1_local: Lemma 1 with the constant of each step.
        theorem_1: Theorem 1 with the largest constants of all steps, as in the paper.
        theorem_1_single: Theorem 1 for an objective that depends only on the first singular value of the embeddings
            (eq. 13).
        theorem_1_complete: Theorem 1 with the constants of each step, and with additional terms that the paper omits.
    """

    distance: Sequence[float]
    lemma_1: Sequence[float | None]
    lemma_1_local: Sequence[float | None]
    theorem_1: Sequence[float | None]
    theorem_1_single: Sequence[float | None]
    theorem_1_complete: Sequence[float | None]


class TheoryContent(JsonContent):
    """The content of theory.json, the result of the command `diagnose`.

    Attributes:
        run: name of the run folder.
        data: name of the dataset.
        method: name of the method.
        objective: title of the student's objective.
        spectral: whether the objective is HoPA. Only then, eq. 14 of the HoPA paper predicts its gradient.
        tau: temperature of the softmax over the singular values.
        modalities: names of the modalities.
        rows: number of synthetic rows.
        batch_size: rows per step.
        recipe_steps: number of steps of the recipe. There may be fewer records in `steps`.
        real_rows: how a real row was assigned to each synthetic row.
        seed: seed for all random choices.
        steps: one record per measured step.
        bounds: distances between the students, and upper bounds on them.
        instances: modes of all rows, before the first step ("start") and after the last step ("end").
        excitation: size of each objective's gradient in each mode, before the first step and after the last step.
        versions: versions of the packages that were used.
        command: the command line, if there was one.
    """

    remedy: ClassVar[str] = "run 'omnidistill diagnose' again"
    layout_version: ClassVar[int | None] = 1

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
