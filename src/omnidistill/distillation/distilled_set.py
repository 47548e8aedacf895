"""The result of a distillation method: a distilled set, with everything that is needed to train on it.

On disk, a set is a folder (an artifact of kind "distilled") with these files:

    tensors-....safetensors   stored rows, target similarities, feature means that the preprocessing subtracts
    manifest.json             the specification (`set_spec`), at most 1 kB, and a checksum; written last
    provenance.json           how the set was produced (`provenance`); not needed for training
    mixture/                  the rows as mixtures of items (`item_mixture`), if there are any; not needed for training
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, overload

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from omnidistill.core.device import device_of, moved
from omnidistill.core.errors import InputError
from omnidistill.core.html_table import html_table
from omnidistill.data.featureset import FeatureSet
from omnidistill.data.preprocessing import Preprocessing
from omnidistill.distillation.item_mixture import Missing, Mixture, named
from omnidistill.distillation.provenance import Provenance
from omnidistill.distillation.set_spec import KIND, SetSpec
from omnidistill.distillation.shipped_bytes import shipped_bytes
from omnidistill.distillation.torch_dataset import Batch, SyntheticRows
from omnidistill.distillation.version_0_1 import upgraded_set
from omnidistill.io.artifacts import load_artifact, save_artifact
from omnidistill.models.heads import Heads, check_heads, check_modules, first_parameter
from omnidistill.models.objectives import Objective
from omnidistill.models.storages import RowForm
from omnidistill.training.recipes import Recipe, Sgd, TrainingRows

PROVENANCE, MIXTURE = "provenance.json", "mixture"


@dataclass(frozen=True, repr=False)
class DistilledSet:
    """Synthetic rows, their target similarities, and the recipe for training on them.

    Attributes:
        tensors: the stored rows ("rows/...") and parameters of the target similarities ("similarity/..."), on the CPU.
        spec: how the tensors are stored, and how students are trained on them.
        preprocessing: the steps that convert features of real items to the space of the synthetic rows.
        provenance: how the set was produced.
        mixture: weights with which each row is a weighted sum of real items; None if the rows are not known to be such
            sums.
        file_bytes: total size of the tensor file and the manifest from which the set was loaded; None if the set was
            created or changed in memory.
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
        views = f" ({len(self)} to train on)" if len(self) != self.size else ""
        widths = ", ".join(f"{name} {width}" for name, width in self.spec.modalities.items())
        method = self.provenance.method or "unknown method"
        return f"DistilledSet({method}: {self.size} rows{views} of {widths}; {self.bytes:,} bytes; {self.recipe.title})"

    def _repr_html_(self) -> str:
        views = f" ({len(self):,} to train on)" if len(self) != self.size else ""
        rows = [
            ("rows", f"{self.size:,}{views}"),
            ("modalities and widths", ", ".join(f"{name} {width:,}" for name, width in self.spec.modalities.items())),
            ("storage", self.spec.storage.title),
            ("target similarity", self.spec.similarity.kind),
            ("recipe", self.recipe.title),
            ("bytes", f"{self.bytes:,}"),
        ]
        return html_table(f"DistilledSet: {self.provenance.method or 'unknown method'}", rows)

    def __len__(self) -> int:
        return self.spec.storage.num_rows(self.spec.size)

    def rows(self) -> dict[str, Float[Tensor, "_ _"]]:
        """Return the N rows to train on, {modality: N x p_m}, in the space of the preprocessed features.

        p_m is the feature width of modality m. The stored rows come first. If the storage derives further rows from
        them (sign views: stored rows times fixed patterns of signs), these come last.
        """
        loaded = self.spec.storage.load(_section(self.tensors, "rows"))
        return {name: loaded[name] for name in self.modalities}

    def targets(self, batches: Int[Tensor, "*t b"]) -> Float[Tensor, "*t b b"]:
        """Return the target similarities (... x b x b) for mini-batches of b rows, given as row indices (... x b)."""
        return self.spec.similarity.targets(self.similarity_tensors, batches)

    @property
    def similarity_tensors(self) -> dict[str, Tensor]:
        """Stored tensors from which the target similarities are computed."""
        return _section(self.tensors, "similarity")

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
        """Loss that students minimise. It compares their outputs (M x b x d) with target similarities (b x b).

        The outputs are those of M modalities, in the order of `modalities`, for b rows and output width d.
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
        check_heads(start, self.spec.modalities, "heads to train on the set")
        data = self.training_rows(device_of(start))
        yield from self.recipe.students(
            {name: start[name].to(x.dtype) for name, x in data.rows.items()},
            data,
            seed=seed,
            num_runs=num_runs,
            checkpoints=checkpoints or [self.recipe.num_steps],
        )

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

        - "sgd" trains copies of the heads or modules.
        - "anchor" computes new heads from the set alone. If `start` contains heads, the new heads are stacked on them:
          the outputs of both are scaled and concatenated. If it contains modules, copies of them are trained to
          reproduce the new heads.
        - "map" trains copies of the heads or modules to reproduce the heads of "anchor".

        Args:
            start: initial heads {modality: d x p_m}; or one torch module per modality, which maps rows (b x p_m) to
                outputs (b x d); or None to train new heads, which only "anchor" supports. Training runs on the device
                of `start`.
            seed: seed for mini-batches and noise. It has no effect if the recipe fixes the mini-batches.
            width: output width of the heads, which only "anchor" can change. By default, "sgd" and "map" keep the width
                d of `start`. "anchor" gives width N, the number of rows to train on. For stacked heads, it gives width
                N + d, or width d if the recipe has `keep_width = True`.
            recipe: training recipe to use instead of that of the set.

        Returns:
            Heads {modality: width x p_m}, or trained copies of the modules.

        Raises:
            InputError: heads or modules are missing or do not match the rows, the recipe needs initial heads, or
                `width` is given although the recipe or `start` determines it.
        """
        recipe = recipe or self.recipe
        recipe.check(self.modalities)
        if width is not None and width < 1:
            raise InputError(f"width = {width}: the width of heads must be at least 1")
        if start is None:
            return recipe.heads(self.training_rows(), width)
        if any(isinstance(each, nn.Module) for each in start.values()):
            if width is not None:
                raise InputError("width: the output width of modules cannot be changed; omit this argument")
            return self._train_modules(start, seed, recipe)
        heads: Heads = dict(start)  # type: ignore[arg-type]
        if width is not None:
            check_heads(heads, self.spec.modalities, "heads to train on the set")
            data = self.training_rows(device_of(heads))
            return recipe.stacked({name: heads[name].to(x.dtype) for name, x in data.rows.items()}, data, width)
        _, trained = next(self.with_recipe(recipe).students(heads, seed=seed, num_runs=1))
        return {name: matrix[0] for name, matrix in trained.items()}

    def training_rows(self, device: torch.device | str = "cpu") -> TrainingRows:
        """Return the rows, target similarities and loss on a device, in the form that training recipes need."""
        on_device = replace(self, tensors=moved(self.tensors, device))
        return TrainingRows(on_device.rows(), on_device.targets, self.objective)

    def _train_modules(self, modules: Mapping[str, Any], seed: int, recipe: Recipe) -> dict[str, nn.Module]:
        check_modules(modules, self.spec.modalities)
        trained = copy.deepcopy({name: modules[name] for name in self.modalities})  # at once: parameters stay shared
        parameters = {name: first_parameter(module) for name, module in trained.items()}
        data = self.training_rows(next(iter(parameters.values())).device)
        rows = {name: x.to(parameters[name].dtype) for name, x in data.rows.items()}
        recipe.train_modules(trained, replace(data, rows=rows), seed=seed)
        return trained

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
        return self._mixture().items()

    def realise(self, data: FeatureSet, *, missing: Missing = "error") -> DistilledSet:
        """Return the set in the feature space of another encoder, if its rows are mixtures of items.

        The rows are the same mixtures, computed from features of the same items by the other encoder. The storage,
        recipe and target similarities stay the same. The ridges or step sizes of the recipe were chosen for the
        original features, so choose them again if validation data are available.

        Args:
            data: features of the items by the other encoder. Only rows of the split "train" and the modalities of the
                set are used.
            missing: what to do if the data lack items: "error", or "drop" to continue without them. Then rows without
                any item left are omitted.

        Raises:
            InputError: the rows are not mixtures of items; a modality or an item is missing; an item is in another
                split than "train"; or rows would be omitted from a set with learned similarities.
        """
        mixture = self._mixture()
        absent = [name for name in self.modalities if name not in data.features]
        if absent:
            raise InputError(
                f"{named(data)}: modality {absent[0]!r} is missing (found only {', '.join(data.modalities)}); pass "
                f"data with all modalities of the synthetic set ({', '.join(self.modalities)})"
            )
        rows, used = mixture.rows(data.only(self.modalities), missing)
        if len(used) < self.size and self.similarity_tensors:
            raise InputError(
                f"{named(data)}: all items of {self.size - len(used)} synthetic rows are missing; these rows cannot be "
                "dropped, because the set stores target similarities for all rows; pass features of all items"
            )
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

    def _mixture(self) -> Mixture:
        if self.mixture is None:
            raise InputError(
                "the rows of this synthetic set are not stored as mixtures (weighted sums) of items; distil a set with "
                "the preset 'mixture', or use transfer(), which supports sets without mixtures"
            )
        return self.mixture

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
        tensors = {**self.tensors, **self.preprocessing.to_tensors()}
        spec, sidecars = self.spec.with_preprocessing(self.preprocessing), {PROVENANCE: self.provenance.to_json()}
        save_artifact(folder, KIND, tensors, spec.to_json(), sidecars, spec.padding)
        if self.mixture is not None:
            self.mixture.save(folder / MIXTURE, self.rows_digest())

    def rows_digest(self) -> str:
        """Return the sha256 of the stored rows.

        It is saved together with a mixing matrix, to record which set the matrix belongs to.
        """
        digest = hashlib.sha256()
        for name, tensor in sorted(_section(self.tensors, "rows").items()):
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(tensor.reshape(-1).cpu().view(torch.uint8).numpy().data)
        return digest.hexdigest()

    @staticmethod
    def load(folder: Path) -> DistilledSet:
        """Load a distilled set from its folder. The set may come from version 0.1.

        Raises:
            InputError: the folder contains no distilled set, or the set is damaged, comes from a newer version, or
                needs a component that is not installed.
        """
        artifact = load_artifact(folder, KIND, sidecars=(PROVENANCE,))
        where, meta = f"{folder}/manifest.json", artifact.meta
        if "schema" in meta:
            spec, provenance = SetSpec.from_json(meta, where), artifact.sidecars.get(PROVENANCE, {})
        else:
            tree, provenance = upgraded_set(meta, artifact.tensors, where)
            spec = SetSpec.from_json(tree, where)
        # Copies, because matrix products of tensors at unaligned addresses in the file may round differently.
        tensors = {name: t.clone() for name, t in artifact.tensors.items() if name.startswith(("rows/", "similarity/"))}
        try:
            preprocessing = Preprocessing.from_parts(artifact.tensors, spec.preprocessing)
        except InputError as error:
            raise InputError(f"{where}: {error}") from None
        source = f"{folder}/{PROVENANCE}" if "schema" in meta else where
        loaded = DistilledSet(tensors, spec, preprocessing, Provenance.from_json(provenance, source))
        _check_tensors(loaded, where)
        loaded = replace(loaded, mixture=Mixture.load(folder / MIXTURE, loaded.rows_digest()))
        object.__setattr__(loaded, "file_bytes", artifact.bytes)
        return loaded


