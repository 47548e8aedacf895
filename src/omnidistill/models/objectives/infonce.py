"""Symmetric InfoNCE over pairs of modalities, with any number of positives.

Let z_m be the unit embeddings of modality m, tau the temperature, and T the targets. The loss sums the InfoNCE of a
similarity matrix (see `objectives.softmax`) over all pairs of modalities m and n:

    L = sum_{(m,n)} InfoNCE(z_m z_n^T / tau, T)

The targets are at least 0. T is the identity, or T_ij = 1 if rows i and j are in the same group (else 0), or T is
learned ("soft InfoNCE"). LoRS and MTT-VL train their experts with this loss. omnidistill also uses it to train heads
on all real rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from omnidistill.core.settings import Positive
from omnidistill.models.objectives.objective import Objective, anchor_index, objectives, require_index
from omnidistill.models.objectives.pair_gradient import pair_gradient
from omnidistill.models.objectives.pairs import cosines, modality_pairs
from omnidistill.models.objectives.softmax import infonce, infonce_gradient
from omnidistill.models.objectives.sphere import normalise


@objectives.register("infonce")
class InfoNCE(Objective):
    """Symmetric InfoNCE over pairs of modalities, with any number of positives."""

    cites: ClassVar[tuple[str, ...]] = ("infonce", "clip")

    tau: Positive = 0.07
    """Temperature by which cosine similarities are divided."""
    anchor: str | int | None = None
    """Name or index of a modality that every pair of modalities must contain (T-bind, V-bind). If absent, all pairs of
    modalities are used."""

    def bind(self, modalities: Sequence[str]) -> InfoNCE:
        """Return a copy of the objective in which the name of the anchor modality is replaced by its index."""
        return self.evolve(anchor=anchor_index(self.anchor, modalities))

    def value(self, outputs: Float[Tensor, "*r M b d"], targets: Float[Tensor, "*r b b"]) -> Float[Tensor, "*r"]:
        """Return one loss per run; leading dimensions index the runs. The outputs need not be normalised."""
        return self.embedding_loss(normalise(outputs)[0], targets)

    def embedding_loss(
        self, embeddings: Float[Tensor, "*r M b d"], targets: Float[Tensor, "*r b b"]
    ) -> Float[Tensor, "*r"]:
        """Return the loss for the given embeddings, computed from their inner products without normalisation."""
        left, right = modality_pairs(embeddings.shape[-3], require_index(self.anchor), embeddings.device)
        return infonce(cosines(embeddings, left, right), targets.unsqueeze(-3), self.tau).sum(-1)

    def gradient(
        self, outputs: Float[Tensor, "*r M b d"], targets: Float[Tensor, "*r b b"]
    ) -> Float[Tensor, "*r M b d"]:
        """Return dL/d outputs in closed form. The result is differentiable with respect to outputs and targets."""
        left, right = modality_pairs(outputs.shape[-3], require_index(self.anchor), outputs.device)
        return pair_gradient(
            lambda c, affinities: infonce_gradient(c, affinities.unsqueeze(-3), self.tau),
            outputs,
            targets,
            left,
            right,
        )
