"""Initial heads, from which students and experts are trained.

They are given by the user, loaded from a run folder (RUN/heads/), pre-trained on the `heads` split, or random.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from omnidistill.core.device import moved, resolve_device
from omnidistill.core.errors import InputError, nearest
from omnidistill.core.json_value import Json
from omnidistill.data.arrays import Array, as_rows
from omnidistill.data.datasets import Data, opened
from omnidistill.data.featureset import FeatureSet
from omnidistill.data.fingerprint import fingerprint
from omnidistill.evaluation.validation import validation_score
from omnidistill.experiments.config import RunConfig, SettingValues, requested_config
from omnidistill.experiments.run.run_identity import heads_fingerprint
from omnidistill.io.artifacts import require_new_folder
from omnidistill.io.tracking import Progress, shown
from omnidistill.models.heads import Heads, check_heads, load_heads, save_heads
from omnidistill.training.experts import pretrain_heads as train_heads


class InitialHeads(dict[str, Tensor]):
    """Initial heads as a dict {modality: embedding width x feature width}, with a record of their origin.

    Args:
        matrices: the heads.
        meta: origin, licences and other facts about the heads, as JSON.
    """

    def __init__(self, matrices: Mapping[str, Tensor], meta: Mapping[str, Json] | None = None) -> None:
        super().__init__(matrices)
        self.meta: dict[str, Json] = dict(meta or {})

    @property
    def width(self) -> int:
        """Width d of the embeddings."""
        return next(iter(self.values())).shape[0]

    @property
    def origin(self) -> str:
        """Where the heads come from: "random", "given", or the split and epoch of the pre-training."""
        origin = str(self.meta.get("origin", "given"))
        return f"{origin}, epoch {self.meta['epoch']}" if "epoch" in self.meta and origin != "random" else origin

    def to(self, data: FeatureSet) -> InitialHeads:
        """Return a copy of the heads on the device of `data`."""
        return InitialHeads(moved(self, data.device), self.meta)

    @property
    def shapes(self) -> str:
        """Shapes as text, such as "image 512, text 384 -> 128"."""
        inputs = ", ".join(f"{name} {matrix.shape[1]}" for name, matrix in self.items())
        return f"{inputs} -> {self.width}"

    def table(self) -> str:
        """Return the shapes and the origin of the heads as text."""
        return f"heads  {self.shapes}\norigin {self.origin}"

    def to_json(self) -> dict[str, Any]:
        """Return the widths and the origin of the heads as a JSON object."""
        origin = str(self.meta.get("origin", "given"))
        epoch = {"epoch": self.meta["epoch"]} if "epoch" in self.meta and origin != "random" else {}
        inputs = {name: matrix.shape[1] for name, matrix in self.items()}
        return {"width": self.width, "inputs": inputs, "origin": origin, **epoch}

    def __repr__(self) -> str:
        return f"InitialHeads({self.shapes}; {self.origin})"


GivenHeads = Mapping[str, Array] | Path | InitialHeads
"""Heads passed by the user: {modality: d x p_m}, or the Path of stored ones."""


def given_heads(heads: GivenHeads | None, widths: Mapping[str, int]) -> InitialHeads | None:
    """Return the heads that the user passed, after checking them. Return None if `heads` is None.

    Args:
        heads: matrices, or the Path of a folder or file that contains heads.
        widths: {modality: feature width p_m} of the data.

    Raises:
        InputError: a modality is missing or unknown, a matrix has the wrong width, or the file is damaged.
    """
    match heads:
        case None:
            return None
        case Path():
            matrices, meta = load_heads(heads, widths)
        case InitialHeads():
            matrices, meta = _checked(heads, widths), heads.meta
        case Mapping():
            matrices, meta = _checked(heads, widths), {}
        case _:
            raise InputError(
                f"heads: found a {type(heads).__name__}; pass a pathlib.Path, or a dict that maps each modality to a "
                "matrix of shape (output width, feature width)"
            )
    kept: dict[str, Json] = {key: meta[key] for key in ("source", "licences") if key in meta}
    return InitialHeads(matrices, {"origin": "given", **kept})


def _checked(heads: Mapping[str, Array], widths: Mapping[str, int]) -> Heads:
    for name in heads:
        if name not in widths:
            known = ", ".join(widths)
            raise InputError(
                f"heads: the data have no modality {name!r}; choose from {known}{nearest(str(name), widths)}"
            )
    matrices = {name: as_rows(f"head {name!r}", x).float() for name, x in heads.items()}
    check_heads(matrices, widths, "heads")
    return {name: matrices[name] for name in widths}


def load_or_create_heads(
    data: FeatureSet,
    config: RunConfig,
    folder: Path | None = None,
    given: InitialHeads | None = None,
    progress: Progress | None = None,
) -> InitialHeads:
    """Return the initial heads in `folder`. If it contains none, return `given` or new heads, and store them there.

    New heads are pre-trained on the `heads` split, or random if the data have no such split.

    Args:
        data: the data.
        config: the settings of the run.
        folder: folder of the heads; None stores nothing.
        given: heads to use if `folder` contains none; None creates new heads.
        progress: shows the progress; None shows nothing.

    Raises:
        InputError: the heads do not match the data, or the heads in `folder` differ from `given`.
    """
    if folder is not None and (folder / "manifest.json").exists():
        matrices, meta = load_heads(folder, data.widths)
        if given is not None and heads_fingerprint(given) != heads_fingerprint(matrices):
            raise InputError(
                f"{folder}: the projection heads in this folder differ from the given heads; choose another folder"
            )
        return InitialHeads(matrices, {name: value for name, value in meta.items() if name != "modalities"}).to(data)
    heads = given or _pretrained(data, config, progress)
    if folder is not None:
        save_heads(heads, folder, heads.meta)
    return heads.to(data)


def _pretrained(data: FeatureSet, config: RunConfig, progress: Progress | None) -> InitialHeads:
    development = data.development()
    heads, epoch = train_heads(
        development,
        config.heads,
        lambda heads: validation_score(heads, development.validation),
        seed=config.seed,
        progress=progress,
    )
    meta: dict[str, Json] = {
        "origin": "pre-trained on the heads split" if epoch else "random",
        "epoch": epoch,
        "config": config.heads.model_dump(mode="json"),
        "seed": config.seed,
        "data": fingerprint(data),
    }
    return InitialHeads(heads, meta)


def pretrain_heads(
    data: Data,
    *,
    preset: str | None = None,
    config: RunConfig | Path | None = None,
    settings: SettingValues = (),
    seed: int | None = None,
    heads: GivenHeads | None = None,
    folder: str | Path | None = None,
    force: bool = False,
    device: str | torch.device = "auto",
    progress: Progress | bool = True,
) -> InitialHeads:
    """Create initial heads by pre-training with InfoNCE on the `heads` split. Without such a split, heads are random.

    Args:
        data: a FeatureSet, the name of a registered dataset, or the Path of a packed dataset.
        preset, config, settings, seed: settings of a run, as in `distill`; only those under "heads" have an effect.
        heads: existing heads, which are checked, stored and returned instead of new heads.
        folder: output folder; None stores nothing.
        force: whether to replace heads that are already in the folder.
        device: device on which the heads are trained.
        progress: whether to show progress, or the object that shows it.

    Raises:
        InputError: settings, heads or device cannot be used, or the folder is not empty and `force` is False.
    """
    resolved = requested_config(preset=preset, config=config, settings=settings, seed=seed)
    features = opened(data, resolved.modalities)
    place = None if folder is None else Path(folder)
    if place is not None:
        require_new_folder(place, force)
    given = given_heads(heads, features.widths)
    result = load_or_create_heads(features.to(resolve_device(device)), resolved, None, given, shown(progress))
    if place is not None:
        save_heads(result, place, result.meta)
    return result
