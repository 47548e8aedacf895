"""Linear projection heads: one matrix W_m (d x p_m) per modality, and pure functions that use them.

An output is y = W x; an embedding is z = y / ||y||. To train a bias, append 1 to every x and a column b to W. To apply
heads that were trained on centred features x - mu to x itself, add the bias -W mu (see `Preprocessing.head_bias`).

Heads are stored as an artifact of kind "heads" with one tensor per modality. A plain safetensors file whose tensors are
named after the modalities can be read as well.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from omnidistill.core.device import moved
from omnidistill.core.errors import InputError
from omnidistill.core.json_value import Json
from omnidistill.io.artifacts import load_artifact, read_tensors, save_artifact

Heads = dict[str, Float[Tensor, "_ _"]]


def project(heads: Heads, features: Mapping[str, Float[Tensor, "_ _"]]) -> dict[str, Float[Tensor, "_ _"]]:
    """Return the outputs y = W x (N x d) for every modality that has a head."""
    return {name: features[name] @ matrix.mT for name, matrix in heads.items()}


def embed(
    heads: Heads,
    features: Mapping[str, Float[Tensor, "_ _"]],
    bias: Mapping[str, Float[Tensor, " _"]] | None = None,
) -> dict[str, Float[Tensor, "_ _"]]:
    """Return the unit embeddings z = y / ||y|| (N x d) with y = W x + b, for every modality that has a head.

    Args:
        heads: matrices W, {modality: embedding width d x feature width}.
        features: rows x, {modality: N x feature width}.
        bias: vectors b, {modality: d}; None means zero.
    """
    outputs = project(heads, features)
    if bias is not None:
        outputs = {name: output + bias[name] for name, output in outputs.items()}
    return {name: torch.nn.functional.normalize(output, dim=-1) for name, output in outputs.items()}


def stack(per_modality: Mapping[str, Float[Tensor, "_ _"]]) -> Float[Tensor, "M _ _"]:
    """Stack the tensors of all modalities in the order of the mapping. All must have the same shape."""
    return torch.stack(list(per_modality.values()))


def random_heads(widths: Mapping[str, int], width: int, generator: torch.Generator) -> Heads:
    """Return random heads (width x p) on the CPU, with Gaussian entries of variance 1/p for feature width p.

    Outputs on standardised features therefore have unit variance.
    """
    return {name: torch.randn(width, p, generator=generator, device="cpu") / p**0.5 for name, p in widths.items()}


def shared_groups(groups: Int[Tensor, "*r b"]) -> Float[Tensor, "*r b b"]:
    """Return the affinity matrix of rows from their group codes: 1 for two rows of the same group, else 0."""
    return (groups.unsqueeze(-1) == groups.unsqueeze(-2)).float()


def save_heads(heads: Heads, folder: Path, meta: Mapping[str, Json]) -> None:
    """Write heads as an artifact of kind "heads".

    Args:
        heads: one matrix per modality.
        folder: folder of the artifact.
        meta: JSON values to store with the heads, such as {"origin": "pretrained"}.
    """
    save_artifact(folder, "heads", moved(heads, "cpu"), {"modalities": list(heads), **meta})


def load_heads(path: Path, widths: Mapping[str, int]) -> tuple[Heads, dict[str, Json]]:
    """Read heads for features with the given widths.

    Args:
        path: folder of the artifact, or a plain safetensors file whose tensors are named after the modalities.
        widths: {modality: p_m} for every modality that needs a head.

    Returns:
        The heads in float32, in the order of `widths`, and the JSON values that were stored with them.

    Raises:
        InputError: the files are missing or damaged; a modality has no head; a head is not a matrix, has the wrong
            input width, or contains NaN or Inf; or the output widths differ.
    """
    if path.is_dir():
        artifact = load_artifact(path, "heads")
        tensors, meta = artifact.tensors, artifact.meta
    else:
        tensors, meta = read_tensors(path), {"source": path.name}
    check_heads(tensors, widths, str(path))
    return {name: tensors[name].float() for name in widths}, meta


def check_heads(heads: Mapping[str, Tensor], widths: Mapping[str, int], where: str) -> None:
    """Raise InputError unless every modality has a head, all heads are finite, and their output widths are equal.

    Each head must be a matrix (output width x feature width).
    """
    for name, p in widths.items():
        if name not in heads:
            raise InputError(
                f"{where}: no head for modality '{name}' (found: {', '.join(sorted(heads))}); every modality needs "
                "a head"
            )
        matrix = heads[name]
        if matrix.ndim != 2 or matrix.shape[1] != p:
            raise InputError(
                f"{where}: the head of modality '{name}' has shape {tuple(matrix.shape)}, expected (output width, "
                f"{p}), because the features have width {p}"
            )
        if not bool(torch.isfinite(matrix).all()):
            raise InputError(f"{where}: the head of modality '{name}' contains NaN or Inf; export the heads again")
    outputs = {name: heads[name].shape[0] for name in widths}
    if len(set(outputs.values())) > 1:
        raise InputError(
            f"{where}: the heads have different output widths {outputs}; all heads need the same output width"
        )


def first_parameter(module: nn.Module) -> nn.Parameter:
    """Return the first trainable parameter.

    Inputs of the module should have the device and dtype of this parameter.

    Raises:
        InputError: no parameter requires gradients.
    """
    for parameter in module.parameters():
        if parameter.requires_grad:
            return parameter
    raise InputError("the module has no parameters to train; pass a module with parameters that require gradients")


def check_modules(modules: Mapping[str, nn.Module], widths: Mapping[str, int]) -> int:
    """Return the output width d of modules, which map rows (b x p_m) to outputs (b x d).

    A copy of each module is evaluated on two rows of zeros, so statistics of batch normalisation do not change.

    Raises:
        InputError: a modality has no module, or its module has no parameters to train, fails for rows of width p_m, or
            does not return a tensor of shape (2, d) with the same d for all modalities.
    """
    outputs = {}
    for name, p in widths.items():
        if not isinstance(modules.get(name), nn.Module):
            raise InputError(
                f"modality '{name}': found no torch.nn.Module to train on the synthetic set; pass one module per "
                "modality"
            )
        try:
            parameter = first_parameter(modules[name])
        except InputError as error:
            raise InputError(f"the module of '{name}' cannot be trained on the synthetic set: {error}") from None
        zeros = torch.zeros(2, p, dtype=parameter.dtype, device=parameter.device)
        try:
            with torch.no_grad():
                output = copy.deepcopy(modules[name]).eval()(zeros)
        except Exception as error:
            why = " ".join(f"{type(error).__name__}: {error}".split())
            raise InputError(
                f"the module of '{name}' cannot process rows of shape (2, {p}) ({why}); pass a module that accepts "
                f"rows of width {p}"
            ) from error
        if not isinstance(output, Tensor) or output.ndim != 2 or len(output) != 2:
            shape = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
            raise InputError(
                f"the module of '{name}' returns {shape} for rows of shape (2, {p}); pass a module that returns a "
                "tensor of shape (2, output width)"
            )
        outputs[name] = output.shape[1]
    if len(set(outputs.values())) > 1:
        raise InputError(
            f"the outputs of the modules have different widths {outputs}; use the same output width for all"
        )
    return next(iter(outputs.values()))
