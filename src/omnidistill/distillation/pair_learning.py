"""Learn maps between two embedding spaces, in both directions, by InfoNCE on pairs of vectors.

The direction of a map is "forward" (old to new space) or "reverse" (new to old). For each direction, let v_1, ..., v_b
be the mapped vectors of a batch of b items, and v_{b+1}, ..., v_2b the vectors of the same items in the target space.
All are normalised. Each vector v_j is classified by the logits v_j . v_k / tau for all k != j, with a temperature tau.
The correct class is the other vector of the same item. The loss is the mean cross-entropy of the 2 b classifications,
summed over both directions (NT-Xent: Chen et al. 2020, arXiv 2002.05709). The negatives include mapped vectors and
target vectors, because a search index may contain both kinds.

The matrix M of a map is computed from learned tensors in one of two ways:

    PairRows        M = R^T (R R^T + lambda s I)^-1 Q     ridge regression from learned rows R to learned rows Q
    FactoredMaps    M = F^T G                             learned factors F and G, separate for each direction

lambda is a learned ridge, and s is the mean of the diagonal of R R^T. In the reverse direction, R and Q are exchanged.
The learned tensors are rounded as they will be stored. The derivative of rounding is replaced by that of the identity.

Shapes: b pairs per batch, N learned rows (or rank N of the factors), p and q widths of the old and the new space.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Generic, Literal, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

from omnidistill.core.streams import Streams
from omnidistill.data.embedding_pairs import Pairs
from omnidistill.models.affine_map import AffineMap
from omnidistill.models.storages import Storage
from omnidistill.training.closed_form.pair_maps import solved_rows

Direction = Literal["forward", "reverse"]
"""From old to new, or from new to old."""

Maps = dict[Direction, AffineMap]
"""One map per direction."""

_SMALLEST_RIDGE, _SMALLEST_RIDGE_PER_ROW = 1e-4, 1e-6

L = TypeVar("L", bound="LearnableMaps")


@dataclass(frozen=True, eq=False)
class Frame:
    """Means of the old and the new embedding space, and whether their vectors have length 1.

    A map between the spaces in either direction needs these values.

    Attributes:
        means: the mean of the old vectors and the mean of the new vectors.
        unit: whether the old and the new vectors have length 1.
    """

    means: tuple[Float[Tensor, " _"], Float[Tensor, " _"]]
    unit: tuple[bool, bool]

    def map(self, direction: Direction, left: Float[Tensor, "_ _"] | None, right: Float[Tensor, "_ _"]) -> AffineMap:
        """Return the map in a direction: "forward" maps old to new vectors, "reverse" new to old vectors.

        `left` and `right` are the factors of its matrix. If `left` is None, `right` is the matrix itself (see
        `AffineMap`).
        """
        source, target = (0, 1) if direction == "forward" else (1, 0)
        return AffineMap(self.means[source], left, right, self.means[target], self.unit[target])


class LearnableMaps(ABC):
    """Learned tensors from which maps between two embedding spaces are computed.

    Attributes:
        latent: learned tensors before rounding.
        storage: how the tensors are rounded.
        frame: means of both spaces.
    """

    latent: dict[str, Tensor]
    storage: Storage
    frame: Frame

    @abstractmethod
    def maps(self) -> Maps:
        """Return the maps computed from the rounded tensors. They are differentiable."""

    def scalars(self) -> list[Tensor]:
        """Return the learned tensors that are not in `latent`, such as logarithms of ridges."""
        return []

    @abstractmethod
    def detached(self: L) -> L:
        """Return a copy of the tensors, detached from the autograd graph."""


@dataclass(frozen=True)
class PairRows(LearnableMaps):
    """N learned pairs of an old and a new embedding. Ridge regression on them gives the maps in both directions.

    Attributes:
        latent: the embeddings before rounding: "old" (N x p) and "new" (N x q).
        log_ridges: logarithm of the ridge of each map.
        storage: how the embeddings are rounded.
        frame: means of the old and the new space.
    """

    latent: dict[str, Tensor]
    log_ridges: Float[Tensor, " 2"]
    storage: Storage
    frame: Frame

    @staticmethod
    def start(rows: Mapping[str, Float[Tensor, "N _"]], ridge: float, storage: Storage, frame: Frame) -> PairRows:
        """Return learnable rows with these initial values.

        Args:
            rows: paired rows "old" and "new", centred.
            ridge: initial ridge of both directions.
            storage: how the rows are rounded.
            frame: means of both spaces.
        """
        log_ridges = torch.full((2,), ridge, device=rows["old"].device).log()
        return PairRows(storage.init(rows), log_ridges, storage, frame)

    def maps(self) -> Maps:
        """Return the maps in both directions: "forward" (old to new) and "reverse" (new to old)."""
        rows = self.storage.expand(self.latent)
        return row_maps(rows["old"], rows["new"], self.ridges, self.frame)

    @property
    def ridges(self) -> Float[Tensor, " 2"]:
        """Ridges of the directions "forward" and "reverse". They never fall below a limit.

        The limit keeps linear solves in float32 accurate. It grows with the number of rows N, because the largest
        eigenvalue of the kernel matrix of the rows can be N times the mean of its diagonal.
        """
        smallest = max(_SMALLEST_RIDGE, _SMALLEST_RIDGE_PER_ROW * len(self.latent["old"]))
        return self.log_ridges.exp().clamp(min=smallest)

    def with_ridge(self, ridge: float) -> PairRows:
        """Return a copy that uses this ridge (regularisation strength) in both directions."""
        return replace(self, log_ridges=torch.full_like(self.log_ridges, ridge).log())

    def scalars(self) -> list[Tensor]:
        """Return the logarithms of the ridges (regularisation strengths) of both directions."""
        return [self.log_ridges]

    def detached(self) -> PairRows:
        """Return a copy of the tensors, detached from the autograd graph."""
        latent = {name: x.detach().clone() for name, x in self.latent.items()}
        return replace(self, latent=latent, log_ridges=self.log_ridges.detach().clone())


@dataclass(frozen=True)
class FactoredMaps(LearnableMaps):
    """Low-rank maps whose factors are learned directly.

    Attributes:
        latent: the factors "DIRECTION-left" (rank x source width) and "DIRECTION-right" (rank x target width). Here,
            DIRECTION is "forward" or "reverse".
        storage: how the factors are rounded.
        frame: means of both spaces.
    """

    latent: dict[str, Tensor]
    storage: Storage
    frame: Frame

    @staticmethod
    def start(factors: Mapping[Direction, tuple[Tensor, Tensor]], storage: Storage, frame: Frame) -> FactoredMaps:
        """Return learnable maps with these initial factors, {direction: (left, right)}."""
        named = {
            f"{direction}-{side}": x
            for direction, pair in factors.items()
            for side, x in zip(("left", "right"), pair, strict=True)
        }
        return FactoredMaps(storage.init(named), storage, frame)

    def maps(self) -> Maps:
        """Return {direction: map} for the directions whose maps are learned: "forward", "reverse" or both."""
        x = self.storage.expand(self.latent)
        directions: tuple[Direction, ...] = ("forward", "reverse")
        return {
            each: self.frame.map(each, x[f"{each}-left"], x[f"{each}-right"])
            for each in directions
            if f"{each}-left" in x
        }

    def detached(self) -> FactoredMaps:
        """Return a copy of the factors, detached from the autograd graph."""
        return replace(self, latent={name: x.detach().clone() for name, x in self.latent.items()})


@dataclass(frozen=True)
class PairLearningSettings:
    """Settings for learning maps between two embedding spaces (see `PairLearning`).

    Attributes:
        iterations: number of iterations, over which the learning rate falls to zero along a cosine.
        learning_rate: learning rate of Adam in the first iteration, relative to the root mean square of each tensor.
        batch_size: pairs per iteration, or all pairs if there are fewer.
        tau: temperature by which cosine similarities are divided.
    """

    iterations: int
    learning_rate: float
    batch_size: int
    tau: float


class PairLearning(Generic[L]):
    """Learns maps with Adam. The learning rate falls to zero along a cosine.

    Attributes:
        learned: the tensors after the steps taken so far.
    """

    def __init__(self, first: L, train: Pairs, settings: PairLearningSettings, seed: int) -> None:
        self.learned: L = first.detached()
        self._train, self._settings = train, settings
        rate = settings.learning_rate
        groups = [
            {"params": [x.requires_grad_()], "lr": rate * float(x.detach().square().mean().sqrt())}
            for x in self.learned.latent.values()
        ]
        groups += [{"params": [x.requires_grad_()], "lr": rate} for x in self.learned.scalars()]
        self._optimiser = torch.optim.Adam(groups)
        self._schedule = torch.optim.lr_scheduler.CosineAnnealingLR(self._optimiser, max(1, settings.iterations))
        self._generator = Streams(seed)["migration/batches"]

    def step(self) -> float:
        """Take one optimiser step, and return the loss before it."""
        size, total = min(self._settings.batch_size, len(self._train)), len(self._train)
        batch = self._train.select(torch.randperm(total, generator=self._generator, device="cpu")[:size])
        with torch.enable_grad():
            loss = pair_loss(self.learned.maps(), batch, self._settings.tau)
            self._optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
        self._optimiser.step()
        self._schedule.step()
        return float(loss.detach())


def row_maps(old: Float[Tensor, "N p"], new: Float[Tensor, "N q"], ridges: Float[Tensor, " 2"], frame: Frame) -> Maps:
    """Return the maps in both directions, computed from paired rows by ridge regression. They are differentiable.

    Args:
        old, new: centred rows, where row i of `old` is paired with row i of `new`.
        ridges: ridges of the directions "forward" and "reverse".
        frame: means of both spaces.
    """
    return {
        "forward": frame.map("forward", old, solved_rows(old, new, ridges[0])),
        "reverse": frame.map("reverse", new, solved_rows(new, old, ridges[1])),
    }


def pair_loss(maps: Maps, batch: Pairs, tau: float) -> Float[Tensor, ""]:
    """Return the InfoNCE loss of the maps on a batch of pairs: the mean over vectors, summed over directions."""
    normalise = torch.nn.functional.normalize
    labels = torch.arange(len(batch), device=batch.old.device)
    itself = torch.eye(len(batch), dtype=torch.bool, device=batch.old.device)
    loss = torch.zeros((), dtype=batch.old.dtype, device=batch.old.device)
    for direction, each in maps.items():
        source, target = (batch.old, batch.new) if direction == "forward" else (batch.new, batch.old)
        mapped, target = normalise(each.apply(source), dim=1), normalise(target, dim=1)
        across = mapped @ target.mT / tau
        for logits, same in ((across, mapped), (across.mT, target)):
            within = (same @ same.mT / tau).masked_fill(itself, -torch.inf)
            loss = loss + torch.nn.functional.cross_entropy(torch.cat([logits, within], dim=1), labels) / 2
    return loss
