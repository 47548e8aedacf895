"""Killed, interrupted or refused by the disk at every step: old or new is there, whole; errors leave no litter."""

from __future__ import annotations

import errno
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from filelock import FileLock

from disk_steps import Killed, Steps, disk
from omnidistill.core.errors import InputError
from omnidistill.io.artifacts import exclusive, load_artifact, read_tensors, save_artifact, write_atomic, write_tensors

TENSORS = r"tensors-[0-9a-f]{12}\.safetensors"


def save(folder: Path, value: float) -> None:
    tensors = {"a": torch.full((64,), value), "b": torch.full((3, 5), int(value))}
    save_artifact(folder, "checkpoint", tensors, {"value": value})


def loaded_value(folder: Path) -> float:
    """The one value that everything in the artifact agrees on; a mix of versions fails here."""
    artifact = load_artifact(folder, "checkpoint")
    values = {artifact.meta["value"], *artifact.tensors["a"].tolist(), *artifact.tensors["b"].flatten().tolist()}
    (value,) = values
    return float(value)


def names(folder: Path) -> set[str]:
    return {re.sub("[0-9a-f]{12,}", "*", path.name) for path in folder.iterdir()}


def steps_of(action: Callable[[], None]) -> list[str]:
    steps = Steps()
    with disk(steps):
        action()
    return steps.log


CLEAN = {"manifest.json", "tensors-*.safetensors"}


@pytest.fixture
def old(tmp_path: Path) -> Path:
    save(tmp_path / "old", 1.0)
    return tmp_path / "old"


def test_bytes_are_synced_before_they_get_their_name_and_the_manifest_comes_last(old: Path) -> None:
    one_file = ["sync file", "replace {}", "sync folder"]
    log = [step for step in steps_of(lambda: save(old, 2.0)) if step != "write"]
    assert log == [
        "create",
        *(step.format("tensors-*.safetensors") for step in one_file),
        "create",
        *(step.format("manifest.json") for step in one_file),
        "delete",
    ]


def test_new_folders_are_synced_into_their_parents(tmp_path: Path) -> None:
    log = steps_of(lambda: write_atomic(tmp_path / "a" / "b" / "file", b"x"))
    assert log[:5] == ["mkdir", "sync folder", "mkdir", "sync folder", "create"]


def test_a_replacement_killed_at_every_step_leaves_old_or_new(tmp_path: Path, old: Path) -> None:
    counted = shutil.copytree(old, tmp_path / "counted")
    total = len(steps_of(lambda: save(counted, 2.0)))
    assert total > 10
    found = []
    for step in range(total):
        folder = shutil.copytree(old, tmp_path / str(step))
        with disk(Steps(step)), pytest.raises(Killed):
            save(folder, 2.0)
        found.append(loaded_value(folder))
        save(folder, 3.0)
        assert loaded_value(folder) == 3.0
        assert names(folder) == CLEAN  # the next save clears what the dead one left
        assert len(list(folder.iterdir())) == 2
    commit = found.index(2.0)
    assert found == [1.0] * commit + [2.0] * (total - commit)
    assert 0 < commit < total


def test_a_first_save_killed_at_every_step_leaves_nothing_or_all(tmp_path: Path) -> None:
    total = len(steps_of(lambda: save(tmp_path / "counted", 2.0)))
    for step in range(total):
        folder = tmp_path / str(step)
        with disk(Steps(step)), pytest.raises(Killed):
            save(folder, 2.0)
        if (folder / "manifest.json").exists():
            assert loaded_value(folder) == 2.0
        else:
            with pytest.raises(InputError, match="no manifest"):
                load_artifact(folder, "checkpoint")
        save(folder, 3.0)
        assert loaded_value(folder) == 3.0
        assert names(folder) == CLEAN


@pytest.mark.parametrize("write", [write_tensors, write_atomic])
def test_a_single_file_killed_at_every_step_is_old_or_new(tmp_path: Path, write: Callable[..., Any]) -> None:
    def content(value: float) -> Any:
        return {"a": torch.full((9,), value)} if write is write_tensors else bytes(range(int(value), 200))

    path = tmp_path / "file"
    write(path, content(1.0))
    before = path.read_bytes()
    write(path, content(2.0))
    after = path.read_bytes()
    for step in range(len(steps_of(lambda: write(path, content(2.0))))):
        write(path, content(1.0))
        with disk(Steps(step)), pytest.raises(Killed):
            write(path, content(2.0))
        assert path.read_bytes() in (before, after)


