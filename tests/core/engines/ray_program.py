"""What the tests of the Ray engine look at: run in a process of its own, since Ray needs sockets of this machine.

    python ray_program.py FOLDER

One Ray of two workers does everything; FOLDER/started is there once it is up, FOLDER/found.json says what came of it,
the rest is there to be compared.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from torch import Tensor

from comparison_problems import tiny
from encoding_problems import Files, Letters, write_manifest
from omnidistill.core.engines.ray_cluster import RayEngine
from omnidistill.core.errors import InputError
from omnidistill.encoding.extraction import EncodeSettings, encode
from omnidistill.experiments.comparison import compare
from omnidistill.training.experts import stack_runs
from omnidistill.training.experts.epochs import run_blocks
from small_runs import cli, features, packed, small_heads

COMPARED = tiny(
    "apm",
    {"preset": "hopa", "settings": ["distill.iterations=100"]},  # long enough to be killed on the way
    {"preset": "hopa", "label": "never", "settings": ["experts.learning_rate=1e30"]},
    seeds=(0, 1),
    baselines=["equal-bytes"],
)


@dataclass(frozen=True)
class Deadly(Letters):
    """Notes the process of every batch; kills the first process that meets its second batch."""

    folder: Path = Path()

    def encode(self, batch: Tensor) -> Tensor:
        if self.folder != Path():
            with (self.folder / "processes").open("a") as file:
                file.write(f"{os.getpid()}\n")
            if (self.folder / "processes").read_text().split().count(str(os.getpid())) == 2:
                _once(self.folder / "killed", lambda: os.kill(os.getpid(), signal.SIGKILL))
        return super().encode(batch)


def _once(mark: Path, action: Callable[[], object]) -> None:
    try:
        mark.touch(exist_ok=False)
    except FileExistsError:
        return
    mark.write_text(str(os.getpid()))
    action()


def encoded(folder: Path) -> dict[str, Any]:
    manifest = write_manifest(folder / "media", [bytes([n, 3, 1]) * 4 if n != 5 else b"" for n in range(12)])
    settings = EncodeSettings(batch_size=2, shard_rows=2, num_workers=0)
    notes = folder / "notes"
    notes.mkdir()
    encode(manifest, {"text": Deadly(), "sound": Files()}, folder / "encoded" / "local", settings=settings)
    with RayEngine() as engine:
        deadly = {"text": Deadly(folder=notes), "sound": Files()}
        encode(manifest, deadly, folder / "encoded" / "ray", settings=settings, engine=engine)
    return {"processes": (notes / "processes").read_text().split(), "killed": (notes / "killed").read_text()}


def killing(lock: Callable[[], Path | None], killed: list[int]) -> None:
    """Kill the process that holds the lock of a folder, once."""
    while not killed:
        if (path := lock()) is not None and (pid := holder(path)) is not None:
            killed.append(pid)
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)


def holder(lock: Path) -> int | None:
    """Return the process that has a file open, None if there is none."""
    for entry in Path("/proc").glob("[0-9]*/fd/*"):
        with suppress(OSError):
            if entry.readlink() == lock.resolve():
                return int(entry.parts[2])
    return None


def compared(folder: Path) -> dict[str, Any]:
    reference = str(packed(folder / "SET", features(3)))
    local = compare(Path(reference), config=COMPARED, folder=folder / "compared" / "local", progress=False)
    killed: list[int] = []

    def lock() -> Path | None:
        learning = (folder / "compared" / "ray").glob("cells/hopa-*/run/metrics.jsonl")
        return next((path.parent / ".lock" for path in learning if path.stat().st_size), None)

    threading.Thread(target=killing, args=(lock, killed), daemon=True).start()
    with RayEngine() as engine:
        there = compare(
            Path(reference), config=COMPARED, folder=folder / "compared" / "ray", engine=engine, progress=False
        )
    return {
        "local": local.content.to_json(),
        "ray": there.content.to_json(),
        "failures": [local.failures, there.failures],
        "killed": killed,
    }


def experts(folder: Path) -> dict[str, Any]:
    config = ("--preset", "smoke", "--set", "heads.width=1024", "--set", "experts.num_experts=7",
              "--set", "experts.batch_size=64")  # fmt: skip
    codes = [
        cli("experts", folder / "SET", *config, "-o", folder / "experts" / name, "--engine", name).code
        for name in ("local", "ray")
    ]
    blocks = run_blocks(stack_runs(small_heads(features(3), 1024), 7), 64)
    return {"codes": codes, "blocks": len(blocks)}


# tasks of the engine alone


def noting(folder: Path, unit: str) -> str:
    with (folder / "done").open("a") as file:
        file.write(f"{unit}\n")
    if unit == "bad":
        raise InputError("row 3: is bad; drop it")
    if unit == "odd":
        raise KeyError("odd")
    if unit == "deadly":
        os._exit(1)
    if unit == "slow":
        try:
            for _ in range(600):
                time.sleep(0.1)
        except KeyboardInterrupt:
            (folder / "interrupted").touch()
            raise
    return unit.upper()


def alone(folder: Path) -> dict[str, Any]:
    folder.mkdir()
    units = ["a", "bad", "after bad", "odd", "deadly", "after a"]
    found: dict[str, str] = {}
    with RayEngine(retries=1) as engine:
        for done in engine.run(lambda unit: noting(folder, unit), units, after={2: [1], 5: [0]}):
            try:
                found[units[done.number]] = done.result()
            except Exception as error:
                found[units[done.number]] = f"{type(error).__name__}: {error}"
        running = engine.run(lambda unit: noting(folder, unit), ["quick", "slow"])
        next(running)
        while "slow" not in (folder / "done").read_text():
            time.sleep(0.05)
        running.close()
    return {"found": found, "done": (folder / "done").read_text().split("\n"), "ours": ray.is_initialized()}


def unreachable() -> str:
    try:
        with RayEngine("127.0.0.1:1"):
            return "reached"
    except InputError as error:
        return str(error)


def start(mark: Path) -> None:
    """Start Ray, as often as it takes: on a busy machine its processes do not answer in the time that it gives them.
    Whoever started this program decides how long that may go on.
    """
    while not ray.is_initialized():
        try:
            ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
        except Exception as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
            ray.shutdown()
    mark.touch()


def main(folder: Path) -> None:
    found: dict[str, Any] = {"unreachable": unreachable()}
    start(folder / "started")
    for part in (encoded, compared, experts):
        begun = time.monotonic()
        found[part.__name__] = part(folder)
        found.setdefault("seconds", {})[part.__name__] = time.monotonic() - begun
    found["alone"] = alone(folder / "alone")
    ray.shutdown()
    (folder / "found.json").write_text(json.dumps(found))


if __name__ == "__main__":
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    main(Path(sys.argv[1]))
