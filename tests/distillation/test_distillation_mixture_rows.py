"""Learning a mixing matrix: exact gradients, the closed form, candidates in chunks, and imitated encoders."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from omnidistill.distillation import mixture_rows
from omnidistill.distillation.head_learning import LearningSettings, canonical_cca_heads, heads_loss
from omnidistill.distillation.mixture_rows import Augmentation, MixtureLearning, MixtureRows
from omnidistill.models.objectives import InfoNCE
from omnidistill.models.storages import RowStorage
from omnidistill.training.closed_form import accumulate_moments
from transfer_problems import old

PLAIN = (RowStorage(), RowStorage())


def initial(items: tuple[int, int] | None = None) -> MixtureRows:
    train = old().split("train")
    return MixtureRows.closed_form(accumulate_moments(train), train, 6, 0.3, items, PLAIN)


@pytest.mark.parametrize("candidates", [None, 5])
def test_the_gradient_through_mixtures_is_exact(
    candidates: int | None, normal: Callable[..., Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In float64, by finite differences, for a dense matrix and for candidates per row."""
    monkeypatch.setattr(RowStorage, "expand", lambda self, latent: dict(latent))
    widths = {"a": 7, "b": 6, "c": 8}
    features = {name: normal(9, p, seed=p) for name, p in widths.items()}
    real = {name: normal(10, p, seed=20 + p) for name, p in widths.items()}
    numbers = (
        None if candidates is None else torch.randint(9, (4, candidates), generator=torch.Generator().manual_seed(0))
    )
    objective, ids = InfoNCE().bind(tuple(widths)), tuple("abcdefghi")

    def loss(weights: Tensor, log_ridges: Tensor) -> Tensor:
        rows = MixtureRows(
            {"weights": weights}, numbers, features, ids, candidates, log_ridges, torch.zeros(()), *PLAIN
        )
        return heads_loss(rows, {}, real, torch.eye(10, dtype=torch.float64), objective, 0.0)

    inputs = [normal(4, candidates or 9, seed=3), normal(3) - 1]
    assert torch.autograd.gradcheck(loss, [x.requires_grad_() for x in inputs], rtol=1e-4, atol=1e-6)


def test_initial_weights_are_outputs_summed_over_modalities() -> None:
    train = old().split("train")
    heads = canonical_cca_heads(accumulate_moments(train), 6, 0.3)
    outputs = sum(train.features[name].double() @ w.mT for name, w in heads.items())
    assert isinstance(outputs, Tensor)
    expected = mixture_rows.FIRST_SIZE * outputs.mT / outputs.square().mean(0).sqrt()[:, None]
    torch.testing.assert_close(initial().latent["weights"], expected.float(), atol=1e-4, rtol=1e-4)


def test_rows_beyond_the_shared_directions_stay_zero() -> None:
    train = old().split("train").only(["a", "b"])  # of widths 12 and 14
    rows = MixtureRows.closed_form(accumulate_moments(train), train, 20, 0.3, None, PLAIN).with_ridge(0.3)
    weights = rows.latent["weights"].requires_grad_()
    assert weights.abs().amax(1).count_nonzero() <= 12
    loss = sum(w.square().sum() for w in rows.solved()[1].values())
    (gradient,) = torch.autograd.grad(loss, weights)  # type: ignore[arg-type]
    assert bool(gradient.isfinite().all())
    assert bool((gradient[weights.abs().amax(1) == 0] == 0).all())


def test_candidates_are_the_items_with_the_largest_outputs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether or not the items are read in chunks. Rows use the `k` largest values."""
    monkeypatch.setattr(mixture_rows, "_CHUNK_ROWS", 7)
    sparse, dense = initial((2, 5)), initial().latent["weights"]
    assert sparse.item_numbers is not None
    for row in range(6):
        names = [sparse.ids[number] for number in sparse.item_numbers[row].tolist()]
        largest = dense[row].abs().topk(5).indices.tolist()
        assert sorted(names) == sorted(old().split("train").ids[number] for number in largest)
    assert {len(items) for items in sparse.mixture().items()} == {2}
    by_mixture, _ = sparse.mixture().rows(old())
    for name, rows in sparse.mixed().items():
        torch.testing.assert_close(by_mixture[name], rows)


def test_values_outside_the_largest_can_enter() -> None:
    """They count as zero, but they are learned."""
    rows = initial((2, 5)).with_ridge(0.3)
    weights = rows.latent["weights"].requires_grad_()
    loss = sum(w.square().sum() for w in rows.solved()[1].values())
    (gradient,) = torch.autograd.grad(loss, weights)  # type: ignore[arg-type]
    assert bool((gradient != 0).all())


@pytest.mark.parametrize(("powers", "noise"), [((1.0, 1.0), 0.0), ((0.3, 1.2), 0.0), ((1.0, 1.0), 0.5)])
def test_imitated_encoders(powers: tuple[float, float], noise: float) -> None:
    """Without augmentation, inner products stay the same; components keep their total variance; noise adds to it."""
    train, first = old().split("train"), initial().with_ridge(0.3)
    settings = LearningSettings(InfoNCE(), 0.0, 2, 0.01, 64)
    moments = accumulate_moments(train)
    learning = MixtureLearning(first, train, moments, settings, Augmentation(powers, noise), seed=0)
    learned, batch = learning._view(torch.arange(64))
    for name, x in train.features.items():
        y, items = batch[name], learned.features[name]
        change = y.square().mean() / x.square().mean()
        assert float(change) == pytest.approx(1 + noise**2, rel=0.15)
        if powers == (1.0, 1.0) and not noise:
            torch.testing.assert_close(y @ items.mT, x @ x.mT, atol=1e-3, rtol=1e-4)
        else:
            assert float((y @ y.mT - x @ x.mT).abs().max()) > 1e-2
    before = replace(first).latent["weights"].clone()
    learning.step()
    assert bool((learning.learned.latent["weights"] != before).any())
