"""Summary of the learned target similarities between the rows of a distilled set.

It consists of a sentence and, if off-diagonal entries are learned, a heat map and the largest of these entries.
"""

from __future__ import annotations

from dataclasses import dataclass

from omnidistill.distillation import DistilledSet
from omnidistill.report.heatmap import MAX_PIXELS, heat_png, strongest_pairs
from omnidistill.report.items import Medium

_NUM_PAIRS = 8


@dataclass(frozen=True)
class SimilarityView:
    """Summary of the similarity matrix S.

    Attributes:
        sentence: description of S.
        picture: heat map; None if S has no learned off-diagonal entries.
        scale: entries with at least this magnitude are opaque in the picture.
        pairs: the off-diagonal entries with the largest magnitude, as (row, column, entry). Rows and columns have the
            same numbers as the instances on the page.
    """

    sentence: str
    picture: Medium | None = None
    scale: float = 0.0
    pairs: tuple[tuple[int, int, float], ...] = ()


def similarity_view(distilled: DistilledSet, first: int = 0) -> SimilarityView | None:
    """Return the summary of a set's similarity matrix, or None if the matrix was not learned.

    Args:
        distilled: the set.
        first: number that the summary gives to the first row of the set. The other rows are numbered from there.
    """
    kind = distilled.spec.similarity.kind
    if kind in ("identity", "groups"):
        return None
    matrix = distilled.similarity()
    diagonal = matrix.diagonal()
    own = f"its diagonal ranges from {diagonal.min():.2f} to {diagonal.max():.2f}".replace("-", "−")
    if kind == "diagonal":
        return SimilarityView(f"The similarity is diagonal: no row matches another row. After learning, {own}.")
    pairs = strongest_pairs(matrix, _NUM_PAIRS)
    if not pairs:
        return SimilarityView(f"The similarity is learned, but all off-diagonal entries are 0; {own}.")
    scale = abs(pairs[0][2])
    sentence = (
        "Entry (i, j) of the matrix is the learned target similarity of rows i and j. Before learning, the matrix is "
        f"the identity; after learning, {own}."
    )
    if len(matrix) > MAX_PIXELS:
        sentence += f" The {len(matrix)} rows are drawn in blocks; each shows its entry of largest magnitude."
    numbered = tuple((first + i % distilled.size, first + j % distilled.size, value) for i, j, value in pairs)
    return SimilarityView(sentence, heat_png(matrix, scale), scale, numbered)
