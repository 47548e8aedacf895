"""`join_captions`: texts whose features are closer to given directions than those of single captions."""

from __future__ import annotations

import torch
from torch.nn.functional import cosine_similarity

from omnidistill.encoding.encoders.encoder import Item
from omnidistill.experiments.rendering.join_captions import join_captions
from rendering_problems import Words

CAPTIONS = ("aaaa", "bb", "c", "dddddddd", "ef")


def features_of(texts: list[str]) -> torch.Tensor:
    return torch.stack([Words().prepare(Item(text)) for text in texts])


def test_captions_are_joined_while_the_cosine_rises() -> None:
    """The encoder counts letters, so the best texts are known."""
    targets = features_of(["aaaabbc", "ddddddddc", "bb"])
    features, seen = features_of(list(CAPTIONS)), []
    texts, read = join_captions(Words(), targets, CAPTIONS, features, lambda x: x, 3, lambda: seen.append(1))
    assert [sorted(text.split(", ")) for text in texts] == [["aaaa", "bb", "c"], ["c", "dddddddd"], ["bb"]]
    torch.testing.assert_close(read, features_of(texts))
    assert torch.all(cosine_similarity(read, targets) > 0.999)
    assert len(seen) == 3
    (single, *_), _ = join_captions(Words(), targets, CAPTIONS, features, lambda x: x, 1)
    assert single == "aaaa"
