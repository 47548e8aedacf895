"""Kinds of media, and the file suffixes by which they are recognised."""

from __future__ import annotations

from typing import Literal, get_args

Kind = Literal["video", "audio", "image", "text"]
KINDS: tuple[Kind, ...] = get_args(Kind)

SUFFIXES: dict[Kind, tuple[str, ...]] = {
    "video": (".mp4", ".mkv", ".webm", ".avi", ".mov", ".m4v", ".mpg", ".mpeg", ".flv", ".wmv", ".ts", ".3gp", ".gif"),
    "audio": (".wav", ".flac", ".mp3", ".m4a", ".aac", ".ogg", ".opus", ".aiff"),
    "image": (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"),
    "text": (".txt",),
}
"""File suffixes of each kind of media. `check_manifest` also looks at the content of the files."""

KIND_OF: dict[str, Kind] = {suffix: kind for kind, suffixes in SUFFIXES.items() for suffix in suffixes}
"""{file suffix: kind of media}."""
