"""Names of a tower's weights in the published state dict `imagebind_huge`.

weight of a tower    key in the published state dict
embed.*              modality_preprocessors.MODALITY.*
pre_norm, blocks.*   modality_trunks.MODALITY.*
norm, projection     modality_heads.MODALITY.*
log_scale            modality_postprocessors.MODALITY.1.log_logit_scale
"""

from __future__ import annotations

from omnidistill.encoding.encoders.imagebind.imagebind_towers import Modality


def published_name(modality: Modality, name: str) -> str:
    """Return the published key for the weight `name` in this modality's tower."""
    part, _, rest = name.partition(".")
    match part:
        case "embed":
            return f"modality_preprocessors.{modality}.{_embedding_names(modality)[rest]}"
        case "pre_norm":
            return f"modality_trunks.{modality}.pre_transformer_layer.0.{rest}"
        case "blocks":
            return f"modality_trunks.{modality}.{name}"
        case "norm":
            return f"modality_heads.{modality}.{'proj.0' if modality == 'text' else '0'}.{rest}"
        case "projection":
            place = {"text": "proj.1", "imu": "3"}.get(modality, "2")
            return f"modality_heads.{modality}.{place}.{rest}"
        case _:
            return f"modality_postprocessors.{modality}.1.log_logit_scale"


def _embedding_names(modality: Modality) -> dict[str, str]:
    stem = {"depth": "depth_stem", "imu": "imu_stem"}.get(modality, "rgbt_stem")
    return {
        "tokens.weight": "token_embedding.weight",
        "mask": "mask",
        "class_token": "cls_token",
        "positions": "pos_embed" if modality in ("text", "imu") else "pos_embedding_helper.pos_embed",
        "stem.proj.weight": f"{stem}.proj.1.weight" if modality == "vision" else f"{stem}.proj.weight",
        "stem.norm.weight": f"{stem}.norm_layer.weight",
        "stem.norm.bias": f"{stem}.norm_layer.bias",
    }
