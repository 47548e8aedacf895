"""Attacks find what a set reveals, find nothing where there is nothing, and have intervals that cover the truth."""

from __future__ import annotations

import pytest
import torch

from method_problems import task_of
from omnidistill.data.featureset import FeatureSet
from omnidistill.distillation import DistilledSet
from omnidistill.evaluation.membership import auc_interval, measure_membership
from omnidistill.experiments.config import load_config
from omnidistill.methods.select import Select
from omnidistill.models.heads import Heads, random_heads
from omnidistill.training.closed_form import accumulate_moments, ridge_cca_heads
from small_runs import features

ROWS = {"heads": 48, "train": 120, "validation": 40, "test": 120}


@pytest.fixture(scope="module")
def data() -> FeatureSet:
    return features(3, ROWS)


def memorised(rows: FeatureSet) -> Heads:
    """Heads that fit their training rows as closely as they can."""
    return ridge_cca_heads(accumulate_moments(rows, "groups"), 12, 1e-3, torch.float32)[0]


def coreset(data: FeatureSet, tmp_path_factory: pytest.TempPathFactory) -> DistilledSet:
    """Every second training row, unchanged."""
    config = load_config(
        preset="random", overrides=["distill.size=60", "distill.learning_rates=[0.1]", "distill.max_steps=8"]
    )
    assert isinstance(config.distill, Select)
    return config.distill.run(task_of(tmp_path_factory.mktemp("task"), config, data)).distilled


def test_attacks_find_rows_that_a_set_contains(data: FeatureSet, tmp_path_factory: pytest.TempPathFactory) -> None:
    train, test = data.split("train"), data.split("test")
    start = random_heads(data.widths, 12, torch.Generator().manual_seed(0))
    distilled = coreset(data, tmp_path_factory)
    result = measure_membership([distilled], {"loss": [memorised(train)], "loss_initial": [start]}, train, test)
    assert list(result.auc) == ["loss", "nearest_row", "loss_initial"]
    assert (result.members, result.others) == (60, 60)
    assert result.auc["nearest_row"].low > 0.75  # about half of the rows, in nearly all groups, have cosine 1
    assert result.auc["loss"].low > 0.5
    control = result.auc["loss_initial"]
    assert control.low < 0.5 < control.high
    assert "nearest-row attack" in "\n".join(result.lines())
    swapped = measure_membership([distilled], {"loss": [memorised(train)]}, test, train)
    assert swapped.auc["loss"].mean == pytest.approx(1 - result.auc["loss"].mean, abs=1e-9)


def test_the_area_is_that_of_its_definition_and_its_interval_covers_it() -> None:
    members, others = torch.tensor([0.0, 1.0, 2.0]).double(), torch.tensor([0.0, 0.5]).double()
    assert auc_interval(members, others, torch.Generator()).mean == pytest.approx((0.5 + 0 + 1 + 1 + 1 + 1) / 6)
    generator = torch.Generator().manual_seed(0)
    covered = 0
    for _ in range(100):
        drawn = [torch.randn(40, generator=generator).double() + shift for shift in (0.5, 0.0)]
        interval = auc_interval(drawn[0], drawn[1], generator)
        covered += interval.low <= 0.6382 <= interval.high  # P(N(0.5, 2) > 0)
    assert 88 <= covered <= 100
