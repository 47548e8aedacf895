"""Train two students, one on synthetic and one on real rows, and compare them with the theory of the HoPA paper.

The paper (high-order proxy alignment, arXiv 2604.10666) bounds the distance between these students. The modes of a row
are the singular values and vectors of the matrix of its embeddings, with one embedding per modality. The result has
four parts: a record of each step; the distance between the students, with its bounds; the modes of all rows; and the
size of the gradient in each mode, for several objectives.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from omnidistill.evaluation.theory.discrepancy import distance
from omnidistill.evaluation.theory.error_growth import error_bounds
from omnidistill.evaluation.theory.mode_gradients import mode_gradients
from omnidistill.evaluation.theory.modes import modes
from omnidistill.evaluation.theory.paired_students import PairedStudents
from omnidistill.evaluation.theory.theory_content import Bounds, Excitation, InstanceModes, TheoryStep
from omnidistill.models.heads import Heads, embed
from omnidistill.models.objectives import Hopa, InfoNCE, Objective, PairwiseWbce

REFERENCES: tuple[tuple[str, Objective], ...] = (
    ("HoPA: L_mod, softmax", Hopa(lambda_ins=0)),
    ("HoPA: L_mod, single mode", Hopa(modality_term="single", lambda_ins=0)),
    ("HoPA: L_ins", Hopa(modality_term="none")),
    ("pairwise wBCE", PairwiseWbce()),
    ("pairwise InfoNCE", InfoNCE()),
)
"""Objectives whose modes are compared with those of the student's own objective, at their default settings."""


@dataclass(frozen=True)
class Measurements:
    """The measurements on the synthetic and the real student; `TheoryContent` describes the fields."""

    steps: tuple[TheoryStep, ...]
    bounds: Bounds
    instances: dict[str, list[InstanceModes]]
    excitation: tuple[Excitation, ...]


def measure_theory(
    students: PairedStudents,
    ids: Sequence[str],
    generator: torch.Generator,
    on_step: Callable[[], None] = lambda: None,
) -> Measurements:
    """Train two students, one on synthetic and one on real rows, and return all measurements.

    Args:
        students: the two students before their first step.
        ids: ids of the real rows, one per synthetic row.
        generator: random generator for the power iteration.
        on_step: function that is called after every step.
    """
    steps, end, distances = list[TheoryStep](), students.start, list[float]()
    for step, ours, theirs in students.steps(generator):
        distances.append(distance(ours, theirs))
        end = ours
        if step is not None:
            steps.append(step)
            on_step()
    places = ((0, students.start), (len(steps), end))
    return Measurements(
        tuple(steps),
        bounds_of(steps, distances),
        {name: students.instances(heads, ids) for name, heads in (("start", students.start), ("end", end))},
        tuple(each for step, heads in places for each in excitation(students, heads, step)),
    )


def bounds_of(steps: Sequence[TheoryStep], distances: Sequence[float]) -> Bounds:
    """Return the distance between two students after t = 0, 1, ..., T steps, and upper bounds on each distance.

    One student trains on synthetic rows, the other on real rows.

    Args:
        steps: the measurements before each of the T steps.
        distances: the measured distances after 0 to T steps.
    """
    sizes = [step.step_size for step in steps]
    local = [step.lipschitz for step in steps]
    largest = [max(local)] * len(steps)
    constant = max(step.jacobian_norm for step in steps)
    by_modes = [step.terms.eq_10 * constant / step.jacobian_norm for step in steps]
    single = [step.single_mode * constant / step.jacobian_norm for step in steps]
    measured = [step.discrepancy for step in steps]

    def bound(lipschitz: Sequence[float], discrepancies: Sequence[float]) -> list[float | None]:
        return [value if math.isfinite(value) else None for value in error_bounds(sizes, lipschitz, discrepancies)]

    return Bounds(
        distance=list(distances),
        lemma_1=bound(largest, measured),
        lemma_1_local=bound(local, measured),
        theorem_1=bound(largest, by_modes),
        theorem_1_single=bound(largest, single),
        theorem_1_complete=bound(local, [step.terms.total for step in steps]),
    )


def excitation(students: PairedStudents, heads: Heads, step: int) -> list[Excitation]:
    """Return the size of the gradient in each mode, for the students' objective and for the objectives in `REFERENCES`.

    A mode is a pair of singular vectors of the matrix of a row's embeddings. The gradient is taken with respect to the
    embeddings, on all synthetic rows as one batch.

    Args:
        students: the students, with the synthetic rows and their targets.
        heads: heads at which the gradients are taken.
        step: number of steps that the synthetic student took to reach these heads.
    """
    rows = students.synthetic
    embeddings = torch.stack(list(embed(heads, rows.features).values()), dim=1)
    targets, decomposed = rows.targets(torch.arange(len(embeddings), device="cpu")), modes(embeddings)
    results = []
    for title, objective in (("the student's objective", students.objective), *REFERENCES):
        gradients = mode_gradients(objective, embeddings, targets, decomposed)
        by_mode, rest = gradients.energy()
        results.append(
            Excitation(
                objective=title,
                step=step,
                omega=gradients.omega.mean(0).tolist(),
                energy=by_mode.tolist(),
                rest=rest,
            )
        )
    return results
