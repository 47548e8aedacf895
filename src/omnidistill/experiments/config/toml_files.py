"""Read settings files: the TOML files in the package, and the user's TOML or JSON files."""

from __future__ import annotations

import tomllib
from importlib import resources
from pathlib import Path
from typing import Any

from omnidistill.core.errors import InputError
from omnidistill.io.artifacts import read_json


def packaged_files(folder: str) -> dict[str, str]:
    """Map the name of each TOML file in a folder of the package to its text, sorted by name.

    Names have the form "name" or "subfolder/name".
    """
    texts: dict[str, str] = {}
    for entry in (resources.files("omnidistill") / folder).iterdir():
        for file in entry.iterdir() if entry.is_dir() else [entry]:
            if file.name.endswith(".toml"):
                place = f"{entry.name}/" if entry.is_dir() else ""
                texts[place + file.name.removesuffix(".toml")] = file.read_text("utf-8")
    return dict(sorted(texts.items()))


def first_lines(folder: str) -> dict[str, str]:
    """Map the name of each TOML file in a folder of the package to the first line of its comment."""
    return {name: text.partition("\n")[0].lstrip("# ") for name, text in packaged_files(folder).items()}


def read_toml(text: str, where: str) -> dict[str, Any]:
    """Parse TOML. Raises InputError with the position of a syntax error."""
    try:
        return tomllib.loads(text)
    except ValueError as error:
        raise InputError(f"{where}: not valid TOML ({error}); correct the syntax") from None


def read_file(path: Path) -> dict[str, Any]:
    """Read and parse a TOML file, or a JSON file (.json) such as `omnidistill config` prints.

    Raises:
        InputError: the file is missing or not valid.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file; pass the path of a TOML file")
    if path.suffix.lower() == ".json":
        settings: dict[str, Any] = read_json(path)
        return settings
    try:
        text = path.read_bytes().decode()
    except ValueError as error:
        raise InputError(f"{path}: not valid TOML ({error}); save the file as UTF-8") from None
    return read_toml(text, str(path))
