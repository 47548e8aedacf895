"""Charts of the theory of HoPA at every step of a student: spectra, coefficients, discrepancies and bounds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from omnidistill.evaluation.theory.theory_content import InstanceModes, TheoryContent, TheoryStep
from omnidistill.report.curves import Point, line_chart

_X = "steps done"
MAX_MODES = 3
"""Number of modes that charts show."""


@dataclass(frozen=True)
class TheoryChart:
    """A chart: short name for its file, title, and the text of its SVG element."""

    name: str
    title: str
    svg: str


def theory_charts(content: TheoryContent) -> Iterator[TheoryChart]:
    """Yield all charts of a diagnosis. The same content gives the same bytes."""
    steps, bounds = content.steps, content.bounds
    num_modes = min(len(steps[0].omega), MAX_MODES)
    modes = range(num_modes)

    def curve(value: Callable[[TheoryStep], float | None]) -> list[Point]:
        return [(float(step.step), y) for step in steps if (y := value(step)) is not None]

    def by_mode(name: str, values: Callable[[TheoryStep], Sequence[float]]) -> dict[str, list[Point]]:
        return {f"{name}{k + 1}": [(float(step.step), values(step)[k]) for step in steps] for k in modes}

    yield _chart(
        "spectrum",
        "Singular values, mean over the batch",
        {
            **by_mode("set: σ", lambda step: step.synthetic.sigma),
            **by_mode("real: σ", lambda step: step.real.sigma),
        },
        "singular value",
    )
    yield _chart(
        "shares",
        "p = softmax(σ / τ), mean over the batch",
        {**by_mode("set: p", lambda step: step.synthetic.shares), **by_mode("real: p", lambda step: step.real.shares)},
        "share",
    )
    yield _chart(
        "omega",
        "Coefficients ω of the modes (eq. 11 and 14), mean over the batch",
        {**by_mode("set: ω", lambda step: step.omega), **by_mode("real: ω", lambda step: step.omega_real)},
        "ω, log scale",
        log_y=True,
    )
    yield _chart(
        "eps",
        "Distance ε between modes of synthetic and real rows (at most 2)",
        by_mode("ε", lambda step: step.eps),
        "ε",
    )
    constant = max(step.jacobian_norm for step in steps)
    yield _chart(
        "discrepancy",
        "Discrepancy of the gradients and its bounds (eq. 10)",
        {
            "Δ, measured": curve(lambda step: step.discrepancy),
            "eq. 10, ω of set": curve(lambda step: sum(step.terms.modes) * constant / step.jacobian_norm),
            "eq. 10, ω of real": curve(lambda step: sum(step.terms.modes_real) * constant / step.jacobian_norm),
            "complete bound": curve(lambda step: step.terms.total),
        },
        "norm, log scale",
        log_y=True,
    )
    yield _chart(
        "terms",
        "Terms of the complete bound",
        {
            "modes": curve(lambda step: sum(step.terms.modes)),
            "coefficients": curve(lambda step: step.terms.coefficients),
            "outside modes": curve(lambda step: step.terms.rest),
            "Jacobians": curve(lambda step: step.terms.jacobian),
        },
        "norm, log scale",
        log_y=True,
    )
    yield _chart(
        "lipschitz",
        "Local Lipschitz constant of the gradient on real rows",
        {"L, Hessian": curve(lambda step: step.lipschitz), "secant": curve(lambda step: step.secant)},
        "per unit, log scale",
        log_y=True,
    )
    yield _chart(
        "bounds",
        "Distance of the two students and its bounds (Lemma 1, Theorem 1)",
        {
            "measured": _numbered(bounds.distance),
            "Lemma 1": _numbered(bounds.lemma_1),
            "Lemma 1, local L": _numbered(bounds.lemma_1_local),
            "Theorem 1": _numbered(bounds.theorem_1),
            "Thm. 1, one mode": _numbered(bounds.theorem_1_single),
            "Thm. 1, complete": _numbered(bounds.theorem_1_complete),
        },
        "distance, log scale",
        log_y=True,
    )
    yield _chart(
        "instances",
        "p of the first mode, one point per instance, sorted",
        {
            "set, start": _sorted(content.instances["start"], lambda each: each.shares[0]),
            "set, end": _sorted(content.instances["end"], lambda each: each.shares[0]),
            "real, start": _sorted(content.instances["start"], lambda each: each.real_shares[0]),
            "real, end": _sorted(content.instances["end"], lambda each: each.real_shares[0]),
        },
        "p of mode 1",
        x_label="instance, by rank",
    )


def _chart(
    name: str,
    title: str,
    drawn: Mapping[str, Sequence[Point]],
    y_label: str,
    *,
    x_label: str = _X,
    log_y: bool = False,
) -> TheoryChart:
    return TheoryChart(name, title, line_chart(drawn, title=title, x_label=x_label, y_label=y_label, log_y=log_y))


def _numbered(values: Sequence[float | None]) -> list[Point]:
    return [(float(number), value) for number, value in enumerate(values) if value is not None]


def _sorted(instances: Sequence[InstanceModes], value: Callable[[InstanceModes], float]) -> list[Point]:
    return [(float(rank), y) for rank, y in enumerate(sorted(map(value, instances)), start=1)]
