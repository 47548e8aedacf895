"""The verb `convert`: what may be typed, and what is printed. No logic."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import Any

from omnidistill.cli.printing import add_json, note, tell

_EPILOG = """imagebind WEIGHTS: the file imagebind_huge.pth, fetched by you: CC-BY-NC 4.0, not for commercial use.
languagebind WEIGHTS: the folder of a published model, config.json with its weights; one folder a model.
Pickled weights are read as tensors only: what would run code is refused."""


def add_convert_verb(added: Any) -> None:
    """Add `convert` to the verbs of a parser."""
    text = "make an encoder of published weights: ImageBind, LanguageBind"
    verb: argparse.ArgumentParser = added.add_parser("convert", help=text, epilog=_EPILOG)
    verb.set_defaults(verb=convert)
    verb.add_argument("model", choices=("imagebind", "languagebind"), metavar="MODEL", help="imagebind or languagebind")
    verb.add_argument("weights", type=Path, metavar="WEIGHTS", help="a file, or the folder of a model; see below")
    verb.add_argument("--modality", choices=("video", "image", "audio"), help="what a LanguageBind model reads")
    verb.add_argument(
        "--vocabulary", type=Path, metavar="FILE", help="CLIP's merges.txt, for texts (default: beside the weights)"
    )
    verb.add_argument("-o", "--output", type=Path, required=True, metavar="DIR", help="the folder to write")
    add_json(verb)


def convert(options: argparse.Namespace) -> None:
    """Show the licence, convert; print what was made and what comes next."""
    from omnidistill.encoding.encoders.convert import LICENCES, convert

    note(options, f"licence  {LICENCES[options.model]}")
    made = convert(options.model, options.weights, options.output, options.modality, options.vocabulary)
    encoders = " ".join(f"--encoder {reference}" for reference in made.encoders)
    following = f"omnidistill encode MANIFEST {encoders} -o SET"
    lines = []
    for tower in made.towers:
        weight = f"{tower.parameters:,} parameters, {tower.bytes:,} bytes, sha256 {tower.sha256[:12]}..."
        lines.append(f"tower    {options.output / tower.name} ({weight})")
    if made.vocabulary is None:
        lines.append(
            f"note     no vocabulary beside the weights; to encode texts, put CLIP's merges.txt into {options.output}"
        )
    content = {"output": options.output, "licence": LICENCES[options.model], **asdict(made), "next": following}
    tell(options, content, [*lines, f"next     {following}"])
