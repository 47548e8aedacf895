"""The contract of similarities: the initial matrix S is the identity, and each batch uses a submatrix of S as targets.

Shapes: S is N x N for a set of N rows.
"""

from __future__ import annotations

import torch
from torch import Tensor

from omnidistill.models.similarities import Similarity
from omnidistill.testing.assertions import agree, check_gradient, generator, normal, require


def check_similarity(similarity: Similarity, *, num_rows: int = 12) -> None:
    """Check the contract of similarities for a set of `num_rows` rows.

    - `init` returns tensors that represent the identity. Its only source of randomness is the generator.
    - For a batch of row numbers I, `targets` returns the submatrix S[I, I] of the similarity matrix S, in floating
      point. The batch can have any leading dimensions.
    - `targets` is differentiable with respect to every floating-point tensor, because these tensors are learned. Other
      tensors, such as group codes, are fixed.

    Args:
        similarity: the similarity to check.
        num_rows: number of rows N of the set.

    Raises:
        AssertionError: a requirement is violated.
    """
    before = torch.get_rng_state()
    tensors, again = (similarity.init(num_rows, generator(0)) for _ in range(2))
    require(torch.equal(torch.get_rng_state(), before), f"{similarity!r}: init used torch's global random state")
    for name, tensor in tensors.items():
        same = torch.equal(tensor, again[name])
        require(same, f"{similarity!r}: init returned different '{name}' for generators with equal seeds")

    everything = torch.arange(num_rows, device="cpu")
    fresh = similarity.targets(tensors, everything)
    require(fresh.is_floating_point(), f"{similarity!r}: targets are {fresh.dtype}, not floating point")
    agree(fresh, torch.eye(num_rows, device="cpu"), f"{similarity!r}: the initial similarity is not the identity", 1e-5)

    perturbed = {name: _perturbed(tensor, seed) for seed, (name, tensor) in enumerate(tensors.items())}
    complete = similarity.targets(perturbed, everything)
    for shape in ((3,), (2, 3), (2, 2, 3)):
        count = torch.Size(shape[:-1]).numel()
        rows = [torch.randperm(num_rows, generator=generator(seed), device="cpu")[:3] for seed in range(count)]
        expected = torch.stack([complete[index][:, index] for index in rows]).view(*shape, 3)
        actual = similarity.targets(perturbed, torch.stack(rows).view(shape))
        agree(actual, expected, f"{similarity!r}: targets for batches of shape {shape} are not the submatrices S[I, I]")

    learned = [name for name, tensor in perturbed.items() if tensor.is_floating_point()]
    if learned:
        batch = torch.tensor([num_rows - 1, 0, 1], device="cpu")
        check_gradient(
            lambda *values: similarity.targets({**perturbed, **dict(zip(learned, values, strict=True))}, batch),
            [perturbed[name] for name in learned],
            f"{similarity!r}: targets are not differentiable with respect to {', '.join(learned)}",
        )


def _perturbed(tensor: Tensor, seed: int) -> Tensor:
    """Add noise to a floating-point tensor and return it in float64. Resample the values of any other tensor."""
    if tensor.is_floating_point():
        return tensor.double() + 0.1 * normal(*tensor.shape, seed=seed)
    return tensor.flatten()[torch.randint(tensor.numel(), tensor.shape, generator=generator(seed), device="cpu")]
