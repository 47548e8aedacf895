"""Whether training gained anything: the error against a bootstrap, the result on planted signal and on none."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch

from method_problems import score_by_hand
from omnidistill.data.featureset import FeatureSet, prepare
from omnidistill.data.planted import planted
from omnidistill.evaluation.gain import Gain, QueryHits, experts_gain_nothing, gain_of, query_hits
from omnidistill.experiments.config import RunConfig
from omnidistill.models.heads import Heads
from omnidistill.training.experts import ExpertBuffer
from small_runs import features, small_config, small_experts, small_heads


def test_the_mean_of_the_hits_is_the_score() -> None:
    validation = features().split("validation")
    found = query_hits(small_heads(features()), validation)
    score = sum(float(hits.mean()) for hits in found.hits) / len(found.hits)
    assert score == pytest.approx(score_by_hand(small_heads(features()), validation), abs=1e-9)


def in_one_direction(values: np.ndarray, codes: np.ndarray) -> QueryHits:
    return QueryHits((torch.tensor(values),), (torch.tensor(codes),))


@pytest.mark.parametrize("rows_of_a_group", [1, 4])
def test_the_error_is_that_of_a_bootstrap_of_groups(rows_of_a_group: int) -> None:
    """Rows of a group move together, so fewer groups are less certain; both numbers again in numpy."""
    draw = np.random.default_rng(0)
    codes = np.repeat(np.arange(60), rows_of_a_group)
    before = draw.random(len(codes))
    after = before + 0.1 + 0.3 * draw.standard_normal(60)[codes] + 0.1 * draw.standard_normal(len(codes))
    gain = gain_of(in_one_direction(after, codes), in_one_direction(before, codes), 60)
    assert gain.mean == pytest.approx((after - before).mean())
    by_group = (after - before).reshape(60, -1).mean(1)
    resampled = by_group[draw.integers(0, 60, (20_000, 60))].mean(1)
    assert gain.error == pytest.approx(np.hypot(resampled.std(), 1 / 60), rel=0.02)


def test_no_hits_at_all_are_no_certainty() -> None:
    for groups, nothing in ((50, False), (99, False), (101, True)):
        none = in_one_direction(np.zeros(groups), np.arange(groups))
        gain = gain_of(none, none, groups)
        assert (gain.mean, gain.error) == (0.0, pytest.approx(1 / groups))
        assert gain.is_nothing == nothing


@pytest.mark.parametrize(
    ("mean", "error", "nothing"),
    [
        (0.000, 0.005, True),
        (-0.030, 0.005, True),
        (0.005, 0.005, True),
        (0.005, 0.002, False),  # told from 0
        (0.012, 0.005, False),  # may be two points
        (0.000, 0.011, False),  # little is known
        (-0.010, 0.020, False),
    ],
)
def test_nothing_is_what_cannot_be_told_from_0_and_cannot_matter(mean: float, error: float, nothing: bool) -> None:
    assert Gain(mean, error).is_nothing == nothing


def config() -> RunConfig:
    return small_config("experts.objective.kind=infonce", "experts.batch_size=32", "experts.num_experts=3")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Data and experts, once for each kind of data."""

    @cache
    def make(rows: int, seed: int, shuffle: bool) -> tuple[FeatureSet, ExpertBuffer]:
        sizes = {"train": 240, "validation": rows}
        data = prepare(
            planted({"a": 16, "b": 18, "c": 20}, sizes, latent=8, noise=1.0, seed=seed, shuffle_pairs=shuffle)
        )
        return data, small_experts(tmp_path_factory.mktemp("experts"), config(), data, seed)

    return make


def line(trained: Any, *kind: Any) -> str | None:
    data, buffer = trained(*kind)
    return experts_gain_nothing(buffer, small_heads(data), data.split("validation"))


@pytest.mark.parametrize("seed", range(3))
def test_pairs_that_do_not_belong_together_teach_nothing(seed: int, trained: Any) -> None:
    assert str(line(trained, 480, seed, True)).startswith(
        "nothing to gain: training on all rows (3 experts) changes the validation score by "
    )


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("rows", [120, 480])
def test_where_there_is_gain_none_is_denied(rows: int, seed: int, trained: Any) -> None:
    assert line(trained, rows, seed, False) is None


@pytest.mark.parametrize("seed", range(3))
def test_on_few_rows_nothing_is_said(seed: int, trained: Any) -> None:
    assert line(trained, 60, seed, True) is None


def test_one_good_epoch_of_one_expert_is_gain(trained: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """All experts equal their initial heads, except one epoch of one expert, which is better."""
    data, buffer = trained(480, 0, False)
    start, good = small_heads(data), buffer.heads(0, 3)
    best: set[tuple[int, int]] = {(1, 1)}
    monkeypatch.setattr(ExpertBuffer, "heads", lambda _, *which: good if which in best else start)
    assert experts_gain_nothing(buffer, start, data.split("validation")) is None
    best.clear()
    told = experts_gain_nothing(buffer, start, data.split("validation"))
    assert (
        told
        == "nothing to gain: training on all rows (3 experts) changes the validation score by +0.0 ± 0.2 points at best"
    )


def test_experts_of_other_heads_are_no_gain(trained: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Experts from other heads are ignored, however good they are, and so are epochs with constant heads."""
    data, buffer = trained(480, 0, False)
    start, good = small_heads(data), buffer.heads(0, 3)
    asked: list[tuple[int, int]] = []

    def heads(_: ExpertBuffer, expert: int, epoch: int) -> Heads:
        asked.append((expert, epoch))
        return good if expert == 1 else start

    monkeypatch.setattr(ExpertBuffer, "heads", heads)
    mixed = replace(buffer, own=(True, False, True), last_epochs=(2, 3, 2))
    told = experts_gain_nothing(mixed, start, data.split("validation"))
    assert (
        told
        == "nothing to gain: training on all rows (2 experts) changes the validation score by +0.0 ± 0.2 points at best"
    )
    assert sorted(asked) == [(0, 1), (0, 2), (2, 1), (2, 2)]
