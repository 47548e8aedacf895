"""Turn a table of media items into a FeatureSet: open the encoders, encode in shards, and join the shards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from omnidistill.core.arguments import argument
from omnidistill.core.device import resolve_device
from omnidistill.core.engines import Engine, engine_in_use
from omnidistill.core.errors import InputError
from omnidistill.data.featureset import FeatureSet
from omnidistill.encoding.encoders.encoder import Encoder, licences_of
from omnidistill.encoding.encoders.encoder_registry import open_encoder
from omnidistill.encoding.extraction.encode import Encoded, has_encoding
from omnidistill.encoding.extraction.encode import encode as encode_shards
from omnidistill.encoding.extraction.encode_settings import EncodeSettings
from omnidistill.encoding.extraction.join import check_set, save_encoded
from omnidistill.encoding.manifests.manifest import Manifest, read_manifest
from omnidistill.io.tracking import Progress, shown

Encoders = Sequence[str] | Mapping[str, str | Encoder]
"""A list of references "NAME", "NAME:SOURCE" or "MODALITY=NAME:SOURCE", or {modality: reference or encoder}."""


@dataclass(frozen=True, repr=False)
class EncodedSet:
    """The result of `encode`.

    Attributes:
        data: the feature set.
        encoded: counts of encoded rows and truncated items, and the list of items that could not be encoded.
        folder: folder of the feature set.
        licences: licence of each encoder's weights, by modality.
        heads: folder with the encoders' own projections; None if no encoder has one. Apply the projections only to
            features that are neither standardised nor centred.
    """

    data: FeatureSet
    encoded: Encoded
    folder: Path
    licences: Mapping[str, str]
    heads: Path | None

    def table(self) -> str:
        """Return a report with one fact per line."""
        widths = ", ".join(f"{name} {width} wide" for name, width in self.data.widths.items())
        splits = ", ".join(f"{split} {count:,}" for split, count in self.data.split_sizes.items())
        lines = [*self.encoded.lines(), f"set    {self.folder} ({widths}; {splits})"]
        if self.heads is not None:
            lines.append(f"heads  {self.heads} (for features that are neither standardised nor centred)")
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        """Return a summary of the encoding as JSON.

        It contains the output folder, the number of rows, the failed items, the numbers of truncated items and of
        shards, the feature widths, and the number of rows per split.
        """
        return {
            "output": str(self.folder),
            "rows": self.encoded.rows,
            "bad": [asdict(item) for item in self.encoded.bad],
            "cut": self.encoded.cut,
            "shards": self.encoded.shards,
            "widths": self.data.widths,
            "splits": self.data.split_sizes,
        }

    def __repr__(self) -> str:
        return f"EncodedSet({self.folder}: {self.encoded.rows:,} rows of {', '.join(self.data.modalities)})"


def encode(
    manifest: Manifest | Path,
    encoders: Encoders,
    out: str | Path,
    *,
    root: Path | None = None,
    separator: str | None = None,
    settings: EncodeSettings | None = None,
    standardise: bool = True,
    centre: bool = True,
    limit: int | None = None,
    resume: bool = False,
    engine: Engine | str = "local",
    device: str | torch.device = "auto",
    progress: Progress | bool = True,
) -> EncodedSet:
    """Encode the items of a manifest with frozen encoders, and save the features as a feature set in `out`.

    If an earlier call was interrupted, repeat it: finished shards are not encoded again.

    Args:
        manifest: table of media items, or the Path of a .csv, .tsv, .jsonl or .parquet file with this table.
        encoders: list of references such as ["clip-image:FOLDER", "clip-text:FOLDER"], or a dict {modality: reference
            or encoder}.
        out: folder of the feature set.
        root: folder to which paths in the manifest are relative; None uses the folder that contains the manifest.
        separator: character between the columns of a .csv or .tsv manifest; None detects commas, semicolons, tabs and
            vertical bars.
        settings: batch size, rows per shard, number of worker processes, and precision.
        standardise, centre: whether to standardise and to centre the features, see `data.preprocessing`.
        limit: encode only the first `limit` rows; None encodes all rows.
        resume: if True, `out` must contain an earlier encoding, which is resumed. If False, such an encoding is resumed
            if there is one; otherwise a new one is started.
        engine: where shards are encoded: "local", "ray" or "ray:ADDRESS". All engines give bit-identical results.
        device: where the encoders run: "auto", "cpu", "cuda", "cuda:1" or "mps".
        progress: whether to show progress, or an object that shows it.

    Raises:
        InputError: the manifest, an encoder or the device cannot be used; `out` contains features from different
            encoders or settings, or output of another command; or `resume` is True and `out` contains no encoding.
    """
    out = Path(out)
    job = prepare_encoding(manifest, encoders, root, limit, centre, device, separator)
    if resume and not has_encoding(out):
        start = f"omit {argument('resume')} to start one"
        raise InputError(f"{argument('resume', True)}: {out} contains no encoding to resume; {start}")
    if (out / "manifest.json").exists() and not has_encoding(out):
        raise InputError(f"{out}: contains output of another command, not of 'encode'; choose another folder")
    with engine_in_use(engine, job.device) as used:
        encoded = encode_shards(
            job.manifest,
            job.encoders,
            out,
            settings=settings,
            limit=limit,
            progress=shown(progress),
            engine=used,
        )
    data = save_encoded(out, job.encoders, standardise, centre).at(str(out.resolve()))
    heads = out / "heads"
    return EncodedSet(data, encoded, out, job.licences, heads if heads.is_dir() else None)


@dataclass(frozen=True)
class EncodingJob:
    """Validated arguments of `encode`: the manifest, the opened encoders and the device."""

    manifest: Manifest
    encoders: Mapping[str, Encoder]
    device: str

    @property
    def licences(self) -> dict[str, str]:
        """Licence of each encoder's weights, by modality."""
        return licences_of(self.encoders)


