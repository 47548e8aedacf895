"""Low-rank adapters in a state dict, merged into the weights they adapt: W + (alpha / r) B A, B: d x r, A: r x p.

Names as written by peft: `base_model.model.` within a key, `.base_layer` at an adapted weight (older releases: none),
`lora_A.default` and `lora_B.default` beside it. Source: https://arxiv.org/abs/2106.09685.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from omnidistill.core.errors import InputError

_A, _B = ".lora_A.default.weight", ".lora_B.default.weight"


def merge_lora(tensors: Mapping[str, Tensor], alpha: float | None) -> dict[str, Tensor]:
    """The state dict without adapters, under the plain names; merged in float32, stored as the weight was.

    Raises InputError, naming the key, for an adapter without its other half, without a weight that it fits, or where
    alpha is not known.
    """
    plain = {_plain(key): tensor for key, tensor in tensors.items()}
    merged = {key: tensor for key, tensor in plain.items() if not key.endswith((_A, _B))}
    for key in plain.keys() - merged.keys():
        layer = key.removesuffix(_A).removesuffix(_B)
        weight, a, b = merged.get(f"{layer}.weight"), plain.get(layer + _A), plain.get(layer + _B)
        if weight is None or a is None or b is None:
            raise InputError(f"{key!r}: the weight, lora_A or lora_B that belongs to it is missing")
        if weight.shape != (b.shape[0], a.shape[1]) or a.shape[0] != b.shape[1]:
            shapes = f"{tuple(b.shape)} times {tuple(a.shape)}"
            raise InputError(f"{key!r}: an adapter of {shapes} does not fit a weight of {tuple(weight.shape)}")
        if alpha is None:
            raise InputError(f"{key!r}: an adapter, and its strength, lora_alpha, is not known")
        if key.endswith(_A):
            update = (alpha / len(a)) * (b.float() @ a.float())
            merged[f"{layer}.weight"] = (weight.float() + update).to(weight.dtype)
    return merged


def _plain(key: str) -> str:
    return key.replace(".base_model.model.", ".").replace(".base_layer.", ".")
