"""Two students that differ only in their rows, and measurements on them at every step.

Both students start from the same heads, and use the same mini-batches and step sizes. The *synthetic student* trains on
the synthetic rows with their target similarities. The *real student* trains on one real row for each synthetic row,
with real rows of the same group as positive pairs. As in Lemma 1 (see `error_growth`), the gradients on synthetic and
on real rows are compared at the heads of the synthetic student.

Everything is computed in float64 on the CPU. Shapes: T steps, N rows, b rows per mini-batch, M modalities, d embedding
width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from omnidistill.core.errors import NotFiniteError
from omnidistill.evaluation.theory.discrepancy import Batch, discrepancy, distance, head_gradients
from omnidistill.evaluation.theory.identities import lemma_2_residual, lemma_3_residual
from omnidistill.evaluation.theory.lipschitz import segment_norm
from omnidistill.evaluation.theory.mode_gradients import predicted_coefficients
from omnidistill.evaluation.theory.modes import Modes, mode_distances, modes
from omnidistill.evaluation.theory.theory_content import InstanceModes, SpectrumMeans, Terms, TheoryStep
from omnidistill.models.heads import Heads, embed
from omnidistill.models.objectives import Objective

Targets = Callable[[Int[Tensor, " b"]], Float[Tensor, "b b"]]


@dataclass(frozen=True)
class Rows:
    """Rows to train on, in float64.

    Attributes:
        features: features {modality: N x p_m}.
        targets: function from the row numbers of a mini-batch to its target similarities (b x b).
    """

    features: Mapping[str, Float[Tensor, "N _"]]
    targets: Targets

    def batch(self, objective: Objective, heads: Heads, indices: Int[Tensor, " b"]) -> Batch:
        """Return the rows with these numbers as a batch.

        The batch also contains their embeddings and the gradients of the objective, both computed with `heads`.
        """
        return Batch.of(objective, heads, self.taken(indices), self.targets(indices))

    def taken(self, indices: Int[Tensor, " b"]) -> dict[str, Float[Tensor, "b _"]]:
        """Return the features {modality: b x p_m} of the rows with these numbers."""
        return {name: x[indices] for name, x in self.features.items()}


@dataclass(frozen=True)
class PairedStudents:
    """Two students that start from the same heads, one trained on synthetic rows and one on real rows.

    Attributes:
        objective: the loss of both students.
        start: initial heads, in float64.
        synthetic: the synthetic rows.
        real: one real row for each synthetic row.
        batches: row numbers of each step (T x b).
        step_sizes: step sizes of each step, one per modality (T x M).
        tau: temperature of the softmax over the singular values of a row's embeddings (see `modes`).
    """

    objective: Objective
    start: Heads
    synthetic: Rows
    real: Rows
    batches: Int[Tensor, "T b"]
    step_sizes: Float[Tensor, "T M"]
    tau: float

    def steps(self, generator: torch.Generator) -> Iterator[tuple[TheoryStep | None, Heads, Heads]]:
        """Yield (measurements, heads trained on synthetic rows, heads trained on real rows) before every step.

        After the last step, yield the final heads, with None instead of measurements.

        Args:
            generator: random generator for the power iteration.

        Raises:
            NotFiniteError: the heads of a student became NaN or Inf.
        """
        ours, theirs = dict(self.start), dict(self.start)
        for number, indices in enumerate(self.batches):
            sizes = self.step_sizes[number]
            step, gradient, real_gradient = self._measured(number, indices, ours, theirs, generator)
            yield step, ours, theirs
            ours, theirs = _moved(ours, gradient, sizes), _moved(theirs, real_gradient, sizes)
            _require_finite(ours, f"diagnose: heads of the student of the set after {number + 1} steps")
            _require_finite(theirs, f"diagnose: heads of the student of real rows after {number + 1} steps")
        yield None, ours, theirs

    def instances(self, heads: Heads, ids: Sequence[str]) -> list[InstanceModes]:
        """Return the modes of every synthetic row and of the real row that is paired with it.

        The modes of a row are the singular values and vectors of the matrix of its embeddings, with one embedding per
        modality.

        Args:
            heads: heads that embed both kinds of rows.
            ids: ids of the real rows, one per synthetic row.
        """
        everything = torch.arange(len(ids), device="cpu")
        synthetic = self.synthetic.batch(self.objective, heads, everything)
        real = _modes(heads, self.real.features)
        columns = (
            synthetic.modes.sigma,
            synthetic.modes.shares(self.tau),
            synthetic.gradients.omega,
            real.sigma,
            real.shares(self.tau),
            mode_distances(synthetic.modes, real),
        )
        named = ("sigma", "shares", "omega", "real_sigma", "real_shares", "eps")
        lists = dict(zip(named, (column.tolist() for column in columns), strict=True))
        return [
            InstanceModes(row=row, real_id=name, **{key: values[row] for key, values in lists.items()})
            for row, name in enumerate(ids)
        ]

    def _measured(
        self, number: int, indices: Int[Tensor, " b"], ours: Heads, theirs: Heads, generator: torch.Generator
    ) -> tuple[TheoryStep, Heads, Heads]:
        """Return the measurements before step `number`, and the gradient of each student for this step.

        `ours` are the heads of the synthetic student, and `theirs` are the heads of the real student. The first
        gradient is taken on synthetic rows at `ours`, the second on real rows at `theirs`.
        """
        synthetic = self.synthetic.batch(self.objective, ours, indices)
        real = self.real.batch(self.objective, ours, indices)
        rows, targets = self.real.taken(indices), self.real.targets(indices)
        apart, real_gradient = distance(theirs, ours), head_gradients(self.objective, theirs, rows, targets)
        measured = discrepancy(real, synthetic)
        constant = measured.jacobian_norm
        eps = mode_distances(synthetic.modes, real.modes)
        predicted = predicted_coefficients(self.objective, synthetic.modes)
        both = ((synthetic.embeddings, synthetic.modes), (real.embeddings, real.modes))
        step = TheoryStep(
            step=number,
            step_size=float(self.step_sizes[number].max()),
            distance=apart,
            discrepancy=measured.delta,
            lipschitz=segment_norm(self.objective, ours, theirs, rows, targets, generator),
            secant=distance(real_gradient, real.head_gradients) / apart if apart else None,
            jacobian_norm=constant,
            synthetic=self._means(synthetic.modes),
            real=self._means(real.modes),
            real_student=self._means(_modes(theirs, rows)),
            omega=synthetic.gradients.omega.mean(0).tolist(),
            omega_real=real.gradients.omega.mean(0).tolist(),
            predicted=None if predicted is None else predicted.abs().mean(0).tolist(),
            eps=eps.mean(0).tolist(),
            terms=Terms(
                modes=[constant * value for value in measured.by_mode],
                modes_real=[constant * value for value in measured.by_mode_real],
                coefficients=constant * measured.coefficients,
                rest=constant * measured.rest,
                jacobian=measured.jacobian,
            ),
            single_mode=constant * float(eps[:, 0].mean()),
            lemma_2=max(float(lemma_2_residual(*each).max()) for each in both),
            lemma_3=max(float(lemma_3_residual(*each).max()) for each in both),
            eq_14=self._eq_14((synthetic, real)),
        )
        return step, synthetic.head_gradients, real_gradient

    def _means(self, decomposed: Modes) -> SpectrumMeans:
        return SpectrumMeans(
            sigma=decomposed.sigma.mean(0).tolist(), shares=decomposed.shares(self.tau).mean(0).tolist()
        )

    def _eq_14(self, batches: Sequence[Batch]) -> float | None:
        """Return the largest error of eq. 14 of HoPA in the given batches; None if the objective is not HoPA.

        Eq. 14 predicts the coefficient of the gradient along each singular direction of an instance's embeddings. The
        error is the absolute difference between the predicted and the measured coefficient.
        """
        violations = []
        for batch in batches:
            predicted = predicted_coefficients(self.objective, batch.modes)
            if predicted is None:
                return None
            violations.append(float((batch.gradients.coefficients - predicted).abs().max()))
        return max(violations)


def _modes(heads: Heads, features: Mapping[str, Tensor]) -> Modes:
    return modes(torch.stack(list(embed(heads, features).values()), dim=1))


def _moved(heads: Heads, gradient: Heads, sizes: Float[Tensor, " M"]) -> Heads:
    return {
        name: torch.addcmul(matrix, sizes[m], gradient[name], value=-1)
        for m, (name, matrix) in enumerate(heads.items())
    }


def _require_finite(heads: Heads, what: str) -> None:
    for name, matrix in heads.items():
        if not bool(torch.isfinite(matrix.square().sum())):
            raise NotFiniteError(f"{what}: NaN, Inf or too large in modality {name!r}; use smaller step sizes")
