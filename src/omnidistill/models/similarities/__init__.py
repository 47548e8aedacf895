"""Target similarities: they define which synthetic rows count as matching. `similarities` lists them by name."""

from omnidistill.models.similarities.diagonal import Diagonal
from omnidistill.models.similarities.full import Full
from omnidistill.models.similarities.groups import SharedGroups
from omnidistill.models.similarities.identity import FixedIdentity
from omnidistill.models.similarities.low_rank import LowRank
from omnidistill.models.similarities.similarity import AnySimilarity, Similarity, similarities

__all__ = [
    "AnySimilarity",
    "Diagonal",
    "FixedIdentity",
    "Full",
    "LowRank",
    "SharedGroups",
    "Similarity",
    "similarities",
]
