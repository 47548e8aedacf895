"""CCA stacked on the initial heads: the mixture of two similarities, compared with numpy in float64, and its limits."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from omnidistill.data.featureset import FeatureSet
from omnidistill.evaluation.baselines import Allowance, Setting, baselines
from omnidistill.evaluation.baselines.baseline import STACKED
from omnidistill.evaluation.baselines.output_norms import mean_output_norms
from omnidistill.evaluation.baselines.ridge_cca import RidgeCca
from omnidistill.evaluation.baselines.stacked import Stacked, stack_heads
from omnidistill.evaluation.protocol import EvaluateConfig
from omnidistill.evaluation.trained_heads import TrainedHeads
from omnidistill.evaluation.validation import run_of, validation_score
from omnidistill.models.heads import Heads, embed
from small_runs import features, small_heads

CONFIG = EvaluateConfig(num_seeds=2)


@pytest.fixture(scope="module")
def start() -> Heads:
    return small_heads(features())


@pytest.fixture(scope="module")
def cca(start: Heads) -> TrainedHeads:
    return RidgeCca().fit(Setting(features().development(), start, CONFIG, 0))


def built(name: str) -> Stacked:
    baseline = baselines.build(name)
    assert isinstance(baseline, Stacked)
    return baseline


def stacked(start: Heads, cca: TrainedHeads, *weights: float) -> TrainedHeads:
    baseline = built("cca-stacked").evolve(**({"weights": weights} if weights else {}))
    return baseline.fit(Setting(features().development(), start, CONFIG, 0, fitted={"cca": cca}))


def cosines(heads: Heads, bias: dict[str, Tensor] | None, data: FeatureSet) -> list[Tensor]:
    """Cosines of every pair of modalities."""
    embedded = embed(heads, data.features, bias)
    return [embedded[one] @ embedded[other].mT for one, other in itertools.combinations(embedded, 2)]


def test_outputs_and_similarities_are_those_of_numpy_in_float64(start: Heads, cca: TrainedHeads) -> None:
    """With a bias that matters, and modalities of very different scale."""
    generator, weight = torch.Generator().manual_seed(0), 0.3
    data = {name: x.double() for name, x in features().split("train").features.items()}
    upper = {name: 10.0**place * matrix[0].double() for place, (name, matrix) in enumerate(cca.heads.items())}
    bias = {name: 5.0 * torch.randn(8, generator=generator).double() for name in upper}
    lower = {name: matrix.double() for name, matrix in start.items()}
    norms = mean_output_norms(upper, data, bias), mean_output_norms(lower, data)
    heads, shift = stack_heads(
        {name: matrix / norms[0][name] for name, matrix in upper.items()},
        {name: matrix / norms[1][name] for name, matrix in lower.items()},
        weight,
        {name: each / norms[0][name] for name, each in bias.items()},
    )
    parts = {}
    for name, rows in data.items():
        x = rows.numpy()
        above = x @ upper[name].numpy().T + bias[name].numpy()
        below = x @ lower[name].numpy().T
        s, r = (np.mean([np.sqrt((row**2).sum()) for row in each]) for each in (above, below))
        assert norms[0][name] == pytest.approx(s, rel=1e-12)
        assert norms[1][name] == pytest.approx(r, rel=1e-12)
        parts[name] = above / s, below / r
        outputs = rows @ heads[name].mT + shift[name]
        expected = np.hstack([np.sqrt(weight) * above / s, np.sqrt(1 - weight) * below / r])
        np.testing.assert_allclose(outputs.numpy(), expected, rtol=1e-11, atol=1e-12)
    for one, other in itertools.combinations(parts, 2):
        mixed = sum(share * a @ b.T for share, a, b in zip((weight, 1 - weight), parts[one], parts[other], strict=True))
        found = (data[one] @ heads[one].mT + shift[one]) @ (data[other] @ heads[other].mT + shift[other]).mT
        np.testing.assert_allclose(found.numpy(), mixed, rtol=1e-10, atol=1e-11)


def test_at_weight_0_it_ranks_as_the_initial_heads_and_at_1_as_cca(start: Heads, cca: TrainedHeads) -> None:
    validation = features().split("validation")
    assert cca.bias is not None
    for weight, heads, bias in ((0.0, start, None), (1.0, run_of(cca.heads, 0), dict(cca.bias))):
        found = stacked(start, cca, weight)
        assert found.bias is not None
        similarities = cosines(run_of(found.heads, 0), dict(found.bias), validation)
        for one, other in zip(similarities, cosines(heads, bias, validation), strict=True):
            torch.testing.assert_close(one, other, rtol=0, atol=2e-6)
        score = validation_score(run_of(found.heads, 0), validation, found.bias)
        assert score == pytest.approx(validation_score(heads, validation, bias), abs=1e-9)


def test_the_scale_of_a_head_does_not_matter(start: Heads, cca: TrainedHeads) -> None:
    """Cosines of each part are those of unscaled heads, and so is the mixture."""
    larger = {name: 100.0 * (place + 1) * matrix for place, (name, matrix) in enumerate(start.items())}
    found, same = stacked(start, cca, 0.5), stacked(larger, cca, 0.5)
    for name, matrix in found.heads.items():
        torch.testing.assert_close(same.heads[name], matrix, rtol=1e-5, atol=1e-6)


def test_the_weight_validates_best(start: Heads, cca: TrainedHeads) -> None:
    found, validation = stacked(start, cca), features().split("validation")
    scores = {}
    for weight in built("cca-stacked").weights:
        each = stacked(start, cca, weight)
        scores[weight] = validation_score(run_of(each.heads, 0), validation, each.bias)
    assert len(set(scores.values())) > 2
    assert scores[found.settings["weight"]] == max(scores.values())  # type: ignore[index]
    assert found.num_evaluated == cca.num_evaluated + len(scores)
    assert found.settings["cca"] == cca.settings


def test_it_ships_the_cca_heads_and_one_factor_per_modality(start: Heads, cca: TrainedHeads) -> None:
    found = stacked(start, cca)
    assert found.bytes == cca.bytes + 4 * len(start)
    assert all(found.heads[name].shape == (1, 16, matrix.shape[1]) for name, matrix in start.items())


def test_every_run_is_stacked_with_the_weight_that_validates_best_on_average(start: Heads) -> None:
    """Heads of several runs without biases; each run is scaled by its own norms."""
    setting, name = Setting(features().development(), start, CONFIG, 0, Allowance(6, 5000)), "random-anchor"
    upper = baselines.build(name).fit(setting)
    baseline = built(f"{name}-stacked")
    result = baseline.fit(replace(setting, fitted={name: upper}))
    train, validation = features().split("train").features, features().split("validation")
    lengths = mean_output_norms(start, train)
    lower = {modality: matrix / lengths[modality] for modality, matrix in start.items()}
    scores, stacks = {}, {}
    for weight in baseline.weights:
        stacks[weight] = []
        for run in range(2):
            heads = run_of(upper.heads, run)
            norms = mean_output_norms(heads, train)
            scaled = {modality: matrix / norms[modality] for modality, matrix in heads.items()}
            stacks[weight].append(stack_heads(scaled, lower, weight)[0])
        scores[weight] = sum(validation_score(heads, validation) for heads in stacks[weight]) / 2
    chosen = result.settings["weight"]
    assert scores[chosen] == max(scores.values())  # type: ignore[index]
    assert result.bias is None
    for run, heads in enumerate(stacks[chosen]):  # type: ignore[index]
        assert all(torch.equal(result.heads[modality][run], matrix) for modality, matrix in heads.items())
    assert result.bytes == upper.bytes + 4 * len(start)


@pytest.mark.parametrize("name", STACKED)
def test_a_stacked_baseline_depends_on_what_the_other_one_depends_on(name: str, start: Heads) -> None:
    other, baseline = baselines.get(name), built(f"{name}-stacked")
    assert baseline.needs == (name,)
    assert (baseline.sized, baseline.uses_bytes) == (other.sized, other.uses_bytes)
    assert baseline.needs_start
    if other.sized:
        for allowance in (Allowance(1, 500), Allowance(5, 5000)):
            setting = Setting(features().development(), start, CONFIG, 0, allowance)
            assert baseline.applies(setting) == baselines.build(name).applies(setting) == (allowance.rows > 1)
