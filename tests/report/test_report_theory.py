"""Summary, charts and page of a diagnosis, from content that is written by hand."""

from __future__ import annotations

import re
from typing import Any

import pytest

from omnidistill.core.errors import InputError
from omnidistill.evaluation.theory.theory_content import (
    Bounds,
    Excitation,
    InstanceModes,
    SpectrumMeans,
    Terms,
    TheoryContent,
    TheoryStep,
)
from omnidistill.report.theory_charts import theory_charts
from omnidistill.report.theory_page import render_theory
from omnidistill.report.theory_summary import Finding, findings, summary_text

MEANS = SpectrumMeans(sigma=[1.25, 0.5], shares=[0.9, 0.1])


def step(number: int, **changes: Any) -> TheoryStep:
    given = TheoryStep(
        step=number,
        step_size=0.5,
        distance=float(number),
        discrepancy=2.0,
        lipschitz=4.0,
        secant=0.5 if number else None,
        jacobian_norm=3.0,
        synthetic=MEANS,
        real=MEANS,
        real_student=MEANS,
        omega=[1.0, 0.25],
        omega_real=[0.5, 0.5],
        predicted=[1.0, 0.25],
        eps=[0.1, 1.2],
        terms=Terms(modes=[0.5, 0.5], modes_real=[2.0, 1.0], coefficients=1.0, rest=1.0, jacobian=1.0),
        single_mode=0.1,
        lemma_2=1e-15,
        lemma_3=2e-15,
        eq_14=1e-14,
    )
    return given.evolve(**changes)


def instance(row: int, eps: float) -> InstanceModes:
    two = [0.9, 0.1]
    return InstanceModes(
        row=row, real_id=f"<id-{row}>", sigma=two, shares=two, omega=two, real_sigma=two, real_shares=two, eps=[eps, 1]
    )


CONTENT = TheoryContent(
    run="RUN",
    data="<b>data</b>",
    method="HoPA",
    objective="hopa",
    spectral=True,
    tau=0.1,
    modalities=["a", "b"],
    rows=2,
    batch_size=2,
    recipe_steps=8,
    real_rows="initial",
    seed=0,
    steps=[step(0), step(1)],
    bounds=Bounds(
        distance=[0.0, 1.0, 2.0],
        lemma_1=[0.0, 1.5, 4e29],
        lemma_1_local=[0.0, 1.5, 4.0],
        theorem_1=[0.0, 0.5, None],
        theorem_1_single=[0.0, 0.1, 1.0],
        theorem_1_complete=[0.0, 2.0, 8.0],
    ),
    instances={"start": [instance(0, 0.1), instance(1, 0.2)], "end": [instance(0, 0.1), instance(1, 0.2)]},
    excitation=[
        Excitation(objective="the student's objective", step=0, omega=[1.0, 1e-17], energy=[0.5, 0.0], rest=0.5),
        Excitation(objective="InfoNCE", step=0, omega=[1.0, 0.5], energy=[0.5, 0.25], rest=0.25),
    ],
)


def named(content: TheoryContent, name: str) -> Finding:
    (found,) = (each for each in findings(content) if each.statement.startswith(name))
    return found


def test_identities_are_judged_by_their_largest_violation() -> None:
    assert named(CONTENT, "Lemma 2").verdict == named(CONTENT, "Lemma 3").verdict == "holds"
    worse = CONTENT.evolve(steps=[step(0), step(1, lemma_3=2e-12, eq_14=1e-9)])
    assert named(worse, "Lemma 2").verdict == "holds"
    assert named(worse, "Lemma 3") == Finding(
        "Lemma 3 (v_1 = Z^T u_1 / sigma_1)",
        "violated",
        "The two sides differ by at most 2.0e-12, over all instances and steps.",
    )
    assert named(worse, "Eq. 14").verdict == "violated"


def test_which_modes_are_excited() -> None:
    softmax = named(CONTENT, "omega_k = 0")
    assert softmax.verdict == "does not hold"
    assert "modes k >= 2 have 20 % of the sum" in softmax.text
    single = [step(number, omega=[1.0, 1e-17]) for number in range(2)]
    assert named(CONTENT.evolve(steps=single), "omega_k = 0").verdict == "holds"
    pairwise = CONTENT.evolve(spectral=False, steps=[step(0, eq_14=None, predicted=None)])
    assert named(pairwise, "Appendix A.2").verdict == "holds"
    assert "2 of 2 modes are excited" in named(pairwise, "Appendix A.2").text
    assert named(CONTENT, "Gradient outside").text.startswith(
        "Share of the squared gradient on embeddings in no mode: 50 % after 0 steps."
    )


