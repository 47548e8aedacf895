"""The contract of a similarity: S starts as the identity, and a batch sees its submatrix.

Shapes: N rows.
"""

from __future__ import annotations

import torch
from torch import Tensor

from omnidistill.models.similarities import Similarity
from omnidistill.testing.promises import agree, check_gradient, generator, normal, require


def check_similarity(similarity: Similarity, *, num_rows: int = 12) -> None:
    """Assert that a similarity keeps what distillation relies on, for a set of `num_rows` rows.

    A fresh one is the identity and is decided by its generator alone; `targets` of a batch is the submatrix S[I, I], of
    floating point, with any leading dimensions; it is differentiable with respect to every learned tensor, which are
    those of floating point. Others (codes of groups, say) are fixed.

    Raises:
        AssertionError: a promise is broken.
    """
    before = torch.get_rng_state()
    tensors, again = (similarity.init(num_rows, generator(0)) for _ in range(2))
    require(torch.equal(torch.get_rng_state(), before), f"{similarity!r}: init used torch's global random state")
    for name, tensor in tensors.items():
        require(torch.equal(tensor, again[name]), f"{similarity!r}: init differs for equal generators, in '{name}'")

    everything = torch.arange(num_rows)
    fresh = similarity.targets(tensors, everything)
    require(fresh.is_floating_point(), f"{similarity!r}: targets are {fresh.dtype}, not floating point")
    agree(fresh, torch.eye(num_rows), f"{similarity!r}: a fresh similarity is not the identity", 1e-5)

    moved = {name: _moved(tensor, seed) for seed, (name, tensor) in enumerate(tensors.items())}
    whole = similarity.targets(moved, everything)
    for shape in ((3,), (2, 3), (2, 2, 3)):
        count = torch.Size(shape[:-1]).numel()
        rows = [torch.randperm(num_rows, generator=generator(seed))[:3] for seed in range(count)]
        expected = torch.stack([whole[index][:, index] for index in rows]).view(*shape, 3)
        found = similarity.targets(moved, torch.stack(rows).view(shape))
        agree(found, expected, f"{similarity!r}: targets of batches {shape} are not the submatrices S[I, I]")

    learned = [name for name, tensor in moved.items() if tensor.is_floating_point()]
    if learned:
        batch = torch.tensor([num_rows - 1, 0, 1])
        check_gradient(
            lambda *values: similarity.targets({**moved, **dict(zip(learned, values, strict=True))}, batch),
            [moved[name] for name in learned],
            f"{similarity!r}: targets are not differentiable with respect to {', '.join(learned)}",
        )


def _moved(tensor: Tensor, seed: int) -> Tensor:
    """Elsewhere, in float64; a fixed tensor has the values of the fresh one, drawn anew."""
    if tensor.is_floating_point():
        return tensor.double() + 0.1 * normal(*tensor.shape, seed=seed)
    return tensor.flatten()[torch.randint(tensor.numel(), tensor.shape, generator=generator(seed))]