@pytest.mark.parametrize(
    "refusal",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        PermissionError(errno.EACCES, "Permission denied"),
        OSError(errno.EROFS, "Read-only file system"),
        OSError(errno.EIO, "Input/output error"),
    ],
    ids=lambda refusal: errno.errorcode[refusal.errno],
)
def test_a_disk_that_refuses_any_step_is_one_clear_line_and_nothing_is_lost(
    tmp_path: Path, old: Path, refusal: OSError
) -> None:
    counted = shutil.copytree(old, tmp_path / "counted")
    log = steps_of(lambda: save(counted, 2.0))
    for step, name in enumerate(log):
        folder = shutil.copytree(old, tmp_path / str(step))
        with disk(Steps(step, lambda: refusal)):
            if name == "delete":  # the save has succeeded; the next one clears what could not be deleted
                save(folder, 2.0)
                continue
            with pytest.raises(InputError) as caught:
                save(folder, 2.0)
        message = str(caught.value)
        assert str(refusal.strerror) in message
        assert str(folder) in message
        assert "\n" not in message
        committed = step > log.index("replace manifest.json")
        assert ("if the file existed before, it was not changed" in message) == (name != "sync folder")
        assert loaded_value(folder) == (2.0 if committed else 1.0)
        assert names(folder) == CLEAN
        assert committed or len(list(folder.iterdir())) == 2


def test_a_new_folder_is_taken_back_when_the_disk_refuses(tmp_path: Path) -> None:
    log = steps_of(lambda: save(tmp_path / "counted" / "deep", 2.0))
    for step in range(log.index("replace manifest.json")):
        with disk(Steps(step, lambda: OSError(errno.ENOSPC, "No space left on device"))), pytest.raises(InputError):
            save(tmp_path / "new" / "deep", 2.0)
        assert not (tmp_path / "new").exists()


def test_ctrl_c_at_any_step_leaves_no_litter(tmp_path: Path, old: Path) -> None:
    counted = shutil.copytree(old, tmp_path / "counted")
    log = steps_of(lambda: save(counted, 2.0))
    for step, name in enumerate(log):
        folder = shutil.copytree(old, tmp_path / str(step))
        with disk(Steps(step, KeyboardInterrupt)), pytest.raises(KeyboardInterrupt):
            save(folder, 2.0)
        assert loaded_value(folder) == (2.0 if step > log.index("replace manifest.json") else 1.0)
        assert names(folder) == CLEAN
        assert name in ("delete", "sync folder") or len(list(folder.iterdir())) == 2


