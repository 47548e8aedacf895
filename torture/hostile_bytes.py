"""Damage that any reader may meet: {name: function that puts something hostile in the place of a good file}."""

from __future__ import annotations

import os
import pickle
import random
from collections.abc import Callable
from pathlib import Path

Damage = Callable[[Path], None]


def _content(data: bytes | Callable[[bytes], bytes]) -> Damage:
    def damage(path: Path) -> None:
        path.write_bytes(data(path.read_bytes()) if callable(data) else data)

    return damage


def _instead(create: Callable[[Path], object]) -> Damage:
    def damage(path: Path) -> None:
        path.unlink()
        create(path)

    return damage


def _flipped(share: float, seed: int) -> Callable[[bytes], bytes]:
    def flip(data: bytes) -> bytes:
        draw, changed = random.Random(seed), bytearray(data)
        for _ in range(max(1, round(share * len(data)))):
            if changed:
                changed[draw.randrange(len(changed))] = draw.randrange(256)
        return bytes(changed)

    return flip


class _Trap:
    """Unpickling this fails loudly."""

    def __reduce__(self) -> tuple[object, ...]:
        return (exec, ("raise SystemError('was unpickled')",))


DAMAGES: dict[str, Damage] = {
    "empty": _content(b""),
    "one byte": _content(b"\x00"),
    "a megabyte of zeros": _content(bytes(2**20)),
    "random bytes": _content(random.Random(0).randbytes(4096)),
    "text": _content(b"hello\n"),
    "not UTF-8": _content(b"\xff\xfe\xfa\n" * 20),
    "UTF-16": _content("id,split\na,train\n".encode("utf-16")),
    "a pickle": _content(pickle.dumps(_Trap())),
    "deep brackets": _content(b"[" * 200_000),
    "deep braces": _content(b'{"a":' * 50_000),
    "first half": _content(lambda data: data[: len(data) // 2]),
    "last byte missing": _content(lambda data: data[:-1]),
    "twice": _content(lambda data: data + data),
    "few flipped bytes": _content(_flipped(0.002, 1)),
    "many flipped bytes": _content(_flipped(0.1, 2)),
    "zeros at the start": _content(lambda data: bytes(16) + data[16:]),
    "missing": Path.unlink,
    "a FIFO": _instead(os.mkfifo),
    "a link to /dev/zero": _instead(lambda path: path.symlink_to("/dev/zero")),
    "a link to a terminal": _instead(lambda path: path.symlink_to("/dev/ptmx")),
    "a link to nothing": _instead(lambda path: path.symlink_to("nowhere")),
    "a link to itself": _instead(lambda path: path.symlink_to(path.name)),
    "a folder": _instead(Path.mkdir),
}
