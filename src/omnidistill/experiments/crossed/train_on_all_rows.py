"""The references of a crossed table: models that are trained on all training rows.

Linear heads are trained by InfoNCE with SGD, as in the baseline "full". Networks are trained by InfoNCE with AdamW.
Validation chooses the number of epochs of both, and the step size of SGD.

Other linear heads are computed in closed form by ridge CCA, as in the baseline "cca".
"""

from __future__ import annotations

import copy
from collections.abc import Iterator

import torch

from omnidistill.core.json_value import Json
from omnidistill.data.featureset import Development, FeatureSet
from omnidistill.evaluation.baselines import Setting, baselines
from omnidistill.evaluation.baselines.all_rows import train_on_all_rows
from omnidistill.evaluation.full_training import best_epoch
from omnidistill.evaluation.trained_heads import TrainedHeads
from omnidistill.evaluation.validation import run_of
from omnidistill.experiments.crossed.crossed_models import (
    Outputs,
    outputs_of_heads,
    outputs_of_modules,
    validation_score_of,
)
from omnidistill.experiments.crossed.crossed_settings import CrossedSettings
from omnidistill.experiments.crossed.train_on_set import Networks, infonce_steps, parameters_of
from omnidistill.models.heads import Heads, shared_groups
from omnidistill.models.objectives import InfoNCE
from omnidistill.training.experts.epochs import epoch_orders
from omnidistill.training.recipes import TrainingRows

Runs = tuple[list[Outputs], dict[str, Json]]
"""Trained models of all runs, and the settings that were chosen on validation."""


def heads_on_all_rows(start: Heads, data: Development, settings: CrossedSettings) -> Runs:
    """Train linear heads on all training rows by InfoNCE. They are a reference in crossed tables."""
    setting = Setting(data, start, settings.evaluate, settings.seed)
    return _runs(train_on_all_rows(InfoNCE(tau=settings.evaluate.tau), "all rows, InfoNCE", setting, start))


def cca_on_all_rows(start: Heads, data: Development, settings: CrossedSettings) -> Runs:
    """Compute linear heads from all training rows by ridge CCA.

    Their output width is that of the heads `start`, but at most the smallest feature width.
    """
    return _runs(baselines.build("cca").fit(Setting(data, start, settings.evaluate, settings.seed)))


def networks_on_all_rows(start: Networks, data: Development, settings: CrossedSettings) -> Runs:
    """Train networks on all rows by InfoNCE with AdamW, for a number of epochs that is chosen on validation."""
    train, evaluate = data.train, settings.evaluate
    networks, best, best_score = copy.deepcopy(start), start, -1.0

    def score() -> float:
        nonlocal best, best_score
        current = validation_score_of(outputs_of_modules(networks), data.validation)
        if current > best_score:
            best, best_score = copy.deepcopy(networks), current
        return current

    _, epoch, _ = best_epoch(_epochs(networks, train, settings), score)
    learning_rate = settings.network_learning_rate
    return [outputs_of_modules(best)], {
        "num_epochs": epoch,
        "learning_rate": learning_rate,
        "batch_size": min(evaluate.batch_size, len(train)),
    }


def _epochs(networks: Networks, train: FeatureSet, settings: CrossedSettings) -> Iterator[int]:
    codes, size = train.group_codes, min(settings.evaluate.batch_size, len(train))
    objective = InfoNCE(tau=settings.evaluate.tau).bind(train.modalities)
    rows = TrainingRows(train.features, lambda batch: shared_groups(codes[batch]), objective)
    optimiser = torch.optim.AdamW(parameters_of(networks), lr=settings.network_learning_rate)
    for epoch in range(settings.evaluate.max_epochs):
        order = epoch_orders(1, len(train), seed=settings.seed, purpose="crossed/all rows", epoch=epoch)[0]
        batches = order[: len(order) // size * size].view(-1, size).to(train.device)
        for _ in infonce_steps(networks, rows, optimiser, batches):
            pass
        yield epoch + 1


def _runs(row: TrainedHeads) -> Runs:
    return [outputs_of_heads(run_of(row.heads, run), row.bias) for run in range(row.num_runs)], dict(row.settings)
