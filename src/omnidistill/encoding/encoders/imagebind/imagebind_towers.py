"""The six towers of ImageBind (https://arxiv.org/abs/2305.05665), with the sizes and weights of `imagebind_huge`.

The stem turns patches of the input x into tokens, and `unit` scales a vector to length 1.

    tokens = [class token, stem(x)] + positions    text: one token per id, no class token
    in every block:
        tokens = tokens + attention(norm_1(tokens))    audio, depth, thermal, IMU: with one learned key-value pair
        tokens = tokens + mlp(norm_2(tokens))
    feature = norm(class token)                    text: norm(token at the end of the text)
    embedding = scale * unit(projection @ feature), averaged over the views of an item

The projection heads of omnidistill take the feature as input. The embedding is the output of the published model.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional as F

Modality = Literal["vision", "text", "audio", "depth", "thermal", "imu"]
MODALITIES: tuple[Modality, ...] = get_args(Modality)

VOCABULARY, CONTEXT = 49_408, 77
_NUM_TOKENS = {"vision": 257, "text": CONTEXT, "audio": 229, "depth": 197, "thermal": 197, "imu": 251}
_LARGEST_SCALE = 100.0


@dataclass(frozen=True)
class Size:
    """Dimensions of a tower.

    Attributes:
        width: width of the tokens.
        num_blocks: number of transformer blocks.
        num_heads: number of attention heads.
        output: width of the embeddings that the published model returns.
    """

    width: int
    num_blocks: int
    num_heads: int
    output: int = 1024


HUGE: dict[Modality, Size] = {
    "vision": Size(1280, 32, 16),
    "text": Size(1024, 24, 16),
    "audio": Size(768, 12, 12),
    "depth": Size(384, 12, 8),
    "thermal": Size(768, 12, 12),
    "imu": Size(512, 6, 8),
}
"""Sizes of the published `imagebind_huge`."""


class Tower(nn.Module):
    """Encoder of one modality. Create a tower with `empty_tower`, then load its weights."""

    embed: TextTokens | MediaTokens
    pre_norm: nn.LayerNorm | nn.Identity
    blocks: nn.ModuleList
    norm: nn.LayerNorm
    projection: nn.Linear
    log_scale: nn.Parameter | None

    def __init__(self, modality: Modality, size: Size) -> None:
        super().__init__()
        width, num_tokens = size.width, _NUM_TOKENS[modality]
        self.embed = TextTokens(width) if modality == "text" else MediaTokens(modality, width, num_tokens)
        self.pre_norm = _norm(width) if modality == "vision" else nn.Identity()
        extra_key = modality not in ("vision", "text")
        self.blocks = nn.ModuleList(Block(width, size.num_heads, extra_key) for _ in range(size.num_blocks))
        self.norm = _norm(width)
        self.projection = nn.Linear(width, size.output, bias=False)
        self.log_scale = None if modality == "vision" else nn.Parameter(torch.empty(()))

    def features(self, x: Float[Tensor, "n ..."] | Int64[Tensor, "n _"]) -> Float[Tensor, "n width"]:
        """Return one feature per view. The features are the input of projection heads.

        Args:
            x: n views. The shape of a view depends on the modality. Vision: 3 x 2 x 224 x 224 for two frames, or
                3 x 224 x 224 for one frame, which is repeated; audio: 1 x 128 x 204; depth and thermal: 1 x 224 x 224;
                IMU: 6 x 2000; text: 77 token ids.
        """
        tokens = self.pre_norm(self.embed(x))
        for block in self.blocks:
            tokens = block(tokens, self.embed.mask)
        pooled = tokens[torch.arange(len(tokens), device=tokens.device), self.embed.pooled(x)]
        features: Tensor = self.norm(pooled)
        return features

    def head(self) -> Float[Tensor, "d width"]:
        """Return the matrix of the published projection head."""
        return self.projection.weight.detach()

    def output(self, features: Float[Tensor, "n views width"]) -> Float[Tensor, "n d"]:
        """Return the embeddings of the published model for n items, given the features of their views."""
        unit = F.normalize(self.projection(features), dim=-1)
        scale = 1.0 if self.log_scale is None else self.log_scale.exp().clamp(max=_LARGEST_SCALE)
        return torch.mean(scale * unit, 1)


def empty_tower(modality: Modality, size: Size) -> Tower:
    """Return a tower without weights, on the meta device. Load weights with `load_state_dict(..., assign=True)`."""
    with torch.device("meta"):
        return Tower(modality, size).eval().requires_grad_(False)


class TextTokens(nn.Module):
    """Embeds token ids. Also holds the causal attention mask of the text tower as a buffer."""

    tokens: nn.Embedding
    positions: nn.Parameter

    def __init__(self, width: int) -> None:
        super().__init__()
        self.tokens = nn.Embedding(VOCABULARY, width)
        self.positions = nn.Parameter(torch.empty(1, CONTEXT, width))
        self.register_buffer("mask", torch.empty(CONTEXT, CONTEXT))

    def forward(self, ids: Int64[Tensor, "n tokens"]) -> Float[Tensor, "n tokens width"]:
        """Return token embeddings plus position embeddings."""
        tokens: Tensor = self.tokens(ids)
        return tokens + self.positions

    def pooled(self, ids: Int64[Tensor, "n tokens"]) -> Int64[Tensor, " n"]:
        """Return the position of the end token in each text. The end token has the largest id."""
        return ids.argmax(-1)


class MediaTokens(nn.Module):
    """Embeds the patches of any modality except text, and puts a class token in front of them."""

    mask = None
    stem: Windows | Patches
    class_token: nn.Parameter
    positions: nn.Parameter

    def __init__(self, modality: Modality, width: int, num_tokens: int) -> None:
        super().__init__()
        self.stem = Windows(width) if modality == "imu" else Patches(modality, width)
        self.class_token = nn.Parameter(torch.empty(1, 1, width))
        self.positions = nn.Parameter(torch.empty(1, num_tokens, width))

    def forward(self, x: Float[Tensor, "n ..."]) -> Float[Tensor, "n tokens width"]:
        """Return the class token and the embedded patches, each plus its position embedding."""
        patches = self.stem(x)
        return torch.cat([self.class_token.expand(len(patches), -1, -1), patches], 1) + self.positions

    def pooled(self, x: Float[Tensor, "n ..."]) -> Int64[Tensor, " n"]:
        """Return the position of the class token in each item, which is 0."""
        return torch.zeros(len(x), dtype=torch.int64, device=x.device)


class Patches(nn.Module):
    """Splits images, clips and spectrograms into patches, and embeds the patches with a convolution."""

    proj: nn.Conv2d | nn.Conv3d
    norm: nn.LayerNorm | nn.Identity

    def __init__(self, modality: Modality, width: int) -> None:
        super().__init__()
        if modality == "vision":
            self.proj, self.norm = nn.Conv3d(3, width, (2, 14, 14), (2, 14, 14), bias=False), nn.Identity()
        else:
            stride = 10 if modality == "audio" else 16
            self.proj, self.norm = nn.Conv2d(1, width, 16, stride, bias=False), nn.LayerNorm(width)

    def forward(self, x: Float[Tensor, "n ..."]) -> Float[Tensor, "n patches width"]:
        """Return the embedded patches in row-major order."""
        if isinstance(self.proj, nn.Conv3d) and x.ndim == 4:
            x = x.unsqueeze(2).expand(-1, -1, 2, -1, -1)  # a picture is a clip of two equal frames
        tokens: Tensor = self.norm(self.proj(x).flatten(2).transpose(1, 2))
        return tokens


class Windows(nn.Module):
    """Splits the six IMU channels into windows of eight samples, and embeds the windows."""

    proj: nn.Linear
    norm: nn.LayerNorm

    def __init__(self, width: int) -> None:
        super().__init__()
        self.proj, self.norm = nn.Linear(48, width, bias=False), nn.LayerNorm(width)

    def forward(self, x: Float[Tensor, "n 6 samples"]) -> Float[Tensor, "n windows width"]:
        """Return the embedded windows in temporal order."""
        tokens: Tensor = self.norm(self.proj(x.unfold(-1, 8, 8).transpose(1, 2).flatten(2)))
        return tokens


class Block(nn.Module):
    """A transformer block with layer norm before the attention and before the MLP."""

    norm_1: nn.LayerNorm
    norm_2: nn.LayerNorm
    attn: Attention
    mlp: Mlp

    def __init__(self, width: int, num_heads: int, extra_key: bool) -> None:
        super().__init__()
        self.norm_1, self.norm_2 = _norm(width), _norm(width)
        self.attn = Attention(width, num_heads, extra_key)
        self.mlp = Mlp(width)

    def forward(self, x: Float[Tensor, "n t width"], mask: Float[Tensor, "t t"] | None) -> Float[Tensor, "n t width"]:
        """Apply the block. `mask` (queries x keys) is added to the attention scores before the softmax."""
        x = x + self.attn(self.norm_1(x), mask)
        out: Tensor = x + self.mlp(self.norm_2(x))
        return out


class Attention(nn.Module):
    """Multi-head self-attention. With `extra_key`, the tokens also attend to one learned key-value pair."""

    in_proj_weight: nn.Parameter
    in_proj_bias: nn.Parameter
    bias_k: nn.Parameter | None
    bias_v: nn.Parameter | None
    out_proj: nn.Linear

    def __init__(self, width: int, num_heads: int, extra_key: bool) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.empty(3 * width))
        self.bias_k = nn.Parameter(torch.empty(1, 1, width)) if extra_key else None
        self.bias_v = nn.Parameter(torch.empty(1, 1, width)) if extra_key else None
        self.out_proj = nn.Linear(width, width)

    def forward(self, x: Float[Tensor, "n t width"], mask: Float[Tensor, "t t"] | None) -> Float[Tensor, "n t width"]:
        """Apply attention. `mask` (queries x keys) is added to the attention scores.

        With `extra_key`, `mask` must be None. A mask would have no column for the learned key-value pair.
        """
        query, key, value = F.linear(x, self.in_proj_weight, self.in_proj_bias).chunk(3, -1)
        key, value = _append(key, self.bias_k), _append(value, self.bias_v)
        query, key, value = (torch.unflatten(y, -1, (self.num_heads, -1)).transpose(1, 2) for y in (query, key, value))
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        out: Tensor = self.out_proj(mixed.transpose(1, 2).flatten(2))
        return out


class Mlp(nn.Module):
    """Two linear layers with exact GELU. The hidden layer is four times as wide as the tokens."""

    fc1: nn.Linear
    fc2: nn.Linear

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Float[Tensor, "n t width"]) -> Float[Tensor, "n t width"]:
        """Apply both layers to every token."""
        out: Tensor = self.fc2(F.gelu(self.fc1(x)))
        return out


def _norm(width: int) -> nn.LayerNorm:
    return nn.LayerNorm(width, eps=1e-6)


def _append(rows: Tensor, extra: Tensor | None) -> Tensor:
    return rows if extra is None else torch.cat([rows, extra.expand(len(rows), -1, -1)], 1)
