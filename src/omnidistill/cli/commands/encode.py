"""The command `encode`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from omnidistill.cli.options import add_engine, add_json, add_preprocessing
from omnidistill.cli.output import print_note, print_result, progress
from omnidistill.cli.parser import CommandGroup
from omnidistill.core.errors import InputError

if TYPE_CHECKING:
    from omnidistill.encoding.encoders.encoder import Encoder

_NOTES = """encoders:
  efficientnet-lite2, minilm-l6, whisper-base     weights come with packages:
                                                  the extra 'small'
  clip-image, clip-text, siglip-image, siglip-text, clap-audio, clap-text,
  pe-av-audio, pe-av-video, pe-av-text, sentence  SOURCE: a folder, or
                                                  OWNER/NAME@REVISION
  frames-clip, frames-siglip                      encode the frames of a video
                                                  with an image encoder
  imagebind-KIND, languagebind-KIND               SOURCE: a folder written by
                                                  'convert'; KIND: image,
                                                  video, audio or text

To resume after an interruption, repeat the command: finished shards are saved."""


def add(group: CommandGroup) -> None:
    """Add the command to a group."""
    parser = group.add_command(
        "encode",
        run,
        "create a SET from videos, audio, images and text",
        main_options=("--resume", "--dry-run", "--device"),
        examples=(
            "omnidistill encode items.csv --encoder efficientnet-lite2 --encoder minilm-l6 -o SET --dry-run",
            "omnidistill encode items.csv --encoder clip-image:FOLDER --encoder clip-text:FOLDER -o SET",
        ),
        notes=_NOTES,
    )
    parser.add_argument(
        "manifest", type=Path, metavar="MANIFEST", help="table of the items to encode, see 'omnidistill manifest'"
    )
    parser.add_argument(
        "--encoder",
        dest="encoders",
        action="append",
        required=True,
        metavar="[MODALITY=]NAME[:SOURCE]",
        help="repeatable, one per modality (default modality: the kind of data that the encoder reads)",
    )
    parser.add_argument("-o", "--output", "--out", type=Path, required=True, metavar="SET", help="folder to write")
    parser.add_argument("--resume", action="store_true", help="resume the encoding in SET; fail if SET has none")
    parser.add_argument(
        "--root",
        type=Path,
        metavar="DIR",
        help="folder that paths in the manifest are relative to (default: the manifest's folder)",
    )
    parser.add_argument("--workers", type=int, default=2, metavar="N", help="processes that load items (default: 2)")
    parser.add_argument("--batch", type=int, default=16, metavar="N", help="items per forward pass (default: 16)")
    parser.add_argument(
        "--shard",
        type=int,
        default=512,
        metavar="N",
        help="rows per shard (default: 512); an interruption loses at most one shard",
    )
    parser.add_argument(
        "--device", default="cpu", metavar="NAME", help="torch device of the models: cpu, cuda, cuda:1 (default: cpu)"
    )
    parser.add_argument("--float32", action="store_true", help="store features in single instead of half precision")
    parser.add_argument("--keep-views", action="store_true", help="store every view of an item in the shards")
    parser.add_argument(
        "--limit", type=int, metavar="N", help="encode only the first N rows; repeat without it to encode the rest"
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="print an estimate of items, bytes and minutes; write nothing"
    )
    add_preprocessing(parser)
    add_engine(parser)
    add_json(parser)


def run(options: argparse.Namespace) -> None:
    """Encode the items of a manifest and print a summary, or with `--dry-run` the estimated cost."""
    from dataclasses import asdict

    from omnidistill.core.engines import engine_from
    from omnidistill.encoding.encoders.encoder import licences_of
    from omnidistill.encoding.extraction import EncodeSettings, check_set, encode, is_begun, save_encoded
    from omnidistill.encoding.manifests.manifest import read_manifest
    from omnidistill.experiments.dry_run import rehearse_encode

    if options.limit is not None and options.limit < 1:
        raise InputError(f"--limit {options.limit}: the number of rows must be at least 1")
    if options.resume and not is_begun(options.output):
        raise InputError(f"--resume: {options.output} contains no encoding to resume; omit --resume to start one")
    engine = engine_from(options.engine, options.device)
    manifest = read_manifest(options.manifest, options.root)
    encoders = _encoders(options.encoders, options.device)
    check_set(manifest, encoders, not options.no_centre, options.limit)
    settings = EncodeSettings(
        batch_size=options.batch,
        shard_rows=options.shard,
        num_workers=options.workers,
        dtype="float32" if options.float32 else "float16",
        keep_views=options.keep_views,
    )
    for modality, licence in licences_of(encoders).items():
        print_note(options, f"licence {modality}: {licence}")
    if options.dry_run:
        estimate = rehearse_encode(manifest, encoders, settings, options.limit, progress(), engine)
        print_result(options, estimate.content(), estimate.lines())
        return
    with engine:
        encoded = encode(
            manifest,
            encoders,
            options.output,
            settings=settings,
            limit=options.limit,
            progress=progress(),
            engine=engine,
        )
    features = save_encoded(options.output, encoders, not options.no_standardise, not options.no_centre)
    widths = ", ".join(f"{name} {width} wide" for name, width in features.widths.items())
    splits = ", ".join(f"{split} {count:,}" for split, count in features.split_sizes.items())
    following = f"omnidistill distill {options.output} --size 100 -o RUN"
    lines = [*encoded.lines(), f"set    {options.output} ({widths}; {splits})"]
    if (options.output / "heads").is_dir():
        lines.append(f"heads  {options.output / 'heads'} (for rows that are neither standardised nor centred)")
    content = {
        "output": str(options.output),
        "rows": encoded.rows,
        "bad": [asdict(item) for item in encoded.bad],
        "cut": encoded.cut,
        "shards": encoded.shards,
        "widths": features.widths,
        "splits": features.split_sizes,
        "next": following,
    }
    print_result(options, content, [*lines, f"next   {following}"])


def _encoders(references: list[str], device: str) -> dict[str, Encoder]:
    """Open the encoders and return them by modality."""
    from omnidistill.encoding.encoders.encoder_registry import open_encoder

    encoders: dict[str, Encoder] = {}
    for reference in references:
        modality, equals, name = reference.partition("=")
        if not equals or ":" in modality:  # an equals sign after a colon belongs to the source
            modality, name = "", reference
        encoder = open_encoder(name, device)
        modality = modality or encoder.kind
        if modality in encoders:
            raise InputError(
                f"--encoder {reference}: modality {modality!r} already has an encoder; use MODALITY={name}"
            )
        encoders[modality] = encoder
    return encoders
