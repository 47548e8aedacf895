"""The similarity of a set for people: one line where nothing of it is learned, else its map and its strongest pairs."""

from __future__ import annotations

from dataclasses import dataclass

from omnidistill.distillation import DistilledSet
from omnidistill.report.heatmap import MAX_PIXELS, heat_png, strongest_pairs
from omnidistill.report.items import Medium

_NUM_PAIRS = 8


@dataclass(frozen=True)
class SimilarityView:
    """What is said of S, its picture (None where there is nothing to see), the entry that is opaque in it, and its
    strongest pairs (row, column, entry), rows numbered as instances are.
    """

    sentence: str
    picture: Medium | None = None
    scale: float = 0.0
    pairs: tuple[tuple[int, int, float], ...] = ()


def similarity_view(distilled: DistilledSet, first: int = 0) -> SimilarityView:
    """The similarity of a set whose instances are numbered from `first`."""
    kind = distilled.spec.similarity.kind
    if kind == "identity":
        return SimilarityView("The similarity is the identity: each row matches itself and no other. None was learned.")
    if kind == "groups":
        return SimilarityView("The similarity is by group: rows of one group match, others do not. None was learned.")
    matrix = distilled.similarity()
    diagonal = matrix.diagonal()
    own = f"its diagonal goes from {diagonal.min():.2f} to {diagonal.max():.2f}".replace("-", "−")
    if kind == "diagonal":
        return SimilarityView(f"The similarity is a diagonal: no row matches another. As learned, {own}.")
    pairs = strongest_pairs(matrix, _NUM_PAIRS)
    if not pairs:
        return SimilarityView(f"The similarity could be learned, but no row came to match another; {own}.")
    scale = abs(pairs[0][2])
    sentence = (
        f"Entry (i, j) says how much row i should match row j: 1 on the diagonal and 0 elsewhere at first; {own}."
    )
    if len(matrix) > MAX_PIXELS:
        sentence += f" Of {len(matrix)} rows, drawn in blocks: each shows its entry of largest magnitude."
    numbered = tuple((first + i % distilled.size, first + j % distilled.size, value) for i, j, value in pairs)
    return SimilarityView(sentence, heat_png(matrix, scale), scale, numbered)
