"""Head outputs, joint embeddings, squared distances between points, and the chunks in which rows are compared.

Shapes: n rows, M modalities, d embedding width, D = M d, k centres.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor
from torch.linalg import vector_norm

from omnidistill.core import memory
from omnidistill.data.featureset import FeatureSet
from omnidistill.models.heads import Heads, check_heads
from omnidistill.models.objectives.sphere import normalise

_BLOCKS = 8  # number of blocks per chunk that are in memory at the same time, temporaries included


def head_outputs(train: FeatureSet, heads: Heads) -> Float[Tensor, "n M d"]:
    """Return the head outputs y = W x of every training row, for every modality.

    Raises:
        InputError: the heads do not fit the features.
    """
    check_heads(heads, train.widths, "heads for selecting rows")
    return torch.stack([train.features[name] @ heads[name].mT for name in train.modalities], dim=1)


def unit_embeddings(train: FeatureSet, heads: Heads) -> Float[Tensor, "n M d"]:
    """Return the unit embeddings z = y / ||y|| of every training row, where y are the head outputs of a modality."""
    return normalise(head_outputs(train, heads))[0]


def joint_embeddings(train: FeatureSet, heads: Heads) -> Float[Tensor, "n D"]:
    """Return the joint embedding of every row, J_i = concat_m z_im / sqrt(M).

    z_im is the unit embedding of row i in modality m, and M is the number of modalities. The inner product of two joint
    embeddings is the cosine similarity of the two rows, averaged over modalities.
    """
    embeddings = unit_embeddings(train, heads)
    return embeddings.div_(embeddings.shape[1] ** 0.5).flatten(1)


def squared_distances(points: Float[Tensor, "n D"], centres: Float[Tensor, "k D"]) -> Float[Tensor, "n k"]:
    """Return ||point - centre||^2 for every point and every centre, clamped from below at 0."""
    lengths = vector_norm(points, dim=1, keepdim=True).square() + vector_norm(centres, dim=1).square()
    return torch.addmm(lengths, points, centres.mT, alpha=-2).clamp_min_(0)


def row_chunks(num_rows: int, num_columns: int) -> Iterator[slice]:
    """Yield slices of the rows, for computing a matrix of `num_rows` x `num_columns` slice by slice.

    The part of the matrix that belongs to one slice (in float32) takes at most `memory.CHUNK_BYTES` / `_BLOCKS` bytes,
    so `_BLOCKS` matrices of this size together fit in `memory.CHUNK_BYTES` bytes. Every slice has at least one row,
    even if a single row exceeds this limit.
    """
    step = max(1, memory.CHUNK_BYTES // (4 * num_columns * _BLOCKS))
    for begin in range(0, num_rows, step):
        yield slice(begin, min(begin + step, num_rows))
