"""Summarise in plain words which statements of the theory of HoPA hold on a run, and how loose the bounds are.

Statements are checked on the measured numbers only. A bound holds if the measured value exceeds it by no more than
rounding (1e-9 of the bound). Lemmas 2 and 3 hold if their sides differ by at most 1e-12. For eq. 14 the tolerance is
1e-10, because its measurement divides by singular values, which may be small.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median

from omnidistill.evaluation.theory.theory_content import TheoryContent, TheoryStep

_ROUNDING = 1e-9
_IDENTITY, _EQ_14 = 1e-12, 1e-10
_NEGLIGIBLE = 1e-9
_WIDTH = 100


@dataclass(frozen=True)
class Finding:
    """A statement of the theory, compared with the measurements.

    Attributes:
        statement: name of the statement.
        verdict: whether the statement holds on these data, in words.
        text: sentences about the measurements.
    """

    statement: str
    verdict: str
    text: str


def summary_text(content: TheoryContent) -> str:
    """Return the findings as plain text, one paragraph each."""
    lines = [headline(content), *(f"{each.statement}: {each.verdict}. {each.text}" for each in findings(content))]
    return "\n\n".join(textwrap.fill(line, _WIDTH, break_long_words=False) for line in lines)


def headline(content: TheoryContent) -> str:
    """Return sentences that describe the diagnosed run: method, data, number of steps and rows."""
    count = len(content.steps)
    of_recipe = "" if count == content.recipe_steps else f" (the recipe has {content.recipe_steps})"
    return (
        f"{content.method} on {content.data}: {content.rows} synthetic rows of {len(content.modalities)} modalities, "
        f"{count} steps of {content.batch_size} rows{of_recipe}. Each synthetic row is compared with a real row "
        f"({_ASSIGNED[content.real_rows]}). Student objective: {content.objective}."
    )


def findings(content: TheoryContent) -> list[Finding]:
    """Return the findings for all statements of the theory, in the order of the HoPA paper."""
    return [*_identities(content), *_modes(content), *_growth(content), *_discrepancy(content), *_theorem(content)]


def holds(measured: float, bound: float | None) -> bool:
    """Return whether a measured value is at most the bound, up to rounding. None stands for an infinite bound."""
    return bound is None or measured <= bound * (1 + _ROUNDING)


def _identities(content: TheoryContent) -> Iterator[Finding]:
    named = {
        "Lemma 2 (best rank-one Gram matrix)": [step.lemma_2 for step in content.steps],
        "Lemma 3 (v_1 = Z^T u_1 / sigma_1)": [step.lemma_3 for step in content.steps],
    }
    for name, values in named.items():
        worst = max(values)
        verdict = "holds" if worst <= _IDENTITY else "violated"
        yield Finding(name, verdict, f"The two sides differ by at most {worst:.1e}, over all instances and steps.")
    known = [step.eq_14 for step in content.steps if step.eq_14 is not None]
    if known:
        verdict = "holds" if max(known) <= _EQ_14 else "violated"
        text = (
            f"Measured and predicted coefficients differ by at most {max(known):.1e}. The instance term L_ins does not "
            "depend on the singular values, so it adds nothing to them."
        )
        yield Finding("Eq. 14 (coefficients of the modes)", verdict, text)


def _modes(content: TheoryContent) -> Iterator[Finding]:
    first, last = content.steps[0], content.steps[-1]
    total = sum(first.omega)
    higher = sum(first.omega[1:]) / total if total else 0.0
    excited = sum(value > _NEGLIGIBLE * max(total, _NEGLIGIBLE) for value in first.omega)
    numbers = f"Before the first step, mean omega_k = {_numbers(first.omega)} for k = 1, 2, ...; before the last step, "
    numbers += f"{_numbers(last.omega)} (real rows: {_numbers(first.omega_real)} and {_numbers(last.omega_real)}). "
    numbers += f"At first, modes k >= 2 have {_percent(higher)} of the sum. "
    if content.spectral:
        text = numbers + (
            "The softmax puts p_k / tau on every mode k >= 2, so its gradient is not single-mode."
            if higher > _NEGLIGIBLE
            else "This objective acts on the first mode only."
        )
        yield Finding("omega_k = 0 for k >= 2", "holds" if higher <= _NEGLIGIBLE else "does not hold", text)
    else:
        full = excited == len(first.omega)
        text = numbers + f"{excited} of {len(first.omega)} modes are excited."
        yield Finding("Appendix A.2 (pairwise: full spectrum)", "holds" if full else "does not hold", text)
    own = [each for each in content.excitation if each.objective == content.excitation[0].objective]
    rest = "; ".join(f"{_percent(each.rest)} after {each.step} steps" for each in own)
    text = f"Share of the squared gradient on embeddings in no mode: {rest}. Eq. 10 and Theorem 1 do not see this part."
    yield Finding("Gradient outside the modes", "measured", text)
    text = (
        f"Mean sigma_1 of synthetic rows {first.synthetic.sigma[0]:.3f} -> {last.synthetic.sigma[0]:.3f}, of real rows "
        f"at the same heads {first.real.sigma[0]:.3f} -> {last.real.sigma[0]:.3f} (at most "
        f"{math.sqrt(len(content.modalities)):.3f}). Mean p_1: {first.synthetic.shares[0]:.3f} -> "
        f"{last.synthetic.shares[0]:.3f}, and {first.real.shares[0]:.3f} -> {last.real.shares[0]:.3f}. Mean distance "
        f"eps_k of modes, at most 2: {_numbers(first.eps)} -> {_numbers(last.eps)}."
    )
    yield Finding("Spectra of synthetic and real rows", "measured", text)


def _growth(content: TheoryContent) -> Iterator[Finding]:
    bounds, steps = content.bounds, content.steps
    constants = [step.lipschitz for step in steps]
    growth = 1 + max(step.step_size * step.lipschitz for step in steps)
    local = _counted(bounds.distance, bounds.lemma_1_local)
    if not any(bounds.distance):
        yield Finding("Lemma 1 (eq. 4)", "holds in all steps", _IDENTICAL)
        return
    text = (
        f"The students are {bounds.distance[-1]:.3g} apart after {len(steps)} steps. The bound is "
        f"{_times(bounds.lemma_1[1], bounds.distance[1])} the measured distance after one step, "
        f"{_times(bounds.lemma_1[-1], bounds.distance[-1])} after the last, and "
        f"{_times(bounds.lemma_1_local[-1], bounds.distance[-1])} with the L of each step, which {local}. L is "
        f"{min(constants):.3g} to {max(constants):.3g} and eta at most {max(step.step_size for step in steps):.3g}, so "
        f"the bound grows by a factor of up to {growth:.3g} per step."
    )
    if secants := [step.secant for step in steps if step.secant is not None]:
        enough = sum(step.secant is None or holds(step.secant, step.lipschitz) for step in steps)
        text += (
            f" Between the two students, the gradient changes by at most {max(secants):.3g} per unit of distance; L is "
            f"at least as large in {enough} of {len(steps)} steps."
        )
    yield Finding("Lemma 1 (eq. 4)", _counted(bounds.distance, bounds.lemma_1), text)


def _discrepancy(content: TheoryContent) -> Iterator[Finding]:
    steps, constant = content.steps, max(step.jacobian_norm for step in content.steps)
    sides = [(step.discrepancy, step.terms.eq_10 * constant / step.jacobian_norm) for step in steps]
    of_set = [(step.discrepancy, sum(step.terms.modes) * constant / step.jacobian_norm) for step in steps]
    ratios = [bound / measured for measured, bound in sides if measured > 0]
    text = "Both rows have the same gradients."
    if ratios:
        needed = f"{constant / min(ratios):.3g}" if min(ratios) > 0 else "infinity"
        text = (
            f"The bound is {min(ratios):.3g} to {max(ratios):.3g} times Delta with the larger of the two omega_k "
            f"(synthetic or real rows); with those of synthetic rows it {_kept(of_set)}. C_J is {constant:.3g}, the "
            f"largest norm of a Jacobian; the smallest C_J that works in all steps is {needed}. Eq. 10 assumes equal "
            "coefficients and Jacobians of both rows, and no gradient outside the modes."
        )
    yield Finding("Eq. 10 (Delta by modes)", _kept(sides), text)
    complete = [(step.discrepancy, step.terms.total) for step in steps]
    loose = [bound / measured for measured, bound in complete if measured > 0]
    text = f"With the missing terms (own derivation). Shares of the bound: {_term_shares(steps)}." + (
        f" It is {median(loose):.3g} times Delta in the median step." if loose else ""
    )
    yield Finding("Complete form of eq. 10", _kept(complete), text)


def _theorem(content: TheoryContent) -> Iterator[Finding]:
    bounds, last, count = content.bounds, content.bounds.distance[-1], len(content.steps)
    complete = _counted(bounds.distance, bounds.theorem_1_complete)
    text = (
        f"The bound is {_times(bounds.theorem_1[1], bounds.distance[1])} the measured distance after one step and "
        f"{_times(bounds.theorem_1[-1], last)} after {count}. It inherits eq. 10 in every step, and the growth of "
        "Lemma 1, which hides violations of eq. 10. With the complete form of eq. 10 and the L and C_J of each step it "
        f"is {_times(bounds.theorem_1_complete[-1], last)} the distance and {complete}."
    )
    if not any(bounds.distance):
        text = _IDENTICAL
    yield Finding("Theorem 1 (eq. 12)", _counted(bounds.distance, bounds.theorem_1), text)
    premise = sum(max(step.omega[0], step.omega_real[0]) >= 1 for step in content.steps)
    full, single = bounds.theorem_1[-1], bounds.theorem_1_single[-1]
    ratio = "" if not full or single is None else f" Along these steps it is {_times(single, full)} the other bound."
    text = (
        "The single-mode bound (L_mod = -sigma_1, omega_1 = 1) is smaller if omega_1 is at most that of the full "
        f"spectrum, here the larger mean of both rows; for the softmax this needs p_1 <= 1 - tau = "
        f"{1 - content.tau:.3g}.{ratio}"
    )
    yield Finding("Eq. 13 (single-mode bound is smaller)", f"premise holds in {premise} of {count} steps", text)


def _term_shares(steps: Sequence[TheoryStep]) -> str:
    """Return the mean share of each term of the complete bound on the gradient distance (see `Terms`), as text."""
    named = {
        "modes": [sum(step.terms.modes) / step.terms.total for step in steps if step.terms.total],
        "coefficients": [step.terms.coefficients / step.terms.total for step in steps if step.terms.total],
        "outside the modes": [step.terms.rest / step.terms.total for step in steps if step.terms.total],
        "Jacobians": [step.terms.jacobian / step.terms.total for step in steps if step.terms.total],
    }
    return ", ".join(f"{name} {_percent(sum(each) / max(len(each), 1))}" for name, each in named.items())


def _counted(measured: Sequence[float], bounds: Sequence[float | None]) -> str:
    pairs = list(zip(measured, bounds, strict=True))[1:]
    return _in_steps(sum(holds(*pair) for pair in pairs), len(pairs))


def _kept(sides: Sequence[tuple[float, float]]) -> str:
    return _in_steps(sum(holds(*pair) for pair in sides), len(sides))


def _in_steps(kept: int, count: int) -> str:
    return "holds in all steps" if kept == count else f"holds in {kept} of {count} steps"


def _times(bound: float | None, measured: float) -> str:
    """Return the ratio of the bound to the measured value as text, such as "3.5 times"."""
    if bound is None:
        return "more than 10^308 times"
    if not measured:
        return "infinitely many times" if bound else "1 times"
    ratio = bound / measured
    return f"{ratio:.3g} times" if ratio < 1e4 else f"10^{math.log10(bound) - math.log10(measured):.0f} times"


def _numbers(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.3g}" for value in values)


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


_IDENTICAL = "The two students are identical in all steps, so there is no distance to bound."
_ASSIGNED = {
    "initial": "the row from which it was initialised",
    "nearest": "the nearest training row",
    "random": "a random training row",
}
