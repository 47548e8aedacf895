"""Pairwise wBCE (weighted binary cross-entropy): the student loss of LoRS (Xu et al. 2024).

Let z_m be the unit embeddings of modality m, tau the temperature, and S the target similarities. S_ij is the target for
row i in one modality and row j in another. With wBCE as defined in `objectives.wbce`, the loss is

    L = sum_{(m,n)} wBCE(z_m z_n^T / tau, S)

The sum is over all pairs of modalities, where m comes before n. If the setting `anchor` names a modality, the sum is
only over the pairs that contain it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar

from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from omnidistill.core.settings import Positive
from omnidistill.models.objectives.objective import Objective, anchor_index, objectives, require_index
from omnidistill.models.objectives.pair_gradient import pair_gradient
from omnidistill.models.objectives.pairs import cosines, modality_pairs
from omnidistill.models.objectives.sphere import normalise
from omnidistill.models.objectives.wbce import Reduction, wbce, wbce_gradient


@objectives.register("pairwise-wbce")
class PairwiseWbce(Objective):
    """Weighted binary cross-entropy (wBCE), summed over pairs of modalities. The student loss of LoRS."""

    added: ClassVar[tuple[str, ...]] = ("epsilon",)
    cites: ClassVar[tuple[str, ...]] = ("lors",)

    tau: Positive = 0.07
    """Temperature by which cosine similarities are divided."""
    threshold: float = 0.5
    """Pairs of rows with a target similarity above this value are positives."""
    reduction: Reduction = "mean"
    """How the mean loss of positives and that of negatives are combined: "mean" (public LoRS code) or "sum"
    (published equation, HoPA eq. 9). "plain" averages over all pairs without weights."""
    epsilon: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Small number that is added inside the logarithms of the loss, and to the counts of positives and negatives
    (public LoRS code: 1e-6)."""
    anchor: str | int | None = None
    """Name or index of a modality that every pair of modalities must contain (T-bind, V-bind). If absent, all pairs of
    modalities are used."""

    def bind(self, modalities: Sequence[str]) -> PairwiseWbce:
        """Return a copy of the objective in which the name of the anchor modality is replaced by its index."""
        return self.evolve(anchor=anchor_index(self.anchor, modalities))

    def value(self, outputs: Float[Tensor, "*r M b d"], targets: Float[Tensor, "*r b b"]) -> Float[Tensor, "*r"]:
        """Return the loss for every index of the leading dimensions. The outputs need not be normalised."""
        return self.embedding_loss(normalise(outputs)[0], targets)

    def embedding_loss(
        self, embeddings: Float[Tensor, "*r M b d"], targets: Float[Tensor, "*r b b"]
    ) -> Float[Tensor, "*r"]:
        """Return the loss for given embeddings, as a function of their inner products."""
        left, right = modality_pairs(embeddings.shape[-3], require_index(self.anchor), embeddings.device)
        similarity = cosines(embeddings, left, right)
        losses = wbce(similarity, targets.unsqueeze(-3).expand_as(similarity), *self._loss)
        return losses.sum(-1)

    def gradient(
        self, outputs: Float[Tensor, "*r M b d"], targets: Float[Tensor, "*r b b"]
    ) -> Float[Tensor, "*r M b d"]:
        """Return the gradient of the loss with respect to the outputs, in closed form.

        The result is differentiable with respect to `outputs` and `targets`.
        """
        left, right = modality_pairs(outputs.shape[-3], require_index(self.anchor), outputs.device)
        return pair_gradient(
            lambda c, similarity: wbce_gradient(c, similarity.unsqueeze(-3), *self._loss), outputs, targets, left, right
        )

    @property
    def _loss(self) -> tuple[float, float, Reduction, float]:
        """The settings to pass to `wbce`: temperature, threshold, reduction and epsilon."""
        return self.tau, self.threshold, self.reduction, self.epsilon
