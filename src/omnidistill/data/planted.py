"""Synthetic test data: M modalities share a known latent variable, so a method that works must beat chance.

Every group has a latent vector z ~ N(0, I_k), which all modalities share; k is the argument `latent`. Every modality m
with width p has an offset, a linear map and a basis. Every row has its own noise n_m in each modality:

    o_m ~ N(0, I_p)     offset, which centring removes
    A_m (k x p)         random linear map with independent entries from N(0, 1 / k)
    Q_m (p x p)         random orthonormal basis
    n_m ~ N(0, I_p)     noise

The features of the row are x_m = o_m + tanh(z A_m) + a (n_m * sigma) Q_m. Here a is the argument `noise`, and sigma_j
(j = 1 ... p) is proportional to j^(-1/2), with mean square 1.

One generator, seeded with `seed`, first draws z, then A, o, Q and n for each modality in the given order. Renaming a
modality therefore changes no number, and adding a modality at the end does not change the other modalities.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Float, Int
from torch import Tensor

from omnidistill.core.errors import InputError
from omnidistill.data.names import check_modality_names, check_split_names
from omnidistill.data.raw import RawFeatures


def planted(
    modalities: Mapping[str, int],
    rows: Mapping[str, int],
    latent: int = 16,
    noise: float = 0.5,
    positives_per_group: int = 1,
    seed: int = 0,
    shuffle_pairs: bool = False,
) -> RawFeatures:
    """Return synthetic paired features in float32, computed from latent vectors that the modalities share.

    The module docstring has the formulas. All rows of a group have the same latent vector.

    Args:
        modalities: {name: width}.
        rows: {split: number of rows}.
        latent: dimension of the latent vectors.
        noise: root mean square of the noise. The signal has a magnitude of at most 1 per coordinate.
        positives_per_group: number of rows per group. The last group in a split may have fewer rows.
        seed: seed for all draws.
        shuffle_pairs: whether to permute the rows of each modality independently within each split. The result is a
            control without any signal.

    Raises:
        InputError: a size is not positive, the noise is negative, or a split is unknown.
    """
    _check(modalities, rows, latent, noise, positives_per_group)
    generator = torch.Generator("cpu").manual_seed(seed)
    group_of_row, groups, splits = _layout(rows, positives_per_group)
    z = torch.randn(int(group_of_row[-1]) + 1, latent, generator=generator, device="cpu")[group_of_row]
    features = {name: _modality(z, width, noise, generator) for name, width in modalities.items()}
    if shuffle_pairs:
        features = {name: x[_permutation(rows, generator)] for name, x in features.items()}
    return RawFeatures(
        features=features,
        ids=tuple(f"{split}-{row}" for split, count in rows.items() for row in range(count)),
        groups=groups,
        splits=splits,
        provenance={
            "name": "planted",
            "latent": latent,
            "noise": noise,
            "positives_per_group": positives_per_group,
            "seed": seed,
            "shuffle_pairs": shuffle_pairs,
        },
    )


def _check(
    modalities: Mapping[str, int], rows: Mapping[str, int], latent: int, noise: float, positives_per_group: int
) -> None:
    check_modality_names(modalities)
    check_split_names(rows)
    if not modalities or not rows:
        raise InputError(
            "planted (artificial) data: 'modalities' or 'rows' is empty; pass {modality: width} and {split: number of "
            "rows}"
        )
    sizes = {f"width of {name!r}": width for name, width in modalities.items()}
    sizes |= {f"rows of split {name!r}": count for name, count in rows.items()}
    sizes |= {"latent": latent, "positives_per_group": positives_per_group}
    for what, size in sizes.items():
        if size < 1:
            raise InputError(f"planted (artificial) data: {what} is {size}, but must be at least 1")
    if not 0 <= noise < float("inf"):
        raise InputError(f"planted (artificial) data: noise is {noise}, but must be finite and at least 0")


def _layout(rows: Mapping[str, int], positives: int) -> tuple[Int[Tensor, " n"], tuple[str, ...], tuple[str, ...]]:
    names = [f"{split}-group-{row // positives}" for split, count in rows.items() for row in range(count)]
    code = {name: index for index, name in enumerate(dict.fromkeys(names))}
    splits = tuple(split for split, count in rows.items() for _ in range(count))
    return torch.tensor([code[name] for name in names], device="cpu"), tuple(names), splits


def _modality(
    z: Float[Tensor, "n latent"], width: int, noise: float, generator: torch.Generator
) -> Float[Tensor, "n {width}"]:
    n, latent = z.shape
    mixing = torch.randn(latent, width, generator=generator, device="cpu") / latent**0.5
    offset = torch.randn(width, generator=generator, device="cpu")
    basis = torch.linalg.qr(torch.randn(width, width, generator=generator, device="cpu")).Q
    sigma = torch.arange(1, width + 1, dtype=torch.float32, device="cpu").rsqrt()
    sigma /= sigma.square().mean().sqrt()
    error = (torch.randn(n, width, generator=generator, device="cpu") * sigma) @ basis
    x: Tensor = offset + torch.tanh(z @ mixing) + noise * error
    return x


def _permutation(rows: Mapping[str, int], generator: torch.Generator) -> Int[Tensor, " n"]:
    start, parts = 0, []
    for count in rows.values():
        parts.append(start + torch.randperm(count, generator=generator, device="cpu"))
        start += count
    return torch.cat(parts)
