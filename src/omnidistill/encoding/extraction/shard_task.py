"""Encode one shard: prepare its items, encode them, and write the features.

`ShardEncoder` is the task that an engine runs. Each process has one `ShardEncoder`, so it loads the weights and starts
its workers only once. A batch contains items of one shard only. The features of a shard therefore do not depend on
the process that encodes it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from omnidistill.core.errors import InputError
from omnidistill.encoding.encoders.encoder import Encoder, Item, Truncating
from omnidistill.encoding.extraction.batches import batches
from omnidistill.encoding.extraction.encode_settings import EncodeSettings, item_of
from omnidistill.encoding.extraction.shards import BadItem, Shard, save_shard
from omnidistill.encoding.extraction.workers import Bad, Job, Preparation, Prepared
from omnidistill.encoding.manifests.manifest import Manifest, Row


@dataclass(frozen=True)
class Part:
    """A shard to encode: its number, its folder, its rows, and the digest of these rows (see `digest_of`)."""

    number: int
    folder: Path
    rows: Sequence[Row]
    digest: str


@dataclass(eq=False)
class ShardEncoder:
    """Callable that encodes one shard of a manifest with the encoders {modality: encoder}."""

    manifest: Manifest
    encoders: Mapping[str, Encoder]
    settings: EncodeSettings
    preparation: Preparation = field(init=False)

    def __post_init__(self) -> None:
        ahead = self.settings.batch_size + 2 * self.settings.num_workers
        self.manifest = replace(self.manifest, rows=self.manifest.rows[:1])  # each part holds its rows; pickle only one
        self.preparation = Preparation(self.encoders, self.settings.num_workers, ahead)

    def __call__(self, part: Part) -> int:
        """Prepare, encode and save one shard. Return the number of failed items. See the method `shard` for errors."""
        return self.shard(part, self.prepared([part]))

    def prepared(self, parts: Iterable[Part]) -> Iterator[tuple[Job, Prepared]]:
        """Yield the prepared items of the given shards, sorted by shard, then by modality, then by row."""
        return self.preparation.run(
            Job(number, modality, self._item(row, modality))
            for part in parts
            for modality in self.encoders
            for number, row in enumerate(part.rows)
        )

    def shard(self, part: Part, prepared: Iterator[tuple[Job, Prepared]]) -> int:
        """Encode and save one shard. Return the number of items that could not be encoded.

        Args:
            part: the shard.
            prepared: iterator over prepared items. The items of this shard must come next.

        Raises:
            InputError: this is the first shard, and none of its rows could be encoded.
        """
        shard = _encode_shard(part.rows, prepared, self.encoders, self.settings)
        if part.number == 0 and not shard.ids:
            first = shard.bad[0]
            raise InputError(
                f"encode: none of the first {len(part.rows)} rows could be encoded; correct the files in the manifest "
                f"(first error, in row {first.id!r}, modality {first.modality!r}: {first.why})"
            )
        save_shard(part.folder, shard, part.digest)
        return len(shard.bad)

    def _item(self, row: Row, modality: str) -> Item | Bad:
        try:
            return item_of(self.manifest, row, modality)
        except InputError as error:
            return Bad(str(error))


def _encode_shard(
    rows: Sequence[Row],
    prepared: Iterator[tuple[Job, Prepared]],
    encoders: Mapping[str, Encoder],
    settings: EncodeSettings,
) -> Shard:
    """Encode these rows, and return them as a shard. The next items in `prepared` must belong to these rows."""
    bad: list[tuple[int, str, str]] = []
    cut: dict[str, list[int]] = {}
    features = {}
    for modality, encoder in encoders.items():
        good = _good(islice(prepared, len(rows)), encoder, bad, cut.setdefault(modality, []))
        features[modality] = _encode_modality(good, modality, encoder, len(rows), settings, bad)
    dropped = {row for row, _, _ in bad}
    retained = [number for number in range(len(rows)) if number not in dropped]
    return Shard(
        {modality: x[retained] for modality, x in features.items()},
        tuple(rows[number].id for number in retained),
        tuple(rows[number].group for number in retained),
        tuple(rows[number].split for number in retained),
        tuple(BadItem(rows[number].id, modality, why) for number, modality, why in sorted(bad)),
        {modality: count for modality, numbers in cut.items() if (count := len(set(numbers) - dropped))},
    )


def _good(
    prepared: Iterable[tuple[Job, Prepared]], encoder: Encoder, bad: list[tuple[int, str, str]], cut: list[int]
) -> Iterator[tuple[int, Tensor]]:
    """Yield (row, tensor) for each usable item. Append failed items to `bad` and rows with truncated items to `cut`."""
    for job, result in prepared:
        if isinstance(result, Bad):
            bad.append((job.row, job.modality, result.why))
            continue
        if isinstance(encoder, Truncating) and isinstance(job.item, Item) and encoder.truncates(job.item):
            cut.append(job.row)
        yield job.row, result


def _encode_modality(
    good: Iterable[tuple[int, Tensor]],
    modality: str,
    encoder: Encoder,
    count: int,
    settings: EncodeSettings,
    bad: list[tuple[int, str, str]],
) -> Float[Tensor, "{count} ..."]:
    """Encode one modality of `count` rows, and return the features. The features of failed items are 0."""
    shape = (encoder.views, encoder.width) if settings.keep_views else (encoder.width,)
    stored = torch.zeros(count, *shape, dtype=getattr(torch, settings.dtype), device="cpu")
    for batch in batches(good, settings.batch_size):
        numbers = [number for number, _ in batch]
        views = encoder.encode(torch.stack([tensor for _, tensor in batch]))
        if views.shape != (len(batch), encoder.views, encoder.width):
            raise InputError(
                f"encoder {encoder.name!r} returned features of shape {tuple(views.shape)} for {len(batch)} items; "
                f"expected shape (items, views, width) with {encoder.views} views and width {encoder.width}"
            )
        features = (views if settings.keep_views else views.mean(1)).to(stored.dtype)
        stored[numbers] = features
        for number, finite in zip(numbers, features.flatten(1).isfinite().all(1).tolist(), strict=True):
            if not finite:
                bad.append((number, modality, f"the feature contains NaN or Inf, or is too large for {settings.dtype}"))
    return stored
