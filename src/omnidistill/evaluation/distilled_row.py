"""The table row of a distilled set: the heads of students trained on the set by its stored recipe.

If each pair of modalities has its own set, students are trained on every one of these sets.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from omnidistill.core.threads import threads_for
from omnidistill.distillation import DistilledSet
from omnidistill.evaluation.paper_protocol import published_recipe, require_finite
from omnidistill.evaluation.protocol import EvaluateConfig
from omnidistill.evaluation.trained_heads import TrainedHeads
from omnidistill.models.heads import Heads


def train_on_sets(sets: Sequence[DistilledSet], start: Heads, config: EvaluateConfig, seed: int) -> TrainedHeads:
    """Train `config.num_seeds` students on each set, or a single student if its recipe has no training steps.

    The reported time covers only the training of students.

    Raises:
        NotFiniteError: training with the published protocol (`config.protocol` is "paper") diverged.
        InputError: the published protocol does not fit the recipe of a set; see `published_recipe`.
    """
    published = config.protocol == "paper"
    if published:
        sets = [published_recipe(distilled, config) for distilled in sets]
    started_at, parts = time.monotonic(), []
    for distilled in sets:
        width = next(iter(start.values())).shape[0]
        with threads_for(len(distilled), {name: start[name].shape[1] for name in distilled.modalities}, width):
            num_runs = config.num_seeds if distilled.recipe.num_steps else 1  # a closed form has a single result
            parts.append(next(distilled.students(start, seed=seed, num_runs=num_runs))[1])
        if published:
            require_finite(parts[-1])
    recipes = [_settings(distilled) for distilled in sets]
    settings = recipes[0]
    if len(sets) > 1:
        settings = {name: [recipe[name] for recipe in recipes] for name in recipes[0]}
    if published:
        settings = {**settings, "protocol": "paper"}
    label = f"{sets[0].provenance.method or 'set'}, {sets[0].size} rows"
    num_bytes = sum(each.bytes for each in sets)
    return TrainedHeads(label, tuple(parts), num_bytes, time.monotonic() - started_at, settings)


def train_without_start(
    sets: Sequence[DistilledSet], start: Heads, config: EvaluateConfig, seed: int
) -> TrainedHeads | None:
    """Train students on each set with a variant of its recipe that ignores the initial heads `start`.

    Return None if the recipe of any set has no such variant, because it requires the initial heads or already ignores
    them. Also return None if `config.protocol` is "paper".
    """
    alone = [(distilled, distilled.recipe.without_start()) for distilled in sets]
    if config.protocol == "paper" or any(recipe is None for _, recipe in alone):
        return None
    return train_on_sets([each.with_recipe(recipe) for each, recipe in alone if recipe], start, config, seed)


def _settings(distilled: DistilledSet) -> Mapping[str, Any]:
    settings = distilled.recipe.model_dump(mode="json")
    return {name: settings[name] for name in ("num_steps", "step_sizes", "ridges", "weight") if name in settings}
