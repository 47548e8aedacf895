"""Synthetic rows that are mixtures of real items, with one mixing matrix for all modalities.

Let F_m (n x p_m) be the features of n items in modality m. The synthetic rows X_m (N x p_m) are

    X_m = normalise(A F_m)        `normalise` scales every row to length sqrt(p_m)

The mixing matrix A (N x n) does not depend on the encoder: with features of the same items by another encoder, the same
A gives rows for that encoder. A is dense, or has k nonzero values per row. A storage rounds the values to few bits.

`fit` computes a dense A for the rows X_m of a finished set, by ridge regression jointly for all modalities. First, X_m
and F_m are divided by the root mean square length of the rows of F_m, so that all modalities have the same scale.

On disk, a mixture is an artifact of kind "mixture" with the tensors

    weights/...    values of A as their storage stores them; shape N x k, or N x n if A is dense
    items          for each value, the index of its item (N x k); absent if A is dense
    ids            ids of all items, as JSON in UTF-8

Shapes: N rows, n items, k items per row, p_m feature width.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from omnidistill.core.arguments import argument
from omnidistill.core.device import float64_device
from omnidistill.core.errors import InputError
from omnidistill.data.featureset import FeatureSet
from omnidistill.io.artifacts import artifact_bytes, load_artifact, save_artifact
from omnidistill.models.storages import RowStorage, Storage, storages
from omnidistill.training.closed_form.anchor_map import equal_lengths

KIND = "mixture"
"""Kind of artifact of a mixture."""

Missing = Literal["error", "drop"]
"""What to do if the data lack items of a mixture: "error", or "drop" to continue without them."""

_WEIGHTS = "weights"


@dataclass(frozen=True, eq=False)
class Mixture:
    """A mixing matrix A and the ids of its real items. Row i of A contains their weights in synthetic row i.

    A is dense (N x n for n items), or has k values per row.

    Attributes:
        stored: values of A, in the format of `storage`.
        storage: defines how the values are rounded and stored.
        item_numbers: for each value, the index of its item in `ids` (N x k); None if A is dense.
        ids: ids of the n items.
    """

    stored: Mapping[str, Tensor]
    storage: Storage
    item_numbers: Int[Tensor, "N k"] | None
    ids: tuple[str, ...]

    @staticmethod
    def of(
        weights: Float[Tensor, "N k"], storage: Storage, item_numbers: Int[Tensor, "N k"] | None, ids: tuple[str, ...]
    ) -> Mixture:
        """Return the mixture with these weights, rounded as `storage` stores them. Unused items are omitted.

        Args:
            weights: weights of the real items in each synthetic row.
            storage: rounds and stores the weights.
            item_numbers: for each weight, the index of its item in `ids`; None if every row has one weight per item.
            ids: ids of all items.
        """
        stored = {name: x.cpu() for name, x in storage.store({_WEIGHTS: weights.detach().cpu()}).items()}
        if item_numbers is None:
            return Mixture(stored, storage, None, ids)
        used, compact = torch.unique(item_numbers.cpu(), return_inverse=True)
        return Mixture(stored, storage, compact, tuple(ids[number] for number in used.tolist()))

    def __len__(self) -> int:
        return len(self.weights)

    @cached_property
    def weights(self) -> Float[Tensor, "N k"]:
        """Weights of the real items in each synthetic row (values of the mixing matrix A), rounded as for storage."""
        return self.storage.load(self.stored)[_WEIGHTS]

    @property
    def bytes(self) -> int:
        """Size in bytes of the files of the mixture."""
        return artifact_bytes(KIND, self._tensors(), self._meta("0" * 64))

    def items(self) -> list[dict[str, float]]:
        """Return the items of every row as {id: weight}, with the largest absolute weights first."""
        order = self.weights.abs().argsort(1, descending=True)
        weights = self.weights.gather(1, order).tolist()
        numbers = (order if self.item_numbers is None else self.item_numbers.gather(1, order)).tolist()
        return [
            {self.ids[number]: weight for number, weight in zip(*row, strict=True) if weight}
            for row in zip(numbers, weights, strict=True)
        ]

    def without(self, present: Tensor) -> tuple[Mixture, Int[Tensor, " r"]]:
        """Return a copy without some of the items, and the indices of the copy's rows in this mixture.

        The copy has only those rows that still have an item. It stores the weights in float32, so that the rounded
        weights of this mixture are not rounded again.

        Args:
            present: for each of the n items, True to keep it and False to remove it.
        """
        kept = present if self.item_numbers is None else present[self.item_numbers]
        weights = torch.where(kept, self.weights, torch.zeros_like(self.weights))
        rows = torch.nonzero(weights.abs().amax(1)).squeeze(1)
        if self.item_numbers is None:
            ids = tuple(name for name, keep in zip(self.ids, present.tolist(), strict=True) if keep)
            return Mixture.of(weights[rows][:, present], RowStorage(), None, ids), rows
        numbers = torch.where(kept[rows], self.item_numbers[rows], int(present.nonzero()[0]))  # its weight is 0
        return Mixture.of(weights[rows], RowStorage(), numbers, self.ids), rows

    def rows(self, data: FeatureSet, missing: Missing = "error") -> tuple[dict[str, Float[Tensor, "r _"]], Mixture]:
        """Return the synthetic rows for given features of the items, and the mixture that was used.

        The mixture that was used is `self`, or a copy without the missing items if they are dropped.

        Args:
            data: features of the items. Only rows of the split "train" are used.
            missing: what to do if the data lack items: "error", or "drop" to continue without them. Synthetic rows
                without any item left are then omitted.

        Raises:
            InputError: items are missing, and `missing` is "error"; all items are missing; an item is not in the split
                "train"; or fewer than two rows have items left.
        """
        location, used = self._located(data, missing), self
        present = location >= 0
        if not bool(present.all()):
            used, rows = self.without(present)
            if len(rows) < 2:
                raise InputError(
                    f"{named(data)}: only {len(rows)} of the {len(self)} synthetic rows can be computed from the items "
                    "in these data, but a set needs at least 2 rows; pass features of more items"
                )
            lookup = dict(zip(self.ids, location.tolist(), strict=True))
            location = torch.tensor([lookup[name] for name in used.ids], device="cpu")
        features = {name: x[location.to(x.device)] for name, x in data.features.items()}
        weights = used.weights.to(data.device)
        numbers = None if used.item_numbers is None else used.item_numbers.to(data.device)
        return mixed_rows(weights, numbers, features), used

    def save(self, folder: Path, rows: str) -> None:
        """Write the mixture to a folder, as an artifact.

        Args:
            folder: folder of the artifact.
            rows: sha256 of the rows of the set to which the mixture belongs.
        """
        save_artifact(folder, KIND, self._tensors(), self._meta(rows), padding=0)

    @staticmethod
    def load(folder: Path, rows: str) -> Mixture | None:
        """Load a mixture from a folder. Return None if the folder does not exist or the mixture is for other rows.

        Args:
            folder: folder of the artifact.
            rows: sha256 of the rows of the set to which the mixture must belong.

        Raises:
            InputError: the artifact is damaged, or its storage is not installed.
        """
        if not folder.exists():
            return None
        artifact = load_artifact(folder, KIND)
        meta, tensors = artifact.meta, artifact.tensors
        if meta.get("rows") != rows:
            return None
        try:
            storage = storages.build(meta["storage"])
            ids = tuple(json.loads(tensors["ids"].numpy().tobytes().decode()))
            stored = {name: t.clone() for name, t in tensors.items() if name.startswith(_WEIGHTS)}
            numbers = tensors["items"].long() if "items" in tensors else None
            mixture = Mixture(stored, storage, numbers, ids)
            mixture._check()
        except (KeyError, TypeError, ValueError, RuntimeError, InputError) as error:
            raise InputError(f"{folder}: the mixture is malformed ({error}); restore the folder") from None
        return mixture

    def _check(self) -> None:
        """Raise ValueError unless the shapes, item indices and ids of the mixture are consistent."""
        numbers, count, actual = self.item_numbers, len(self.ids), tuple(self.weights.shape)
        shape = (len(self.weights), count) if numbers is None else tuple(numbers.shape)
        if actual != shape or not bool(self.weights.isfinite().all()):
            raise ValueError(f"weights have shape {actual}, expected finite numbers of shape {shape}")
        if len(set(self.ids)) < count or not all(isinstance(name, str) for name in self.ids):
            raise ValueError("ids are not distinct texts")
        if numbers is not None and numbers.numel() and not 0 <= int(numbers.min()) <= int(numbers.max()) < count:
            raise ValueError(f"weights refer to items outside the {count} ids")

    def _located(self, data: FeatureSet, missing: Missing) -> Int[Tensor, " n"]:
        """For every item of the mixture, return the index of its row in the data, or -1 if the data lack it."""
        if missing not in ("error", "drop"):
            raise InputError(f"{argument('missing', missing)}: unknown; choose 'error' or 'drop'")
        numbers = {name: row for row, name in enumerate(data.ids)}
        location = [numbers.get(name, -1) for name in self.ids]
        absent = [name for name, row in zip(self.ids, location, strict=True) if row < 0]
        if len(absent) == len(self.ids):
            raise InputError(
                f"{named(data)}: contains none of the {len(self.ids)} items of the set; pass features of the dataset "
                "from which the set was distilled"
            )
        if absent and missing == "error":
            raise InputError(
                f"{named(data)}: lacks {len(absent)} of the {len(self.ids)} items of the set ({few(absent)}); add "
                f"them, or continue without them with {argument('missing', 'drop')}"
            )
        elsewhere = [self.ids[i] for i, row in enumerate(location) if row >= 0 and data.splits[row] != "train"]
        if elsewhere:
            raise InputError(
                f"{named(data)}: {len(elsewhere)} items of the set are not in the split 'train' ({few(elsewhere)}); "
                "use the same splits as in the data from which the set was distilled"
            )
        return torch.tensor(location, device="cpu")

    def _tensors(self) -> dict[str, Tensor]:
        text = torch.frombuffer(bytearray(json.dumps(self.ids, ensure_ascii=False).encode()), dtype=torch.uint8)
        items = {} if self.item_numbers is None else {"items": self.item_numbers.to(torch.int32)}
        return {**self.stored, **items, "ids": text}

    def _meta(self, rows: str) -> dict[str, Any]:
        return {"rows": rows, "storage": self.storage.model_dump(mode="json")}


def mixed_rows(
    weights: Float[Tensor, "N k"], item_numbers: Int[Tensor, "N k"] | None, features: Mapping[str, Float[Tensor, "n _"]]
) -> dict[str, Float[Tensor, "N _"]]:
    """Return the synthetic rows of every modality, differentiable with respect to `weights`.

    A is the mixing matrix, and F_m are the features of the items in modality m. The rows are the mixtures A F_m, scaled
    to equal lengths.

    Args:
        weights: values of the mixing matrix A.
        item_numbers: for each value, the index of its item in `features` (N x k); None if A is dense (k = n).
        features: features F_m of the items.
    """

    def product(x: Float[Tensor, "n p"]) -> Float[Tensor, "N p"]:
        if item_numbers is None:
            return weights @ x
        return torch.nn.functional.embedding_bag(item_numbers, x, per_sample_weights=weights, mode="sum")

    return {name: equal_lengths(product(x)) for name, x in features.items()}


def fit(
    rows: Mapping[str, Float[Tensor, "N _"]], data: FeatureSet, ridges: tuple[float, ...], storage: Storage
) -> dict[float, Mixture]:
    """For every ridge, return the mixture of all items of `data` that approximates given synthetic rows.

    The module docstring defines the regression.

    Args:
        rows: synthetic rows X_m.
        data: features of the items.
        ridges: ridges, relative to the mean eigenvalue of the Gram matrix of the concatenated features.
        storage: rounds and stores the values of the mixing matrix.
    """
    device = float64_device(data.device)
    scale = {name: float(x.square().sum(1).mean().sqrt()) for name, x in data.features.items()}
    items = torch.cat([data.features[name] / scale[name] for name in rows], 1).to(device, torch.float64)
    joined = torch.cat([rows[name].to(data.device) / scale[name] for name in rows], 1).to(items)
    wide = items.shape[1] > len(items)
    gram = items @ items.mT if wide else items.mT @ items
    right = joined @ items.mT if wide else joined
    mixtures = {}
    for ridge in ridges:
        shifted = gram + ridge * gram.diagonal().mean() * torch.eye(len(gram), dtype=gram.dtype, device=device)
        solved = torch.cholesky_solve(right.mT, torch.linalg.cholesky(shifted)).mT
        weights = solved if wide else solved @ items.mT
        mixtures[ridge] = Mixture.of(weights.float(), storage, None, data.ids)
    return mixtures


def named(data: FeatureSet) -> str:
    """Return the location of a dataset on disk, or its name if it exists only in memory."""
    return data.location or str(data.provenance.get("name", "data"))


def few(names: list[str]) -> str:
    """Return the first three names, separated by commas, and dots if there are more."""
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
