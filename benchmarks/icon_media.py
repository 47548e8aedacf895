"""Pictures and sounds of the icons dataset. Files are named by what they were made from, so they are made only once."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Sequence
from pathlib import Path

from omnidistill.core.errors import InputError

SIDE, MARGIN = 260, 20
"""Pixels of a picture and of the white margin around the drawing; 260 is what efficientnet-lite2 reads."""

ElementTree.register_namespace("", "http://www.w3.org/2000/svg")
ElementTree.register_namespace("xlink", "http://www.w3.org/1999/xlink")

Rasteriser = Callable[[str], bytes]
"""Makes a PNG file of an SVG with 260 x 260 pixels."""


def open_rasteriser() -> Rasteriser:
    """Return the function of resvg that makes pictures.

    Raises:
        InputError: resvg_py is not installed.
    """
    try:
        from resvg_py import svg_to_bytes
    except ImportError as error:
        raise InputError("resvg_py, which makes pictures of drawings, is missing; run: pip install resvg_py") from error
    return lambda svg: bytes(svg_to_bytes(svg_string=svg, background="white", skip_system_fonts=True))


def find_voice() -> str:
    """Return the path of espeak-ng.

    Raises:
        InputError: it is not installed.
    """
    program = shutil.which("espeak-ng")
    if program is None:
        raise InputError("espeak-ng, which speaks the names, is missing; run: apt-get install espeak-ng")
    return program


def framed(drawing: Path) -> str:
    """Return an SVG that shows a drawing in black, centred on 260 x 260 pixels.

    Raises:
        InputError: the drawing is not an SVG.
    """
    try:
        root = ElementTree.fromstring(drawing.read_text("utf-8"))
    except (OSError, ValueError, ElementTree.ParseError) as error:
        raise InputError(f"{drawing}: cannot be read as SVG ({error})") from error
    if "viewBox" not in root.attrib:
        root.set("viewBox", f"0 0 {root.get('width', 24)} {root.get('height', 24)}")
    inner = str(SIDE - 2 * MARGIN)
    for name, value in {"x": str(MARGIN), "y": str(MARGIN), "width": inner, "height": inner}.items():
        root.set(name, value)
    body = ElementTree.tostring(root, encoding="unicode")
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{SIDE}" height="{SIDE}" viewBox="0 0 {SIDE} {SIDE}">'
        f'<g color="black">{body}</g></svg>'
    )


def draw(drawing: Path, folder: Path, rasterise: Rasteriser) -> tuple[str, bool]:
    """Make the picture of a drawing unless it exists. Return the name of its file, and whether it is new.

    Raises:
        InputError: the drawing is not an SVG, or cannot be drawn.
    """
    svg = framed(drawing)
    name = f"{_digest(svg)}.png"
    if (folder / name).is_file():
        return name, False
    try:
        picture = rasterise(svg)
    except ValueError as error:
        raise InputError(f"{drawing}: cannot be drawn ({' '.join(str(error).split())})") from error
    part = folder / f"{name}.part"
    part.write_bytes(picture)
    part.replace(folder / name)
    return name, True


def speak(text: str, voice: Sequence[str], folder: Path, program: str) -> tuple[str, bool]:
    """Speak a text in a voice, unless the sound exists. Return the name of its file, and whether it is new.

    Raises:
        InputError: espeak-ng fails, for example because it lacks the voice.
    """
    name = f"{_digest(' '.join([*voice, text]))}.wav"
    if (folder / name).is_file():
        return name, False
    part = folder / f"{name}.part"
    ran = subprocess.run([program, *voice, "-w", str(part), text], capture_output=True, text=True, check=False)
    if ran.returncode or not part.is_file():
        why = " ".join(ran.stderr.split()) or "no sound"
        raise InputError(f"espeak-ng {' '.join(voice)} {text!r}: {why}; this script was tried with espeak-ng 1.52")
    part.replace(folder / name)
    return name, True


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:24]
