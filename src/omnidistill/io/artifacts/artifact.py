"""Artifacts: folders that contain tensors and a manifest, and are replaced atomically.

tensors-<first 12 hex digits of the file's sha256>.safetensors
NAME.json       optional sidecars: JSON that readers can do without; each names the tensor file that it belongs to
manifest.json   {"format": "omnidistill", "version": 1, "kind", "files", "meta", "sha256": checksum of the rest}

The name of the tensor file depends on its content, so the previous file stays until the new manifest is in place.
Replacing the manifest is the commit point: a writer that is killed at any time leaves either the old artifact or the
new one, never a mixture.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from omnidistill.core.errors import InputError
from omnidistill.io.artifacts.files import (
    TENSORS,
    FileRecord,
    check,
    clear_temps,
    create_again,
    making,
    replace,
    write_atomic,
)
from omnidistill.io.artifacts.locks import saving
from omnidistill.io.artifacts.tensor_file import Pieces, check_path, read_tensors, serialised, tensor_file_bytes
from omnidistill.io.input_files import read_json, regular_file

FORMAT, VERSION, MANIFEST = "omnidistill", 1, "manifest.json"


@dataclass(frozen=True)
class Artifact:
    """A loaded artifact. Its tensors are memory-mapped. Writing to them never changes the file."""

    tensors: dict[str, Tensor]
    meta: dict[str, Any]
    files: tuple[FileRecord, ...]
    sidecars: dict[str, dict[str, Any]] = field(default_factory=dict)
    bytes: int = 0
    """Size of the tensor file and the manifest."""


def save_artifact(
    folder: Path,
    kind: str,
    tensors: Mapping[str, Tensor | Pieces],
    meta: Mapping[str, Any],
    sidecars: Mapping[str, Mapping[str, Any]] | None = None,
    padding: int | None = None,
) -> None:
    """Write an artifact to `folder`, or replace the one in it.

    Args:
        folder: created if it does not exist.
        kind: kind of the artifact, such as "features" or "heads". Only an artifact of the same kind is replaced.
        tensors: {name: tensor}.
        meta: JSON values; NaN and Inf are not allowed.
        sidecars: {file name: JSON object}. These additional files are written before the manifest.
        padding: None writes an indented manifest. A number writes the manifest on one line, followed by this number of
            spaces.

    Raises:
        InputError: a value cannot be stored or written; or `folder` is a file, contains an artifact of another kind or
            a damaged manifest, or is in use by another process. The previous content is unchanged, and no temporary
            files remain.
    """
    check_path(folder)
    plain_meta = _plain(meta, f"{folder}: meta")
    with making(folder), saving(folder):
        old = _tensors_named(folder, kind)
        clear_temps(folder)
        try:
            file = replace(folder / "tensors.safetensors", serialised(folder, tensors), named_by_content=True)
            for name, content in (sidecars or {}).items():
                plain = _plain(content, f"{folder}/{name}")
                write_atomic(folder / name, json.dumps({"tensors": file.name, **plain}, indent=1).encode() + b"\n")
            write_atomic(folder / MANIFEST, _manifest_text(kind, plain_meta, file, padding))
        except BaseException:
            if _tensors_named(folder, kind) == old:  # the commit point was not reached
                _clear_tensors(folder, keep=old)
            raise
        _clear_tensors(folder, keep=file.name)


def artifact_bytes(kind: str, tensors: Mapping[str, Tensor | Pieces], meta: Mapping[str, Any], padding: int = 0) -> int:
    """Return the size in bytes of an artifact: of the tensor file and the manifest, without sidecars.

    Nothing is written, and the tensors may be on the meta device.

    Args:
        kind, tensors, meta, padding: see `save_artifact`.
    """
    size = tensor_file_bytes(tensors)
    any_content = "0" * 64
    file = FileRecord(f"tensors-{any_content[:12]}.safetensors", size, any_content)
    return size + len(_manifest_text(kind, _plain(meta, "meta"), file, padding))


def load_artifact(folder: Path, kind: str, verify: bool = True, sidecars: Sequence[str] = ()) -> Artifact:
    """Load the artifact of this kind from `folder`.

    Args:
        folder: folder of the artifact.
        kind: the expected kind.
        verify: whether to check the sha256 of the tensor file as well. This reads the complete file once.
        sidecars: names of sidecars to read. Missing sidecars and sidecars that belong to a different tensor file are
            omitted.

    Raises:
        InputError: the artifact is missing, truncated, altered, of another kind, or written by a newer version. The
            message names the file and the field.
    """
    manifest = _manifest(folder, kind)
    while True:
        file = _record(folder, manifest)
        try:
            if not os.path.lexists(folder / file.name):
                raise InputError(
                    f"{folder / file.name}: No such file, although {MANIFEST} lists it; {create_again(folder)}"
                )
            check(folder / file.name, file, verify)
            contents = {name: _sidecar(folder / name, file.name) for name in sidecars}
            extra = {name: content for name, content in contents.items() if content is not None}
            size = file.bytes + regular_file(folder / MANIFEST).st_size
            return Artifact(read_tensors(folder / file.name), manifest["meta"], (file,), extra, size)
        except InputError:
            latest = _manifest(folder, kind)
            if latest == manifest:  # otherwise a writer replaced the artifact after its manifest was read
                raise
            manifest = latest


def _manifest_text(kind: str, meta: Mapping[str, Any], file: FileRecord, padding: int | None) -> bytes:
    """Return the content of manifest.json. Its length does not depend on the values of the tensors."""
    body = {"format": FORMAT, "version": VERSION, "kind": kind, "meta": meta, "files": [asdict(file)]}
    body["sha256"] = _checksum(body)
    if padding is None:
        return json.dumps(body, indent=1).encode() + b"\n"
    return json.dumps(body, separators=(",", ":")).encode() + b" " * padding + b"\n"


def _manifest(folder: Path, kind: str) -> dict[str, Any]:
    """Read the artifact's manifest.json in `folder`, and validate all of its fields except `files`."""
    path = folder / MANIFEST
    if folder.exists() and not folder.is_dir():
        raise InputError(
            f"{folder}: is a file, but an omnidistill artifact is a folder that contains {MANIFEST}; pass the folder"
        )
    if not os.path.lexists(path):
        raise InputError(f"{folder}: not an omnidistill artifact (no {MANIFEST}); check the path")
    regular_file(path)
    try:
        manifest: dict[str, Any] = read_json(path)
    except InputError as error:
        raise InputError(f"{str(error).partition(';')[0]}; {create_again(folder)}") from error
    if manifest.get("format") != FORMAT:
        raise InputError(
            f"{path}: field 'format' is {manifest.get('format')!r}, expected {FORMAT!r}; pass an omnidistill artifact"
        )
    version = manifest.get("version")
    if type(version) is not int or version < 1:
        raise InputError(
            f"{path}: field 'version' is {version!r}, expected 1 to {VERSION}; the file is damaged, so "
            f"{create_again(folder)}"
        )
    if version > VERSION:
        raise InputError(
            f"{path}: written by a newer version of omnidistill (format version {version}, but this release reads "
            f"only up to {VERSION}); upgrade omnidistill"
        )
    if manifest.get("sha256") != _checksum(manifest):
        raise InputError(
            f"{path}: the checksum in field 'sha256' does not match the content; the file was altered or damaged, so "
            f"{create_again(folder)}"
        )
    if set(manifest) != {"format", "version", "kind", "files", "meta", "sha256"}:
        raise InputError(
            f"{path}: has the fields {sorted(manifest)}, expected 'format', 'version', 'kind', 'files', 'meta' and "
            f"'sha256'; {create_again(folder)}"
        )
    if manifest["kind"] != kind:
        raise InputError(
            f"{path}: this artifact is of kind {manifest.get('kind')!r}, expected {kind!r}; choose another folder"
        )
    if not isinstance(manifest["meta"], dict):
        raise InputError(f"{path}: field 'meta' is not a JSON object; {create_again(folder)}")
    return manifest


