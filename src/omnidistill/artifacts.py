"""The only file that touches disk formats: atomic, durable, checksummed, versioned. Nothing is ever unpickled.

A file is replaced in one step: temp file beside it -> write -> flush -> fsync -> os.replace -> fsync of the folder.
Tensors are safetensors: u64 header length, JSON header, raw data (https://github.com/huggingface/safetensors).
An artifact is a folder of two files, the second written last:

    tensors-<first 12 hex digits of its sha256>.safetensors
    manifest.json   {"format": "omnidistill", "version": 1, "kind", "files", "meta", "sha256": checksum of the rest}

Tensors are named by their content, so those of the previous version stay until the new manifest, the commit point, is in
place: a writer killed anywhere leaves the old artifact or the new one. Writing needs POSIX (flock, fsync of folders).
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import math
import os
import re
import secrets
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from omnidistill.errors import InputError

FORMAT, VERSION, MANIFEST = "omnidistill", 1, "manifest.json"


@dataclass(frozen=True)
class FileRecord:
    """What a manifest says of a file beside it: plain name, size in bytes, sha256 as 64 hex digits."""

    name: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Artifact:
    """A loaded artifact. The tensors are views of the mapped file: read them, never write to them."""

    tensors: dict[str, Tensor]
    meta: dict[str, Any]
    files: tuple[FileRecord, ...]


def save_artifact(folder: Path, kind: str, tensors: Mapping[str, Tensor], meta: Mapping[str, Any]) -> None:
    """Write, or replace in one step, the artifact in `folder` (made if missing); `meta` is plain JSON, no NaN or Inf.

    Raises InputError if `folder` is a file, holds another kind or a manifest that cannot be read, is being saved to by
    another process, or cannot be written; what was there before is then untouched and nothing is left behind.
    """
    body = {"format": FORMAT, "version": VERSION, "kind": kind, "meta": _plain(meta, f"{folder}: meta")}
    with _made(folder), _saving(folder):
        old = _manifest(folder, kind) if os.path.lexists(folder / MANIFEST) else None
        present = set(os.listdir(folder))
        try:
            record = _replace(folder, lambda sha256: f"tensors-{sha256[:12]}.safetensors", _serialised(folder, tensors))
            body["files"] = [asdict(record)]
            body["sha256"] = _checksum(body)
            write_atomic(folder / MANIFEST, json.dumps(body, indent=1, allow_nan=False).encode() + b"\n")
        except BaseException:
            with suppress(OSError, InputError):
                ours = {name for name in os.listdir(folder) if re.fullmatch(_TENSORS_NAME, name)} - present
                now = _manifest(folder, kind) if os.path.lexists(folder / MANIFEST) else {"files": []}
                _delete(folder, ours - {file["name"] for file in now["files"]})
            raise
        _delete(folder, {file["name"] for file in old["files"]} - {record.name} if old else set())


def load_artifact(folder: Path, kind: str, verify: bool = True) -> Artifact:
    """Read the artifact of this kind; `verify` also compares the sha256 of the tensors (one pass over the file).

    Raises InputError, naming file and field, for anything missing, truncated, altered, of another kind or newer version.
    """
    manifest = _manifest(folder, kind)
    while True:
        try:
            record = _record(folder, manifest)
            _check(folder / record.name, record, verify)
            return Artifact(_mapped(folder / record.name), manifest["meta"], (record,))
        except InputError:
            latest = _manifest(folder, kind)
            if latest == manifest:  # otherwise a writer replaced the artifact between our two reads
                raise
            manifest = latest


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> FileRecord:
    """Write named dense tensors (any shape, any dtype of `_DTYPES`) as one safetensors file, one tensor in memory at a time.

    Raises InputError if a tensor cannot be stored or the file not be written; a file already there is then untouched.
    """
    with _made(path.parent):
        return _replace(path.parent, lambda _: path.name, _serialised(path, tensors))


def read_tensors(path: Path, record: FileRecord | None = None) -> dict[str, Tensor]:
    """The tensors of a safetensors file, memory-mapped on CPU: read them, never write to them.

    With `record`, size and sha256 are compared first. Raises InputError if the file is missing, damaged or of another
    format, a pickle above all.
    """
    if record is not None:
        _check(path, record, verify=True)
    return _mapped(path)


def write_atomic(path: Path, data: bytes) -> None:
    """Replace `path` (parents made if missing) by `data`: after a crash it holds the old bytes or the new, in full.

    Raises InputError if it cannot be written; a file already there is then untouched.
    """
    with _made(path.parent):
        _replace(path.parent, lambda _: path.name, (data,))


def read_json(path: Path) -> Any:
    """The JSON object in `path`, as a dict. Raises InputError for anything else, duplicate keys and NaN or Inf included."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise InputError(f"{path}: not a regular file, expected a JSON file")
        value = json.loads(
            path.read_bytes().decode(),
            object_pairs_hook=_unique,
            parse_constant=_finite,
            parse_float=_finite,
        )
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({_reason(error)})") from error
    except (ValueError, RecursionError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: not valid JSON ({error}); the file is damaged or of another format") from error
    if not isinstance(value, dict):
        raise InputError(f"{path}: expected a JSON object, found {type(value).__name__}")
    return value


@contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Hold `folder` (made if missing) as its only writer; temp files that killed writers left in it are cleared.

    The lock is the kernel's, on `folder/.lock`: it goes with the process, however that ends. Raises InputError if held.
    """
    path = folder / ".lock"
    with _made(folder):
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
        except OSError as error:
            raise InputError(f"{path}: cannot be opened ({_reason(error)}); choose another folder") from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            pid = os.pread(handle, 32, 0).decode(errors="replace").strip() or "unknown"
            raise InputError(
                f"{folder}: in use by another process (pid {pid}); wait for it or choose another folder"
            ) from error
        except OSError as error:
            raise InputError(
                f"{path}: cannot be locked ({_reason(error)}); choose a folder on a file system with locks"
            ) from error
        with suppress(OSError):  # the pid is a courtesy to whoever comes second
            os.ftruncate(handle, 0)
            os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        for temp in folder.rglob(f"{_TEMP}*"):
            with suppress(OSError):
                temp.unlink()
        yield
    finally:
        os.close(handle)


_TEMP = ".omnidistill-temp-"
_TENSORS_NAME = r"tensors-[0-9a-f]{12}\.safetensors"
_CHUNK_BYTES = 1 << 24
_DTYPES = {  # in the order of the format's reference writer, which stores the last of these first
    torch.bool: "BOOL",
    torch.uint8: "U8",
    torch.int8: "I8",
    torch.int16: "I16",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int32: "I32",
    torch.float32: "F32",
    torch.float64: "F64",
    torch.int64: "I64",
}
_LOOKS_LIKE = {
    b"PK\x03\x04": "a zip archive, as torch.save and numpy.savez write",
    b"\x80": "a Python pickle",
    b"\x93NUMPY": "a numpy array",
    b"\x89HDF": "an HDF5 file",
    b"PAR1": "a Parquet file",
}


def _serialised(path: Path, tensors: Mapping[str, Tensor]) -> Iterator[bytes | memoryview]:
    """The bytes of a safetensors file, piece by piece; equal to those of `safetensors.torch.save`."""
    for name, tensor in tensors.items():
        if name == "__metadata__" or tensor.dtype not in _DTYPES or tensor.layout != torch.strided or tensor.is_meta:
            raise InputError(
                f"{path}: tensor {name!r} ({tensor.dtype}, {tensor.layout}) cannot be stored; "
                f"allowed are dense tensors of {', '.join(_DTYPES.values())}, under any name but '__metadata__'"
            )
    rank = {dtype: -position for position, dtype in enumerate(_DTYPES)}
    ordered = sorted(tensors.items(), key=lambda item: (rank[item[1].dtype], item[0]))
    header: dict[str, Any] = {}
    end = 0
    for name, tensor in ordered:
        begin, end = end, end + tensor.numel() * tensor.element_size()
        header[name] = {"dtype": _DTYPES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [begin, end]}
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    yield len(text).to_bytes(8, "little") + text
    for _, tensor in ordered:
        flat = memoryview(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
        for begin in range(0, len(flat), _CHUNK_BYTES):
            yield flat[begin : begin + _CHUNK_BYTES]


def _mapped(path: Path) -> dict[str, Tensor]:
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise InputError(f"{path}: not a regular file, expected a safetensors file")
        with path.open("rb") as file:
            start = file.read(8)
        return load_file(path, device="cpu")
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({_reason(error)})") from error
    except (SafetensorError, ValueError, TypeError, RuntimeError, KeyError, AttributeError, OverflowError) as error:
        if isinstance(error, InputError):
            raise
        found = next((name for magic, name in _LOOKS_LIKE.items() if start.startswith(magic)), None)
        if found is None:
            raise InputError(f"{path}: not a whole safetensors file ({_line(error)}); truncated or damaged") from error
        raise InputError(
            f"{path}: looks like {found}, expected safetensors; pickles are never read: "
            "save the tensors with safetensors.torch.save_file"
        ) from error


def _manifest(folder: Path, kind: str) -> dict[str, Any]:
    """The manifest in `folder`, every field checked, of this kind."""
    path = folder / MANIFEST
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: is a file; an omnidistill artifact is a folder with {MANIFEST}")
    if not os.path.lexists(path):
        raise InputError(f"{folder}: not an omnidistill artifact (no {MANIFEST})")
    _plain_file(path)
    manifest: dict[str, Any] = read_json(path)
    if manifest.get("format") != FORMAT:
        raise InputError(f"{path}: field 'format' is {manifest.get('format')!r}, expected {FORMAT!r}: not our manifest")
    version = manifest.get("version")
    if type(version) is not int or version < 1:
        raise InputError(f"{path}: field 'version' is {version!r}, expected 1 to {VERSION}; the file is damaged")
    if version > VERSION:
        raise InputError(
            f"{path}: written by a newer omnidistill (version {version}; this one reads up to {VERSION}): upgrade"
        )
    if manifest.get("sha256") != _checksum(manifest):
        raise InputError(f"{path}: field 'sha256' does not match the content: altered or damaged; write it again")
    if manifest.get("kind") != kind:
        raise InputError(f"{path}: holds a {manifest.get('kind')!r}, expected {kind!r}; choose another folder")
    if set(manifest) != {"format", "version", "kind", "files", "meta", "sha256"} or type(manifest["meta"]) is not dict:
        raise InputError(f"{path}: fields {sorted(manifest)}, expected format, version, kind, files, meta, sha256")
    _record(folder, manifest)
    return manifest


def _record(folder: Path, manifest: Mapping[str, Any]) -> FileRecord:
    path = folder / MANIFEST
    match manifest["files"]:
        case [{"name": str(name), "bytes": int(size), "sha256": str(sha256), **rest}] if not rest:
            if not re.fullmatch(_TENSORS_NAME, name):
                raise InputError(f"{path}: field 'files' names {name!r}, expected tensors-<12 hex>.safetensors")
            return FileRecord(name, size, sha256)
    raise InputError(f"{path}: field 'files' is not one entry of name, bytes and sha256")


def _check(path: Path, record: FileRecord, verify: bool) -> None:
    size = _plain_file(path).st_size
    if size != record.bytes:
        raise InputError(f"{path}: {size} bytes, expected {record.bytes}: truncated or altered; write it again")
    if verify:
        try:
            with path.open("rb") as file:
                sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({_reason(error)})") from error
        if sha256 != record.sha256:
            raise InputError(f"{path}: sha256 {sha256[:12]}..., expected {record.sha256[:12]}...: altered or damaged")


def _plain_file(path: Path) -> os.stat_result:
    try:
        found = path.lstat()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({_reason(error)})") from error
    if not stat.S_ISREG(found.st_mode):
        raise InputError(f"{path}: is a link or no regular file; an artifact's files lie in its own folder")
    return found


def _replace(folder: Path, name: Callable[[str], str], pieces: Iterable[bytes | memoryview]) -> FileRecord:
    """Write `pieces` to a temp file in `folder`, then move it to `name(sha256)`; the temp file is gone on any failure."""
    temp = folder / f"{_TEMP}{secrets.token_hex(8)}"
    digest = hashlib.sha256()
    moved = False
    try:
        with open(temp, "xb") as file:
            for piece in pieces:
                file.write(piece)
                digest.update(piece)
            file.flush()
            os.fsync(file.fileno())
            record = FileRecord(name(digest.hexdigest()), file.tell(), digest.hexdigest())
        os.replace(temp, folder / record.name)
        moved = True
        _sync(folder)
        return record
    except OSError as error:
        if moved:
            raise InputError(f"{folder / record.name}: written, but maybe not to stay ({_reason(error)})") from error
        raise InputError(
            f"{folder / name('')}: cannot be written ({_reason(error)}); the previous version is untouched: "
            "free space or choose another folder"
        ) from error
    finally:
        with suppress(OSError):
            temp.unlink(missing_ok=True)


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some file systems cannot sync a folder
            raise
    finally:
        os.close(handle)


@contextmanager
def _made(folder: Path) -> Iterator[None]:
    """`folder` with its parents; those that had to be made are removed again if the body fails and left them empty."""
    missing = [place for place in (folder, *folder.parents) if not os.path.lexists(place)]
    try:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for place in missing:
                _sync(place.parent)
        except OSError as error:
            raise InputError(f"{folder}: cannot be made ({_reason(error)}); choose another folder") from error
        yield
    except BaseException:
        for place in missing:
            with suppress(OSError):
                place.rmdir()
        raise


@contextmanager
def _saving(folder: Path) -> Iterator[None]:
    """One save at a time: a kernel lock on the folder itself, which leaves no file behind."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise InputError(
            f"{folder}: being saved to by another process; wait for it or choose another folder"
        ) from error
    finally:
        os.close(handle)


def _delete(folder: Path, names: Iterable[str]) -> None:
    for name in names:
        with suppress(OSError):
            (folder / name).unlink()


def _checksum(manifest: Mapping[str, Any]) -> str:
    rest = {key: value for key, value in manifest.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()).hexdigest()


def _plain(value: Any, field: str) -> Any:
    """`value` as JSON gives it back (tuples become lists), or InputError naming the field."""
    match value:
        case None | bool() | int() | str():
            return value
        case float() if math.isfinite(value):
            return value
        case list() | tuple():
            return [_plain(item, f"{field}[{index}]") for index, item in enumerate(value)]
        case Mapping() if all(isinstance(key, str) for key in value):
            return {key: _plain(item, f"{field}.{key}") for key, item in value.items()}
    raise InputError(
        f"{field}: {value!r} cannot be stored; allowed are finite numbers, text, lists and text-keyed dicts"
    )


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) < len(pairs):
        raise ValueError("a key occurs twice")
    return dict(pairs)


def _finite(text: str) -> float:
    if not math.isfinite(number := float(text)):
        raise ValueError(f"{text} is not a finite number")
    return number


def _reason(error: OSError) -> str:
    return error.strerror or _line(error)


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
