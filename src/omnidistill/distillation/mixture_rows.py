"""Learn a mixing matrix A, which defines the rows of a set as mixtures of items (see `item_mixture`).

    X_m(A) = normalise(A F_m)          F_m: features of the items in modality m; `normalise` scales rows to equal length

A has one row per synthetic row and one column per item. Ridge regression from the rows X_m(A) to anchors (targets that
all modalities share) gives heads. A is learned by gradients through this regression, as in `head_learning`. Initially,
A_ij is output i of ridge CCA heads (in their canonical basis) for item j, summed over the modalities. Each row of A is
then scaled (see `FIRST_SIZE`).

The heads must also work for encoders that are not known yet. Every iteration therefore changes the features of the
items and of the real rows, to imitate another encoder. A random exponent a is drawn for each modality. The standard
deviation s of each principal component becomes s^a. A common factor then restores the total variance of the features,
and isotropic noise is added.

A can be sparse: each synthetic row then mixes only k items. Every row of A has c candidate items, which are the items
with the largest absolute values in this row of the initial A. Each iteration uses only the k candidates whose current
values are largest in absolute value, and treats the other values as zero. All candidates receive gradients
(straight-through estimator). A candidate that is not used can therefore grow and replace another.

Shapes: N rows, n items, c candidates per row, p_m feature width, b real rows per batch.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from omnidistill.core.streams import Streams
from omnidistill.data.featureset import FeatureSet
from omnidistill.distillation.head_learning import (
    FIRST_LOGIT,
    LearnableHeads,
    Learning,
    LearningSettings,
    canonical_cca_heads,
)
from omnidistill.distillation.item_mixture import Mixture, mixed_rows
from omnidistill.models.heads import Heads
from omnidistill.models.storages import Storage
from omnidistill.models.storages.forms import straight_through
from omnidistill.training.closed_form import Moments
from omnidistill.training.closed_form.anchor_map import anchor_maps

FIRST_SIZE = 0.1
"""Root mean square of the initial values of A. The size of A does not matter for the rows, but the values must change
faster, relative to their size, than the ridges, which have the same learning rate."""

_CHUNK_ROWS = 2**16
_NOTHING = 1e-6  # relative to the largest outputs; smaller outputs are rounding errors
_SMALLEST = 1e-3  # smallest s_l, relative to the largest


@dataclass(frozen=True)
class MixtureRows(LearnableHeads):
    """A learnable mixing matrix A for N rows and n items, and the learnable settings of the recipe "anchor".

    A is dense or sparse. If it is sparse, each row has c candidate items, and the k largest in absolute value are used.

    Attributes:
        latent: {"weights": values of A before rounding}, N x n if A is dense, N x c if it is sparse.
        item_numbers: for each value, the index of its item (N x c); None if A is dense.
        features: features of the items, {modality: n x p_m}.
        ids: ids of the items.
        items_per_row: number k of items per row; None if A is dense.
        log_ridges: logarithm of the regression ridge of each modality.
        logit: logit of the property `weight`; not learned.
        storage: rounds the values of A.
        row_storage: rounds the rows.
    """

    latent: dict[str, Tensor]
    item_numbers: Int[Tensor, "N c"] | None
    features: dict[str, Tensor]
    ids: tuple[str, ...]
    items_per_row: int | None
    log_ridges: Float[Tensor, " M"]
    logit: Float[Tensor, ""]
    storage: Storage
    row_storage: Storage

    @staticmethod
    def closed_form(
        moments: Moments,
        train: FeatureSet,
        size: int,
        cca_ridge: float,
        items: tuple[int, int] | None,
        storages: tuple[Storage, Storage],
    ) -> MixtureRows:
        """Return the initial mixing matrix A, which defines synthetic rows as mixtures of items.

        A_ij is output i of ridge CCA heads for item j, summed over the modalities. Each row of A is scaled to the root
        mean square `FIRST_SIZE`. Rows beyond the number of canonical directions are zero and stay zero.

        Args:
            moments: moments of the training rows.
            train: the training rows, which are the items.
            size: number of rows N.
            cca_ridge: ridge of CCA.
            items: (k, c): number of items per row, and number of candidates per row; None for a dense matrix.
            storages: storage of the values of A, and storage of the rows.
        """
        heads = {
            name: x.to(train.device, torch.float32) for name, x in canonical_cca_heads(moments, size, cca_ridge).items()
        }
        weights, numbers = _leading_outputs(heads, train, None if items is None else min(items[1], len(train)))
        sizes = weights.square().mean(1, keepdim=True).sqrt()
        weights = torch.where(sizes > _NOTHING * sizes.max(), FIRST_SIZE * weights / sizes, 0 * weights)
        features, ids = dict(train.features), train.ids
        if numbers is not None:
            pool, numbers = torch.unique(numbers, return_inverse=True)
            features = {name: x[pool] for name, x in features.items()}
            ids = tuple(train.ids[row] for row in pool.tolist())
        log_ridges = torch.zeros(len(features), device=train.device)
        logit = torch.tensor(FIRST_LOGIT, device=train.device)
        per_row = None if items is None else min(items[0], len(train))
        return MixtureRows({"weights": weights}, numbers, features, ids, per_row, log_ridges, logit, *storages)

    @property
    def size(self) -> int:
        """Number N of synthetic rows."""
        return len(self.latent["weights"])

    @property
    def ridges(self) -> Float[Tensor, " M"]:
        """Regression ridge of each modality, in the order of the modalities."""
        return self.log_ridges.exp()

    @property
    def weight(self) -> Float[Tensor, ""]:
        """Weight of the computed heads when their outputs are concatenated with those of initial heads; not learned."""
        return self.logit.sigmoid()

    def with_ridge(self, ridge: float) -> MixtureRows:
        """Return a copy that uses the same regression ridge for every modality."""
        return replace(self, log_ridges=torch.full_like(self.log_ridges, ridge).log())

    def leaves(self) -> list[Tensor]:
        """Return the tensors to learn: the values of the mixing matrix and the logarithms of the ridges."""
        return [self.latent["weights"], self.log_ridges]

    def mixed(self) -> dict[str, Float[Tensor, "N _"]]:
        """Return the synthetic rows of every modality, computed from the rounded mixing matrix.

        The rows are mixtures of the features of the items, scaled to equal lengths. The mixing matrix has the values
        that will be stored. The rows themselves are not rounded.
        """
        weights = self.latent["weights"]
        if self.items_per_row is not None:
            largest = weights.detach().abs().topk(self.items_per_row, 1).indices
            kept = torch.zeros_like(weights).scatter(1, largest, 1.0)
            weights = straight_through(weights, weights.detach() * kept)
        weights = self.storage.expand({"weights": weights})["weights"]
        return mixed_rows(weights, self.item_numbers, self.features)

    def solved(self) -> tuple[dict[str, Float[Tensor, "N _"]], Heads]:
        """Return the rounded rows, and the heads that ridge regression computes from them; both are differentiable."""
        rows = self.row_storage.expand(self.mixed())
        return rows, anchor_maps(rows, self.ridges)

    def mixture(self) -> Mixture:
        """Return the learned mixing matrix with rounded values."""
        weights, numbers = self.latent["weights"].detach(), self.item_numbers
        if numbers is None or self.items_per_row is None:
            return Mixture.of(weights, self.storage, None, self.ids)
        largest = weights.abs().topk(self.items_per_row, 1).indices
        return Mixture.of(weights.gather(1, largest), self.storage, numbers.gather(1, largest), self.ids)

    def detached(self) -> MixtureRows:
        """Return a copy whose learned tensors are detached from the autograd graph."""
        latent = {name: x.detach().clone() for name, x in self.latent.items()}
        return replace(self, latent=latent, log_ridges=self.log_ridges.detach().clone())


@dataclass(frozen=True)
class Augmentation:
    """How strongly real features are changed at random, to imitate the features of other encoders.

    Attributes:
        powers: (low, high). The standard deviation s of each principal component becomes s^a, up to a common factor.
            The exponent a is drawn from the range from low to high; (1, 1) leaves the features unchanged.
        noise: standard deviation of the noise that is added, relative to the root mean square of the features.
    """

    powers: tuple[float, float]
    noise: float


class MixtureLearning(Learning[MixtureRows]):
    """Learns rows that are mixtures of real items. Adam updates the weights of the items (the mixing matrix).

    Every iteration changes the features at random, to imitate the features of an unknown encoder.
    """

    def __init__(
        self,
        first: MixtureRows,
        train: FeatureSet,
        moments: Moments,
        settings: LearningSettings,
        augmentation: Augmentation,
        seed: int,
    ) -> None:
        super().__init__(first, train, {}, settings, seed)
        self._augmentation, self._draws = augmentation, Streams(seed)["mixture/augmentation"]
        self._components = {name: _components(c, train.device) for name, c in moments.covariances.items()}
        self._items = {name: x @ self._components[name][0] for name, x in first.features.items()}

    def _view(self, indices: Int[Tensor, " b"]) -> tuple[MixtureRows, dict[str, Float[Tensor, "b _"]]]:
        """Return the learned rows and a batch of real rows, as if another encoder had computed their features.

        The features of the items and of the real rows are multiplied by the same random factors, one for each principal
        component. Noise is then added to both.
        """
        items, rows = {}, {}
        for name, x in self._train.features.items():
            basis, deviations = self._components[name]
            low, high = self._augmentation.powers
            power = low + (high - low) * float(torch.rand((), generator=self._draws, device="cpu"))
            scale = deviations ** (power - 1)
            scale = scale * (deviations.square().sum() / (scale * deviations).square().sum()).sqrt()
            noise = self._augmentation.noise * float(deviations.square().mean().sqrt())
            items[name] = self._noisy(self._items[name] * scale, noise)
            rows[name] = self._noisy((x[indices] @ basis) * scale, noise)
        return replace(self.learned, features=items), rows

    def _noisy(self, x: Float[Tensor, "n p"], noise: float) -> Float[Tensor, "n p"]:
        if not noise:
            return x
        return x + noise * torch.randn(x.shape, generator=self._draws, device="cpu").to(x.device)


def _leading_outputs(
    heads: Heads, train: FeatureSet, count: int | None
) -> tuple[Float[Tensor, "N c"], Int[Tensor, "N c"] | None]:
    """Return the outputs of the heads for the training items, summed over the modalities, and the item indices.

    If `count` is None, row i contains output i for every item, in the order of the items, and the indices are None.
    Otherwise, row i contains output i only for the `count` items with the largest absolute values, the largest first.
    """
    values, numbers = [], []
    for chunk in torch.split(torch.arange(len(train), device=train.device), _CHUNK_ROWS):
        outputs = torch.stack([train.features[name][chunk] @ w.mT for name, w in heads.items()]).sum(0).mT
        if count is None:
            values.append(outputs)
            continue
        largest = outputs.abs().topk(min(count, len(chunk)), 1).indices
        values.append(outputs.gather(1, largest))
        numbers.append(chunk[largest])
    joined = torch.cat(values, 1)
    if count is None:
        return joined, None
    largest = joined.abs().topk(count, 1).indices
    return joined.gather(1, largest), torch.cat(numbers, 1).gather(1, largest)


def _components(
    covariance: Float[Tensor, "p p"], device: torch.device
) -> tuple[Float[Tensor, "p p"], Float[Tensor, " p"]]:
    """Return the principal components of a modality as columns, and the standard deviation of each component."""
    values, vectors = torch.linalg.eigh(covariance)
    deviations = values.clamp(min=0).sqrt()
    deviations = deviations.clamp(min=_SMALLEST * float(deviations.max()))
    return vectors.to(device, torch.float32), deviations.to(device, torch.float32)
