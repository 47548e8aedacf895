"""Train a model on a set: by the set's own recipe, or by a recipe whose settings are chosen on validation.

    own       the recipe of the set, unchanged or with one change (learning rate, steps, ...)
    sgd       SGD on InfoNCE; step size and number of steps are chosen
    anchor    ridge regression to anchors; one ridge for all modalities is chosen
    stacked   outputs of "anchor" and of the initial heads, weighted, concatenated, and reduced to the width of the
              initial heads; ridge and weight are chosen
    map       networks learn to reproduce the outputs of the heads of "anchor"; the ridge is chosen

Shapes: N rows, p_m feature width, d embedding width, b rows per step.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TypeGuard

import torch
from jaxtyping import Int
from torch import nn

from omnidistill.core.json_value import Json
from omnidistill.core.streams import Streams
from omnidistill.data.featureset import FeatureSet
from omnidistill.distillation import DistilledSet
from omnidistill.evaluation.validation import choose_recipe, doubling_steps, validation_score
from omnidistill.experiments.crossed.crossed_models import (
    Outputs,
    outputs_of_heads,
    outputs_of_modules,
    validation_score_of,
)
from omnidistill.experiments.crossed.crossed_settings import CrossedSettings
from omnidistill.models.heads import Heads, stack
from omnidistill.models.objectives import InfoNCE
from omnidistill.models.similarities import FixedIdentity, SharedGroups
from omnidistill.models.storages import RowStorage
from omnidistill.training.closed_form.anchor_map import to_width, unordered_to_width
from omnidistill.training.recipes import Recipe, Sgd, TrainingRows
from omnidistill.training.recipes.anchor_regression import Anchor
from omnidistill.training.recipes.map_regression import MapRegression
from omnidistill.training.rollout.students import draw_batches

Trained = tuple[Outputs, dict[str, Json]]
"""A trained model, and the settings that were chosen for it."""
Networks = dict[str, nn.Module]

_USUAL_BATCH = 128


def by_own_recipe(
    distilled: DistilledSet, start: Heads | Networks, width: int, variant: str, settings: CrossedSettings
) -> Trained:
    """Train a model by the recipe of the set.

    Args:
        distilled: the distilled set.
        start: initial heads or networks. The recipe "anchor" ignores the weights of initial heads, because it computes
            new heads.
        width: width of the outputs.
        variant: name of a change to the recipe, see `varied`; "" for no change.
        settings: settings of the crossed table.
    """
    changed = varied(distilled, variant)
    chosen: dict[str, Json] = {"recipe": changed.recipe.title}
    if is_networks(start):
        recipe = changed.recipe
        if isinstance(recipe, Anchor):
            recipe = _map_recipe(recipe.ridges, settings, recipe.cutoff)
        return outputs_of_modules(_trained_networks(changed, recipe, start, settings.seed)), chosen
    heads = start_heads(start)
    if isinstance(changed.recipe, Anchor):  # new heads; the recipe "stacked" stacks them on the start
        return outputs_of_heads(changed.recipe.heads(_rows_like(changed, heads), width)), chosen
    return outputs_of_heads(changed.train(heads, settings.seed)), chosen


def varied(distilled: DistilledSet, variant: str) -> DistilledSet:
    """Return the set with a changed recipe.

    Args:
        distilled: the distilled set.
        variant: name of the change: "rate/2", "rate*2", "steps/2", "steps*2", "shuffled" (each student draws its own
            mini-batches), "no-views" (only stored rows are used), "ridge/2" or "ridge*2"; "" for no change.
    """
    recipe = distilled.recipe
    factor = 2.0 if variant.endswith("*2") else 0.5
    if variant == "no-views":
        assert isinstance(distilled.spec.storage, RowStorage)
        spec = replace(distilled.spec, storage=distilled.spec.storage.evolve(views=1), similarity=FixedIdentity())
        plain = replace(distilled, spec=spec, tensors=_without_similarity(distilled))
        assert isinstance(recipe, Sgd)
        return plain.with_recipe(recipe.evolve(batch_size=min(recipe.batch_size, len(plain))))
    changes: dict[str, object] = {}
    if variant.startswith("rate") and isinstance(recipe, Sgd):
        changes["step_sizes"] = tuple(factor * size for size in recipe.step_sizes)
    elif variant.startswith("steps"):
        changes["num_steps"] = max(1, round(factor * recipe.num_steps))
    elif variant == "shuffled":
        changes["order"] = None
    elif variant.startswith("ridge") and isinstance(recipe, Anchor):
        changes["ridges"] = tuple(factor * ridge for ridge in recipe.ridges)
    return distilled.with_recipe(recipe.evolve(**changes)) if changes else distilled


def by_sgd(
    distilled: DistilledSet, start: Heads | Networks, validation: FeatureSet, settings: CrossedSettings
) -> Trained:
    """Train a model by SGD on InfoNCE, with step size and number of steps chosen on validation.

    In a set of real rows or of their averages, all rows of the same group are positives of each other. In all other
    sets, the only positive of a row is the row itself.
    """
    plain = as_infonce_set(distilled, settings.evaluate.tau)
    if is_networks(start):
        return _networks_by_sgd(plain, start, validation, settings)
    heads, steps = start_heads(start), doubling_steps(settings.max_steps)
    choice = choose_recipe(plain, heads, validation, settings.learning_rates, steps, num_runs=1)
    return outputs_of_heads(choice.distilled.train(heads, settings.seed)), {"recipe": choice.distilled.recipe.title}


def as_infonce_set(distilled: DistilledSet, tau: float) -> DistilledSet:
    """Return the set with the objective InfoNCE and the recipe "sgd".

    The step sizes and the number of steps in the recipe are placeholders. Validation chooses their values later.
    """
    grouped = isinstance(distilled.spec.similarity, SharedGroups)
    recipe = Sgd(
        step_sizes=(1.0,) * len(distilled.modalities), num_steps=1, batch_size=min(_USUAL_BATCH, len(distilled))
    )
    similarity = distilled.spec.similarity if grouped else FixedIdentity()
    spec = replace(distilled.spec, objective=InfoNCE(tau=tau), similarity=similarity, recipe=recipe)
    return replace(distilled, spec=spec, tensors=distilled.tensors if grouped else _without_similarity(distilled))


def by_anchors(
    distilled: DistilledSet, start: Heads, width: int, validation: FeatureSet, settings: CrossedSettings
) -> Trained:
    """Compute heads by ridge regression to anchors, that is, to targets that all modalities share.

    The ridge is chosen on validation.
    """
    recipe, heads = _best_anchor(distilled, start, width, validation, settings)
    return outputs_of_heads(heads), {"ridge": recipe.ridges[0]}


def by_stacking(distilled: DistilledSet, start: Heads, validation: FeatureSet, settings: CrossedSettings) -> Trained:
    """Return the initial heads combined with heads from the recipe "anchor".

    The outputs of both are weighted, concatenated, and reduced to the width of the initial heads. The ridge of "anchor"
    and the weight of its outputs are chosen on validation.
    """
    width = len(next(iter(start.values())))
    recipe, _ = _best_anchor(distilled, start, None, validation, settings)
    rows = _rows_like(distilled, start)
    stacked = {weight: recipe.evolve(weight=weight).stacked(start, rows, width) for weight in settings.weights}
    weight = max(stacked, key=lambda each: validation_score(stacked[each], validation))
    return outputs_of_heads(stacked[weight]), {"ridge": recipe.ridges[0], "weight": weight}


def by_map(
    distilled: DistilledSet, start: Networks, width: int, validation: FeatureSet, settings: CrossedSettings
) -> Trained:
    """Train networks to reproduce the outputs of the heads that the recipe "anchor" computes from the set.

    The recipe computes heads for every candidate ridge. Networks learn from those with the best validation score.
    """
    anchor, heads = _best_anchor(distilled, validation.features, width, validation, settings)
    networks, rows = copy.deepcopy(start), _rows_like(distilled, validation.features).rows
    _map_recipe(anchor.ridges, settings).train_towards(networks, heads, rows, seed=settings.seed)
    return outputs_of_modules(networks), {"ridge": anchor.ridges[0]}


def by_teacher(heads: Heads, start: Networks, settings: CrossedSettings) -> Outputs:
    """Train copies of the networks to reproduce the outputs of heads of any width. The inputs are random noise."""
    networks, recipe = copy.deepcopy(start), _map_recipe((1.0,), settings)  # without rows, the ridge has no effect
    recipe.train_towards(networks, heads, seed=settings.seed)
    return outputs_of_modules(networks)


def infonce_steps(
    networks: Networks,
    rows: TrainingRows,
    optimiser: torch.optim.Optimizer,
    batches: Int[torch.Tensor, "T b"],
) -> Iterator[int]:
    """Take one optimiser step per mini-batch, and yield the number of finished steps after each.

    Args:
        networks: one network per modality, trained in place.
        rows: training rows with their targets and objective, on the device of the networks.
        optimiser: optimiser for the parameters of all networks.
        batches: row numbers of each mini-batch (T x b), on the same device.
    """
    for step, indices in enumerate(batches):
        with torch.enable_grad():
            outputs = stack({name: networks[name](x[indices]) for name, x in rows.rows.items()})
            optimiser.zero_grad()
            rows.objective.value(outputs, rows.targets(indices)).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        yield step + 1


def parameters_of(networks: Networks) -> list[nn.Parameter]:
    """Return the parameters of all networks."""
    return [parameter for each in networks.values() for parameter in each.parameters()]


def is_networks(start: Heads | Networks) -> TypeGuard[Networks]:
    """Return whether the models are networks instead of linear heads."""
    return any(isinstance(each, nn.Module) for each in start.values())


def start_heads(start: Heads | Networks) -> Heads:
    """Return the initial heads of a linear model. This function narrows the type for type checkers."""
    return {name: each for name, each in start.items() if isinstance(each, torch.Tensor)}


def _networks_by_sgd(
    distilled: DistilledSet, start: Networks, validation: FeatureSet, settings: CrossedSettings
) -> Trained:
    """Train networks by SGD with every candidate step size, and return those with the best validation score.

    Networks are scored after 8, 16, 32, ... steps. With each step size, training stops after three scores in a row
    without an improvement.
    """
    recipe, rows = distilled.recipe, distilled.training_rows(validation.device)
    assert isinstance(recipe, Sgd)
    steps = doubling_steps(settings.max_steps)
    order = Streams(settings.seed)["crossed/networks"]
    batches = draw_batches(len(distilled), recipe.batch_size, steps[-1], order).to(validation.device)
    best_score, best, chosen = -1.0, start, dict[str, Json]()
    for rate in settings.learning_rates:
        networks, peak, since = copy.deepcopy(start), -1.0, 0
        for done in infonce_steps(networks, rows, torch.optim.SGD(parameters_of(networks), lr=rate), batches):
            if done not in steps:
                continue
            if not all(bool(torch.isfinite(each).all()) for each in parameters_of(networks)):
                break
            score = validation_score_of(outputs_of_modules(networks), validation)
            peak, since = (score, 0) if score > peak else (peak, since + 1)
            if score > best_score:
                best_score, best, chosen = score, copy.deepcopy(networks), {"step_size": rate, "num_steps": done}
            if since == 3:
                break
    return outputs_of_modules(best), chosen


def _best_anchor(
    distilled: DistilledSet,
    like: Mapping[str, torch.Tensor],
    width: int | None,
    validation: FeatureSet,
    settings: CrossedSettings,
) -> tuple[Anchor, Heads]:
    """Return the recipe "anchor" with the ridge that has the best validation score, and the heads that it computes.

    The recipe computes one output per row of the set, that is, N outputs. If N > `width`, the reduction depends on the
    set. If it was distilled for the recipe "anchor", the first `width` outputs are kept. Otherwise, the outputs are
    multiplied by a random projection, so that every row contributes. If N < `width`, the outputs are embedded in
    `width` dimensions.

    Args:
        distilled: the distilled set.
        like: tensors on the device to compute on.
        width: output width of the heads; None means one output per row of the set.
        validation: data on which the candidate ridges are scored.
        settings: settings of the crossed table, with the candidate ridges.
    """
    rows = _rows_like(distilled, like)
    tried = []
    cutoff = distilled.recipe.cutoff if isinstance(distilled.recipe, Anchor) else None
    for ridge in settings.ridges:
        recipe = Anchor(ridges=(ridge,) * len(distilled.modalities), cutoff=cutoff)
        heads = recipe.heads(rows)
        if width is not None:
            heads = (to_width if isinstance(distilled.recipe, Anchor) else unordered_to_width)(heads, width)
        tried.append((validation_score(heads, validation), recipe, heads))
    _, recipe, heads = max(tried, key=lambda each: each[0])
    return recipe, heads


def _trained_networks(distilled: DistilledSet, recipe: Recipe, start: Networks, seed: int) -> Networks:
    trained: Networks = distilled.train(start, seed, recipe=recipe)
    return trained


def _map_recipe(ridges: Sequence[float], settings: CrossedSettings, cutoff: float | None = None) -> MapRegression:
    rate = settings.map_learning_rate
    return MapRegression(ridges=tuple(ridges), num_steps=settings.map_steps, learning_rate=rate, cutoff=cutoff)


def _rows_like(distilled: DistilledSet, like: Mapping[str, torch.Tensor]) -> TrainingRows:
    return distilled.training_rows(next(iter(like.values())).device)


def _without_similarity(distilled: DistilledSet) -> dict[str, torch.Tensor]:
    return {name: tensor for name, tensor in distilled.tensors.items() if name.startswith("rows/")}