def test_a_real_refusal_by_the_kernel_keeps_the_old(old: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(InputError, match=r"File too large.*not changed"):
            save_artifact(old, "checkpoint", {"a": torch.ones(1_000_000)}, {"value": 9.0})
        with pytest.raises(InputError, match=r"new.*File too large"):
            write_tensors(old.parent / "new" / "t", {"a": torch.ones(1_000_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert loaded_value(old) == 1.0
    assert names(old) == CLEAN
    assert not (old.parent / "new").exists()


def test_a_tensor_that_fails_half_way_leaves_the_old(old: Path) -> None:
    tensors = {"fine": torch.ones(8), "refused": torch.ones(2, dtype=torch.complex64)}
    with pytest.raises(InputError, match="refused"):
        save_artifact(old, "checkpoint", tensors, {"value": 9.0})
    assert loaded_value(old) == 1.0
    assert names(old) == CLEAN


def test_a_temp_file_in_use_is_left_alone_and_a_dead_one_cleared(old: Path) -> None:
    dead, living = old / ".omnidistill-temp-dead", old / "below" / ".omnidistill-temp-living"
    living.parent.mkdir()
    dead.write_bytes(b"half")
    living.write_bytes(b"half")
    with FileLock(f"{living}.lock"):
        for clear in (lambda: save(old, 2.0), lambda: exclusive(old).__enter__()):
            dead.write_bytes(b"half")
            clear()
            assert not dead.exists()
            assert living.exists()
    with exclusive(old):
        assert not living.exists()
    assert not list(old.rglob("*-temp-*"))


def test_a_write_in_progress_holds_its_temp_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fsync = os.fsync

    def clear_meanwhile(handle: int) -> None:
        with exclusive(tmp_path):
            fsync(handle)

    monkeypatch.setattr(os, "fsync", clear_meanwhile)
    write_tensors(tmp_path / "t", {"a": torch.ones(3)})
    assert torch.equal(read_tensors(tmp_path / "t")["a"], torch.ones(3))


def test_two_saves_into_one_folder_at_once(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replace = os.replace

    def second_comes(source: Path, target: Path) -> None:
        monkeypatch.setattr(os, "replace", replace)
        with pytest.raises(InputError, match="another process is saving to this folder"):
            save(old, 3.0)
        replace(source, target)

    monkeypatch.setattr(os, "replace", second_comes)
    save(old, 2.0)
    assert loaded_value(old) == 2.0
    assert names(old) == CLEAN


def test_folders_that_cannot_be_synced_or_locked_still_work(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fsync = os.fsync

    def fsync_files_only(handle: int) -> None:
        if os.path.isdir(f"/proc/self/fd/{handle}"):
            raise OSError(errno.EINVAL, "Invalid argument")
        fsync(handle)

    def refuse(lock: FileLock) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(os, "fsync", fsync_files_only)
    monkeypatch.setattr(FileLock, "_acquire", refuse)
    save(old, 2.0)
    assert loaded_value(old) == 2.0
    assert names(old) == CLEAN


def test_two_processes_may_make_the_folder_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mkdir = os.mkdir

    def other_was_faster(path: Path, mode: int = 0o777) -> None:
        mkdir(path, mode)
        mkdir(path, mode)

    monkeypatch.setattr(os, "mkdir", other_was_faster)
    save(tmp_path / "a" / "b", 1.0)
    assert loaded_value(tmp_path / "a" / "b") == 1.0


def test_exclusive_says_so_where_nothing_can_be_locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(lock: FileLock) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(FileLock, "_acquire", refuse)
    with pytest.raises(InputError, match=r"cannot be locked.*No locks available.*another disk"), exclusive(tmp_path):
        pass


WRITER = """
import os, sys
from pathlib import Path
import torch
from omnidistill.io.artifacts import exclusive, save_artifact

torch.set_num_threads(1)
for line in sys.stdin:  # one writer for each line: forked, so that torch is imported once
    folder, start = Path(line.split()[0]), int(line.split()[1])
    reader, ready = os.pipe()
    pid = os.fork()
    if pid == 0:
        with exclusive(folder):
            for value in range(start, start + 10**6):
                tensors = {"a": torch.full((200_000,), float(value)), "b": torch.full((3, 5), value)}
                save_artifact(folder, "checkpoint", tensors, {"value": float(value)})
                if value == start:
                    os.write(ready, b"1")
    os.read(reader, 1)
    print(pid, flush=True)
    os.waitpid(pid, 0)
    print("dead", flush=True)
"""


def test_writers_killed_at_random_moments(tmp_path: Path) -> None:
    folder, moments = tmp_path / "run", random.Random(0)
    with subprocess.Popen(
        [sys.executable, "-c", WRITER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as writers:
        assert writers.stdin
        assert writers.stdout
        start, seen = 0, []
        for _ in range(12):
            writers.stdin.write(f"{folder} {start}\n")
            writers.stdin.flush()
            pid = int(writers.stdout.readline())
            with pytest.raises(InputError, match="in use by another process"), exclusive(folder):
                pass
            time.sleep(moments.uniform(0.0, 0.1))
            os.kill(pid, signal.SIGKILL)
            assert writers.stdout.readline() == "dead\n"
            seen.append(loaded_value(folder))
            assert seen[-1] >= start
            start = int(seen[-1]) + 1
        writers.stdin.close()
    with exclusive(folder):  # the lock died with its holder
        save(folder, -1.0)
    assert loaded_value(folder) == -1.0
    assert names(folder) - {".lock"} == CLEAN
    assert len(list(folder.iterdir())) <= 3
