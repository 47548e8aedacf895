"""From shards to what the rest eats: raw features, a FeatureSet in the same folder, and the encoders' own heads.

OUT/manifest.json, tensors-....safetensors    the FeatureSet; OUT is a SET from then on
OUT/heads                                     projections of the encoders that have one
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

from omnidistill.artifacts import read_json
from omnidistill.data.raw import RawFeatures
from omnidistill.encoders.protocol import Encoder
from omnidistill.errors import InputError
from omnidistill.extraction.encoding import ENCODED, ENCODERS
from omnidistill.extraction.shards import load_shard, shard_folder
from omnidistill.features.featureset import FeatureSet, prepare
from omnidistill.features.store import save_features
from omnidistill.heads import save_heads
from omnidistill.manifest.table import Manifest


def check_set(
    manifest: Manifest, encoders: Mapping[str, Encoder], centre: bool = True, limit: int | None = None
) -> None:
    """Raise InputError, before hours are spent, if what will be encoded is not enough for a FeatureSet."""
    if len(encoders) < 2:
        raise InputError(
            f"one encoder only ({', '.join(encoders)}); a set needs at least two modalities, each with one"
        )
    if centre and all(row.split != "train" for row in manifest.rows[:limit]):
        raise InputError("split 'train': no rows, so there is no mean to centre by; add train rows, or do not centre")


def join(out: Path) -> RawFeatures:
    """The features that `encode` left in `out`, as stored; where views were kept, their averages.

    Raises InputError if the encoding is not finished, or a shard is damaged or left no row.
    """
    if not (out / ENCODED).exists():
        raise InputError(f"{out}: no {ENCODED}, so its encoding is not finished; run 'encode' again to go on")
    shards = [load_shard(shard_folder(out, number)) for number in range(int(read_json(out / ENCODED)["shards"]))]
    made_by = read_json(out / ENCODERS)
    features = {name: torch.cat([shard.features[name] for shard in shards]) for name in made_by["encoders"]}
    return RawFeatures(
        {name: x.float().mean(1).to(x.dtype) if x.ndim == 3 else x for name, x in features.items()},
        tuple(name for shard in shards for name in shard.ids),
        tuple(name for shard in shards for name in shard.groups),
        tuple(name for shard in shards for name in shard.splits),
        provenance={"name": out.name, **made_by, "bad_items": sum(len(shard.bad) for shard in shards)},
    )


def save_encoded(
    out: Path, encoders: Mapping[str, Encoder], standardise: bool = True, centre: bool = True
) -> FeatureSet:
    """Prepare what `encode` left in `out` (see `features.prepare`) and save it there, with the heads that there are.

    The heads fit features as they were encoded: neither standardised nor centred.

    Raises InputError for what `join`, `prepare` and a FeatureSet refuse: fewer than two modalities, no train rows.
    """
    features = prepare(join(out), standardise, centre)
    heads = {name: matrix for name, encoder in encoders.items() if (matrix := encoder.head()) is not None}
    if heads:
        save_heads(heads, out / "heads", {"origin": "pretrained", "source": {n: encoders[n].name for n in heads}})
    save_features(features, out)
    return features
