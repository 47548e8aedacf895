"""The stages before a set is made: the heads that students start from, and the experts that start from them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

import torch

from omnidistill.artifacts import exclusive, read_json, write_atomic
from omnidistill.config import ExpertsConfig, RunConfig, TrajectoryConfig
from omnidistill.engine import Engine
from omnidistill.errors import InputError
from omnidistill.evaluation.choosing import validation_score
from omnidistill.evaluation.training import Training, choose_training
from omnidistill.experts import ExpertBuffer, load_experts, pretrain_heads, train_experts
from omnidistill.features.featureset import FeatureSet
from omnidistill.heads import Heads, load_heads, save_heads
from omnidistill.objectives import objective_from
from omnidistill.randomness import Streams
from omnidistill.run.folder import fingerprint, heads_fingerprint, open_data
from omnidistill.tracking import Progress, SilentProgress, Views, check_trackers

CHOSEN = "chosen.json"
"""In a buffer: the step size and number of epochs that validated best."""


def make_heads(
    data: FeatureSet, config: RunConfig, folder: Path, given: Path | None = None, progress: Progress | None = None
) -> Heads:
    """The heads of `folder`; made when missing: read from `given`, or pre-trained on the `heads` split (random
    without one).
    """
    if (folder / "manifest.json").exists():
        heads = load_heads(folder, data.widths)[0]
        if given is not None and heads_fingerprint(load_heads(given, data.widths)[0]) != heads_fingerprint(heads):
            raise InputError(f"{folder}: holds other heads than {given}; choose another folder")
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
    origin = "random" if development.heads is None else "pre-trained on the heads split"
    meta = {"origin": origin, "epoch": epoch, "config": config.heads.model_dump(mode="json"), "seed": config.seed}
    save_heads(heads, folder, {**meta, "data": fingerprint(data)})
    return heads


def make_experts(
    data: FeatureSet,
    heads: Heads,
    config: RunConfig,
    folder: Path,
    progress: Progress | None = None,
    engine: Engine | None = None,
    reopen: Callable[[], FeatureSet] | None = None,
) -> ExpertBuffer:
    """The expert buffer of `folder`; trained, or its training continued, when it is not finished.

    Step size and number of epochs that are not given are those that validate best of those that the reference on all
    rows is chosen from (`evaluate.learning_rates`, `evaluate.max_epochs`), written to FOLDER/chosen.json.
    """
    seed = config.seed if config.experts.seed is None else config.experts.seed
    identity = {"data": fingerprint(data), "heads": heads_fingerprint(heads)}
    begun = time.monotonic()
    chosen, settings = _chosen(config, data, heads, folder, seed, identity, progress), config.distill
    finished = (folder / "manifest.json").exists()
    others = [] if finished else _other_starts(data, heads, config, folder, progress)
    span = settings.num_expert_epochs or chosen.num_epochs if isinstance(settings, TrajectoryConfig) else 1
    return train_experts(
        heads,
        data.split("train"),
        chosen,
        folder,
        seed=seed,
        others=others,
        seconds=time.monotonic() - begun,
        spectrum_epochs=span or 1,
        identity=identity,
        progress=progress,
        engine=engine,
        reopen=reopen,
    )


def _other_starts(
    data: FeatureSet, heads: Heads, config: RunConfig, folder: Path, progress: Progress | None
) -> list[Heads]:
    """Heads of the same width, made as those of the run are where none are given, with seeds of their own."""
    width, made = next(iter(heads.values())).shape[0], []
    for start in range(1, config.experts.num_starts):
        drawn = torch.randint(2**62, (1,), generator=Streams(config.seed)[f"experts/start/{start}"])
        settings = {"seed": int(drawn), "heads": config.heads.model_copy(update={"width": width})}
        made.append(make_heads(data, config.model_copy(update=settings), folder / f"start-{start}", None, progress))
    return made


def _chosen(
    run: RunConfig,
    data: FeatureSet,
    heads: Heads,
    folder: Path,
    seed: int,
    identity: dict[str, str],
    progress: Progress | None,
) -> ExpertsConfig:
    """The experts' settings with step size and number of epochs; chosen once for a folder."""
    config = run.experts
    if config.learning_rate is not None and config.num_epochs is not None:
        return config
    rates = run.evaluate.learning_rates if config.learning_rate is None else (config.learning_rate,)
    longest = config.num_epochs or run.evaluate.max_epochs
    tried = {"learning_rates": list(rates), "max_epochs": longest}
    key = {"config": config.model_dump(mode="json"), "seed": seed, "identity": identity, **tried}
    place = folder / CHOSEN
    kept = read_json(place) if place.exists() else {}
    if kept.get("key") != key:
        progress = progress or SilentProgress()
        with progress:
            progress.start(1, "choose the experts' training")
            found = choose_training(
                objective_from(config.objective, data.modalities),
                heads,
                data.development(),
                rates,
                batch_size=config.batch_size,
                max_epochs=longest,
                seed=seed,
                purpose="experts/choose",
            )
            progress.advance(1, validation=found.score)
        kept = {"key": key, "training": asdict(found)}
        folder.mkdir(parents=True, exist_ok=True)
        write_atomic(place, json.dumps(kept).encode())
    training = Training(**kept["training"])
    num_epochs = training.num_epochs if config.num_epochs is None else config.num_epochs
    return config.model_copy(update={"learning_rate": training.learning_rate, "num_epochs": num_epochs})