def test_bounds_are_judged_by_step() -> None:
    lemma = named(CONTENT, "Lemma 1")
    assert lemma.verdict == "holds in all steps"
    assert "1.5 times the measured distance after one step, 10^29 times after the last, and 2 times" in lemma.text
    assert "L is at least as large in 2 of 2 steps" in lemma.text
    assert named(CONTENT, "Eq. 10").verdict == "holds in all steps"
    assert "with those of synthetic rows it holds in 0 of 2 steps" in named(CONTENT, "Eq. 10").text
    assert named(CONTENT, "Complete form").verdict == "holds in all steps"
    theorem = named(CONTENT, "Theorem 1")
    assert theorem.verdict == "holds in 1 of 2 steps"
    assert "more than 10^308 times after 2" in theorem.text
    assert named(CONTENT, "Eq. 13").verdict == "premise holds in 2 of 2 steps"
    smaller = Terms(modes=[0.1, 0.1], modes_real=[0.1, 0.1], coefficients=0.1, rest=0.1, jacobian=0.1)
    broken = CONTENT.evolve(steps=[step(0, terms=smaller), step(1)])
    assert named(broken, "Eq. 10").verdict == "holds in 1 of 2 steps"
    assert "the smallest C_J that works in all steps is 30." in named(broken, "Eq. 10").text
    assert named(broken, "Complete form").verdict == "holds in 1 of 2 steps"


def test_equal_rows_have_no_slack_to_report() -> None:
    nothing = Terms(modes=[0.0, 0.0], modes_real=[0.0, 0.0], coefficients=0.0, rest=0.0, jacobian=0.0)
    same = step(0, discrepancy=0.0, terms=nothing, omega=[0.0, 0.0], single_mode=0.0)
    zeros = {key: [0.0, 0.0] for key in Bounds.model_fields}
    content = CONTENT.evolve(steps=[same], bounds=Bounds(**zeros))
    assert "Both rows have the same gradients." in summary_text(content)
    assert named(content, "Lemma 1").text == named(content, "Theorem 1").text
    assert named(content, "Lemma 1").text.startswith("The two students are identical in all steps")


def test_the_summary_is_plain_text() -> None:
    text = summary_text(CONTENT)
    assert text.startswith(
        "HoPA on <b>data</b>: 2 synthetic rows of 2 modalities, 2 steps of 2 rows (the recipe has 8)."
    )
    assert max(map(len, text.splitlines())) <= 100


def test_charts_have_all_curves() -> None:
    charts = {chart.name: chart.svg for chart in theory_charts(CONTENT)}
    assert list(charts) == [
        *("spectrum", "shares", "omega", "eps", "discrepancy", "terms", "lipschitz", "bounds", "instances"),
    ]
    for curve in ("measured", "Lemma 1", "Theorem 1", "Thm. 1, one mode", "Thm. 1, complete"):
        assert f">{curve}</text>" in charts["bounds"]


def test_the_page_is_self_contained_and_escaped() -> None:
    page = render_theory(CONTENT)
    assert page == render_theory(CONTENT)
    assert "<b>data" not in page
    assert "&lt;b&gt;data" in page
    assert "<id-1>" not in page
    assert page.index("&lt;id-1&gt;") < page.index("&lt;id-0&gt;")  # the farthest first
    assert page.count("<script") == 1  # of the page itself
    assert not re.search(r"https?://(?!www\.w3\.org)", page)
    assert "<td>0</td>" in page  # rounding noise is not shown
    assert page.count("<figure>") == 9


def test_damaged_content_is_named() -> None:
    tree = CONTENT.to_json()
    assert TheoryContent.from_json(tree, "theory.json").to_json() == tree
    with pytest.raises(InputError, match=r"theory\.json: .*schema is 99"):
        TheoryContent.from_json({**tree, "schema": 99}, "theory.json")
    with pytest.raises(InputError, match=r"field tau is .*run 'omnidistill diagnose' again"):
        TheoryContent.from_json({**tree, "tau": "x"}, "theory.json")
