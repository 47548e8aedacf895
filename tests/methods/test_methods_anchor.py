"""The method "anchor": exact gradients, its closed form, nested widths, budgets, and what it does not depend on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from method_problems import score_by_hand, task_of, tiny, without_experts
from omnidistill.core.errors import InputError
from omnidistill.data.featureset import FeatureSet, prepare
from omnidistill.data.planted import planted
from omnidistill.distillation import DistilledSet
from omnidistill.distillation.anchor_rows import AnchorRows
from omnidistill.distillation.head_learning import heads_loss
from omnidistill.experiments.config import RunConfig
from omnidistill.experiments.config.budgets import resolve_size
from omnidistill.experiments.evaluate_run import evaluate
from omnidistill.experiments.run import distill, open_run
from omnidistill.methods import Task
from omnidistill.methods.anchor import AnchorMethod
from omnidistill.models.heads import random_heads
from omnidistill.models.objectives import Hopa, InfoNCE, Objective, PairwiseWbce
from omnidistill.models.storages import RowStorage
from omnidistill.models.storages.coded import CodedStorage
from omnidistill.training.closed_form import accumulate_moments, ridge_cca_heads
from omnidistill.training.recipes.anchor_regression import Anchor, stack_on
from small_runs import features, shipped, small_heads

SIZE = 6
FAST = (
    "distill.size=6",
    "distill.iterations=4",
    "distill.validate_every=2",
    "distill.real_rows=40",
    "distill.cca_ridges=[0.3]",  # every other choice is tried with each of them
)


def method_task(folder: Path, data: FeatureSet, *settings: str, preset: str = "anchor") -> tuple[RunConfig, Task]:
    config = tiny(preset, *FAST, *settings)
    return config, without_experts(task_of(folder, config, data))


def created(folder: Path, data: FeatureSet, *settings: str, preset: str = "anchor") -> DistilledSet:
    """Return the set of a run in which asking for experts fails."""
    config, task = method_task(folder, data, *settings, preset=preset)
    return config.distill.run(task).distilled


def recipe_of(distilled: DistilledSet) -> Anchor:
    assert isinstance(distilled.recipe, Anchor)
    return distilled.recipe


@pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("objective", [InfoNCE(), Hopa(), PairwiseWbce()], ids=lambda each: type(each).__name__)
def test_the_gradient_of_the_loss_is_exact(
    share: float, objective: Objective, normal: Callable[..., Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In float64, by finite differences with respect to rows, ridges and the weight of stacked heads."""
    widths = {"a": 7, "b": 6, "c": 8}
    monkeypatch.setattr(RowStorage, "expand", lambda self, latent: dict(latent))  # rows stay in float64
    start = {name: normal(3, p, seed=p) for name, p in widths.items()}
    real = {name: normal(10, p, seed=20 + p) for name, p in widths.items()}
    targets = torch.eye(10, dtype=torch.float64)
    bound = objective.bind(tuple(widths))

    def loss(a: Tensor, b: Tensor, c: Tensor, log_ridges: Tensor, logit: Tensor) -> Tensor:
        rows = AnchorRows({"a": a, "b": b, "c": c}, log_ridges, logit, RowStorage(), cutoff=3.0)
        return heads_loss(rows, start, real, targets, bound, share)

    inputs = [normal(4, p, seed=40 + p) for p in widths.values()] + [normal(3) - 1, torch.tensor(0.4).double()]
    assert torch.autograd.gradcheck(loss, [x.requires_grad_() for x in inputs], rtol=1e-4, atol=1e-6)


def test_the_loss_is_the_mixture_of_both_losses(normal: Callable[..., Tensor]) -> None:
    """By hand from the heads that the recipe of a finished set would compute."""
    data = features()
    moments, train = accumulate_moments(data.split("train")), data.split("train")
    rows = AnchorRows.closed_form(moments, SIZE, 0.3, RowStorage(), train.device).with_ridge(0.2)
    start, real = small_heads(data), {name: x[:20] for name, x in train.features.items()}
    targets, objective = torch.eye(20), InfoNCE().bind(train.modalities)
    expanded, heads = rows.solved()
    stacked = stack_on(start, heads, expanded, 0.7)
    losses = [
        objective.value(torch.stack([real[name] @ w[name].T for name in train.modalities]), targets)
        for w in (heads, stacked)
    ]
    assert float(rows.weight) == pytest.approx(0.7, abs=1e-3)
    found = heads_loss(rows, start, real, targets, objective, 0.25)
    assert float(found) == pytest.approx(0.75 * float(losses[0]) + 0.25 * float(losses[1]), rel=1e-3)