def _sidecar(path: Path, tensors: str) -> dict[str, Any] | None:
    """Return a sidecar's content; None if it is missing, damaged (with a warning) or belongs to different tensors."""
    if not os.path.lexists(path):
        return None
    try:
        regular_file(path)
        content: dict[str, Any] = read_json(path)
    except InputError as error:
        warnings.warn(f"{error}; the artifact is read without this file", UserWarning, stacklevel=4)
        return None
    return content if content.pop("tensors", None) == tensors else None


def _record(folder: Path, manifest: Mapping[str, Any]) -> FileRecord:
    """Return the name, size and sha256 of the tensor file that an artifact's manifest.json lists."""
    match manifest["files"]:
        case [{"name": str(name), "bytes": int(size), "sha256": str(sha256), **rest}] if (
            not rest and re.fullmatch(r"[0-9a-f]{64}", sha256) and name == f"tensors-{sha256[:12]}.safetensors"
        ):
            return FileRecord(name, size, sha256)
    raise InputError(
        f"{folder / MANIFEST}: field 'files' is {manifest['files']!r}, expected one entry with the fields 'name', "
        "'bytes' and 'sha256', where the name is tensors-<first 12 digits of sha256>.safetensors; "
        f"{create_again(folder)}"
    )


def _tensors_named(folder: Path, kind: str) -> str | None:
    """Return the name of the tensor file that manifest.json in `folder` lists; None if there is no manifest.json."""
    if not os.path.lexists(folder / MANIFEST):
        return None
    return _record(folder, _manifest(folder, kind)).name


def _clear_tensors(folder: Path, keep: str | None) -> None:
    """Delete all tensor files in a folder except `keep`, the one that manifest.json lists.

    The others were replaced, or were left by a killed writer.
    """
    with suppress(OSError):
        for name in os.listdir(folder):
            if re.fullmatch(TENSORS, name) and name != keep:
                (folder / name).unlink(missing_ok=True)


def _checksum(manifest: Mapping[str, Any]) -> str:
    rest = {key: value for key, value in manifest.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _plain(value: Any, field: str) -> Any:
    """Return `value` as JSON would read it back (tuples become lists); raise InputError if JSON cannot store it."""
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            if not math.isfinite(value):
                raise InputError(f"{field}: {value} cannot be stored; use a finite number")
            return value
        case list() | tuple():
            return [_plain(item, f"{field}[{index}]") for index, item in enumerate(value)]
        case Mapping() if all(isinstance(key, str) for key in value):
            return {key: _plain(item, f"{field}.{key}") for key, item in value.items()}
    raise InputError(
        f"{field}: a {type(value).__name__} cannot be stored as JSON; use numbers, strings, lists, and dicts with "
        "string keys"
    )
