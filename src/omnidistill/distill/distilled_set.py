"""The result: a distilled set, with all that is needed to train on it.

A set works at the horizon and step sizes it was matched for, so its training recipe is part of it. On disk: an
artifact of kind "distilled" (rows as their parametrisation stores them, similarity factors, preprocessing means;
recipe, configuration and provenance as JSON).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from omnidistill.config import RunConfig, parse_config
from omnidistill.core.errors import InputError
from omnidistill.core.streams import Streams
from omnidistill.data.featureset import FeatureSet
from omnidistill.data.preprocessing import Preprocessing
from omnidistill.distill.torch_dataset import Batch, SyntheticRows
from omnidistill.io.artifacts import load_artifact, save_artifact
from omnidistill.models.heads import Heads, check_heads
from omnidistill.models.objectives import Objective, objective_from
from omnidistill.models.similarity import similarity_from
from omnidistill.models.storage import Parametrisation, parametrisation_from
from omnidistill.training.rollout.students import draw_batches, recipe_order, train_students


@dataclass(frozen=True)
class Recipe:
    """How to train on the set: SGD from the heads it was distilled for."""

    step_sizes: tuple[float, ...]  # one per modality
    num_steps: int
    batch_size: int
    momentum: float = 0.0
    weight_decay: float = 0.0
    order: int | None = None  # seed of the mini-batches that the set was made for; None: any will do


@dataclass(frozen=True)
class DistilledSet:
    """Synthetic rows, their similarity and their recipe."""

    tensors: dict[str, Tensor]  # "rows/..." and "similarity/..."
    modalities: tuple[str, ...]
    recipe: Recipe
    config: RunConfig
    preprocessing: Preprocessing
    provenance: dict[str, Any]
    initial_ids: tuple[str, ...]  # the real rows it started from

    @property
    def parametrisation(self) -> Parametrisation:
        """How the rows are stored."""
        return parametrisation_from(self.config.distill.counted_storage)

    def rows(self) -> dict[str, Float[Tensor, "_ _"]]:
        """The rows to train on, N x p_m per modality, in the space of the prepared features. Views of the stored rows
        come after them.
        """
        loaded = self.parametrisation.load(_section(self.tensors, "rows"))
        return {name: loaded[name] for name in self.modalities}

    def targets(self, batches: Int[Tensor, "*t b"]) -> Float[Tensor, "*t b b"]:
        """Target similarities of mini-batches of row indices."""
        return similarity_from(self.config.distill.similarity).targets(self.similarity_tensors, batches)

    @property
    def similarity_tensors(self) -> dict[str, Tensor]:
        """What is stored of the similarity."""
        return _section(self.tensors, "similarity")

    def similarity(self) -> Float[Tensor, "N N"]:
        """The whole matrix S."""
        return self.targets(torch.arange(len(self)))

    def __len__(self) -> int:
        return len(next(iter(self.rows().values())))

    @property
    def size(self) -> int:
        """Stored rows; the length is that of the rows to train on."""
        return len(self) // self.config.distill.counted_storage.views

    @property
    def bytes(self) -> int:
        """Bytes of the stored tensors."""
        return sum(tensor.numel() * tensor.element_size() for tensor in self.tensors.values())

    def students(
        self, start: Heads, *, seed: int, num_runs: int, checkpoints: Sequence[int] | None = None
    ) -> Iterator[tuple[int, dict[str, Float[Tensor, "_ _ _"]]]]:
        """Train heads on the set by its recipe, several runs at once; yields (steps, heads R x d x p_m) at each
        checkpoint.

        Without checkpoints: once, after the recipe's number of steps. Where the recipe says in which order rows are
        taken, all runs are the same.
        """
        rows = self.rows()
        check_heads(start, {name: x.shape[1] for name, x in rows.items()}, "heads to train on the set")
        students = train_students(
            self.objective,
            {name: start[name] for name in self.modalities},
            rows,
            self.targets,
            torch.tensor(self.recipe.step_sizes),
            batch_size=self.recipe.batch_size,
            checkpoints=checkpoints or [self.recipe.num_steps],
            generators=self._orders(seed, num_runs),
            momentum=self.recipe.momentum,
            weight_decay=self.recipe.weight_decay,
        )
        for steps, heads in students:
            yield steps, {name: matrix.expand(num_runs, -1, -1) for name, matrix in heads.items()}

    def train(self, start: Heads, seed: int = 0) -> Heads:
        """Heads {modality: d x p_m} trained on the set by its recipe, from `start`, which is left as it is.

        seed: of the mini-batches, where the recipe does not name them. Raises InputError for heads that are missing or
        do not fit the rows.
        """
        _, heads = next(self.students(start, seed=seed, num_runs=1))
        return {name: matrix[0] for name, matrix in heads.items()}

    def dataset(self) -> SyntheticRows:
        """The rows to train on as a torch Dataset of ({modality: row}, index); its `collate` gives a DataLoader soft
        targets.
        """
        return SyntheticRows(self.rows(), self.targets)

    def batches(self, seed: int = 0) -> Iterator[Batch]:
        """(rows {modality: b x p_m}, targets b x b) of every step of the recipe, in its order: those that
        `train(start, seed)` takes.
        """
        (order,), dataset = self._orders(seed, 1), self.dataset()
        for indices in draw_batches(len(dataset), self.recipe.batch_size, self.recipe.num_steps, order):
            yield dataset.batch(indices)

    @property
    def objective(self) -> Objective:
        """What students minimise: a loss of outputs (M x b x d, in the order of `modalities`) and targets (b x b)."""
        return objective_from(self.config.distill.student, self.modalities)

    def _orders(self, seed: int, num_runs: int) -> list[torch.Generator]:
        """What draws the mini-batches of every student; one for all where the recipe names them."""
        if self.recipe.order is not None:
            return [recipe_order(self.recipe.order)]
        streams = Streams(seed)
        return [streams[f"students/{run}"] for run in range(num_runs)]

    def with_steps(self, num_steps: int) -> DistilledSet:
        """The same set with another number of training steps in its recipe."""
        return replace(self, recipe=replace(self.recipe, num_steps=num_steps))

    def as_features(self) -> FeatureSet:
        """The rows as a FeatureSet: each row its own group, S clamped to [0, 1] as its pairing."""
        names = tuple(f"synthetic/{index:04d}" for index in range(len(self)))
        pairing = self.similarity().clamp(0, 1)
        return FeatureSet(
            self.rows(), names, names, ("train",) * len(self), pairing, self.preprocessing, self.provenance
        )

    def save(self, folder: Path) -> None:
        """Write the artifact (atomically; an earlier one is replaced)."""
        meta = {
            "modalities": list(self.modalities),
            "recipe": asdict(self.recipe),
            "config": self.config.model_dump(mode="json"),
            "preprocessing": self.preprocessing.to_meta(),
            "provenance": self.provenance,
            "initial_ids": list(self.initial_ids),
        }
        save_artifact(folder, "distilled", {**self.tensors, **self.preprocessing.to_tensors()}, meta)

    @staticmethod
    def load(folder: Path) -> DistilledSet:
        """Read an artifact of kind "distilled". Raises InputError for a damaged, foreign or newer one."""
        artifact = load_artifact(folder, "distilled")
        meta = artifact.meta
        try:
            recipe = Recipe(**{**meta["recipe"], "step_sizes": tuple(meta["recipe"]["step_sizes"])})
            config = parse_config(meta["config"], f"{folder}/manifest.json, field 'config'")
            return DistilledSet(
                {name: t for name, t in artifact.tensors.items() if name.startswith(("rows/", "similarity/"))},
                tuple(meta["modalities"]),
                recipe,
                config,
                Preprocessing.from_parts(artifact.tensors, meta["preprocessing"]),
                meta["provenance"],
                tuple(meta["initial_ids"]),
            )
        except (KeyError, TypeError) as error:
            raise InputError(f"{folder}/manifest.json: field {error} is missing or malformed; distil again") from None


def as_stored(parametrisation: Parametrisation, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a set: of those "rows/..." that a parametrisation learns, what it stores; others as they are."""
    rows = parametrisation.store(_section(tensors, "rows"))
    others = {name: tensor for name, tensor in tensors.items() if not name.startswith("rows/")}
    return {**{f"rows/{name}": tensor for name, tensor in rows.items()}, **others}


def _section(tensors: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    return {key.removeprefix(f"{name}/"): tensor for key, tensor in tensors.items() if key.startswith(f"{name}/")}