@pytest.mark.parametrize("num_modalities", [2, 3, 4])
def test_its_closed_form_gives_back_the_heads_of_ridge_cca(num_modalities: int) -> None:
    """Up to the ridge, the rotation of the canonical basis, and the lengths of rows, which scale the outputs."""
    data = features(num_modalities)
    train = data.split("train")
    moments = accumulate_moments(train)
    rows = AnchorRows.closed_form(moments, SIZE, 0.3, RowStorage(), train.device).with_ridge(1e-7)
    for name, x in rows.latent.items():
        torch.testing.assert_close(x.norm(dim=1), torch.full((SIZE,), train.widths[name] ** 0.5))
    _, heads = rows.solved()
    cca, _ = ridge_cca_heads(moments, SIZE, 0.3, torch.float64)
    for name, matrix in heads.items():
        spans = [np.linalg.qr(w.double().numpy().T)[0] for w in (matrix, cca[name])]
        np.testing.assert_allclose(spans[0] @ spans[0].T, spans[1] @ spans[1].T, atol=1e-3)


def test_learning_lowers_the_loss_and_never_the_validation_score(tmp_path: Path) -> None:
    data = features(3, {"heads": 48, "train": 160, "validation": 120, "test": 40})
    settings = ("distill.iterations=30", "distill.validate_every=5", "distill.real_rows=160")
    config, task = method_task(tmp_path, data, *settings)
    result = config.distill.run(task)
    losses = [record.values["loss"] for record in result.records if record.iteration is not None]
    assert len(losses) == 30
    assert losses[-1] < 0.97 * losses[0]
    unlearned = created(tmp_path / "unlearned", data, "distill.iterations=0")
    scores = [each.provenance.validation for each in (result.distilled, unlearned)]
    assert scores[0] is not None
    assert scores[1] is not None
    assert scores[0] >= scores[1]
    validated = [record.values["validation"] for record in result.records if "validation" in record.values]
    assert scores[0] == pytest.approx(max(*validated, scores[1]))


@pytest.mark.parametrize(("share", "cutoffs"), [(0.0, [0.25]), (0.5, [])])
def test_the_recorded_score_is_that_of_the_recipe(share: float, cutoffs: list[float], tmp_path: Path) -> None:
    """A receiver computes heads of the same score from the saved set, alone and stacked."""
    data, settings = features(), (f"distill.start_share={share}", f"distill.cutoffs={cutoffs}")
    distilled = created(tmp_path, data, *settings, "distill.weight=0.7", "distill.iterations=0")
    distilled.save(tmp_path / "set")
    loaded, validation = DistilledSet.load(tmp_path / "set"), data.development().validation
    alone, stacked = (score_by_hand(heads, validation) for heads in (loaded.train(), loaded.train(small_heads(data))))
    assert distilled.provenance.validation is not None
    expected = (1 - share) * alone + share * stacked
    assert distilled.provenance.validation == pytest.approx(expected, abs=2e-3)


def test_with_share_0_the_set_does_not_depend_on_the_initial_heads(tmp_path: Path) -> None:
    data = features()
    results = []
    for share in ("0", "0.5"):
        config, task = method_task(tmp_path / share, data, f"distill.start_share={share}")
        for seed in (0, 1):
            start = random_heads(data.widths, 4 + 3 * seed, torch.Generator().manual_seed(seed))
            results.append(config.distill.run(replace(task, start=start)).distilled)
    same = [
        list(one.tensors) == list(other.tensors)
        and all(torch.equal(x, other.tensors[name]) for name, x in one.tensors.items())
        and recipe_of(one).ridges == recipe_of(other).ridges
        for one, other in (results[:2], results[2:])
    ]
    assert same == [True, False]


def test_the_first_anchors_are_better_than_random_directions(tmp_path: Path) -> None:
    """Nested widths on planted pairs: the first d outputs against d random directions of all outputs."""
    data = features(3, {"heads": 48, "train": 200, "validation": 100, "test": 150})
    distilled, test = created(tmp_path, data, "distill.size=10", "distill.cutoffs=[]"), data.split("test")
    complete = distilled.train()
    for width in (2, 4):
        nested = score_by_hand(distilled.train(width=width), test)
        rotations = [
            torch.linalg.qr(torch.randn(10, 10, generator=torch.Generator().manual_seed(seed))).Q[:width]
            for seed in range(8)
        ]
        others = [score_by_hand({name: q @ w for name, w in complete.items()}, test) for q in rotations]
        assert nested > np.mean(others) + np.std(others)
    assert score_by_hand(distilled.train(width=4), test) < score_by_hand(complete, test)


