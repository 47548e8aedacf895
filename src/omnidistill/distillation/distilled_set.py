"""The result of a distillation method: a distilled set, with everything that is needed to train on it.

`set_files` describes the files of a set, and `set_tensors` its tensors. `set_training` trains models on it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import overload

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from omnidistill.core.device import device_of, moved
from omnidistill.data.featureset import FeatureSet
from omnidistill.data.preprocessing import Preprocessing
from omnidistill.distillation.item_mixture import Missing, Mixture
from omnidistill.distillation.provenance import Provenance
from omnidistill.distillation.realised_rows import realised_rows, require_mixture
from omnidistill.distillation.set_files import read_set, write_set
from omnidistill.distillation.set_spec import SetSpec
from omnidistill.distillation.set_summary import summary_line, summary_table
from omnidistill.distillation.set_tensors import as_stored, loaded_rows, rows_digest, section
from omnidistill.distillation.set_training import train_models, train_students
from omnidistill.distillation.shipped_bytes import shipped_bytes
from omnidistill.distillation.torch_dataset import Batch, SyntheticRows
from omnidistill.models.heads import Heads
from omnidistill.models.objectives import Objective
from omnidistill.training.recipes import Recipe, TrainingRows


@dataclass(frozen=True, repr=False)
class DistilledSet:
    """Synthetic rows, their target similarities, and the recipe for training on them.

    Attributes:
        tensors: the stored rows ("rows/...") and parameters of the target similarities ("similarity/..."), on the CPU.
        spec: how the tensors are stored, and how students are trained on them.
        preprocessing: the steps that convert features of real items to the space of the synthetic rows.
        provenance: how the set was produced.
        mixture: the weights of real items in each row, if the rows are mixtures of real items; otherwise None.
        file_bytes: total size of the tensor file and the manifest; None if the set was not loaded from files.
    """

    tensors: dict[str, Tensor]
    spec: SetSpec
    preprocessing: Preprocessing
    provenance: Provenance = field(default_factory=Provenance)
    mixture: Mixture | None = field(default=None, compare=False)
    file_bytes: int | None = field(default=None, init=False, compare=False)

    @property
    def modalities(self) -> tuple[str, ...]:
        """Names of the modalities, in order."""
        return tuple(self.spec.modalities)

    @property
    def widths(self) -> dict[str, int]:
        """Feature width of each modality."""
        return dict(self.spec.modalities)

    @property
    def recipe(self) -> Recipe:
        """Recipe of the set, which defines how students (the models to train) are trained on it."""
        return self.spec.recipe

    @property
    def size(self) -> int:
        """Number of stored rows; `len()` returns the number of rows to train on.

        There are more rows to train on if the storage derives sign views (a stored row times a fixed pattern of signs).
        """
        return self.spec.size

    def __repr__(self) -> str:
        return summary_line(self.spec, self.provenance.method, self.bytes)

    def _repr_html_(self) -> str:
        return summary_table(self.spec, self.provenance.method, self.bytes)

    def __len__(self) -> int:
        return self.spec.storage.num_rows(self.spec.size)

    def rows(self) -> dict[str, Float[Tensor, "_ _"]]:
        """Return the N rows to train on, {modality: N x p_m}, in the space of the preprocessed features.

        p_m is the feature width of modality m. The stored rows come first. If the storage derives further rows from
        them (sign views: stored rows times fixed patterns of signs), these come last.
        """
        return loaded_rows(self.tensors, self.spec)

    def targets(self, batches: Int[Tensor, "*t b"]) -> Float[Tensor, "*t b b"]:
        """Return the target similarities (... x b x b) for mini-batches of b rows, given as row indices (... x b)."""
        return self.spec.similarity.targets(self.similarity_tensors, batches)

    @property
    def similarity_tensors(self) -> dict[str, Tensor]:
        """Stored tensors from which the target similarities are computed."""
        return section(self.tensors, "similarity")

    def similarity(self) -> Float[Tensor, "N N"]:
        """Return the target similarities of all pairs of rows to train on, as a matrix S (N x N)."""
        return self.targets(torch.arange(len(self), device=device_of(self.tensors)))

    @property
    def bytes(self) -> int:
        """Total size in bytes of the files that are needed to train on the set: the tensor file and manifest.json.

        The sizes of provenance.json, of the mixture and of the initial heads are not included.
        """
        if self.file_bytes is not None:
            return self.file_bytes
        return shipped_bytes(self.spec, self.tensors, self.preprocessing)

    @property
    def objective(self) -> Objective:
        """Loss that students minimise. It compares their outputs for b rows with target similarities (b x b).

        The outputs have the shape M x b x d, for M modalities (in the order of `modalities`) and output width d.
        """
        return self.spec.objective.bind(self.modalities)

    def students(
        self, start: Heads, *, seed: int, num_runs: int, checkpoints: Sequence[int] | None = None
    ) -> Iterator[tuple[int, dict[str, Float[Tensor, "_ _ _"]]]]:
        """Train R students on the set with its recipe. Yield the number of steps taken and the heads (R x d x p_m).

        Args:
            start: the initial heads, {modality: d x p_m}, with output width d and feature width p_m. Training runs on
                the device of these heads.
            seed: seed for the mini-batches. If the recipe fixes the mini-batches, all students are identical.
            num_runs: number of students R.
            checkpoints: numbers of steps after which heads are yielded, in ascending order. If it is None, heads are
                yielded once, after the recipe's number of steps.

        Raises:
            InputError: heads are missing or do not match the rows.
        """
        widths, rows_on = self.spec.modalities, self.training_rows
        return train_students(self.recipe, widths, rows_on, start, seed, num_runs, checkpoints)

    @overload
    def train(
        self, start: Heads | None = None, seed: int = 0, *, width: int | None = None, recipe: Recipe | None = None
    ) -> Heads: ...

    @overload
    def train(
        self, start: Mapping[str, nn.Module], seed: int = 0, *, width: None = None, recipe: Recipe | None = None
    ) -> dict[str, nn.Module]: ...

    def train(
        self,
        start: Mapping[str, Tensor] | Mapping[str, nn.Module] | None = None,
        seed: int = 0,
        *,
        width: int | None = None,
        recipe: Recipe | None = None,
    ) -> Heads | dict[str, nn.Module]:
        """Train heads or torch modules on the set with its training recipe, and return them.

        The role of `start` depends on the recipe:

        - "sgd" trains copies of the given heads or modules.
        - "anchor" computes new heads from the set alone. If heads are given and `recipe.weight` is below 1, the new
          heads are stacked on them: the outputs of both are scaled and concatenated. If modules are given, copies of
          them are trained to reproduce the new heads.
        - "map" trains copies of the given heads or modules to reproduce the heads of "anchor".

        Args:
            start: initial heads {modality: d x p_m}; or one torch module per modality, which maps rows (b x p_m) to
                outputs (b x d); or None to train new heads, which only "anchor" supports. Training runs on the device
                of `start`.
            seed: seed for mini-batches and noise. It has no effect if the recipe fixes the mini-batches.
            width: output width of the heads; only for "anchor" without modules. By default, new heads have width N, the
                number of rows to train on. Stacked heads have width N + d, or d if `recipe.keep_width` is True.
            recipe: training recipe to use instead of that of the set.

        Returns:
            Heads {modality: width x p_m}, or trained copies of the modules.

        Raises:
            InputError: heads or modules are missing or do not match the rows; the recipe needs initial heads or does
                not match the modalities; `width` is below 1, or is given although the recipe or `start` determines it.
        """
        return train_models(recipe or self.recipe, self.spec.modalities, self.training_rows, start, seed, width)

    def training_rows(self, device: torch.device | str = "cpu") -> TrainingRows:
        """Return the rows, target similarities and loss on a device, in the form that training recipes need."""
        on_device = replace(self, tensors=moved(self.tensors, device))
        return TrainingRows(on_device.rows(), on_device.targets, self.objective)

    def dataset(self) -> SyntheticRows:
        """Return the rows to train on as a torch Dataset of ({modality: row}, index).

        Pass its `collate` to a DataLoader as `collate_fn`. Each batch then includes its target similarities.
        """
        return SyntheticRows(self.rows(), self.targets)

    def batches(self, seed: int = 0) -> Iterator[Batch]:
        """Yield the mini-batches of `train(start, seed)`: rows {modality: b x p_m} and target similarities (b x b)."""
        dataset = self.dataset()
        for indices in self.recipe.batches(len(dataset), seed):
            yield dataset.batch(indices)

    def with_recipe(self, recipe: Recipe) -> DistilledSet:
        """Return a copy of the set with this training recipe."""
        return replace(self, spec=replace(self.spec, recipe=recipe))

    def with_steps(self, num_steps: int) -> DistilledSet:
        """Return a copy of the set whose training recipe has this number of steps."""
        return self.with_recipe(self.recipe.evolve(num_steps=num_steps))

    def items(self) -> list[dict[str, float]]:
        """Return the items in the mixture of each row, as {id: weight}, with the largest absolute weights first.

        Raises:
            InputError: the rows are not mixtures of items.
        """
        return require_mixture(self.mixture).items()

    def realise(self, data: FeatureSet, *, missing: Missing = "error") -> DistilledSet:
        """Return the set in the feature space of another encoder. The rows of the set must be mixtures of items.

        The new rows are the same mixtures of the other encoder's features. The storage, recipe and target
        similarities stay the same. The ridges or step sizes of the recipe were chosen for the original features, so
        choose them again if validation data are available.

        Args:
            data: the other encoder's features of the items. Only rows of the split "train" and the modalities of the
                set are used.
            missing: what to do if the data lack items: "error", or "drop" to continue without them. Rows without any
                item left are then omitted.

        Raises:
            InputError: the rows are not mixtures of items; a modality or an item is missing; an item is in another
                split than "train"; or rows would be omitted from a set with learned similarities.
        """
        mixture, stores_targets = require_mixture(self.mixture), bool(self.similarity_tensors)
        rows, used = realised_rows(mixture, self.spec, data, missing, stores_targets)
        return replace(self.with_rows(rows, data), mixture=used)

    def with_rows(self, rows: Mapping[str, Float[Tensor, "_ _"]], data: FeatureSet) -> DistilledSet:
        """Return a copy of the set with new rows, which lie in the feature space of other data.

        The copy has the same storage, recipe and target similarities. It has no mixing matrix (attribute `mixture`), so
        it cannot compute rows for other encoders.

        Args:
            rows: the new rows {modality: N x p_m}. If the set stores target similarities, N must not change.
            data: dataset in whose feature space the new rows lie. The copy uses the preprocessing of this dataset.
        """
        latent = {f"rows/{name}": rows[name].cpu() for name in self.modalities}
        latent |= {f"similarity/{name}": x for name, x in self.similarity_tensors.items()}
        widths = {name: rows[name].shape[1] for name in self.modalities}
        return replace(
            self,
            tensors=as_stored(self.spec.storage, latent),
            spec=replace(self.spec, modalities=widths, size=len(rows[self.modalities[0]])),
            preprocessing=data.preprocessing.only(self.modalities),
            provenance=self.provenance.of_data(data),
            mixture=None,
        )

    def as_features(self) -> FeatureSet:
        """Return the rows to train on as a paired dataset in which every row is its own group.

        The pairing matrix of the dataset defines which rows match. It is `similarity()`, clamped to [0, 1].
        """
        names = tuple(f"synthetic/{index:04d}" for index in range(len(self)))
        pairing = self.similarity().clamp(0, 1)
        provenance = self.provenance.to_json()
        return FeatureSet(self.rows(), names, names, ("train",) * len(self), pairing, self.preprocessing, provenance)

    def save(self, folder: Path) -> None:
        """Save the set to a folder. The write is atomic and replaces a set that exists there."""
        write_set(folder, self.tensors, self.spec, self.preprocessing, self.provenance, self.mixture)

    def rows_digest(self) -> str:
        """Return the sha256 hash of the stored rows. A mixing matrix stores it to identify its set."""
        return rows_digest(self.tensors)

    @staticmethod
    def load(folder: Path) -> DistilledSet:
        """Load a distilled set from its folder. The set may come from version 0.1.

        Raises:
            InputError: the folder contains no distilled set, or the set is damaged, comes from a newer version, or
                needs a component that is not installed.
        """
        files = read_set(folder)
        loaded = DistilledSet(files.tensors, files.spec, files.preprocessing, files.provenance, files.mixture)
        object.__setattr__(loaded, "file_bytes", files.num_bytes)
        return loaded
