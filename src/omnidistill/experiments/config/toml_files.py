"""TOML files: those that ship with the package, and those of a user."""

from __future__ import annotations

import tomllib
from importlib import resources
from pathlib import Path
from typing import Any

from omnidistill.core.errors import InputError


def shipped(folder: str) -> dict[str, str]:
    """Text of every file in a folder of the package, by name ("name", or "subfolder/name"), sorted."""
    found: dict[str, str] = {}
    for entry in (resources.files("omnidistill") / folder).iterdir():
        for file in entry.iterdir() if entry.is_dir() else [entry]:
            if file.name.endswith(".toml"):
                place = f"{entry.name}/" if entry.is_dir() else ""
                found[place + file.name.removesuffix(".toml")] = file.read_text("utf-8")
    return dict(sorted(found.items()))


def headlines(folder: str) -> dict[str, str]:
    """One line on every such file: the first of its comment."""
    return {name: text.partition("\n")[0].lstrip("# ") for name, text in shipped(folder).items()}


def read_toml(text: str, where: str) -> dict[str, Any]:
    """Parse; InputError naming the place where it is no TOML."""
    try:
        return tomllib.loads(text)
    except ValueError as error:
        raise InputError(f"{where}: not valid TOML: {error}") from None


def read_file(path: Path) -> dict[str, Any]:
    """Read and parse a file. Raises InputError for none, or one that is no TOML."""
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        text = path.read_bytes().decode()
    except ValueError as error:
        raise InputError(f"{path}: not valid TOML: {error}") from None
    return read_toml(text, str(path))
