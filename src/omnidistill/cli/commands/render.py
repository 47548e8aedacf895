"""The `render` command."""

from __future__ import annotations

import argparse
from pathlib import Path

from omnidistill.cli.options import add_device, add_force, add_json, names, set_of
from omnidistill.cli.output import print_end, progress, typed_command
from omnidistill.cli.parser import CommandGroup

_NOTES = (
    "Only encoders with gradients with respect to their input can be used: efficientnet-lite*, frames-*, clip-image, "
    "siglip-image, whisper-base, whisper-tiny-en, and imagebind-* and languagebind-* for image, video and audio. Texts "
    "need no encoder, unless several captions are joined.\n"
    "DIR/items.csv is a manifest of the rendered media, so 'omnidistill encode' can encode them with any encoder."
)


def add(group: CommandGroup) -> None:
    """Add the `render` command to a command group (a heading in the program's help)."""
    parser = group.add_command(
        "render",
        run,
        "show the rows of a synthetic set as pictures, videos, sounds and captions",
        description="Show the rows of a synthetic set as media. A picture, video or sound is optimised by gradient "
        "steps, until its features point in the direction of the row. For text, the command uses the caption of the "
        "nearest training item.",
        main_options=("--media", "--rows", "--modalities", "--encoder", "--device"),
        examples=(
            "omnidistill render RUN --media items.csv -o DIR",
            "omnidistill render RUN --media items.csv --modalities image --rows 100 --steps 96 -o DIR",
            "omnidistill render RUN --media items.csv --encoder image=imagebind-image:WEIGHTS -o DIR",
        ),
        notes=_NOTES,
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of a finished run")
    parser.add_argument(
        "--media",
        type=Path,
        required=True,
        metavar="MANIFEST",
        help="manifest (table of items) from which the dataset was encoded; the captions, and the real media from "
        "which the optimisation starts, are taken from it",
    )
    parser.add_argument(
        "--root",
        type=Path,
        metavar="DIR",
        help="base folder for relative paths in the manifest (default: the manifest's folder)",
    )
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="DIR", help="output folder")
    parser.add_argument("--rows", type=int, default=30, metavar="N", help="render the first N rows (default: 30)")
    parser.add_argument(
        "--modalities", type=names, metavar="NAMES", help="modalities to render, such as image,text (default: all)"
    )
    parser.add_argument(
        "--encoder",
        action="append",
        default=[],
        metavar="MODALITY=NAME[:SOURCE]",
        help="encoder of one modality, for example image=clip-image:SOURCE; NAME and SOURCE are as in 'encode "
        "--encoder'; can be repeated (default: the encoder recorded in the dataset, if its weights are part of a "
        "Python package)",
    )
    parser.add_argument(
        "--steps", type=int, metavar="T", help="gradient steps per picture, video or sound (default: 64)"
    )
    parser.add_argument(
        "--start",
        choices=("nearest", "blank"),
        default="nearest",
        metavar="NAME",
        help="what the gradient steps start from: nearest (the nearest training item, the default) or blank "
        "(grey pixels, or faint noise for sounds)",
    )
    parser.add_argument("--seconds", type=float, metavar="S", help="length of sounds in seconds (default: 2)")
    parser.add_argument(
        "--captions",
        type=int,
        metavar="K",
        help="a row's text consists of at most K captions of training items (default: 1, the nearest caption). If "
        "K > 1, captions are appended one by one. Appending stops earlier if the next caption does not bring the "
        "features of the text closer to the row. The text encoder computes these features",
    )
    parser.add_argument("--data", metavar="SET", help="new location of the dataset, if it was moved after the run")
    parser.add_argument(
        "--seed",
        type=int,
        default=0,
        metavar="N",
        help="seed of the random shifts of the media during the optimisation (default: 0)",
    )
    add_force(parser, "earlier output in the folder")
    add_device(parser)
    add_json(parser)


def run(options: argparse.Namespace) -> None:
    """Render the rows of a run's set, and print the cosine similarities between media and rows."""
    from omnidistill.api import InversionSettings, render

    changes = {
        "num_steps": options.steps,
        "start": options.start,
        "seconds": options.seconds,
        "captions": options.captions,
    }
    rendered = render(
        options.run,
        options.media,
        options.output,
        rows=options.rows,
        modalities=options.modalities,
        encoders=_encoders(options.encoder),
        settings=InversionSettings().evolve(**{name: value for name, value in changes.items() if value is not None}),
        data=None if options.data is None else set_of(options.data),
        root=options.root,
        seed=options.seed,
        force=options.force,
        device=options.device,
        progress=progress(),
        command=typed_command(),
    )
    folder = rendered.folder
    sheet = folder / "sheet.png"  # only written if there are pictures
    lines = [
        *(f"note {note}" for note in rendered.content.notes),
        f"page {folder}/render.html",
        f"files {folder}/items.csv (all media)" + (f", {sheet}" if sheet.exists() else ""),
        "next open the page in a browser",
    ]
    print_end(options, {**rendered.to_json(), "output": str(folder)}, lines, rendered.table())


def _encoders(references: list[str]) -> dict[str, str]:
    from omnidistill.api import InputError

    encoders = {}
    for reference in references:
        modality, equals, name = reference.partition("=")
        if not equals or not name or ":" in modality:
            raise InputError(f"--encoder {reference}: not understood; pass MODALITY=NAME or MODALITY=NAME:SOURCE")
        encoders[modality] = name
    return encoders
