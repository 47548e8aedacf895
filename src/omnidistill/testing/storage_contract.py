"""The contract of storages: latent tensors expand to rows, and the same rows are read back from the stored tensors.

Shapes: N stored rows, p_m feature width.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from omnidistill.io.artifacts.tensor_file import DTYPES
from omnidistill.models.storages import RowForm
from omnidistill.testing.assertions import normal, require

_SHAPES = ((5, {"a": 7, "b": 12}), (1, {"b": 3, "a": 1}), (4, {"c": 33, "a": 8, "b": 5}))


def check_storage(storage: RowForm) -> None:
    """Check that a storage satisfies the contract of storages.

    - `init` returns float32 tensors (the latent tensors), which do not share memory with the rows.
    - `expand` returns float32 rows that are differentiable with respect to every latent tensor. For N initial rows, it
      returns k N rows per modality, with the same whole number k for all modalities.
    - `store` returns tensors with data types that artifacts support. `load` converts these tensors to rows that are
      bitwise equal to the rows from `expand`.
    - The results of all four methods depend only on the arguments. The methods do not modify their arguments.
    - Results are finite, also for rows of zeros, constant rows, and rows with very large or very small values.

    Raises:
        AssertionError: a requirement is violated.
    """
    before = torch.get_rng_state()
    for num_rows, widths in _SHAPES:
        for case, rows in _rows(num_rows, widths).items():
            _check(storage, rows, f"{storage!r}, {num_rows} rows, {case}")
    require(torch.equal(torch.get_rng_state(), before), f"{storage!r}: used torch's global random state")


def _check(storage: RowForm, rows: dict[str, Tensor], where: str) -> None:
    originals = _copy(rows)
    latent = storage.init(rows)
    for name, tensor in latent.items():
        require(tensor.dtype == torch.float32, f"{where}: latent '{name}' is {tensor.dtype}, not float32")
    _check_stored(storage, latent, rows, f"{where}, initial")
    for seed, tensor in enumerate(latent.values()):
        tensor.add_(normal(*tensor.shape, seed=seed).float())
    require(_same(rows, originals), f"{where}: latent tensors share memory with the initial rows")
    _check_stored(storage, latent, rows, f"{where}, perturbed")
    _check_gradient(storage, latent, where)


def _check_stored(storage: RowForm, latent: dict[str, Tensor], rows: dict[str, Tensor], where: str) -> None:
    originals = _copy(latent)
    expanded, stored = storage.expand(latent), storage.store(latent)
    require(_same(latent, originals), f"{where}: modified latent tensors in place")
    require(expanded.keys() == rows.keys(), f"{where}: expand returned {list(expanded)}, not {list(rows)}")
    views = {len(x) / len(rows[name]) for name, x in expanded.items()}
    whole = len(views) == 1 and min(views) % 1 == 0
    require(whole, f"{where}: expand returned {sorted(views)} rows per stored row, not one whole number")
    for name, x in expanded.items():
        width = rows[name].shape[1]
        shape = tuple(x.shape)
        fits = x.ndim == 2 and x.shape[1] == width
        require(fits, f"{where}: rows of '{name}' have shape {shape}, expected width {width}")
        require(x.dtype == torch.float32, f"{where}: rows of '{name}' are {x.dtype}, not float32")
        require(bool(x.isfinite().all()), f"{where}: rows of '{name}' contain NaN or Inf")
    for name, tensor in stored.items():
        require(tensor.dtype in DTYPES, f"{where}: stored '{name}' is {tensor.dtype}, which artifacts do not support")
    require(_same(storage.store(latent), stored), f"{where}: store returned different tensors the second time")
    require(_same(storage.load(stored), expanded), f"{where}: load and expand returned different rows")


def _check_gradient(storage: RowForm, latent: dict[str, Tensor], where: str) -> None:
    leaves = {name: tensor.clone().requires_grad_() for name, tensor in latent.items()}
    products = [(x * normal(*x.shape, seed=9)).sum() for x in storage.expand(leaves).values()]
    require(any(each.requires_grad for each in products), f"{where}: expand is not differentiable")
    gradients = torch.autograd.grad(torch.stack(products).sum(), list(leaves.values()), allow_unused=True)
    for name, gradient in zip(leaves, gradients, strict=True):
        usable = gradient is not None and bool(gradient.isfinite().all() and gradient.any())
        require(usable, f"{where}: the gradient for latent '{name}' is missing, zero or not finite")


def _rows(num_rows: int, widths: Mapping[str, int]) -> dict[str, dict[str, Tensor]]:
    draw = {name: normal(num_rows, width, seed=width).float() for name, width in widths.items()}
    return {
        "normal rows": draw,
        "a row of zeros": {name: torch.cat([0 * x[:1], x[1:]]) for name, x in draw.items()},
        "constant rows": {name: torch.full_like(x, 0.3) for name, x in draw.items()},
        "large rows": {name: 1e4 * x for name, x in draw.items()},
        "small rows": {name: 1e-30 * x for name, x in draw.items()},
    }


def _copy(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in tensors.items()}


def _same(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    """Return whether both dicts have the same keys and bitwise equal tensors."""
    return one.keys() == other.keys() and all(_bits(tensor) == _bits(other[name]) for name, tensor in one.items())


def _bits(tensor: Tensor) -> tuple[torch.dtype, torch.Size, bytes]:
    return tensor.dtype, tensor.shape, tensor.detach().flatten().view(torch.uint8).numpy().tobytes()
