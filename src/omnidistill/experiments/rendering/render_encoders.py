"""Open the encoders for rendering a distilled set, and check that they reproduce the features stored in the data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch.nn.functional import cosine_similarity

from omnidistill.core.arguments import argument
from omnidistill.core.errors import InputError, nearest
from omnidistill.data.emoji import ENCODER_NAMES
from omnidistill.data.featureset import FeatureSet
from omnidistill.encoding.encoders.encoder import Encoder
from omnidistill.encoding.encoders.encoder_registry import encoders, open_encoder
from omnidistill.encoding.extraction.encode_settings import item_of
from omnidistill.encoding.manifests.manifest import Manifest

LEAST_AGREEMENT = 0.9
"""Smallest accepted median cosine similarity between recomputed features and those of the data."""
NUM_CHECKED = 3
"""Number of items whose features are recomputed to check the encoder."""


def open_encoders(
    requested: Mapping[str, str | Encoder], data: FeatureSet, modalities: Sequence[str], device: str
) -> dict[str, Encoder]:
    """Open an encoder for each modality in `modalities`.

    If `requested` has none for a modality, the encoder that is recorded in the data is used. This works only if a
    Python package contains its weights.

    Raises:
        InputError: a requested modality is not among `modalities`; an encoder is unknown or cannot be opened; or a
            modality has no requested encoder, and the recorded one cannot be used.
    """
    for name in requested:
        if name not in modalities:
            raise InputError(
                f"{argument('encoders')}: given for modality {name!r}, which needs no encoder; modalities that need "
                f"one: {', '.join(modalities) or 'none'}{nearest(name, modalities)}"
            )
    opened = {}
    for name in modalities:
        reference = requested.get(name) or _recorded(data, name)
        if reference is None:
            raise InputError(
                f"modality {name!r}: the encoder must be given, because the data do not name one that comes with a "
                f"Python package; pass it as {_example(name)}"
            )
        opened[name] = open_encoder(reference, device) if isinstance(reference, str) else reference
    return opened


def check_agreement(encoder: Encoder, name: str, train: FeatureSet, manifest: Manifest) -> None:
    """Check that an encoder is the one that computed the data, by encoding a few training items again.

    Raises:
        InputError: the recomputed features differ from those of the data.
    """
    rows = {row.id: row for row in manifest.rows}
    places = torch.linspace(0, len(train) - 1, min(NUM_CHECKED, len(train)), device="cpu").long().tolist()
    items = [item_of(manifest, rows[train.ids[place]], name) for place in places]
    raw = torch.cat([encoder.encode(encoder.prepare(item)[None]).mean(1) for item in items])
    if raw.shape[1] != train.features[name].shape[1]:
        raise InputError(
            f"encoder {encoder.name!r}: its features have width {raw.shape[1]}, but modality {name!r} of the data has "
            f"width {train.features[name].shape[1]}; pass the encoder with which the data were encoded: "
            f"{_example(name)}"
        )
    features = train.preprocessing.apply({name: raw})[name]
    agreement = float(cosine_similarity(features, train.features[name][places]).median())
    if agreement < LEAST_AGREEMENT:
        raise InputError(
            f"encoder {encoder.name!r}: recomputed features of {len(items)} items have a median cosine similarity of "
            f"only {agreement:.2f} to the features of modality {name!r} in the data; pass the manifest from which the "
            f"data were encoded, and the encoder that was used: {_example(name)}"
        )


def _recorded(data: FeatureSet, name: str) -> str | None:
    if data.provenance.get("name") == "emoji":
        return ENCODER_NAMES.get(name)
    recorded = data.provenance.get("encoders")
    fingerprint = recorded.get(name) if isinstance(recorded, dict) else None
    encoder = fingerprint.get("name") if isinstance(fingerprint, dict) else None
    if not isinstance(encoder, str) or encoder not in encoders:
        return None
    return encoder if getattr(encoders.get(encoder), "source", "optional") == "none" else None


def _example(name: str) -> str:
    return f"{argument('encoders', {name: 'NAME'})} (or NAME:SOURCE)"
