"""The tensors of a distilled set, by name. The specification of the set (`SetSpec`) defines their meaning.

    rows/...          rows of each modality, as the storage of the set stores them
    similarity/...    parameters of the target similarities

Shapes: N rows to train on, p_m feature width of modality m.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from omnidistill.core.errors import InputError
from omnidistill.distillation.set_spec import SetSpec
from omnidistill.models.storages import RowForm


def section(tensors: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    """Return the tensors whose names start with "NAME/", without this prefix."""
    return {key.removeprefix(f"{name}/"): tensor for key, tensor in tensors.items() if key.startswith(f"{name}/")}


def as_stored(storage: RowForm, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Convert learned tensors to the tensors to store. Only rows ("rows/...") change: the storage rounds them."""
    rows = storage.store(section(tensors, "rows"))
    others = {name: tensor for name, tensor in tensors.items() if not name.startswith("rows/")}
    return {**{f"rows/{name}": tensor for name, tensor in rows.items()}, **others}


def loaded_rows(tensors: Mapping[str, Tensor], spec: SetSpec) -> dict[str, Float[Tensor, "_ _"]]:
    """Return the rows to train on, {modality: N x p_m}, in the order of the modalities of the specification."""
    loaded = spec.storage.load(section(tensors, "rows"))
    return {name: loaded[name] for name in spec.modalities}


def rows_digest(tensors: Mapping[str, Tensor]) -> str:
    """Return the sha256 of the stored rows."""
    digest = hashlib.sha256()
    for name, tensor in sorted(section(tensors, "rows").items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).cpu().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def check_tensors(tensors: Mapping[str, Tensor], spec: SetSpec, where: str) -> None:
    """Check that the tensors of a loaded set fit its specification.

    Args:
        tensors: the tensors, on the CPU.
        spec: the specification.
        where: name of the file, for error messages.

    Raises:
        InputError: rows or target similarities are missing or have the wrong shape.
    """
    num_rows = spec.storage.num_rows(spec.size)
    try:
        actual = {name: tuple(rows.shape) for name, rows in loaded_rows(tensors, spec).items()}
        last = torch.arange(num_rows, device="cpu")[-2:]
        num_targets = spec.similarity.targets(section(tensors, "similarity"), last).numel()
    except (IndexError, KeyError, RuntimeError, ValueError) as error:
        raise InputError(
            f"{where}: the tensors do not match the specification of the synthetic set ({error}); the file was "
            "altered, so restore it"
        ) from None
    for name, width in spec.modalities.items():
        if actual[name] != (num_rows, width):
            raise InputError(
                f"{where}: the rows of {name} have shape {actual[name]}, but the specification of the synthetic set "
                f"requires {(num_rows, width)}; the file was altered, so restore it"
            )
    if num_targets != min(2, num_rows) ** 2:
        raise InputError(
            f"{where}: the stored similarity matrix does not fit the {num_rows} rows; the file was altered, so "
            "restore it"
        )
