"""Heads learned directly: the start and the loss in float64, the learning shared with rows, and the choices."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from omnidistill.distillation.head_learning import Learning, LearningSettings, heads_loss
from omnidistill.evaluation.baselines import Allowance, Setting
from omnidistill.evaluation.baselines.compact_heads import compact_bytes
from omnidistill.evaluation.baselines.direct_heads import (
    DirectHeads,
    DirectHeads4Bit,
    DirectHeadsCoded,
    DirectMatrices,
)
from omnidistill.evaluation.protocol import EvaluateConfig
from omnidistill.evaluation.validation import score_alone_and_stacked
from omnidistill.methods.anchor import AnchorMethod
from omnidistill.models.heads import shared_groups
from omnidistill.models.objectives import InfoNCE
from omnidistill.models.storages import RowStorage
from omnidistill.models.storages.coded import CodedStorage
from omnidistill.training.closed_form import accumulate_moments, ridge_cca_heads
from small_runs import features, small_heads

DATA = features()
START = small_heads(DATA)
SHORT = {"iterations": 6, "validate_every": 2, "cca_ridges": (0.1, 1.0)}


def setting(baseline: DirectHeads, rank: int = 5) -> Setting:
    num_bytes = compact_bytes(baseline.storage, DATA.widths, rank, DATA.preprocessing) + 4 * 3
    return Setting(DATA.development(), START, EvaluateConfig(), 0, Allowance(2, num_bytes))


def started(storage: RowStorage | CodedStorage, rank: int = 5) -> DirectMatrices:
    train = DATA.split("train")
    return DirectMatrices.closed_form(accumulate_moments(train), rank, 0.3, storage, dict(train.features))


def test_the_settings_of_learning_are_those_of_the_method_anchor() -> None:
    rival, method = DirectHeads(), AnchorMethod(size=10)
    for name in ("outer", "start_share", "cca_ridges", "iterations", "real_rows", "validate_every"):
        assert getattr(rival, name) == getattr(method, name), name
    assert method.learning_rate in rival.learning_rates


def test_heads_start_as_ridge_cca_heads_in_another_basis_with_root_mean_square_1() -> None:
    """W_a^T W_b does not depend on the basis."""
    train = DATA.split("train")
    exact, _ = ridge_cca_heads(accumulate_moments(train), 5, 0.3, torch.float64)
    _, heads = started(RowStorage()).solved()
    for one, other in (("a", "b"), ("c", "a")):
        expected = exact[one].mT @ exact[other]
        found = (heads[one].mT @ heads[other]).double()
        torch.testing.assert_close(found / found.norm(), expected / expected.norm(), rtol=1e-4, atol=1e-6)
    for matrix in heads.values():
        assert float(matrix.square().mean()) == pytest.approx(1, rel=1e-5)


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_the_loss_is_that_of_the_heads_and_of_the_stacked_heads(share: float) -> None:
    learned, train = started(RowStorage()), DATA.split("train")
    features = {name: x[:20] for name, x in train.features.items()}
    targets, objective = shared_groups(train.group_codes[:20]), InfoNCE().bind(train.modalities)
    loss = heads_loss(learned, START, features, targets, objective, share)
    alone, stacked = [], []
    for name, x in features.items():
        upper, lower = learned.latent[name].double(), START[name].double()
        rows = train.features[name].double()
        alone.append(x.double() @ upper.mT)
        parts = [matrix / (rows @ matrix.mT).norm(dim=1).mean() for matrix in (upper, lower)]
        weight = 1 / (1 + torch.exp(-torch.tensor(0.85).double()))
        stacked.append(
            torch.cat([weight**0.5 * (x.double() @ parts[0].mT), (1 - weight) ** 0.5 * (x.double() @ parts[1].mT)], 1)
        )
    values = [float(objective.value(torch.stack(each), targets.double())) for each in (alone, stacked)]
    assert float(loss) == pytest.approx((1 - share) * values[0] + share * values[1], rel=1e-4)


@pytest.mark.parametrize("baseline", [DirectHeads(), DirectHeads4Bit(), DirectHeadsCoded()], ids=lambda each: each.kind)
def test_every_learning_rate_and_iteration_is_tried_and_the_best_one_is_stored(baseline: DirectHeads) -> None:
    baseline = baseline.evolve(**SHORT)
    here = setting(baseline)
    result, scores, heads = baseline.fit(here), {}, {}
    train = here.data.train
    starts = baseline._starts(here, 5)

    def score(learned: DirectMatrices) -> float:
        return score_alone_and_stacked(learned.detached(), START, here.data.validation, 0.5)

    ridge = max(starts, key=lambda each: score(starts[each]))
    assert result.settings["ridge"] == ridge
    for rate in baseline.learning_rates:
        learning = Learning(starts[ridge], train, START, LearningSettings(InfoNCE(), 0.5, 6, rate, 750), 0)
        for iteration in range(1, 7):
            learning.step()
            if iteration % 2 == 0:
                latent = learning.learned.detached()
                scores[rate, iteration] = score(latent)
                heads[rate, iteration] = baseline.storage.load(baseline.storage.store(latent.latent))
    scores[baseline.learning_rates[0], 0] = score(starts[ridge])
    heads[baseline.learning_rates[0], 0] = baseline.storage.load(baseline.storage.store(starts[ridge].latent))
    chosen = result.settings["learning_rate"], result.settings["iteration"]
    assert scores[chosen] == max(scores.values())
    assert all(torch.equal(result.heads[name], matrix[None]) for name, matrix in heads[chosen].items())
    assert result.num_evaluated == 2 + 3 * 3
    assert here.allowance is not None
    assert result.bytes == here.allowance.bytes - 4 * 3


@pytest.mark.parametrize("storage", [RowStorage(), RowStorage(bits=4), CodedStorage()], ids=str)
def test_learning_lowers_the_loss(storage: RowStorage | CodedStorage) -> None:
    train, first = DATA.split("train"), started(storage)
    learning = Learning(first, train, START, LearningSettings(InfoNCE(), 0.5, 40, 0.01, 750), 0)
    losses = [learning.step() for _ in range(40)]
    assert losses[-1] < losses[0] - 0.02
    assert not any(x.requires_grad for x in first.leaves())


def test_without_share_of_the_start_the_initial_heads_have_no_influence() -> None:
    baseline = DirectHeads(**SHORT, start_share=0.0, learning_rates=(0.01,))
    here = setting(baseline)
    other = dataclasses.replace(here, start=small_heads(DATA, seed=1))
    one, same = baseline.fit(here), baseline.fit(other)
    assert all(torch.equal(one.heads[name], matrix) for name, matrix in same.heads.items())
