"""InfoNCE from the CCA heads: where it starts, what it minimises, and what validation chooses."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from omnidistill.data.featureset import FeatureSet
from omnidistill.evaluation.baselines import Setting
from omnidistill.evaluation.baselines.cca_infonce import CcaInfonce
from omnidistill.evaluation.baselines.output_norms import mean_output_norms
from omnidistill.evaluation.baselines.ridge_cca import RidgeCca
from omnidistill.evaluation.protocol import EvaluateConfig
from omnidistill.evaluation.trained_heads import TrainedHeads
from omnidistill.evaluation.validation import run_of, validation_score
from omnidistill.models.heads import Heads
from omnidistill.models.objectives import InfoNCE
from omnidistill.training.experts.epochs import epoch_orders
from small_runs import features, small_heads

CONFIG = EvaluateConfig(num_seeds=2, max_epochs=3, learning_rates=(0.05, 0.5), batch_size=24)


def shifted(data: FeatureSet) -> FeatureSet:
    """The same rows with means other than zero, so that the CCA heads need their bias."""
    generator = torch.Generator().manual_seed(0)
    means = {name: 2.0 * torch.randn(x.shape[1], generator=generator) for name, x in data.features.items()}
    return replace(data, features={name: x + means[name] for name, x in data.features.items()})


@pytest.fixture(scope="module")
def setting() -> Setting:
    here = Setting(shifted(features()).development(), small_heads(features()), CONFIG, 0)
    return replace(here, fitted={"cca": RidgeCca().fit(here)})


@pytest.fixture(scope="module")
def found(setting: Setting) -> TrainedHeads:
    return CcaInfonce().fit(setting)


def scaled_cca(setting: Setting) -> tuple[Heads, dict[str, torch.Tensor]]:
    """The CCA heads with outputs as long as those of the initial heads on average."""
    cca, rows = setting.fitted["cca"], setting.data.train.features
    assert cca.bias is not None
    heads, bias = {}, {}
    for name, matrix in run_of(cca.heads, 0).items():
        outputs = rows[name].double().numpy() @ matrix.double().numpy().T + cca.bias[name].double().numpy()
        initial = rows[name].double().numpy() @ setting.start[name].double().numpy().T
        factor = np.linalg.norm(initial, axis=1).mean() / np.linalg.norm(outputs, axis=1).mean()
        heads[name], bias[name] = factor * matrix, factor * cca.bias[name]
    return heads, bias


def test_the_steps_are_those_of_infonce_from_the_scaled_cca_heads(setting: Setting, found: TrainedHeads) -> None:
    """One run again in float64: outputs with the constant bias, and the gradient of the loss by autograd."""
    train, (start, bias) = setting.data.train, scaled_cca(setting)
    rate, num_epochs = found.settings["learning_rate"], found.settings["num_epochs"]
    assert isinstance(rate, float)
    assert isinstance(num_epochs, int)
    heads = {name: matrix.double() for name, matrix in start.items()}
    for epoch in range(num_epochs):
        order = epoch_orders(2, len(train), seed=0, purpose="cca-infonce", epoch=epoch)[0]
        for batch in order[:48].split(24):  # 16 rows are left over
            leaves = [matrix.requires_grad_() for matrix in heads.values()]
            outputs = torch.stack(
                [train.features[name][batch].double() @ heads[name].mT + bias[name] for name in heads]
            )
            codes = train.group_codes[batch]
            loss = InfoNCE(tau=CONFIG.tau).value(outputs, (codes[:, None] == codes).double())
            gradients = torch.autograd.grad(loss, leaves)
            pairs = zip(heads.items(), gradients, strict=True)
            heads = {name: (matrix - rate * gradient).detach() for (name, matrix), gradient in pairs}
    for name, matrix in heads.items():
        torch.testing.assert_close(found.heads[name][0].double(), matrix, rtol=1e-3, atol=2e-4)
        assert float((matrix - start[name]).abs().max()) > 1e-3
    assert found.bias is not None
    for name, shift in found.bias.items():
        torch.testing.assert_close(shift, bias[name], rtol=1e-5, atol=1e-6)
        assert float(shift.abs().max()) > 0.1


def test_the_start_has_the_cosines_of_cca_and_the_scale_of_the_initial_heads(setting: Setting) -> None:
    heads, bias = scaled_cca(setting)
    cca, validation = setting.fitted["cca"], setting.data.validation
    assert validation_score(heads, validation, bias) == validation_score(run_of(cca.heads, 0), validation, cca.bias)
    norms = mean_output_norms(heads, setting.data.train.features, bias)
    for name, norm in mean_output_norms(setting.start, setting.data.train.features).items():
        assert norms[name] == pytest.approx(norm, rel=1e-5)


def test_it_counts_what_cca_took(setting: Setting, found: TrainedHeads) -> None:
    cca = setting.fitted["cca"]
    assert found.num_runs == 2
    assert found.num_evaluated == cca.num_evaluated + 6
    assert found.seconds > cca.seconds
    assert found.settings["cca"] == cca.settings
    assert found.settings["learning_rate"] in CONFIG.learning_rates
    assert not torch.equal(found.heads["a"][0], found.heads["a"][1])