@pytest.mark.parametrize("outer", ["infonce", "hopa", "pairwise-wbce"])
@pytest.mark.parametrize("num_modalities", [2, 4])
def test_it_learns_with_any_outer_objective_and_number_of_modalities(
    outer: str, num_modalities: int, tmp_path: Path
) -> None:
    data = features(num_modalities)
    settings = (f"distill.outer.kind={outer}", "distill.learning_rate=0.05", "distill.start_share=0.3")
    config, task = method_task(tmp_path, data, *settings)
    result = config.distill.run(task)
    losses = [record.values["loss"] for record in result.records if record.iteration is not None]
    assert all(np.isfinite(losses))
    assert losses[-1] < losses[0]
    heads = result.distilled.train()
    assert {name: tuple(w.shape) for name, w in heads.items()} == {name: (SIZE, p) for name, p in data.widths.items()}


def test_it_uses_the_pairing_matrix_of_the_data(tmp_path: Path) -> None:
    """Affinities are those of the matrix, not of the groups: half of each neighbour."""
    data = features(2, positives_per_group=1)
    pairing = torch.eye(len(data)) + 0.5 * (torch.eye(len(data)).roll(1, 0) + torch.eye(len(data)).roll(-1, 0))
    paired = FeatureSet(data.features, data.ids, data.groups, data.splits, pairing, data.preprocessing, data.provenance)
    ridges = "distill.cca_ridges=[0.1, 1.0]"
    one, other = created(tmp_path / "one", data, ridges), created(tmp_path / "other", paired, ridges)
    assert not torch.equal(one.rows()["a"], other.rows()["a"])
    assert {name: tuple(w.shape) for name, w in other.train().items()} == {"a": (SIZE, 12), "b": (SIZE, 14)}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            ("distill.size=65",),
            r"distill\.size = 65: with method 'anchor', the size must be between 2 and .* training rows \(64\)",
        ),
        (("distill.size=1",), r"distill\.size = 1: with method 'anchor', the size must be between 2"),
        (("distill.storage.views=2",), r"distill\.storage\.views: .* supports only one view per stored row"),
    ],
)
def test_sizes_and_views_that_do_not_fit_are_one_clear_line(
    settings: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=message) as caught:
        created(tmp_path, features(), *settings)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("preset", "budget"), [("anchor", "9kB"), ("anchor-coded", "6kB"), ("anchor-coded", "7kB")])
def test_a_budget_is_kept_and_used(preset: str, budget: str, tmp_path: Path) -> None:
    """Up to one row more than fits; bytes are those of the saved files, known before any row exists."""
    from small_runs import planted, prepare

    rows = {"heads": 48, "train": 96, "validation": 40, "test": 40}
    data = prepare(planted({"a": 100, "b": 110}, rows, latent=6))
    config = resolve_size(tiny(preset, *FAST, f"distill.size={budget}"), data)
    distilled = config.distill.run(without_experts(task_of(tmp_path, config, data))).distilled
    distilled.save(tmp_path / "set")
    limit = 1000 * int(budget[0])
    storage = distilled.spec.storage
    row = (100 + 110) * (storage.bits / 8 if isinstance(storage, CodedStorage) else 4) + 4
    assert distilled.bytes == shipped(tmp_path / "set")
    assert limit - max(row + 16, 0.03 * limit) <= distilled.bytes <= limit


def test_coded_rows_train_the_same_heads_after_loading(tmp_path: Path) -> None:
    """What is saved are the rounded rows from which the heads were computed."""
    data = features()
    distilled = created(tmp_path, data, "distill.storage.bits=1.5", preset="anchor-coded")
    assert set(distilled.tensors) == {f"rows/{name}/{part}" for name in "abc" for part in ("code", "table", "step")}
    distilled.save(tmp_path / "set")
    loaded = DistilledSet.load(tmp_path / "set")
    for name, x in distilled.rows().items():
        assert torch.equal(loaded.rows()[name], x)
    for name, matrix in distilled.train().items():
        assert torch.equal(loaded.train()[name], matrix)


def test_more_rows_than_shared_directions_are_noted(tmp_path: Path) -> None:
    """No pair of modalities has more directions in common than the second largest width."""
    data = features(2)
    most = min(data.widths.values())
    for size, noted in ((most, False), (most + 3, True)):
        distilled = created(tmp_path / str(size), data, f"distill.size={size}")
        told = [note for note in distilled.provenance.notes if f"so {most} rows are enough" in note]
        assert bool(told) == noted
        assert len(distilled) == size


def few_directions() -> FeatureSet:
    """Data of 3 modalities that share 4 directions."""
    rows = {"heads": 40, "train": 160, "validation": 80, "test": 40}
    return prepare(planted({"a": 40, "b": 36, "c": 32}, rows, latent=4, noise=1.0, seed=1))


