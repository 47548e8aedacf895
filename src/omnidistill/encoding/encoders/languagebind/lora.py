"""Merge the low-rank adapters (LoRA) in a state dict into the weights.

The adapter of a weight W (d x p) consists of B (d x r), A (r x p) and a constant alpha. W becomes W + (alpha / r) B A.

The package peft stores these tensors with the following keys. LAYER is the name of a layer.

    A    LAYER.lora_A.default.weight
    B    LAYER.lora_B.default.weight
    W    LAYER.base_layer.weight, or LAYER.weight in older releases of peft

peft also inserts `base_model.model.` into the names of the layers. The keys of the merged state dict do not contain it.

Reference: https://arxiv.org/abs/2106.09685.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from omnidistill.core.errors import InputError

_A, _B = ".lora_A.default.weight", ".lora_B.default.weight"


def merge_lora(tensors: Mapping[str, Tensor], alpha: float | None) -> dict[str, Tensor]:
    """Merge the LoRA adapters into the weights, and return the state dict of a model without adapters.

    The merged weights are computed in float32 and converted back to their original dtype.

    Args:
        tensors: state dict of the model.
        alpha: the LoRA constant alpha, which scales the adapters; None if it is not known.

    Raises:
        InputError: an adapter is incomplete, its shape does not fit its weight, or `alpha` is None although there are
            adapters. The message names the key.
    """
    plain = {_plain(key): tensor for key, tensor in tensors.items()}
    merged = {key: tensor for key, tensor in plain.items() if not key.endswith((_A, _B))}
    for key in plain.keys() - merged.keys():
        layer = key.removesuffix(_A).removesuffix(_B)
        weight, a, b = merged.get(f"{layer}.weight"), plain.get(layer + _A), plain.get(layer + _B)
        if weight is None or a is None or b is None:
            raise InputError(
                f"{key!r}: this LoRA adapter is incomplete; it needs lora_A, lora_B and the adapted weight, so "
                "download the model again"
            )
        if weight.shape != (b.shape[0], a.shape[1]) or a.shape[0] != b.shape[1]:
            shapes = f"{tuple(b.shape)} times {tuple(a.shape)}"
            raise InputError(
                f"{key!r}: a LoRA adapter of shape {shapes} does not fit a weight of shape {tuple(weight.shape)}; "
                "download the model again"
            )
        if alpha is None:
            raise InputError(f"{key!r}: the scale of this LoRA adapter is missing; set lora_alpha in config.json")
        if key.endswith(_A):
            update = (alpha / len(a)) * (b.float() @ a.float())
            merged[f"{layer}.weight"] = (weight.float() + update).to(weight.dtype)
    return merged


def _plain(key: str) -> str:
    return key.replace(".base_model.model.", ".").replace(".base_layer.", ".")
