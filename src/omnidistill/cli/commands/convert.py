"""The `convert` command."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path

from omnidistill.cli.options import add_force, add_json
from omnidistill.cli.output import command_line, print_note, print_result
from omnidistill.cli.parser import CommandGroup

_NOTES = """For imagebind, WEIGHTS is the file imagebind_huge.pth, which you have to download.
Its licence is CC-BY-NC 4.0, which excludes commercial use.
For languagebind, WEIGHTS is the folder of a published model, with config.json and weights. Convert each model
separately.
Only tensors are read from pickled weights; files that would run code are rejected."""


def add(group: CommandGroup) -> None:
    """Add the `convert` command to a command group (a heading in the program's help)."""
    parser = group.add_command(
        "convert",
        run,
        "convert published ImageBind or LanguageBind weights for 'encode'",
        examples=(
            "omnidistill convert imagebind imagebind_huge.pth -o ImageBind",
            "omnidistill convert languagebind LanguageBind_Audio/ --modality audio -o LanguageBind",
        ),
        notes=_NOTES,
    )
    parser.add_argument(
        "model",
        choices=("imagebind", "languagebind"),
        metavar="MODEL",
        help="model to convert: imagebind or languagebind",
    )
    parser.add_argument(
        "weights",
        type=Path,
        metavar="WEIGHTS",
        help="published weights: the file imagebind_huge.pth, or the folder of a LanguageBind model",
    )
    parser.add_argument(
        "--modality",
        choices=("video", "image", "audio"),
        metavar="MODALITY",
        help="modality of the LanguageBind model: video, image or audio; required for languagebind, not allowed "
        "for imagebind",
    )
    parser.add_argument(
        "--vocabulary",
        type=Path,
        metavar="FILE",
        help="vocabulary file of CLIP's tokenizer: merges.txt, bpe_simple_vocab_16e6.txt.gz or tokenizer.json "
        "(default: the first of these files in the folder that contains the weights). Without a vocabulary, the model "
        "cannot encode text",
    )
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="DIR", help="output folder")
    add_force(parser, "an earlier conversion in DIR")
    add_json(parser)


def run(options: argparse.Namespace) -> None:
    """Print the licence of the weights, convert the weights, and print the converted encoders."""
    from omnidistill.encoding.encoders.convert import LICENCES, convert

    print_note(options, f"licence  {LICENCES[options.model]}")
    result = convert(
        options.model, options.weights, options.output, options.modality, options.vocabulary, force=options.force
    )
    encoders = [word for reference in result.encoders for word in ("--encoder", reference)]
    following = command_line("encode", "MANIFEST", *encoders, "-o", "SET")
    lines = []
    for tower in result.towers:
        size = f"{tower.parameters:,} parameters, {tower.bytes:,} bytes, sha256 {tower.sha256[:12]}..."
        lines.append(f"tower    {options.output / tower.name} ({size})")
    if result.vocabulary is None:
        lines.append(
            "note     no CLIP vocabulary (merges.txt, bpe_simple_vocab_16e6.txt.gz or tokenizer.json) next to the "
            f"weights; to encode text, copy CLIP's merges.txt to {options.output}"
        )
    content = {"output": options.output, "licence": LICENCES[options.model], **asdict(result), "next": following}
    print_result(options, content, [*lines, f"next     {following}"])
