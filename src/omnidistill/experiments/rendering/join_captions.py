"""Join captions of real items into texts, so that a text is closer to a given row than any single caption is.

A text has no gradients, so the search is greedy. For a row t, the text starts as the nearest caption. Let f be the
feature of the current text. The next caption should add r, the part of t / |t| that is orthogonal to f:

    r = t / |t| - (f . t) f / (|t| |f|^2)

The candidates are the captions most similar to r (cosine). The encoder reads the text with each candidate appended. The
best of these texts replaces the current one if its feature is closer to t. Otherwise, the search ends.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import cosine_similarity, normalize

from omnidistill.encoding.encoders.encoder import Encoder, Item

SEPARATOR = ", "
_NUM_CANDIDATES = 16  # captions that the encoder tries per step


def join_captions(
    encoder: Encoder,
    targets: Float[Tensor, "n p"],
    captions: Sequence[str],
    features: Float[Tensor, "items p"],
    preprocess: Callable[[Tensor], Tensor],
    most: int,
    advance: Callable[[], object] = lambda: None,
) -> tuple[list[str], Float[Tensor, "n p"]]:
    """Return one text per target, and the preprocessed features of the texts.

    Args:
        encoder: encoder of texts.
        targets: rows of the distilled set.
        captions: one caption per real item.
        features: preprocessed features of the captions.
        preprocess: maps features of the encoder to the space of the targets.
        most: largest number of captions per text.
        advance: called after every text.
    """
    directions, texts, found = normalize(features, dim=1), list[str](), list[Tensor]()
    for target in targets:
        unit = normalize(target, dim=0)
        nearest = int((directions @ unit).argmax())
        text, feature = captions[nearest], features[nearest]
        for _ in range(most - 1):
            lacking = unit - (feature @ unit) * feature / feature.square().sum()
            order = (directions @ lacking).topk(min(_NUM_CANDIDATES, len(captions))).indices.tolist()
            longer = list(dict.fromkeys(text + SEPARATOR + captions[item] for item in order))
            read = preprocess(torch.cat([encoder.encode(encoder.prepare(Item(each))[None]).mean(1) for each in longer]))
            cosines = cosine_similarity(read, target[None])
            best = int(cosines.argmax())
            if cosines[best] <= cosine_similarity(feature, target, dim=0):
                break
            text, feature = longer[best], read[best]
        texts.append(text)
        found.append(feature)
        advance()
    return texts, torch.stack(found)
