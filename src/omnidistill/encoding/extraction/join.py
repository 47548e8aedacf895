"""Join shards into raw features or into a FeatureSet.

The FeatureSet and the pretrained projections of the encoders are written to the folder OUT that contains the shards. A
shard is open only while its rows are being read, so the FeatureSet may be larger than memory.

    OUT/manifest.json, tensors-....safetensors    the FeatureSet; other commands then accept OUT as a dataset
    OUT/heads                                     the projection of each encoder that has one
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import torch
from jaxtyping import Float, Int
from torch import Tensor

from omnidistill.core.errors import InputError
from omnidistill.core.printable import printable
from omnidistill.data.featureset import FeatureSet
from omnidistill.data.raw import RawFeatures
from omnidistill.data.raw_rows import RawRows
from omnidistill.data.store import prepare_raw
from omnidistill.encoding.encoders.encoder import Encoder, licences_of
from omnidistill.encoding.extraction.encode import ENCODED, ENCODERS
from omnidistill.encoding.extraction.shards import load_shard, shard_folder
from omnidistill.encoding.manifests.manifest import Manifest
from omnidistill.io.input_files import read_json, reading
from omnidistill.models.heads import save_heads


def check_set(
    manifest: Manifest, encoders: Mapping[str, Encoder], centre: bool = True, limit: int | None = None
) -> None:
    """Check, before encoding, that a FeatureSet can be built from the rows and encoders.

    Raises:
        InputError: there are fewer than two encoders, or centring is requested and there are no train rows.
    """
    if len(encoders) < 2:
        raise InputError(
            f"only one encoder is given ({', '.join(encoders)}); a dataset needs at least two modalities, so add "
            "another encoder"
        )
    if centre and all(row.split != "train" for row in manifest.rows[:limit]):
        raise InputError(
            "split 'train' has no rows, so the mean for centring is undefined; add train rows, or do not centre"
        )


def join(out: Path) -> RawFeatures:
    """Return the features that `encode` wrote to `out`, without preprocessing. Views of an item are averaged.

    Raises:
        InputError: the encoding is not finished, or a shard is damaged.
    """
    rows = open_rows(out)
    everything = torch.arange(len(rows.ids), device="cpu")
    features = {name: rows.read(name, everything) for name in rows.widths}
    return RawFeatures(features, rows.ids, rows.groups, rows.splits, rows.provenance)


def open_rows(out: Path) -> RawRows:
    """Return the features that `encode` wrote to `out`, like `join`, but read rows only when they are needed.

    Raises:
        InputError: the encoding is not finished, or a shard is damaged.
    """
    if not (out / ENCODED).exists():
        raise InputError(
            f"{out}: contains no {ENCODED}, so the encoding is not finished; run 'encode' again to resume it"
        )
    encoded_by = read_json(out / ENCODERS)
    with reading(str(out), "run 'encode' again"):
        modalities, count = list(encoded_by["encoders"]), int(read_json(out / ENCODED)["shards"])
    widths: dict[str, int] = {}
    ids: list[str] = []
    groups: list[str] = []
    splits: list[str] = []
    starts, bad_items = [], 0
    for number in range(count):
        shard = load_shard(shard_folder(out, number))
        starts.append(len(ids))
        ids += shard.ids
        groups += shard.groups
        splits += shard.splits
        bad_items += len(shard.bad)
        widths = {name: shard.features[name].shape[-1] for name in modalities}
    provenance = {"name": printable(out.name), **encoded_by, "bad_items": bad_items}
    read = partial(_read, out, torch.tensor(starts, device="cpu"))
    return RawRows(widths, tuple(ids), tuple(groups), tuple(splits), provenance, read)


def _read(out: Path, starts: Int[Tensor, " s"], name: str, rows: Int[Tensor, " k"]) -> Float[Tensor, "k _"]:
    """Read the features of the given rows from the shards. `starts` holds the index of each shard's first row."""
    numbers = torch.searchsorted(starts, rows, right=True) - 1
    shards, counts = (x.tolist() for x in torch.unique_consecutive(numbers, return_counts=True))
    parts = []
    for number, chosen in zip(shards, torch.split(rows, counts), strict=True):
        x = load_shard(shard_folder(out, number), verify=False).features[name][chosen - starts[number]]
        parts.append(x.float().mean(1).to(x.dtype) if x.ndim == 3 else x)
    return torch.cat(parts)


def save_encoded(
    out: Path, encoders: Mapping[str, Encoder], standardise: bool = True, centre: bool = True
) -> FeatureSet:
    """Convert the shards in `out` to a FeatureSet with rows sorted by split, save it in `out`, and return it.

    The pretrained projections of the encoders are saved in the subfolder `heads`. Apply them only to features that are
    neither standardised nor centred.

    Raises:
        InputError: the encoding is not finished, a shard is damaged, or the features do not form a FeatureSet (because
            there are fewer than two modalities or no train rows).
    """
    prepared = prepare_raw(open_rows(out), standardise, centre)
    heads = {name: matrix for name, encoder in encoders.items() if (matrix := encoder.head()) is not None}
    if heads:
        licences = {name: licence for name, licence in licences_of(encoders).items() if name in heads}
        source = {name: encoders[name].name for name in heads}
        save_heads(heads, out / "heads", {"origin": "pretrained", "source": source, "licences": licences})
    return prepared.save(out)
