"""The stages before a set is made: the heads that students start from, and the experts that start from them."""

from __future__ import annotations

from pathlib import Path

from omnidistill.artifacts import exclusive
from omnidistill.config import RunConfig, TrajectoryConfig
from omnidistill.errors import InputError
from omnidistill.evaluation.choosing import validation_score
from omnidistill.experts import ExpertBuffer, load_experts, pretrain_heads, train_experts
from omnidistill.features.featureset import FeatureSet
from omnidistill.heads import Heads, load_heads, save_heads
from omnidistill.objectives import objective_from
from omnidistill.run.folder import fingerprint, heads_fingerprint, open_data
from omnidistill.tracking import Progress


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
        save_heads(heads, folder, {"origin": "given", **{key: meta[key] for key in ("source",) if key in meta}})
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
    data: FeatureSet, heads: Heads, config: RunConfig, folder: Path, progress: Progress | None = None
) -> ExpertBuffer:
    """The expert buffer of `folder`; trained, or its training continued, when it is not finished."""
    settings = config.distill
    return train_experts(
        heads,
        data.split("train"),
        config.experts,
        folder,
        seed=config.seed if config.experts.seed is None else config.experts.seed,
        spectrum_epochs=settings.num_expert_epochs if isinstance(settings, TrajectoryConfig) else 1,
        identity={"data": fingerprint(data), "heads": heads_fingerprint(heads)},
        progress=progress,
    )


def run_experts(
    reference: str, config: RunConfig, folder: Path, heads: Path | None = None, progress: Progress | None = None
) -> ExpertBuffer:
    """Heads in FOLDER/heads (made when not given) and the experts that start from them in FOLDER/buffer."""
    data = open_data(reference, config)
    objective_from(config.experts.objective, data.modalities)
    if heads is not None:
        load_heads(heads, data.widths)
    with exclusive(folder):
        start = make_heads(data, config, folder / "heads", heads, progress)
        return make_experts(data, start, config, folder / "buffer", progress)


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
    last = settings.max_start_epoch - 1 + settings.num_expert_epochs if isinstance(settings, TrajectoryConfig) else 0
    if last > buffer.num_epochs:
        raise InputError(f"{given}: experts have {buffer.num_epochs} epochs, but the settings read epoch {last}")
    return buffer