def prepare_encoding(
    manifest: Manifest | Path,
    encoders: Encoders,
    root: Path | None = None,
    limit: int | None = None,
    centre: bool = True,
    device: str | torch.device = "auto",
    separator: str | None = None,
) -> EncodingJob:
    """Open the manifest and the encoders, and check that they match, before anything is written.

    The arguments have the same meaning as in `encode`.

    Raises:
        InputError: an argument cannot be used, or the encoders do not match the manifest.
    """
    if limit is not None and limit < 1:
        raise InputError(f"{argument('limit', limit)}: the number of rows must be at least 1")
    if isinstance(encoders, str):
        raise InputError(
            f"encoders: found the string {encoders!r}; pass a list of encoder names or a dict {{modality: encoder}}"
        )
    place = str(resolve_device(device))
    items = read_manifest(manifest, root, separator=separator) if isinstance(manifest, Path) else manifest
    by_modality = _open_all(encoders, place)
    check_set(items, by_modality, centre, limit)
    return EncodingJob(items, by_modality, place)


def _open_all(encoders: Encoders, device: str) -> dict[str, Encoder]:
    """Open the encoders and return them by modality."""
    if isinstance(encoders, Mapping):
        return {
            modality: open_encoder(encoder, device) if isinstance(encoder, str) else encoder
            for modality, encoder in encoders.items()
        }
    by_modality: dict[str, Encoder] = {}
    for reference in encoders:
        modality, equals, name = reference.partition("=")
        if not equals or ":" in modality:  # an equals sign after a colon belongs to the source
            modality, name = "", reference
        encoder = open_encoder(name, device)
        modality = modality or encoder.kind
        if modality in by_modality:
            where = argument("encoders", reference)
            raise InputError(
                f"{where}: modality {modality!r} already has an encoder; "
                f"to use another modality for this encoder, write MODALITY={name}"
            )
        by_modality[modality] = encoder
    return by_modality