def test_validation_chooses_a_cutoff_if_the_modalities_share_few_directions(tmp_path: Path) -> None:
    """With 32 rows and 4 shared directions, outputs beyond the cutoff are noise; the loss is that of weighted heads."""
    data = few_directions()
    cut = created(tmp_path / "cut", data, "distill.size=32")
    plain = created(tmp_path / "plain", data, "distill.size=32", "distill.cutoffs=[]")
    cutoff, scores = recipe_of(cut).cutoff, [each.provenance.validation for each in (cut, plain)]
    assert recipe_of(plain).cutoff is None
    assert cutoff in [share * 32 for share in AnchorMethod(size=32).cutoffs]
    assert cutoff < 16
    assert scores[0] is not None
    assert scores[1] is not None
    assert scores[0] > scores[1] + 0.05
    test = [score_by_hand(each.train(), data.split("test")) for each in (cut, plain)]
    assert test[0] > test[1] + 0.05
    assert cut.bytes == plain.bytes
    small = prepare(planted({"a": 40, "b": 36}, {"heads": 40, "train": 160, "validation": 19}, latent=4, seed=1))
    assert recipe_of(created(tmp_path / "small", small, "distill.size=32")).cutoff is None  # too few rows to choose


@pytest.mark.parametrize("cutoff", [1.5, 4.0])
def test_a_cutoff_leaves_the_share_of_stacked_heads_unchanged(cutoff: float, normal: Callable[..., Tensor]) -> None:
    """Orthogonal rows: the heads contribute a / (1 - a) on average over the directions of the rows, as without it."""
    rows = {name: torch.linalg.qr(normal(p, SIZE, seed=p)).Q.T for name, p in (("a", 9), ("b", 8))}
    start = {name: x.clone() for name, x in rows.items()}
    plain = AnchorRows(rows, torch.zeros(2).double() - 3, torch.tensor(0.85).double(), RowStorage())
    shares = []
    for each in (plain, plain.with_cutoff(cutoff)):
        expanded, heads = each.solved()
        stacked = stack_on(start, heads, expanded, each.weight)
        upper, lower = ((rows["a"] @ stacked["a"][part].T).square().sum() for part in (slice(SIZE), slice(SIZE, None)))
        shares.append(float(upper / lower))
    assert shares[1] == pytest.approx(shares[0], rel=1e-6)
    assert shares[0] == pytest.approx(float(plain.weight / (1 - plain.weight)), rel=1e-6)


def test_coded_rows_may_be_fewer_with_more_bits(tmp_path: Path) -> None:
    """Validation chooses them if the modalities share few directions; the set stays within its budget."""
    data, settings = few_directions(), ("distill.size=30", "distill.iterations=2", "distill.cutoffs=[]")
    distilled = created(tmp_path / "few", data, *settings, preset="anchor-coded")
    (note,) = [note for note in distilled.provenance.notes if "score clearly worse on validation" in note]
    assert len(distilled) < 30
    assert distilled.spec.storage == CodedStorage(bits=5.0)
    assert note.startswith(f"{len(distilled)} rows (5 coded bits) instead of 30 (2 coded bits)")
    assert len(distilled) * 5.0 <= 30 * 2.0
    distilled.save(tmp_path / "set")
    loaded = DistilledSet.load(tmp_path / "set")
    assert loaded.spec.storage == distilled.spec.storage
    for name, matrix in distilled.train().items():
        assert torch.equal(loaded.train()[name], matrix)
    fixed = created(tmp_path / "fixed", data, *settings, "distill.storage.bits=5.0", preset="anchor-coded")
    assert len(fixed) in (15, 7)  # half or a quarter of the rows, because the storage has no more bits
    assert len(created(tmp_path / "float", data, "distill.size=30")) == 30


def test_a_run_with_fewer_rows_is_evaluated_and_opened(tmp_path: Path) -> None:
    data = few_directions()
    settings = ["heads.width=8", "heads.num_epochs=2", "distill.iterations=2", "distill.cutoffs=[]"]
    result = distill(
        data,
        preset="anchor-coded",
        size=30,
        settings=settings,
        folder=tmp_path / "RUN",
        device="cpu",
        progress=False,
    )
    assert result.set.size < result.config.distill.num_stored
    scores = evaluate(tmp_path / "RUN", data, num_seeds=2, baselines=["full"], progress=False).scores
    assert scores.size == result.set.size
    assert scores.bytes.distilled == shipped(tmp_path / "RUN" / "distilled") == result.set.bytes
    assert open_run(tmp_path / "RUN").distilled().size == result.set.size