def _train_rows(reference: str, config: RunConfig) -> FeatureSet:
    return open_data(reference, config).split("train")


def run_experts(
    reference: str,
    config: RunConfig,
    folder: Path,
    heads: Path | None = None,
    progress: Progress | None = None,
    trackers: Sequence[str] = (),
    engine: Engine | None = None,
) -> ExpertBuffer:
    """Heads in FOLDER/heads (made when not given) and the experts that start from them in FOLDER/buffer.

    Trackers are shown how far experts went from their start, an epoch a step, once they are trained.
    """
    check_trackers(trackers)
    data = open_data(reference, config)
    objective_from(config.experts.objective, data.modalities)
    if heads is not None:
        load_heads(heads, data.widths)
    with exclusive(folder):
        start = make_heads(data, config, folder / "heads", heads, progress)
        buffer = make_experts(
            data, start, config, folder / "buffer", progress, engine, partial(_train_rows, reference, config)
        )
        _show(buffer, trackers, folder, config, progress or SilentProgress())
        return buffer


def _show(buffer: ExpertBuffer, trackers: Sequence[str], folder: Path, config: RunConfig, progress: Progress) -> None:
    """||W_t - W_0||_F of every modality after every epoch t, mean over the experts."""
    gone = buffer.squared_distances[:, :, 0].sqrt().mean(0)
    with Views(trackers, folder, config.model_dump(mode="json"), lambda line: progress.advance(0, note=line)) as views:
        for epoch, distances in enumerate(gone.T.tolist()):
            named = zip(buffer.modalities, distances, strict=True)
            views.show({"iteration": epoch, **{f"distance_from_start/{name}": far for name, far in named}})


def given_experts(given: Path, data: FeatureSet, config: RunConfig, heads: Path | None) -> ExpertBuffer:
    """Experts made before, by the folder that 'experts' was told or the buffer in it.

    Raises InputError for experts of other data or heads, or with fewer epochs than are read.
    """
    buffer = load_experts(given / "buffer" if (given / "buffer").is_dir() else given)
    identity = buffer.meta["key"]["identity"]
    other_heads = heads is not None and heads_fingerprint(load_heads(heads, data.widths)[0]) != identity.get("heads")
    if identity.get("data") != fingerprint(data) or other_heads:
        raise InputError(f"{given}: experts were trained on other data or from other heads; train them again")
    settings = config.distill
    last = settings.last_epoch if isinstance(settings, TrajectoryConfig) else 0
    if last > buffer.num_epochs:
        raise InputError(f"{given}: experts have {buffer.num_epochs} epochs, but the settings read epoch {last}")
    return buffer
