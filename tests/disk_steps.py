"""The steps by which bytes reach the disk: they are counted, and one of them fails or ends the process."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest


class Killed(BaseException):
    """The process is gone: nothing of ours may run after it, so every later step raises it again."""


class Steps:
    """Counts the steps by which bytes reach the disk, and makes one of them fail; keeps their names in order."""

    def __init__(self, fail_at: int | None = None, with_: Callable[[], BaseException] = Killed) -> None:
        self.fail_at, self.with_ = fail_at, with_
        self.log: list[str] = []

    def require_alive(self) -> None:
        if self.with_ is Killed and self.fail_at is not None and len(self.log) > self.fail_at:
            raise Killed

    def take(self, name: str) -> None:
        self.log.append(name)
        step = len(self.log) - 1
        if self.fail_at is not None and (step == self.fail_at or (self.with_ is Killed and step > self.fail_at)):
            raise self.with_()


class HalfWriter:
    """A file that has taken half of a piece when the failing step comes."""

    def __init__(self, file: Any, steps: Steps) -> None:
        self.file, self.steps = file, steps

    def write(self, piece: bytes | memoryview | str) -> None:
        if isinstance(piece, str):
            piece = piece.encode()
        self.file.write(piece[: len(piece) // 2])
        self.steps.take("write")
        self.file.write(piece[len(piece) // 2 :])

    def __enter__(self) -> HalfWriter:
        return self

    def __exit__(self, *error: object) -> None:
        self.file.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)


@contextmanager
def disk(steps: Steps) -> Iterator[None]:
    """Pass every step through `steps` in the block."""
    real_open, real_unlink = Path.open, Path.unlink
    real_fsync, real_replace, real_mkdir, real_pwrite = os.fsync, os.replace, os.mkdir, os.pwrite

    def opened(path: Path, mode: str = "r", *rest: Any, **named: Any) -> Any:
        if not set(mode) & set("wxa+"):
            return real_open(path, mode, *rest, **named)
        steps.take("create")
        return HalfWriter(real_open(path, f"{mode.replace('b', '')}b", 0), steps)

    def fsync(handle: int) -> None:
        steps.take("sync folder" if os.path.isdir(f"/proc/self/fd/{handle}") else "sync file")
        real_fsync(handle)

    def replace(source: Path, target: Path) -> None:
        steps.take(f"replace {re.sub('[0-9a-f]{12}', '*', Path(target).name)}")
        real_replace(source, target)

    def pwrite(handle: int, data: bytes, offset: int) -> int:
        half = real_pwrite(handle, data[: len(data) // 2], offset)
        steps.take("append")
        return half + real_pwrite(handle, data[half:], offset + half)

    def unlink(path: Path, missing_ok: bool = False) -> None:
        if path.suffix == ".lock":  # carries no data
            steps.require_alive()
        elif os.path.lexists(path):
            steps.take("delete")
        real_unlink(path, missing_ok)

    def mkdir(path: Path, *arguments: Any, **named: Any) -> None:
        if not os.path.lexists(path):
            steps.take("mkdir")
        real_mkdir(path, *arguments, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "open", opened)
        patch.setattr(Path, "unlink", unlink)
        patch.setattr(os, "fsync", fsync)
        patch.setattr(os, "replace", replace)
        patch.setattr(os, "mkdir", mkdir)
        patch.setattr(os, "pwrite", pwrite)
        yield
