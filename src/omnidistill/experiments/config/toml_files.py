"""Read settings files: the TOML files in the package, and the user's TOML or JSON files."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from functools import cache
from importlib import resources
from pathlib import Path
from types import MappingProxyType
from typing import Any

from omnidistill.core.errors import InputError
from omnidistill.io.input_files import MOST_LEVELS, check_levels, read_json, read_text

_PART = r"""(?:[\w-]++|"[^"\n]*+"|'[^'\n]*+')"""
_LONG_KEY = re.compile(rf"(?<![\w-]){_PART}(?:[ \t]*+\.[ \t]*+{_PART}){{{MOST_LEVELS}}}")


@cache
def packaged_files(folder: str) -> Mapping[str, str]:
    """Map the name of each TOML file in a folder of the package to its text, sorted by name.

    Names have the form "name" or "subfolder/name". The files are read once.
    """
    texts: dict[str, str] = {}
    for entry in (resources.files("omnidistill") / folder).iterdir():
        for file in entry.iterdir() if entry.is_dir() else [entry]:
            if file.name.endswith(".toml"):
                place = f"{entry.name}/" if entry.is_dir() else ""
                texts[place + file.name.removesuffix(".toml")] = file.read_text("utf-8")
    return MappingProxyType(dict(sorted(texts.items())))


def first_lines(folder: str) -> dict[str, str]:
    """Map the name of each TOML file in a folder of the package to the first line of its comment."""
    return {name: text.partition("\n")[0].lstrip("# ") for name, text in packaged_files(folder).items()}


def read_toml(text: str, where: str) -> dict[str, Any]:
    """Parse TOML. Raises InputError with the position of a syntax error."""
    try:
        return parse_toml(text)
    except ValueError as error:
        raise InputError(f"{where}: not valid TOML ({error}); correct the syntax") from None


def parse_toml(text: str) -> dict[str, Any]:
    """Parse TOML. Raises ValueError for a syntax error, or if values or dotted keys are nested too deeply."""
    if _LONG_KEY.search(text):  # the parser's memory grows with the square of the length of such a key
        raise ValueError(f"a dotted key has more than {MOST_LEVELS} parts")
    try:
        tree = tomllib.loads(text)
    except RecursionError:
        raise ValueError(f"values are nested more than {MOST_LEVELS} levels deep") from None
    check_levels(tree)
    return tree


def read_file(path: Path) -> dict[str, Any]:
    """Read and parse a TOML file, or a JSON file (.json) such as `omnidistill config` prints.

    Raises:
        InputError: the file is missing or not valid.
    """
    if not path.exists():
        raise InputError(f"{path}: no such file; pass the path of a TOML file")
    if path.suffix.lower() == ".json":
        settings: dict[str, Any] = read_json(path)
        return settings
    return read_toml(read_text(path), str(path))
