"""View of the similarity of a set: one sentence if it is not learned, or else a heat map and the strongest pairs."""

from __future__ import annotations

from dataclasses import dataclass

from omnidistill.distillation import DistilledSet
from omnidistill.report.heatmap import MAX_PIXELS, heat_png, strongest_pairs
from omnidistill.report.items import Medium

_NUM_PAIRS = 8


@dataclass(frozen=True)
class SimilarityView:
    """View of the similarity S.

    Attributes:
        sentence: description of S.
        picture: heat map; None if S has no off-diagonal entries.
        scale: smallest magnitude that is opaque in the picture.
        pairs: the strongest pairs (row, column, entry), numbered like the instances.
    """

    sentence: str
    picture: Medium | None = None
    scale: float = 0.0
    pairs: tuple[tuple[int, int, float], ...] = ()


def similarity_view(distilled: DistilledSet, first: int = 0) -> SimilarityView:
    """Return the view of the similarity of a set whose instances are numbered from `first`."""
    kind = distilled.spec.similarity.kind
    if kind == "identity":
        return SimilarityView("The similarity is the identity: each row matches only itself. It is not learned.")
    if kind == "groups":
        return SimilarityView("The similarity is given by groups: rows of the same group match. It is not learned.")
    matrix = distilled.similarity()
    diagonal = matrix.diagonal()
    own = f"the diagonal ranges from {diagonal.min():.2f} to {diagonal.max():.2f}".replace("-", "−")
    if kind == "diagonal":
        return SimilarityView(f"The similarity is diagonal: no row matches another row. After learning, {own}.")
    pairs = strongest_pairs(matrix, _NUM_PAIRS)
    if not pairs:
        return SimilarityView(f"The similarity is learned, but all entries off the diagonal are 0; {own}.")
    scale = abs(pairs[0][2])
    sentence = (
        f"Entry (i, j) is the target similarity of rows i and j. Initially, S is the identity; after learning, {own}."
    )
    if len(matrix) > MAX_PIXELS:
        sentence += f" The {len(matrix)} rows are drawn in blocks; each shows its entry of largest magnitude."
    numbered = tuple((first + i % distilled.size, first + j % distilled.size, value) for i, j, value in pairs)
    return SimilarityView(sentence, heat_png(matrix, scale), scale, numbered)
