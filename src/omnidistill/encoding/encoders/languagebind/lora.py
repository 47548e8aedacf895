"""Merge the low-rank adapters (LoRA) in a state dict into the weights.

The adapter of a weight W (d x p) consists of B (d x r), A (r x p) and a constant alpha. W becomes W + (alpha / r) B A.

The keys are those of the package peft. They contain `base_model.model.`. The adapter of a layer has the keys
LAYER.lora_A.default.weight and LAYER.lora_B.default.weight. The weight itself has the key LAYER.base_layer.weight, or
LAYER.weight in older releases of peft.

Reference: https://arxiv.org/abs/2106.09685.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from omnidistill.core.errors import InputError

_A, _B = ".lora_A.default.weight", ".lora_B.default.weight"


def merge_lora(tensors: Mapping[str, Tensor], alpha: float | None) -> dict[str, Tensor]:
    """Merge the adapters into the weights, and return a state dict with the keys of a model without adapters.

    Weights are merged in float32, and keep their original dtype.

    Args:
        tensors: state dict of the model.
        alpha: the LoRA constant alpha, which scales the adapters; None if it is not known.

    Raises:
        InputError: a part of an adapter is missing, an adapter does not fit its weight, or there are adapters but
            `alpha` is None. The message names the key.
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
