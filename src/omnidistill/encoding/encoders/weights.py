"""Where weights come from: a folder, or a repository of the Hugging Face hub at a fixed revision; and their checksum.

Weights are safetensors only, and no code that lies beside them is run.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omnidistill.core.errors import InputError
from omnidistill.core.optional import require
from omnidistill.io.artifacts import read_json

_LICENCE_LINE = re.compile(r"""^(license(?:_name)?): *['"]?([\w.+-][\w .+-]*?)['"]? *$""", re.MULTILINE)
_WANTED = ["*.safetensors", "*.json", "*.txt", "*.model", "README.md"]  # a star: in folders too, as 1_Pooling


def model_folder(source: str) -> Path:
    """The folder of a model: `source` itself, or that of `OWNER/NAME@REVISION` in the hub's cache, fetched if missing.

    Raises InputError for a folder without config.json or without safetensors, a hub id without revision, and one that
    cannot be had.
    """
    folder = Path(source) if Path(source).is_dir() else _from_hub(source)
    if not (folder / "config.json").is_file():
        raise InputError(f"{source}: no config.json in it; expected a model saved in the manner of transformers")
    if not weight_files(folder):
        raise InputError(
            f"{source}: no .safetensors in it; weights in other formats are not read: convert them with "
            "save_pretrained(safe_serialization=True)"
        )
    return folder


def weight_files(folder: Path) -> list[Path]:
    """The safetensors of a folder, sorted by name."""
    return sorted(folder.glob("*.safetensors"))


def model_config(folder: Path) -> dict[str, Any]:
    """config.json, as it is."""
    config: dict[str, Any] = read_json(folder / "config.json")
    return config


def card_licence(folder: Path) -> str | None:
    """The licence that a model's card (README.md) names in its head, None without a card or a licence in it."""
    try:
        card = (folder / "README.md").read_text("utf-8", errors="replace")
    except OSError:
        return None
    head = re.match(r"\s*---\n(.*?)\n---", card, re.DOTALL)
    named = dict(_LICENCE_LINE.findall(head[1])) if head else {}
    return named.get("license_name") or named.get("license")


def sha256_of(files: Sequence[Path]) -> str:
    """One sha256 (64 hex digits) of files: that of their own, in the order given."""
    whole = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            whole.update(hashlib.file_digest(file, "sha256").digest())
    return whole.hexdigest()


def digest(settings: Any) -> str:
    """A short name (12 hex digits) for settings given as JSON values."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode()).hexdigest()[:12]


def _from_hub(source: str) -> Path:
    name, _, revision = source.partition("@")
    if name.count("/") != 1 or name.startswith((".", "/", "~")):
        raise InputError(f"{source}: no such folder; give the folder of a model, or OWNER/NAME@REVISION of the hub")
    if not revision:
        raise InputError(f"{source}: the hub may change what it holds; name a revision: {source}@COMMIT")
    hub = require("huggingface_hub", "encoders")
    try:
        return Path(hub.snapshot_download(name, revision=revision, allow_patterns=_WANTED))
    except Exception as error:  # of the hub's client, its HTTP library or the system: all mean that it is not to be had
        raise InputError(f"{source}: cannot be had from the hub ({' '.join(str(error).split())[:200]})") from error
