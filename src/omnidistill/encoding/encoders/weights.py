"""Find model folders, locally or on the Hugging Face hub at a fixed revision, and compute checksums of their weights.

Weights are read only from safetensors files, and no code in the folder is executed.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omnidistill.core.errors import InputError
from omnidistill.core.json_value import Json
from omnidistill.core.optional import require
from omnidistill.io.input_files import open_input, read_json

_LICENCE_LINE = re.compile(r"""^(license(?:_name)?): *['"]?([\w.+-][\w .+-]*?)['"]? *$""", re.MULTILINE)
_PATTERNS = ["*.safetensors", "*.json", "*.txt", "*.model", "README.md"]  # match also in subfolders, such as 1_Pooling


def model_folder(source: str) -> Path:
    """Return the folder of a model, after downloading it if necessary.

    Args:
        source: a folder, or OWNER/NAME@REVISION on the Hugging Face hub. Files in the hub's local cache are not
            downloaded again.

    Raises:
        InputError: the folder has no config.json or no safetensors file, the name on the hub has no revision, or the
            download fails.
    """
    folder = Path(source) if Path(source).is_dir() else _from_hub(source)
    if not (folder / "config.json").is_file():
        raise InputError(f"{source}: contains no config.json; pass a model saved by transformers (save_pretrained)")
    if not weight_files(folder):
        raise InputError(
            f"{source}: contains no .safetensors file; convert weights in other formats with "
            "save_pretrained(safe_serialization=True)"
        )
    return folder


def weight_files(folder: Path) -> list[Path]:
    """Return the safetensors files of a folder, sorted by name."""
    return sorted(folder.glob("*.safetensors"))


def model_config(folder: Path) -> dict[str, Json]:
    """Return the content of config.json."""
    config: dict[str, Json] = read_json(folder / "config.json")
    return config


def card_licence(folder: Path) -> str | None:
    """Return the licence from the front matter of a model card (README.md); None if the card states no licence."""
    try:
        card = (folder / "README.md").read_text("utf-8", errors="replace")
    except OSError:
        return None
    head = re.match(r"\s*---\n(.*?)\n---", card, re.DOTALL)
    fields = dict(_LICENCE_LINE.findall(head[1])) if head else {}
    return fields.get("license_name") or fields.get("license")


def sha256_of(files: Sequence[Path]) -> str:
    """Return one sha256 (64 hex digits) for several files: the hash of the files' hashes, in the given order."""
    total = hashlib.sha256()
    for path in files:
        with open_input(path) as file:
            total.update(hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()


def digest(settings: Any) -> str:
    """Return a short hash (12 hex digits) of settings, which must be JSON values."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode()).hexdigest()[:12]


def _from_hub(source: str) -> Path:
    name, _, revision = source.partition("@")
    if name.count("/") != 1 or name.startswith((".", "/", "~")):
        raise InputError(
            f"{source}: no such folder; pass the folder of a model, or OWNER/NAME@REVISION on the Hugging Face Hub"
        )
    if not revision:
        raise InputError(
            f"{source}: the revision is missing; use {source}@COMMIT, because a repository on the Hub can change"
        )
    hub = require("huggingface_hub", "encoders")
    try:
        return Path(hub.snapshot_download(name, revision=revision, allow_patterns=_PATTERNS))
    except Exception as error:  # the hub client, its HTTP library and the system raise many types of exceptions
        raise InputError(
            f"{source}: the download from the Hugging Face Hub failed ({' '.join(str(error).split())[:200]}); "
            "check the name, the revision and the network connection"
        ) from error
