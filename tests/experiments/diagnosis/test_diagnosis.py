"""`diagnose`: the students that it compares, its files, and what it refuses."""

from __future__ import annotations

import html
import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from omnidistill.core.errors import InputError, NotFiniteError
from omnidistill.data.featureset import FeatureSet
from omnidistill.distillation import DistilledSet
from omnidistill.evaluation.theory.theory_content import TheoryContent
from omnidistill.experiments.diagnosis import Diagnosis, diagnose
from omnidistill.experiments.run import DistillResult, Run, distill, open_run
from omnidistill.experiments.run_page import write_report
from omnidistill.models.heads import shared_groups
from omnidistill.report.theory_summary import findings
from omnidistill.training.recipes import Sgd
from small_runs import contents, features, packed, run_distill, small_config


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("diagnose")
    return run_distill(str(packed(folder / "SET")), small_config(), folder / "RUN")


@pytest.fixture(scope="module")
def diagnosis(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Diagnosis:
    return measured(run, folder=tmp_path_factory.mktemp("theory") / "T")


def measured(result: Run | DistillResult | Path, data: FeatureSet | None = None, **arguments: Any) -> Diagnosis:
    return diagnose(result, data, **{"progress": False, **arguments})


def test_the_students_are_those_that_train_on_the_rows(run: Run, diagnosis: Diagnosis) -> None:
    """Distances and discrepancies from students that are trained anew with autograd, without the code under test."""
    data, distilled = run.data(), run.distilled()
    recipe, objective, train = distilled.recipe, distilled.objective, run.data().split("train")
    assert isinstance(recipe, Sgd)
    places = [train.ids.index(name) for name in distilled.provenance.initial_ids]
    rows = {name: x.double() for name, x in distilled.rows().items()}
    real = {name: train.features[name][places].double() for name in rows}
    codes = train.group_codes[places]

    def gradient(heads: list[torch.Tensor], x: dict[str, torch.Tensor], targets: torch.Tensor) -> list[torch.Tensor]:
        leaves = [matrix.clone().requires_grad_() for matrix in heads]
        outputs = torch.stack([x[name] @ leaf.mT for name, leaf in zip(x, leaves, strict=True)])
        return list(torch.autograd.grad(objective.value(outputs, targets), leaves))

    ours = [run.heads(data)[name].double() for name in rows]
    theirs = list(ours)
    batches = recipe.batches(len(distilled), 0)
    assert len(diagnosis.content.steps) == len(batches) == recipe.num_steps
    for step, batch in zip(diagnosis.content.steps, batches, strict=True):
        apart = sum(float((a - b).square().sum()) for a, b in zip(ours, theirs, strict=True)) ** 0.5
        of_set = gradient(ours, {n: x[batch] for n, x in rows.items()}, distilled.targets(batch).double())
        batch_real, same = {n: x[batch] for n, x in real.items()}, shared_groups(codes[batch]).double()
        of_real = gradient(ours, batch_real, same)
        delta = sum(float((a - b).square().sum()) for a, b in zip(of_set, of_real, strict=True)) ** 0.5
        assert step.distance == pytest.approx(apart, rel=1e-9)
        assert step.discrepancy == pytest.approx(delta, rel=1e-9)
        own = gradient(theirs, batch_real, same)
        sizes = recipe.step_sizes
        ours = [w - size * g for w, size, g in zip(ours, sizes, of_set, strict=True)]
        theirs = [w - size * g for w, size, g in zip(theirs, sizes, own, strict=True)]
    _, trained = next(distilled.students(run.heads(data), seed=0, num_runs=1))
    for name, matrix in zip(rows, ours, strict=True):
        torch.testing.assert_close(trained[name][0].double(), matrix, rtol=1e-3, atol=1e-4)


def test_what_it_measures_on_a_hopa_run(diagnosis: Diagnosis) -> None:
    content = diagnosis.content
    for step in content.steps:
        assert max(step.lemma_2, step.lemma_3) < 1e-12
        assert step.eq_14 is not None
        assert step.eq_14 < 1e-10
        assert step.predicted == pytest.approx(step.omega, abs=1e-10)
        assert sum(step.synthetic.shares) == pytest.approx(1)
        assert step.discrepancy <= step.terms.total
        assert min(step.omega[1:]) > 0
    bounds = content.bounds
    for bound in (bounds.lemma_1, bounds.lemma_1_local, bounds.theorem_1_complete):
        assert all(value is None or e <= value for e, value in zip(bounds.distance, bound, strict=True))
    assert set(content.instances) == {"start", "end"}
    assert [each.row for each in content.instances["end"]] == list(range(content.rows))
    assert "omega_k = 0 for k >= 2: does not hold." in diagnosis.summary().replace("\n", " ")


def test_it_writes_its_files_and_the_json_can_be_read(diagnosis: Diagnosis) -> None:
    folder = diagnosis.folder
    assert folder is not None
    names = {path.name for path in folder.iterdir()}
    assert {"theory.json", "theory.txt", "theory.html", "theory-bounds.svg", "theory-spectrum.svg"} <= names
    tree = json.loads((folder / "theory.json").read_text("utf-8"))
    assert tree == diagnosis.to_json() == TheoryContent.from_json(tree, "theory.json").to_json()
    assert (folder / "theory.txt").read_text("utf-8") == diagnosis.summary() + "\n"


def test_the_same_arguments_give_the_same_bytes(run: Run, diagnosis: Diagnosis, tmp_path: Path) -> None:
    assert diagnosis.folder is not None
    measured(run.folder, folder=tmp_path / "again")
    assert contents(tmp_path / "again") == contents(diagnosis.folder)


def test_the_page_of_the_run_shows_the_findings(run: Run, diagnosis: Diagnosis, tmp_path: Path) -> None:
    (copy := tmp_path / "RUN").mkdir()
    assert run.folder is not None
    shutil.copytree(run.folder, copy, dirs_exist_ok=True)
    write_report([copy], tmp_path / "before.html")
    assert "theory-1" not in (tmp_path / "before.html").read_text("utf-8")
    diagnosis.save(copy / "theory")
    write_report([copy], tmp_path / "after.html")
    shown = (tmp_path / "after.html").read_text("utf-8")
    assert '<a href="#theory-1">' in shown
    for finding in findings(diagnosis.content):
        assert html.escape(finding.statement) in shown
    (copy / "theory" / "theory.json").write_text('{"schema": 1}', "utf-8")
    with pytest.raises(InputError, match=r"theory\.json"):
        write_report([copy], tmp_path / "damaged.html")


def test_nothing_is_overwritten_without_force(run: Run, tmp_path: Path) -> None:
    copy = tmp_path / "RUN"
    shutil.copytree(run.folder, copy)
    measured(copy, num_steps=1)
    before = contents(copy)
    with pytest.raises(InputError, match=re.escape("theory.html: already exists; use force=True to replace it")):
        measured(copy, num_steps=2)
    assert contents(copy) == before
    assert len(measured(copy, num_steps=2, force=True).content.steps) == 2
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "theory.txt").write_text("mine", "utf-8")
    with pytest.raises(InputError, match=r"theory\.txt: already exists"):
        measured(copy, num_steps=1, folder=tmp_path / "other")
    assert contents(tmp_path / "other") == {"theory.txt": b"mine"}


