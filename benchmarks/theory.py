"""How loose the bounds of HoPA are on random problems: `python benchmarks/theory.py`. Writes results/theory.json, .md.

Each problem has random heads, features, target similarities, mini-batches and step sizes in float64. The synthetic
rows are the real rows plus noise of random size. The functions under test are those of `omnidistill.evaluation.theory`.
The slack of a bound is the bound divided by what it bounds; a bound that does not hold has a slack below 1.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median

import torch
from torch import Tensor

from measuring import RESULTS, Table
from omnidistill.evaluation.theory.measure_theory import Measurements, measure_theory
from omnidistill.evaluation.theory.paired_students import PairedStudents, Rows
from omnidistill.models.heads import shared_groups
from omnidistill.models.objectives import Hopa, InfoNCE, Objective, PairwiseWbce

PROBLEMS = 100
OBJECTIVES: tuple[tuple[str, Objective], ...] = (
    ("HoPA", Hopa()),
    ("HoPA, L_mod only", Hopa(lambda_ins=0)),
    ("HoPA, single mode", Hopa(modality_term="single")),
    ("pairwise wBCE", PairwiseWbce()),
    ("InfoNCE", InfoNCE()),
)
NUM_ROWS, BATCH_SIZE, NUM_STEPS, WIDTH, FEATURES = 8, 4, 4, 5, 6


@dataclass(frozen=True)
class Slack:
    """The slack of every bound in one problem: the smallest over all steps, where it bounds something positive.

    `lemma_2`, `lemma_3` and `eq_14` are the largest violations of the identities; `secant` is the slack of L.
    """

    objective: str
    lemma_1: float
    lemma_1_local: float
    eq_10: float
    eq_10_complete: float
    theorem_1: float
    theorem_1_complete: float
    secant: float
    lemma_2: float
    lemma_3: float
    eq_14: float


def problem(seed: int) -> tuple[str, PairedStudents]:
    """Return the name of the objective and the two students of a random problem."""
    draw = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=draw, dtype=torch.float64)

    def uniform() -> float:
        return float(torch.rand((), generator=draw, dtype=torch.float64))

    name, objective = OBJECTIVES[seed % len(OBJECTIVES)]
    names = "abcde"[: 2 + seed // len(OBJECTIVES) % 4]
    shared, noise, eta = normal(NUM_ROWS, FEATURES), 10 ** (2 * uniform() - 1.5), 10 ** (2 * uniform() - 2)
    real = {each: shared @ normal(FEATURES, FEATURES + at) + normal(NUM_ROWS, FEATURES + at) for at, each in
            enumerate(names)}  # fmt: skip
    synthetic = {each: x + noise * normal(*x.shape) for each, x in real.items()}
    heads = {each: normal(WIDTH, x.shape[1]) / x.shape[1] ** 0.5 for each, x in real.items()}
    groups = torch.arange(NUM_ROWS) // 2
    learned = (torch.eye(NUM_ROWS, dtype=torch.float64) + 0.1 * normal(NUM_ROWS, NUM_ROWS)).clamp(0, 1)
    batches = torch.stack([torch.randperm(NUM_ROWS, generator=draw)[:BATCH_SIZE] for _ in range(NUM_STEPS)])
    sizes = eta * (0.5 + torch.rand(NUM_STEPS, len(names), generator=draw, dtype=torch.float64))
    students = PairedStudents(
        objective,
        heads,
        Rows(synthetic, lambda rows: learned[rows][:, rows]),
        Rows(real, lambda rows: shared_groups(groups[rows]).double()),
        batches,
        sizes,
        0.1,
    )
    return name, students


def slack(seed: int) -> Slack:
    """Return the slack of every bound in a random problem."""
    name, students = problem(seed)
    measured = measure_theory(students, [str(row) for row in range(NUM_ROWS)], torch.Generator().manual_seed(seed))
    steps, bounds = measured.steps, measured.bounds
    constant = max(step.jacobian_norm for step in steps)
    deltas = [step.discrepancy for step in steps]
    return Slack(
        name,
        _least(bounds.lemma_1, bounds.distance),
        _least(bounds.lemma_1_local, bounds.distance),
        _least([step.terms.eq_10 * constant / step.jacobian_norm for step in steps], deltas),
        _least([step.terms.total for step in steps], deltas),
        _least(bounds.theorem_1, bounds.distance),
        _least(bounds.theorem_1_complete, bounds.distance),
        min(step.lipschitz / step.secant for step in steps if step.secant),
        max(step.lemma_2 for step in steps),
        max(step.lemma_3 for step in steps),
        _largest_eq_14(measured),
    )


def _least(bounds: Sequence[float | None], measured: Sequence[float]) -> float:
    return min(bound / value for bound, value in zip(bounds, measured, strict=True) if bound is not None and value)


def _largest_eq_14(measured: Measurements) -> float:
    return max(0.0 if step.eq_14 is None else step.eq_14 for step in measured.steps)


def table(slacks: Sequence[Slack]) -> Table:
    """Return one row per bound: in how many problems it holds in all steps, and its slack."""
    titles = {
        "lemma_1": "Lemma 1 (eq. 4)",
        "lemma_1_local": "Lemma 1, L of each step",
        "eq_10": "eq. 10, as reconstructed",
        "eq_10_complete": "eq. 10, complete",
        "theorem_1": "Theorem 1 (eq. 12), as reconstructed",
        "theorem_1_complete": "Theorem 1, complete",
        "secant": "L (power iteration) over the secant constant",
    }
    rows = []
    for key, title in titles.items():
        values = sorted(getattr(each, key) for each in slacks)
        held = sum(value >= 1 - 1e-9 for value in values)
        rows.append((title, f"{held} of {len(values)}", *(f"{each:.3g}" for each in _spread(values))))
    worst = ", ".join(
        f"{name} {max(getattr(each, key) for each in slacks):.1e}"
        for name, key in (("Lemma 2", "lemma_2"), ("Lemma 3", "lemma_3"), ("eq. 14", "eq_14"))
    )
    return Table(
        "Bounds on random problems",
        f"Slack: bound over measured value, the smallest over {NUM_STEPS} steps of a problem. Objectives: "
        f"{', '.join(name for name, _ in OBJECTIVES)}; 2 to 5 modalities. Largest violation of identities: {worst}.",
        ("bound", "holds", "least slack", "median slack", "largest slack"),
        tuple(rows),
    )


def by_objective(slacks: Sequence[Slack]) -> Table:
    """Return in how many problems eq. 10 holds in all steps, for every objective."""
    rows = []
    for name, _ in OBJECTIVES:
        values = sorted(each.eq_10 for each in slacks if each.objective == name)
        held = sum(value >= 1 - 1e-9 for value in values)
        rows.append((name, f"{held} of {len(values)}", *(f"{each:.3g}" for each in _spread(values))))
    return Table(
        "Eq. 10 by objective",
        "Eq. 10 as reconstructed, with the larger of the omega_k of both rows. It has no terms for different "
        "coefficients, for gradient outside the modes, or for different Jacobians.",
        ("objective", "holds", "least slack", "median slack", "largest slack"),
        tuple(rows),
    )


def _spread(values: Sequence[float]) -> tuple[float, float, float]:
    return values[0], median(values), values[-1]


def main() -> None:
    """Compute the slack of all problems, print the table, and write the results."""
    slacks = [slack(seed) for seed in range(PROBLEMS)]
    text = "\n".join([table(slacks).markdown(), by_objective(slacks).markdown()])
    print(text)
    (RESULTS / "theory.md").write_text(text, "utf-8")
    (RESULTS / "theory.json").write_text(json.dumps([asdict(each) for each in slacks], indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
