"""Two iterations of every combination of optimiser, similarity, student and rollout, with and without blending."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from omnidistill.distillation import DistilledSet, ValidationResult
from omnidistill.evaluation.paper_protocol import sgd_recipe
from small_runs import Loop, records, small_config

OPTIMISERS = {"adam": "{kind='adam'}", "sgd": "{kind='sgd', rows=0.1, similarity=0.001}"}
SIMILARITIES = {"identity": "{kind='identity'}", "low-rank": "{kind='low-rank', rank=3}", "full": "{kind='full'}"}
STUDENTS = ("hopa", "pairwise-wbce", "infonce")
ROLLOUTS = ("dual", "bptt", "tesla", "auto")


@pytest.fixture(scope="module")
def loop(tmp_path_factory: pytest.TempPathFactory) -> Loop:
    return Loop.make(tmp_path_factory.mktemp("experts"))


def settings(
    optimiser: str = "adam", similarity: str = "low-rank", student: str = "hopa", rollout: str = "auto", *more: str
) -> tuple[str, ...]:
    return (
        "distill.iterations=2",
        "distill.validate_every=0",
        "distill.initial_step_size=0.5",
        f"distill.optimiser={OPTIMISERS[optimiser]}",
        f"distill.similarity={SIMILARITIES[similarity]}",
        f"distill.student.kind={student}",
        f"distill.rollout={rollout}",
        *more,
    )


@pytest.mark.parametrize("rollout", ROLLOUTS)
@pytest.mark.parametrize("student", STUDENTS)
@pytest.mark.parametrize("similarity", SIMILARITIES)
@pytest.mark.parametrize("optimiser", OPTIMISERS)
def test_two_iterations(
    optimiser: str, similarity: str, student: str, rollout: str, loop: Loop, tmp_path: Path
) -> None:
    """Losses are finite, rows and step sizes change, and the similarity changes only if it is learned."""
    made = loop.distill(tmp_path, small_config(*settings(optimiser, similarity, student, rollout))).distilled
    losses = [record["loss"] for record in records(tmp_path) if "loss" in record]
    assert len(losses) == 2
    assert all(math.isfinite(loss) and loss > 0 for loss in losses)
    rows = loop.data.select([loop.data.ids.index(name) for name in made.provenance.initial_ids]).features
    for name, learned in made.rows().items():
        assert bool(torch.isfinite(learned).all())
        assert not torch.equal(learned, rows[name])
    assert all(size > 0 and size != pytest.approx(0.5, abs=1e-9) for size in sgd_recipe(made).step_sizes)
    assert torch.equal(made.similarity(), torch.eye(10)) == (similarity == "identity")
    assert DistilledSet.load(tmp_path / "distilled").recipe == made.recipe


@pytest.mark.parametrize("student", STUDENTS)
def test_exact_rollouts_agree_and_tesla_has_their_loss(student: str, loop: Loop, tmp_path: Path) -> None:
    """All rollouts give the same first loss; dual and BPTT also give the same update."""
    losses, sets = {}, {}
    for rollout in ("dual", "bptt", "tesla"):
        folder = tmp_path / rollout
        sets[rollout] = loop.distill(folder, small_config(*settings("sgd", "low-rank", student, rollout))).distilled
        losses[rollout] = next(record["loss"] for record in records(folder) if "loss" in record)
    assert losses["bptt"] == pytest.approx(losses["dual"], rel=1e-3)
    assert losses["tesla"] == pytest.approx(losses["dual"], rel=1e-3)
    for name, rows in sets["dual"].rows().items():
        torch.testing.assert_close(sets["bptt"].rows()[name], rows, rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize("student", STUDENTS)
@pytest.mark.parametrize("rollout", ["dual", "tesla"])
def test_blended(rollout: str, student: str, loop: Loop, tmp_path: Path) -> None:
    plain, blended = settings("adam", "low-rank", student, rollout), ("distill.blend=true",)
    loop.distill(tmp_path / "plain", small_config(*plain))
    loop.distill(tmp_path / "blended", small_config(*plain, *blended))
    one, other = (records(tmp_path / name)[1]["loss"] for name in ("plain", "blended"))
    assert math.isfinite(other)
    assert one != other


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_the_first_update_of_adam_is_its_learning_rate(schedule: str, loop: Loop, tmp_path: Path) -> None:
    """Adam moves every number by its rate at first: one rate for rows, similarity and log step sizes each."""
    rates = ("distill.optimiser={kind='adam', rows=0.125, similarity=0.03125, step_sizes=0.0625}",)
    more = (*rates, "distill.iterations=1", f"distill.schedule={schedule}")
    made = loop.distill(tmp_path, small_config(*settings("adam", "full", "infonce", "auto"), *more)).distilled
    rows = loop.data.select([loop.data.ids.index(name) for name in made.provenance.initial_ids]).features
    moved = torch.cat([(learned - rows[name]).abs().flatten() for name, learned in made.rows().items()])
    torch.testing.assert_close(moved.quantile(0.5), torch.tensor(0.125), rtol=1e-2, atol=0)
    assert float(moved.max()) < 0.126
    assert float((made.similarity() - torch.eye(10)).abs().max()) == pytest.approx(0.03125, rel=1e-2)
    for size in sgd_recipe(made).step_sizes:
        assert abs(math.log(size / 0.5)) == pytest.approx(0.0625, rel=1e-2)


def test_clipping_shortens_the_step_of_the_rows(loop: Loop, tmp_path: Path) -> None:
    """SGD without momentum at rate 1 moves the rows, all together, by no more than the norm allowed."""
    sgd = ("distill.optimiser={kind='sgd', rows=1.0, momentum=0.0}", "distill.iterations=1")
    steps = []
    for name, clip in (("free", ()), ("clipped", ("distill.clip_norm=0.001",))):
        config = small_config(*settings(), *sgd, *clip)
        made = loop.distill(tmp_path / name, config).distilled
        rows = loop.data.select([loop.data.ids.index(identity) for identity in made.provenance.initial_ids]).features
        steps.append(math.hypot(*(float((made.rows()[key] - rows[key]).norm()) for key in rows)))
    assert steps[0] > 0.002
    assert steps[1] == pytest.approx(0.001, rel=1e-2)


def test_the_best_on_validation_is_kept_with_its_number_of_steps(loop: Loop, tmp_path: Path) -> None:
    """The result is the set of the iteration with the best score, the first in case of a tie."""
    config = small_config("distill.iterations=6", "distill.validate_every=2")
    seen: list[DistilledSet] = []

    def validate(distilled: DistilledSet) -> ValidationResult:
        seen.append(distilled)
        return ValidationResult([0.1, 0.5, 0.5, 0.2][len(seen) - 1], 10 * len(seen))

    made = loop.distill(tmp_path, config, validate=validate).distilled
    assert [found.provenance.iteration for found in seen] == [0, 2, 4, 6]
    assert made.provenance.iteration == 2
    assert made.provenance.validation == 0.5
    assert made.recipe.num_steps == 20
    assert all(torch.equal(made.tensors[name], tensor) for name, tensor in seen[1].tensors.items())
    assert not torch.equal(seen[1].rows()["a"], seen[2].rows()["a"])