def sgd_recipe(distilled: DistilledSet) -> Sgd:
    """Return the training recipe of a set, which must be of kind "sgd".

    Raises:
        InputError: the recipe is of a different kind.
    """
    if not isinstance(distilled.recipe, Sgd):
        raise InputError(
            f"the synthetic set has the training recipe '{distilled.recipe.kind}', but the protocol of the paper needs "
            "the recipe 'sgd'; use a set with this recipe, such as a set of the preset hopa"
        )
    return distilled.recipe


def _check_tensors(loaded: DistilledSet, where: str) -> None:
    """Raise InputError if the tensors or the recipe of a loaded set do not fit its specification."""
    expected = {name: (len(loaded), width) for name, width in loaded.spec.modalities.items()}
    try:
        actual = {name: tuple(rows.shape) for name, rows in loaded.rows().items()}
        num_targets = loaded.targets(torch.arange(len(loaded), device="cpu")[-2:]).numel()
    except (IndexError, KeyError, RuntimeError, ValueError) as error:
        raise InputError(
            f"{where}: the tensors do not match the specification of the synthetic set ({error}); the file was "
            "altered, so restore it"
        ) from None
    for name, shape in expected.items():
        if actual[name] != shape:
            raise InputError(
                f"{where}: the rows of {name} have shape {actual[name]}, but the specification of the synthetic set "
                f"requires {shape}; the file was altered, so restore it"
            )
    if num_targets != min(2, len(loaded)) ** 2:
        raise InputError(
            f"{where}: the stored similarity matrix does not fit the {len(loaded)} rows; the file was altered, so "
            "restore it"
        )
    try:
        loaded.recipe.check(loaded.modalities)
    except InputError as error:
        raise InputError(f"{where}: {error}; the file was altered, so restore it") from None


def as_stored(storage: RowForm, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Convert learned tensors to the tensors to store. Only rows ("rows/...") change: the storage rounds them."""
    rows = storage.store(_section(tensors, "rows"))
    others = {name: tensor for name, tensor in tensors.items() if not name.startswith("rows/")}
    return {**{f"rows/{name}": tensor for name, tensor in rows.items()}, **others}


def _section(tensors: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    return {key.removeprefix(f"{name}/"): tensor for key, tensor in tensors.items() if key.startswith(f"{name}/")}
