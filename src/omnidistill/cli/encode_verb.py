"""The verb `encode`: what may be typed, and what it does with it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omnidistill.cli.printing import add_json, note, progress, tell
from omnidistill.core.errors import InputError

if TYPE_CHECKING:
    from omnidistill.encoding.encoders.encoder import Encoder

_EPILOG = """encoders:
  efficientnet-lite2, minilm-l6, whisper-base     weights come with packages:
                                                  the extra 'small'
  clip-image, clip-text, siglip-image, siglip-text, clap-audio, clap-text,
  pe-av-audio, pe-av-video, pe-av-text, sentence  SOURCE: a folder, or
                                                  OWNER/NAME@REVISION
  frames-clip, frames-siglip                      a video by an image encoder
  imagebind-KIND, languagebind-KIND               SOURCE: made by 'convert'; KIND:
                                                  image, video, audio or text

Repeat the command to go on after an interruption: finished shards are kept."""


def add_encode_verb(added: Any) -> None:
    """Add `encode` to the verbs of a parser."""
    text = "make a SET from videos, sounds, pictures and texts"
    verb: argparse.ArgumentParser = added.add_parser("encode", help=text, epilog=_EPILOG)
    verb.set_defaults(verb=encode)
    verb.add_argument("manifest", type=Path, metavar="MANIFEST", help="a table of items, see 'omnidistill manifest'")
    verb.add_argument(
        "--encoder",
        dest="encoders",
        action="append",
        required=True,
        metavar="[MODALITY=]NAME[:SOURCE]",
        help="repeatable, one a modality (default: the column named as what the encoder reads)",
    )
    verb.add_argument("-o", "--output", "--out", type=Path, required=True, metavar="SET", help="the folder to write")
    verb.add_argument("--resume", action="store_true", help="go on in SET, which must have been begun")
    verb.add_argument("--root", type=Path, metavar="DIR", help="where paths begin (default: the manifest's folder)")
    verb.add_argument("--workers", type=int, default=2, metavar="N", help="processes that prepare items (default: 2)")
    verb.add_argument("--batch", type=int, default=16, metavar="N", help="items a model takes together (default: 16)")
    verb.add_argument("--shard", type=int, default=512, metavar="N", help="rows a file; a killed run loses no more")
    verb.add_argument(
        "--device", default="cpu", metavar="NAME", help="where the models run, as torch names it: cpu, cuda, cuda:1"
    )
    verb.add_argument("--float32", action="store_true", help="store features in single, not half precision")
    verb.add_argument("--keep-views", action="store_true", help="keep every view of an item in the shards")
    verb.add_argument("--limit", type=int, metavar="N", help="only the first N rows; lift it later to go on")
    verb.add_argument("--dry-run", action="store_true", help="count items, bytes and minutes; write nothing")
    verb.add_argument(
        "--no-standardise", action="store_true", help="take rows as they are instead of standardising each"
    )
    verb.add_argument("--no-centre", action="store_true", help="do not subtract the mean of the training rows")
    add_engine(verb)
    add_json(verb)


def add_engine(verb: argparse.ArgumentParser) -> None:
    """Add `--engine` to a verb whose work can be done elsewhere."""
    verb.add_argument(
        "--engine",
        default="local",
        metavar="local|ray[:ADDRESS]",
        help="where the work is done: in this process, or as tasks of a Ray on this machine or at an address (auto, "
        "HOST:PORT, ray://HOST:PORT); same bits",
    )


def encode(options: argparse.Namespace) -> None:
    """Encode a manifest into a set; print what was encoded, or with --dry-run what it would take."""
    from dataclasses import asdict

    from omnidistill.core.engines import engine_from
    from omnidistill.encoding.encoders.encoder import licences_of
    from omnidistill.encoding.extraction import EncodeSettings, check_set, encode, is_begun, save_encoded
    from omnidistill.encoding.manifests.manifest import read_manifest
    from omnidistill.experiments.dry_run import rehearse_encode

    if options.limit is not None and options.limit < 1:
        raise InputError(f"--limit {options.limit}: give the number of rows, at least 1")
    if options.resume and not is_begun(options.output):
        raise InputError(f"--resume: no encoding was begun in {options.output}; leave --resume out to begin one")
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
        note(options, f"licence {modality}: {licence}")
    if options.dry_run:
        foreseen = rehearse_encode(manifest, encoders, settings, options.limit, progress(), engine)
        tell(options, foreseen.content(), foreseen.lines())
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
    tell(options, content, [*lines, f"next   {following}"])


def _encoders(references: list[str], device: str) -> dict[str, Encoder]:
    from omnidistill.encoding.encoders.registry import open_encoder

    encoders: dict[str, Encoder] = {}
    for reference in references:
        modality, equals, name = reference.partition("=")
        if not equals or ":" in modality:  # what follows a colon is a source, in which = is a letter like others
            modality, name = "", reference
        encoder = open_encoder(name, device)
        modality = modality or encoder.kind
        if modality in encoders:
            raise InputError(f"--encoder {reference}: modality {modality!r} has one already; give MODALITY={name}")
        encoders[modality] = encoder
    return encoders
