"""A distilled set trains the same students after it is saved and loaded, any number of times."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch

from omnidistill.core.streams import Streams
from omnidistill.distillation import DistilledSet, Provenance
from omnidistill.evaluation.paper_protocol import sgd_recipe
from omnidistill.io.artifacts import load_artifact
from omnidistill.models.heads import Heads
from omnidistill.models.similarities import similarities
from omnidistill.training.recipes import Sgd
from omnidistill.training.rollout.students import draw_batches
from small_runs import Loop, shipped, small_config, widths

RATES = ("rows", "similarity", "step_sizes")
STUDENTS = ("hopa", "pairwise-wbce", "infonce")


@pytest.fixture(scope="module")
def loop(tmp_path_factory: pytest.TempPathFactory) -> Loop:
    return Loop.make(tmp_path_factory.mktemp("experts"))


@pytest.fixture(scope="module")
def distilled(loop: Loop, tmp_path_factory: pytest.TempPathFactory) -> DistilledSet:
    """A set that has moved away from real rows and from S = I."""
    config = small_config("distill.iterations=12")
    return loop.distill(
        tmp_path_factory.mktemp("run"), config, provenance=Provenance(method="smoke", data="planted")
    ).distilled


def equal(one: Heads, other: Heads) -> bool:
    return list(one) == list(other) and all(torch.equal(one[name], other[name]) for name in one)


def test_what_comes_back_from_disk_trains_the_same_bits(distilled: DistilledSet, loop: Loop, tmp_path: Path) -> None:
    distilled.save(tmp_path / "one")
    again = DistilledSet.load(tmp_path / "one")
    again.save(tmp_path / "two")
    for found in (again, DistilledSet.load(tmp_path / "two")):
        assert found.recipe == distilled.recipe
        assert found.spec.to_json() | {"preprocessing": {}} == distilled.spec.to_json()
        assert found.modalities == distilled.modalities
        assert found.provenance == distilled.provenance
        assert torch.equal(found.similarity(), distilled.similarity())
        assert equal(found.rows(), distilled.rows())
        assert equal(found.preprocessing.means, distilled.preprocessing.means)
        assert found.preprocessing.to_meta() == distilled.preprocessing.to_meta()
        for seed in (0, 5):
            assert equal(found.train(loop.start, seed), distilled.train(loop.start, seed))


@pytest.mark.parametrize("student", STUDENTS)
def test_training_is_plain_sgd_by_the_recipe(student: str, loop: Loop, tmp_path: Path) -> None:
    """Training equals torch.optim.SGD with autograd in float64: step size per modality, momentum, weight decay."""
    made = loop.distill(tmp_path, small_config(f"distill.student.kind={student}")).distilled
    recipe = Sgd(step_sizes=(0.5, 1.0, 1.5), num_steps=7, batch_size=4, momentum=0.6, weight_decay=0.01)
    made = made.with_recipe(recipe)
    heads = {name: matrix.double().clone().requires_grad_() for name, matrix in loop.start.items()}
    groups = [{"params": [matrix], "lr": size} for matrix, size in zip(heads.values(), recipe.step_sizes, strict=True)]
    optimiser = torch.optim.SGD(groups, momentum=0.6, weight_decay=0.01)
    objective = made.spec.objective.bind(made.modalities)
    similarity = made.similarity().double()
    for batch in draw_batches(len(made), 4, 7, Streams(3)["students/0"]):
        outputs = torch.stack([made.rows()[name][batch].double() @ matrix.T for name, matrix in heads.items()])
        optimiser.zero_grad()
        objective.value(outputs, similarity[batch][:, batch]).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    trained = made.train(loop.start, seed=3)
    for name, matrix in heads.items():
        torch.testing.assert_close(trained[name].double(), matrix.detach(), rtol=1e-3, atol=1e-4)
        assert not torch.allclose(trained[name], loop.start[name], atol=1e-2)


def test_train_is_the_first_of_the_students(distilled: DistilledSet, loop: Loop) -> None:
    """Batches of four of the ten rows, so that their order counts."""
    distilled = distilled.with_recipe(distilled.recipe.evolve(batch_size=4))
    (steps, heads), *others = distilled.students(loop.start, seed=4, num_runs=3)
    assert (steps, others) == (distilled.recipe.num_steps, [])
    for name, matrix in distilled.train(loop.start, seed=4).items():
        torch.testing.assert_close(matrix, heads[name][0], rtol=1e-3, atol=1e-4)
        assert not torch.allclose(heads[name][0], heads[name][1])
    assert not equal(distilled.train(loop.start, 4), distilled.train(loop.start, 5))


def test_a_recipe_that_names_its_batches_gives_every_student_the_same(loop: Loop, tmp_path: Path) -> None:
    """What the outer loop matched is what its users train: the loss of the first iteration, by hand."""
    config = small_config(
        "distill.order=fixed", "distill.iterations=1", "distill.batch_size=4", "distill.outer.max_start_epoch=1", seed=5
    )
    run = loop.distill(tmp_path, config)
    made = run.distilled
    assert sgd_recipe(made).order == 5
    assert DistilledSet.load(tmp_path / "distilled").recipe == made.recipe
    assert equal(made.train(loop.start, seed=1), made.train(loop.start, seed=2))
    ((_, heads),) = made.students(loop.start, seed=0, num_runs=3)
    assert all(torch.equal(matrix[run], matrix[0]) for matrix in heads.values() for run in range(3))
    anyhow = made.with_recipe(made.recipe.evolve(order=None))
    assert not equal(anyhow.train(loop.start, seed=1), anyhow.train(loop.start, seed=2))


def test_a_fixed_order_is_that_of_the_iterations(loop: Loop, tmp_path: Path) -> None:
    """Rows that hardly move train the same student in every iteration, unless its batches change."""
    still = ["distill.iterations=3", "distill.batch_size=4", "distill.outer.max_start_epoch=1", "experts.num_experts=1"]
    still += [f"distill.optimiser={{ kind='adam', {', '.join(f'{name}=1e-12' for name in RATES)} }}"]
    for order, same in (("fixed", True), ("any", False)):
        loop.distill(tmp_path / order, small_config(f"distill.order={order}", *still))
        losses = [json.loads(line).get("loss") for line in (tmp_path / order / "metrics.jsonl").open()][1:]
        assert (losses[2] == pytest.approx(losses[0], rel=1e-6)) is same  # of one expert; there are two


def test_training_leaves_heads_and_set_as_they_were(distilled: DistilledSet, loop: Loop) -> None:
    start = {name: matrix.clone() for name, matrix in loop.start.items()}
    rows = {name: matrix.clone() for name, matrix in distilled.rows().items()}
    distilled.train(loop.start)
    assert equal(loop.start, start)
    assert equal(distilled.rows(), rows)


def test_another_number_of_steps(distilled: DistilledSet, loop: Loop) -> None:
    longer = distilled.with_steps(11)
    assert (longer.recipe.num_steps, distilled.recipe.num_steps == 11) == (11, False)
    ((steps, _),) = longer.students(loop.start, seed=0, num_runs=1)
    assert steps == 11
    _, (steps, heads) = longer.students(loop.start, seed=0, num_runs=1, checkpoints=[3, 11])
    assert steps == 11
    torch.testing.assert_close(heads["a"][0], longer.train(loop.start)["a"])


def test_bytes_are_those_of_the_files_that_training_needs(distilled: DistilledSet, tmp_path: Path) -> None:
    """10 rows of every modality, a diagonal and two factors of rank 2, four bytes each; means in one byte; the rest is
    text: the header of the tensors and the manifest. The provenance does not count, and training does not need it.
    """
    assert len(distilled) == 10
    distilled.save(tmp_path / "all")
    assert distilled.bytes == shipped(tmp_path / "all") == DistilledSet.load(tmp_path / "all").bytes
    numbers = 4 * 10 * (sum(widths(3).values()) + 1 + 2 * 2) + sum(widths(3).values())
    (tensors,) = (tmp_path / "all").glob("*.safetensors")
    header = 8 + int.from_bytes(tensors.read_bytes()[:8], "little")
    manifest = (tmp_path / "all" / "manifest.json").stat().st_size
    assert distilled.bytes == numbers + header + manifest
    assert manifest < 1400
    (tmp_path / "all" / "provenance.json").unlink()
    bare = DistilledSet.load(tmp_path / "all")
    assert bare.bytes == distilled.bytes
    assert equal(bare.rows(), distilled.rows())
    for kind, numbers in (("identity", 0), ("full", 10)):
        other = dataclasses.replace(
            distilled,
            spec=dataclasses.replace(distilled.spec, similarity=similarities.build(kind)),
            tensors={
                **{name: tensor for name, tensor in distilled.tensors.items() if name.startswith("rows/")},
                **({"similarity/matrix": torch.eye(10)} if kind == "full" else {}),
            },
        )
        other.save(tmp_path / kind)
        assert other.bytes == shipped(tmp_path / kind)
        assert sum(x.nbytes for x in other.tensors.values()) == 4 * 10 * (sum(widths(3).values()) + numbers)
        assert torch.equal(other.similarity(), torch.eye(10))


def test_the_similarity_is_that_of_its_factors(distilled: DistilledSet) -> None:
    tensors = {name.removeprefix("similarity/"): tensor for name, tensor in distilled.tensors.items()}
    expected = torch.diag(tensors["diagonal"]) + tensors["left"] @ tensors["right"].T / 2
    torch.testing.assert_close(distilled.similarity(), expected)
    assert not torch.equal(distilled.similarity(), torch.eye(10))
    batches = torch.tensor([[1, 7, 4], [9, 0, 3]])
    for batch, targets in zip(batches, distilled.targets(batches), strict=True):
        torch.testing.assert_close(targets, expected[batch][:, batch])


def test_as_features_it_is_like_any_other_set(distilled: DistilledSet) -> None:
    features = distilled.as_features()
    assert features.split_sizes == {"train": 10}
    assert features.modalities == distilled.modalities
    assert len(set(features.ids)) == len(set(features.groups)) == 10
    assert equal(features.features, distilled.rows())
    assert features.preprocessing is distilled.preprocessing
    assert features.pairing is not None
    low, high = features.pairing.aminmax()
    assert 0 <= low <= high <= 1
    inside = (distilled.similarity() > 0) & (distilled.similarity() < 1)
    assert torch.equal(features.pairing[inside], distilled.similarity()[inside])


def test_provenance_says_where_it_comes_from(distilled: DistilledSet, loop: Loop) -> None:
    provenance = distilled.provenance
    assert set(provenance.initial_ids) <= set(loop.data.split("train").ids)
    assert len(set(provenance.initial_ids)) == 10
    assert (provenance.method, provenance.data) == ("smoke", "planted")
    assert provenance.iteration is not None
    assert 0 <= provenance.iteration <= 12
    assert provenance.validation is not None
    assert 0 <= provenance.validation <= 1
    for name, means in loop.data.preprocessing.means.items():
        assert torch.equal(distilled.preprocessing.means[name], means)


def test_other_programs_can_read_the_files(distilled: DistilledSet, tmp_path: Path) -> None:
    """One safetensors file, and JSON with everything that a reader in another language needs."""
    distilled.save(tmp_path)
    meta = json.loads((tmp_path / "manifest.json").read_text())["meta"]
    assert meta["recipe"]["step_sizes"] == list(sgd_recipe(distilled).step_sizes)
    written = set(type(distilled.recipe).model_fields) - set(distilled.recipe.added)  # a new field only if it is used
    assert meta["recipe"].keys() == {"kind", *written}
    assert meta["recipe"]["kind"] == "sgd"
    assert {"step_sizes", "num_steps", "batch_size", "momentum", "weight_decay", "order"} < meta["recipe"].keys()
    tensors = load_artifact(tmp_path, "distilled").tensors
    assert all(torch.equal(tensors[name], tensor) for name, tensor in distilled.tensors.items())


def test_a_set_continues_from_another(distilled: DistilledSet, loop: Loop, tmp_path: Path) -> None:
    """It starts from the rows, similarity and step sizes of the other set."""
    config = small_config("distill.iterations=1")
    on = loop.distill(tmp_path / "on", config, initial_set=distilled).distilled
    fresh = loop.distill(tmp_path / "fresh", config).distilled
    assert on.provenance.initial_ids == distilled.provenance.initial_ids
    largest = {name: float((on.rows()[name] - rows).abs().max()) for name, rows in distilled.rows().items()}
    assert max(largest.values()) <= 0.11  # one step of Adam at rate 0.1
    assert min(float((fresh.rows()[name] - rows).abs().max()) for name, rows in distilled.rows().items()) > 0.2
    assert torch.allclose(on.similarity(), distilled.similarity(), atol=0.3)
    assert sgd_recipe(on).step_sizes == pytest.approx(sgd_recipe(distilled).step_sizes, rel=0.02)


def test_a_similarity_of_another_kind_starts_from_the_identity(
    distilled: DistilledSet, loop: Loop, tmp_path: Path
) -> None:
    config = small_config("distill.iterations=1", "distill.similarity.kind=identity", "distill.storage.bits=8")
    made = loop.distill(tmp_path, config, initial_set=distilled).distilled
    assert torch.equal(made.similarity(), torch.eye(len(made)))
    for name, rows in distilled.rows().items():
        assert float((made.rows()[name] - rows).abs().max()) < 0.2