def test_real_rows_can_be_the_nearest_or_random_ones(run: Run, tmp_path: Path) -> None:
    ids = {
        how: [each.real_id for each in measured(run, real_rows=how, num_steps=1, folder=tmp_path / how).content.
              instances["start"]]
        for how in ("initial", "nearest", "random")
    }  # fmt: skip
    assert ids["initial"] == list(run.distilled().provenance.initial_ids)
    assert len(set(ids["random"])) == run.distilled().size
    assert ids["random"] != ids["initial"]
    assert sum(a == b for a, b in zip(ids["nearest"], ids["initial"], strict=True)) > len(ids["initial"]) / 2


def test_results_in_memory_and_other_objectives_can_be_diagnosed() -> None:
    data = features(2)
    config = small_config(
        "distill.student.kind=pairwise-wbce", "experts.objective.kind=infonce", "distill.iterations=1"
    )
    result = distill(data, config=config, device="cpu", progress=False)
    found = measured(result, data, num_steps=2)
    assert found.folder is None
    assert not found.content.spectral
    assert found.content.steps[0].predicted is None
    assert "Appendix A.2 (pairwise: full spectrum): holds" in found.summary()
    assert found.page().startswith("<!DOCTYPE html>")


def replaced(run: Run, change: Callable[[DistilledSet], DistilledSet]) -> DistillResult:
    """Return the result in memory, with a changed set."""
    result = run.result(run.data())
    (part,) = result.parts
    return replace(result, parts=(replace(part, distilled=change(part.distilled)),), folder=None)


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ({"momentum": 0.9}, "recipe has momentum 0.9 and weight decay 0, but the theory is about plain SGD"),
        ({"weight_decay": 0.1}, "recipe has momentum 0 and weight decay 0.1"),
        ({"num_steps": 0}, "recipe 'sgd' with 0 steps"),
    ],
)
def test_recipes_without_a_trajectory_of_plain_sgd(run: Run, recipe: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        measured(replaced(run, lambda each: each.with_recipe(each.recipe.evolve(**recipe))), run.data())


def test_other_runs_that_cannot_be_diagnosed(run: Run, tmp_path: Path) -> None:
    data = run.data()
    anchor = distill(data, preset="anchor", size=8, settings=["heads.width=8"], device="cpu", progress=False)
    with pytest.raises(InputError, match=r"recipe 'anchor' with 0 steps, but only SGD"):
        measured(anchor, data)
    pairs = small_config("joint=false", "distill.iterations=1")
    several = distill(data, config=pairs, device="cpu", progress=False)
    with pytest.raises(InputError, match=r"has 3 synthetic sets, one per pair of modalities"):
        measured(several, data)
    lost = replaced(run, lambda each: replace(each, provenance=replace(each.provenance, initial_ids=())))
    with pytest.raises(InputError, match=r"only .* synthetic rows were initialised from a known .*real_rows='nearest'"):
        measured(lost, data)
    with pytest.raises(InputError, match=r"unknown choice of real rows; choose from .*; did you mean 'nearest'"):
        measured(run, real_rows="nearst")
    with pytest.raises(InputError, match=r"num_steps=0: the number of training steps"):
        measured(run, num_steps=0)
    with pytest.raises(InputError, match=r"not a run folder"):
        measured(tmp_path)
    moved = tmp_path / "RUN"
    shutil.copytree(run.folder, moved)
    state = json.loads((moved / "run.json").read_text("utf-8"))
    (moved / "run.json").write_text(json.dumps({**state, "data": str(tmp_path / "gone")}), "utf-8")
    with pytest.raises(InputError, match=r"gone"):
        measured(open_run(moved))
    assert len(measured(open_run(moved), data, num_steps=1).content.steps) == 1


def test_a_student_that_diverges_is_named(run: Run) -> None:
    huge = replaced(run, lambda each: each.with_recipe(each.recipe.evolve(step_sizes=(1e308, 1e308, 1e308))))
    with pytest.raises(NotFiniteError, match=r"heads of the student of .* after \d+ steps: NaN, Inf or too large"):
        measured(huge, run.data())


def test_smaller_step_sizes_after_a_decay(run: Run) -> None:
    slower = replaced(run, lambda each: each.with_recipe(each.recipe.evolve(decay_after=1)))
    steps = measured(slower, run.data(), num_steps=2).content.steps
    assert steps[1].step_size == pytest.approx(steps[0].step_size / 10)
