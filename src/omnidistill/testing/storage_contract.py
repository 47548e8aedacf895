"""The contract of a storage: what training saw is what is stored, and every number learned is learnable.

Shapes: N stored rows, p_m wide.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from omnidistill.io.artifacts.tensor_file import DTYPES
from omnidistill.models.storages import RowForm
from omnidistill.testing.promises import normal, require

_SHAPES = ((5, {"a": 7, "b": 12}), (1, {"b": 3, "a": 1}), (4, {"c": 33, "a": 8, "b": 5}))


def check_storage(storage: RowForm) -> None:
    """Assert that a storage keeps what distillation relies on.

    `init` gives float32 tensors in memory of their own; `expand` as many finite float32 rows of every modality, N or a
    multiple of it, differentiable by every latent tensor; `load` gives the rows of `expand` to the last bit from what
    `store` kept, which an artifact can hold. All are decided by their arguments alone, leave them as they were, and
    stay finite for rows of zeros, of one value, far and near.

    Raises:
        AssertionError: a promise is broken.
    """
    before = torch.get_rng_state()
    for num_rows, widths in _SHAPES:
        for what, rows in _rows(num_rows, widths).items():
            _check(storage, rows, f"{storage!r}, {num_rows} rows, {what}")
    require(torch.equal(torch.get_rng_state(), before), f"{storage!r}: used torch's global random state")


def _check(storage: RowForm, rows: dict[str, Tensor], where: str) -> None:
    kept = _copy(rows)
    latent = storage.init(rows)
    for name, tensor in latent.items():
        require(tensor.dtype == torch.float32, f"{where}: latent '{name}' is {tensor.dtype}, not float32")
    _check_stored(storage, latent, rows, f"{where}, as begun")
    for seed, tensor in enumerate(latent.values()):
        tensor.add_(normal(*tensor.shape, seed=seed).float())
    require(_same(rows, kept), f"{where}: latent tensors share memory with the rows they began from")
    _check_stored(storage, latent, rows, f"{where}, moved")
    _check_gradient(storage, latent, where)


def _check_stored(storage: RowForm, latent: dict[str, Tensor], rows: dict[str, Tensor], where: str) -> None:
    kept = _copy(latent)
    expanded, stored = storage.expand(latent), storage.store(latent)
    require(_same(latent, kept), f"{where}: changed latent tensors in place")
    require(expanded.keys() == rows.keys(), f"{where}: expands to {list(expanded)}, not {list(rows)}")
    views = {len(x) / len(rows[name]) for name, x in expanded.items()}
    require(len(views) == 1 and min(views) % 1 == 0, f"{where}: {sorted(views)} rows for each that is stored")
    for name, x in expanded.items():
        width = rows[name].shape[1]
        require(x.ndim == 2 and x.shape[1] == width, f"{where}: rows of '{name}' are {tuple(x.shape)}, {width} wide")
        require(x.dtype == torch.float32, f"{where}: rows of '{name}' are {x.dtype}, not float32")
        require(bool(x.isfinite().all()), f"{where}: rows of '{name}' hold NaN or Inf")
    for name, tensor in stored.items():
        require(tensor.dtype in DTYPES, f"{where}: stored '{name}' is {tensor.dtype}, which no artifact holds")
    require(_same(storage.store(latent), stored), f"{where}: stores something else the second time")
    require(_same(storage.load(stored), expanded), f"{where}: loads other rows than were trained on")


def _check_gradient(storage: RowForm, latent: dict[str, Tensor], where: str) -> None:
    leaves = {name: tensor.clone().requires_grad_() for name, tensor in latent.items()}
    products = [(x * normal(*x.shape, seed=9)).sum() for x in storage.expand(leaves).values()]
    require(any(each.requires_grad for each in products), f"{where}: expand is not differentiable")
    found = torch.autograd.grad(torch.stack(products).sum(), list(leaves.values()), allow_unused=True)
    for name, gradient in zip(leaves, found, strict=True):
        learned = gradient is not None and bool(gradient.isfinite().all() and gradient.any())
        require(learned, f"{where}: no usable gradient of latent '{name}'")


def _rows(num_rows: int, widths: Mapping[str, int]) -> dict[str, dict[str, Tensor]]:
    draw = {name: normal(num_rows, width, seed=width).float() for name, width in widths.items()}
    return {
        "normal rows": draw,
        "a row of zeros": {name: torch.cat([0 * x[:1], x[1:]]) for name, x in draw.items()},
        "one value": {name: torch.full_like(x, 0.3) for name, x in draw.items()},
        "far": {name: 1e4 * x for name, x in draw.items()},
        "near": {name: 1e-30 * x for name, x in draw.items()},
    }


def _copy(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in tensors.items()}


def _same(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    """To the last bit."""
    return one.keys() == other.keys() and all(_bits(tensor) == _bits(other[name]) for name, tensor in one.items())


def _bits(tensor: Tensor) -> tuple[torch.dtype, torch.Size, bytes]:
    return tensor.dtype, tensor.shape, tensor.detach().contiguous().numpy().tobytes()
