"""Initial heads of students and experts, and for each the training on all rows (step size and number of epochs).

RUN/heads/                the run's own initial heads
BUFFER/chosen.json        step size and number of epochs of experts that start from the run's own heads
BUFFER/start-1/ ...       other initial heads, each with its own chosen.json
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import torch

from omnidistill.core.errors import InputError
from omnidistill.core.streams import Streams
from omnidistill.data.featureset import FeatureSet
from omnidistill.data.fingerprint import fingerprint
from omnidistill.evaluation.full_training import Training, choose_training
from omnidistill.evaluation.validation import validation_score
from omnidistill.experiments.config import RunConfig
from omnidistill.experiments.run.run_folder import heads_fingerprint
from omnidistill.io.artifacts import read_json, write_atomic
from omnidistill.io.tracking import Progress, SilentProgress
from omnidistill.models.heads import Heads, load_heads, save_heads
from omnidistill.training.experts import Start, pretrain_heads

CHOSEN = "chosen.json"
"""File next to initial heads, with the step size and number of epochs that validate best."""


def make_heads(
    data: FeatureSet, config: RunConfig, folder: Path, given: Path | None = None, progress: Progress | None = None
) -> Heads:
    """Return the heads in `folder`; create them first if they are missing.

    Args:
        data: the set. Without `given`, heads are pre-trained on its `heads` split; without such a split they are
            random.
        config: the settings.
        folder: where the heads are stored.
        given: folder of heads to copy instead.
        progress: reports progress to the user.

    Raises:
        InputError: heads do not match the data, or the folder contains other heads than `given`.
    """
    if (folder / "manifest.json").exists():
        heads = load_heads(folder, data.widths)[0]
        if given is not None and heads_fingerprint(load_heads(given, data.widths)[0]) != heads_fingerprint(heads):
            raise InputError(f"{folder}: contains other heads than {given}; choose another folder")
        return heads
    if given is not None:
        heads, meta = load_heads(given, data.widths)
        save_heads(
            heads, folder, {"origin": "given", **{key: meta[key] for key in ("source", "licences") if key in meta}}
        )
        return heads
    development = data.development()
    heads, epoch = pretrain_heads(
        development,
        config.heads,
        lambda heads: validation_score(heads, development.validation),
        seed=config.seed,
        progress=progress,
    )
    origin = "pre-trained on the heads split" if epoch else "random"
    meta = {"origin": origin, "epoch": epoch, "config": config.heads.model_dump(mode="json"), "seed": config.seed}
    save_heads(heads, folder, {**meta, "data": fingerprint(data)})
    return heads


def make_starts(
    data: FeatureSet, heads: Heads, config: RunConfig, folder: Path, seed: int, progress: Progress | None = None
) -> list[Start]:
    """Return the run's own heads and other initial heads of the same width, each with step size and number of epochs.

    The other heads are in FOLDER/start-1 ... and are created if they are missing: first the pre-trained ones, then
    `experts.random_starts` random ones, with seeds drawn from `seed`. If step size or number of epochs are not set,
    those that validate best are chosen for each initial heads separately, from the candidates of the baseline on all
    rows (`evaluate.learning_rates`, `evaluate.max_epochs`).
    """
    starts = [_trained(data, heads, config, folder, seed, progress)]
    width = next(iter(heads.values())).shape[0]
    for number in range(1, config.experts.num_starts):
        place = folder / f"start-{number}"
        other = make_heads(data, _settings_of_other(number, width, config, seed), place, None, progress)
        starts.append(_trained(data, other, config, place, seed, progress))
    return starts


def _settings_of_other(number: int, width: int, config: RunConfig, seed: int) -> RunConfig:
    drawn = torch.randint(2**62, (1,), generator=Streams(seed)[f"experts/start/{number}"])
    random = number >= config.experts.num_starts - config.experts.random_starts
    update = {"width": width, **({"num_epochs": 0} if random else {})}
    return config.evolve(seed=int(drawn), heads=config.heads.evolve(**update))


def _trained(
    data: FeatureSet, heads: Heads, run: RunConfig, folder: Path, seed: int, progress: Progress | None
) -> Start:
    """Return heads with step size and number of epochs; a choice is stored in the folder and made only once."""
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
    place = folder / CHOSEN
    record = read_json(place) if place.exists() else {}
    if record.get("key") != key:
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
                report=lambda score: progress.advance(1, validation=score),
            )
        record = {"key": key, "training": asdict(training)}
        folder.mkdir(parents=True, exist_ok=True)
        write_atomic(place, json.dumps(record).encode())
    training = Training(**record["training"])
    return Start(heads, training.learning_rate, config.num_epochs or training.num_epochs)
