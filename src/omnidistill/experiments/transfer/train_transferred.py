"""Train heads for a new encoder on synthetic sets whose rows are in the feature space of this encoder.

The same recipe is used for all sets. The settings of the recipe are chosen on validation.

anchor     ridge regression to anchors (targets that all modalities share). Validation chooses the ridges. Each ridge in
           the settings is a candidate, with the same value for all modalities. If the recipe of the set is also
           "anchor", its ridges (one per modality) are another candidate.
sgd        SGD from initial heads, with the objective of the set. Validation chooses the step size and the number of
           steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from omnidistill.core.json_value import Json
from omnidistill.data.featureset import FeatureSet
from omnidistill.distillation import DistilledSet
from omnidistill.evaluation.validation import choose_recipe, doubling_steps, validation_score
from omnidistill.experiments.transfer.transfer_settings import TransferSettings
from omnidistill.models.heads import Heads
from omnidistill.training.recipes import Sgd
from omnidistill.training.recipes.anchor_regression import Anchor

_USUAL_BATCH = 128


@dataclass(frozen=True)
class TrainedOn:
    """Heads trained on the best of several sets, with their validation score and the settings chosen on validation."""

    heads: Heads
    score: float
    settings: Mapping[str, Json]


def recipe_of(distilled: DistilledSet, settings: TransferSettings) -> str:
    """Return the recipe by which heads are trained on sets, random rows and group means: "anchor" or "sgd"."""
    if settings.recipe != "own":
        return settings.recipe
    return "anchor" if isinstance(distilled.recipe, Anchor) else "sgd"


def best_of_sets(
    sets: Mapping[str, DistilledSet], start: Heads, validation: FeatureSet, kind: str, settings: TransferSettings
) -> TrainedOn:
    """Train heads on every candidate set, and return the heads with the best validation score.

    Args:
        sets: {name: candidate set}, in the feature space of the new encoder. The name is stored with the result.
        start: initial heads of the new encoder; only the recipe "sgd" uses them.
        validation: validation rows of the new encoder.
        kind: recipe, "anchor" or "sgd".
        settings: candidate values for the settings of the recipe.
    """
    train = _by_anchors if kind == "anchor" else _by_sgd
    trained = {option: train(distilled, start, validation, settings) for option, distilled in sets.items()}
    option = max(trained, key=lambda each: trained[each].score)
    best = trained[option]
    return TrainedOn(best.heads, best.score, {**({"option": option} if option else {}), **best.settings})


def _by_anchors(distilled: DistilledSet, start: Heads, validation: FeatureSet, settings: TransferSettings) -> TrainedOn:
    rows, count = distilled.training_rows(validation.device), len(distilled.modalities)
    candidates = [(ridge,) * count for ridge in settings.ridges]
    if isinstance(distilled.recipe, Anchor):
        candidates.insert(0, distilled.recipe.ridges)
    tried = []
    for ridges in candidates:
        heads = Anchor(ridges=ridges).heads(rows)
        tried.append(TrainedOn(heads, validation_score(heads, validation), {"ridges": list(ridges)}))
    return max(tried, key=lambda each: each.score)


def _by_sgd(distilled: DistilledSet, start: Heads, validation: FeatureSet, settings: TransferSettings) -> TrainedOn:
    if not isinstance(distilled.recipe, Sgd):
        count, batch = len(distilled.modalities), min(_USUAL_BATCH, len(distilled))
        distilled = distilled.with_recipe(Sgd(step_sizes=(1.0,) * count, num_steps=1, batch_size=batch))
    steps = doubling_steps(settings.max_steps)
    choice = choose_recipe(distilled, start, validation, settings.learning_rates, steps, num_runs=1)
    return TrainedOn(choice.distilled.train(start), choice.score, {"recipe": choice.distilled.recipe.title})
