"""Starts of the experts of a run: initial heads, and the step size and number of epochs for training from these heads.

RUN/heads/                         initial heads of the run
RUN/experts/chosen.json            step size and number of epochs of experts that start from these heads
RUN/experts/start-1/, start-2/...  other initial heads of experts, each folder with its own chosen.json
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import ClassVar

import torch

from omnidistill.core.json_value import Json
from omnidistill.core.streams import Streams
from omnidistill.data.featureset import FeatureSet
from omnidistill.data.fingerprint import fingerprint
from omnidistill.evaluation.full_training import Training, choose_training
from omnidistill.experiments.config import RunConfig
from omnidistill.experiments.run.run_identity import heads_fingerprint
from omnidistill.experiments.run.start_heads import load_or_create_heads
from omnidistill.io.artifacts import JsonContent, write_atomic
from omnidistill.io.tracking import Progress, SilentProgress
from omnidistill.models.heads import Heads
from omnidistill.training.experts import Start

CHOSEN = "chosen.json"
"""File next to initial heads that contains the step size and number of epochs with the best validation score."""


def load_or_create_starts(
    data: FeatureSet, heads: Heads, config: RunConfig, folder: Path | None, seed: int, progress: Progress | None = None
) -> list[Start]:
    """Return the starts of experts: initial heads, each with a step size and a number of epochs.

    The first start has the initial heads of the run. All other starts have new heads of the same width, pre-trained
    with other seeds (random if the data have no `heads` split). The last `experts.random_starts` starts always have
    random heads. For example, with `num_starts = 4` and `random_starts = 1`, the second and the third start are
    pre-trained, and the fourth is random.

    The new heads are stored in FOLDER/start-1, FOLDER/start-2 and so on, or loaded from there if they exist. Without a
    folder, nothing is stored.

    If the settings do not fix the step size or the number of epochs, validation chooses it separately for each start.
    The candidates are those of the baseline `full` (`evaluate.learning_rates` and `evaluate.max_epochs`).
    """
    starts = [_trained(data, heads, config, folder, seed, progress)]
    width = next(iter(heads.values())).shape[0]
    for number in range(1, config.experts.num_starts):
        place = None if folder is None else folder / f"start-{number}"
        other = load_or_create_heads(data, _settings_of_other(number, width, config, seed), place, None, progress)
        starts.append(_trained(data, other, config, place, seed, progress))
    return starts


def _settings_of_other(number: int, width: int, config: RunConfig, seed: int) -> RunConfig:
    drawn = torch.randint(2**62, (1,), generator=Streams(seed)[f"experts/start/{number}"], device="cpu")
    random = number >= config.experts.num_starts - config.experts.random_starts
    update = {"width": width, **({"num_epochs": 0} if random else {})}
    return config.evolve(seed=int(drawn), heads=config.heads.evolve(**update))


class _Chosen(JsonContent):
    """Content of chosen.json: the step size and number of epochs chosen for experts, and the inputs of the choice."""

    remedy: ClassVar[str] = "delete this file to choose again"

    key: Mapping[str, Json]
    training: Training


def _trained(
    data: FeatureSet, heads: Heads, run: RunConfig, folder: Path | None, seed: int, progress: Progress | None
) -> Start:
    """Return a start: the given heads, with the step size and number of epochs of experts that start from them.

    If the settings do not fix the step size or the number of epochs, it is chosen on validation. The choice is stored
    in FOLDER/chosen.json. If this file already contains a choice for the same inputs, that choice is used.
    """
    config = run.experts
    if config.learning_rate is not None and config.num_epochs is not None:
        return Start(heads, config.learning_rate, config.num_epochs)
    rates = run.evaluate.learning_rates if config.learning_rate is None else (config.learning_rate,)
    longest = config.num_epochs or run.evaluate.max_epochs
    key = {
        "config": config.model_dump(mode="json"),
        "seed": seed,
        "identity": {"data": fingerprint(data), "heads": heads_fingerprint(heads)},
        "learning_rates": list(rates),
        "max_epochs": longest,
    }
    place = None if folder is None else folder / CHOSEN
    stored = _Chosen.from_file(place) if place is not None and place.exists() else None
    if stored is not None and stored.key == key:
        training = stored.training
    else:
        progress = progress or SilentProgress()
        with progress:
            progress.start(len(rates), "choose the experts' training")
            training = choose_training(
                config.objective.bind(data.modalities),
                heads,
                data.development(),
                rates,
                batch_size=config.batch_size,
                max_epochs=longest,
                seed=seed,
                purpose="experts/choose",
                report=progress.advance,
            )
        if place is not None:
            place.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(place, json.dumps({"key": key, "training": asdict(training)}).encode())
    return Start(heads, training.learning_rate, config.num_epochs or training.num_epochs)
