"""The towers of LanguageBind (https://arxiv.org/abs/2310.01852): CLIP's ViT-L/14 and its text model.

    tokens = pre_norm([class token, patches] + positions)         for text: tokens = token embeddings + positions
    in every block:
        tokens = tokens + time                                    for video only: one learned vector per frame
        tokens = tokens + temporal_attn(temporal_norm(tokens))    for video only: attention across frames
        tokens = tokens + self_attn(norm_1(tokens))               for text: causal attention
        tokens = tokens + mlp(norm_2(tokens))                     with exact GELU
    feature = mean over frames of post_norm(class token)          for text: post_norm(token at the end of the text)

The projection heads of omnidistill take the feature as input.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional as F

VOCABULARY, CONTEXT = 49_408, 77


@dataclass(frozen=True)
class Size:
    """Size of a tower.

    Attributes:
        width: width of the tokens.
        num_layers: number of transformer blocks.
        num_heads: number of attention heads.
        mlp_width: hidden width of the MLPs.
        output: width of the embeddings of the published model.
        num_frames: frames per video; 1 means no temporal attention.
        patch: side of a patch in pixels; 0 for text.
        num_positions: number of patches plus 1 for the class token; 0 for text.
    """

    width: int
    num_layers: int
    num_heads: int
    mlp_width: int
    output: int
    num_frames: int = 1
    patch: int = 0
    num_positions: int = 0


class VisionTower(nn.Module):
    """Tower for videos, pictures and spectrograms. Create a tower with `empty_tower`, then load its weights."""

    num_frames: int
    class_token: nn.Parameter
    patches: nn.Conv2d
    positions: nn.Embedding
    pre_norm: nn.LayerNorm
    layers: nn.ModuleList
    post_norm: nn.LayerNorm
    projection: nn.Linear

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.num_frames = size.num_frames
        self.class_token = nn.Parameter(torch.empty(size.width))
        self.patches = nn.Conv2d(3, size.width, size.patch, size.patch, bias=False)
        self.positions = nn.Embedding(size.num_positions, size.width)
        self.pre_norm = nn.LayerNorm(size.width)
        self.layers = nn.ModuleList(Layer(size) for _ in range(size.num_layers))
        self.post_norm = nn.LayerNorm(size.width)
        self.projection = nn.Linear(size.width, size.output, bias=False)

    def features(self, x: Float[Tensor, "n 3 *frames rows columns"]) -> Float[Tensor, "n width"]:
        """Return one feature per item. The features are the input of the projection head.

        Args:
            x: videos (n x 3 x frames x 224 x 224), pictures (n x 3 x 224 x 224), or spectrograms (n x 3 x 112 x 1036).
        """
        frames = x.transpose(1, 2).flatten(0, 1) if x.ndim == 5 else x
        patches = self.patches(frames).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.class_token.expand(len(frames), 1, -1), patches], 1) + self.positions.weight
        tokens = self.pre_norm(tokens)
        for layer in self.layers:
            tokens = layer(tokens, causal=False)
        pooled = self.post_norm(tokens[:, 0])
        return torch.unflatten(pooled, 0, (-1, self.num_frames)).mean(1)

    def head(self) -> Float[Tensor, "d width"]:
        """Return the matrix (embedding width x feature width) of the pretrained projection."""
        return self.projection.weight.detach()


class TextTower(nn.Module):
    """Tower for texts. Create a tower with `empty_tower`, then load its weights."""

    tokens: nn.Embedding
    positions: nn.Embedding
    layers: nn.ModuleList
    post_norm: nn.LayerNorm
    projection: nn.Linear

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.tokens = nn.Embedding(VOCABULARY, size.width)
        self.positions = nn.Embedding(CONTEXT, size.width)
        self.layers = nn.ModuleList(Layer(size) for _ in range(size.num_layers))
        self.post_norm = nn.LayerNorm(size.width)
        self.projection = nn.Linear(size.width, size.output, bias=False)

    def features(self, ids: Int64[Tensor, "n 77"]) -> Float[Tensor, "n width"]:
        """Return one feature per text. The features are the input of the projection head.

        The end token has the largest id. Tokens after it have no effect.
        """
        tokens = self.tokens(ids) + self.positions.weight
        for layer in self.layers:
            tokens = layer(tokens, causal=True)
        ends = tokens[torch.arange(len(ids), device=ids.device), ids.argmax(-1)]
        features: Tensor = self.post_norm(ends)
        return features

    def head(self) -> Float[Tensor, "d width"]:
        """Return the matrix (embedding width x feature width) of the pretrained projection."""
        return self.projection.weight.detach()


Tower = VisionTower | TextTower


def empty_tower(size: Size) -> Tower:
    """Return a tower without weights, on the meta device. Load weights with `load_state_dict(..., assign=True)`."""
    with torch.device("meta"):
        tower = VisionTower(size) if size.patch else TextTower(size)
    return tower.eval().requires_grad_(False)


class Layer(nn.Module):
    """A transformer block with layer norm before each sublayer. In the video tower, temporal attention comes first."""

    num_frames: int
    temporal_embedding: nn.Parameter
    temporal_layer_norm1: nn.LayerNorm
    temporal_attn: Attention
    layer_norm1: nn.LayerNorm
    layer_norm2: nn.LayerNorm
    self_attn: Attention
    mlp: Mlp

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.num_frames = size.num_frames
        if size.num_frames > 1:
            self.temporal_embedding = nn.Parameter(torch.empty(1, size.num_frames, size.width))
            self.temporal_layer_norm1 = nn.LayerNorm(size.width)
            self.temporal_attn = Attention(size.width, size.num_heads)
        self.layer_norm1, self.layer_norm2 = nn.LayerNorm(size.width), nn.LayerNorm(size.width)
        self.self_attn = Attention(size.width, size.num_heads)
        self.mlp = Mlp(size.width, size.mlp_width)

    def forward(self, x: Float[Tensor, "m t width"], causal: bool) -> Float[Tensor, "m t width"]:
        """Apply the block to m token sequences.

        A sequence contains the tokens of one text, picture, spectrogram or video frame. The frames of a video are
        consecutive sequences.
        """
        if self.num_frames > 1:
            x = self._temporal(x)
        x = x + self.self_attn(self.layer_norm1(x), causal)
        out: Tensor = x + self.mlp(self.layer_norm2(x))
        return out

    def _temporal(self, x: Float[Tensor, "m t width"]) -> Float[Tensor, "m t width"]:
        """Apply attention across frames. A token attends to the tokens at the same position in all frames."""
        n, t = len(x) // self.num_frames, x.shape[1]
        places = torch.unflatten(x, 0, (n, self.num_frames)).transpose(1, 2).flatten(0, 1) + self.temporal_embedding
        places = places + self.temporal_attn(self.temporal_layer_norm1(places), causal=False)
        return torch.unflatten(places, 0, (n, t)).transpose(1, 2).flatten(0, 1)


class Attention(nn.Module):
    """Multi-head self-attention, optionally causal."""

    q_proj: nn.Linear
    k_proj: nn.Linear
    v_proj: nn.Linear
    out_proj: nn.Linear

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.q_proj, self.k_proj, self.v_proj, self.out_proj = (nn.Linear(width, width) for _ in range(4))

    def forward(self, x: Float[Tensor, "m t width"], causal: bool) -> Float[Tensor, "m t width"]:
        """Apply attention; if `causal`, each token attends only to itself and to the tokens before it."""
        query, key, value = (
            torch.unflatten(proj(x), -1, (self.num_heads, -1)).transpose(1, 2)
            for proj in (self.q_proj, self.k_proj, self.v_proj)
        )
        mixed = F.scaled_dot_product_attention(query, key, value, is_causal=causal)
        out: Tensor = self.out_proj(mixed.transpose(1, 2).flatten(2))
        return out


class Mlp(nn.Module):
    """Two linear layers with exact GELU."""

    fc1: nn.Linear
    fc2: nn.Linear

    def __init__(self, width: int, mlp_width: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, mlp_width), nn.Linear(mlp_width, width)

    def forward(self, x: Float[Tensor, "m t width"]) -> Float[Tensor, "m t width"]:
        """Apply the layers to each token."""
        out: Tensor = self.fc2(F.gelu(self.fc1(x)))
        return out
