"""One good file or folder of every format that omnidistill reads, small and made in seconds.

FOLDER/pack/        features and tables for `pack`
FOLDER/media/       a manifest with pictures, sounds and videos
FOLDER/settings/    a TOML file
FOLDER/SET/         a packed set
FOLDER/RUN/         an evaluated run
FOLDER/STOPPED/     an interrupted run with a checkpoint
FOLDER/EXPERTS/     expert trajectories
FOLDER/KIT/         a migration kit, with embeddings to map
FOLDER/exports/     a set as .npz and .parquet, heads as .safetensors
"""

from __future__ import annotations

import csv
import io
import json
import signal
import wave
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import torch

import omnidistill as od
from omnidistill.cli.main import main
from omnidistill.data.store import save_features
from omnidistill.experiments.migration import MigrationSettings
from omnidistill.io.artifacts import write_tensors
from omnidistill.io.tracking import SilentProgress

SMALL = ("--preset", "smoke", "--set", "heads.width=8")
ROWS = {"heads": 24, "train": 48, "validation": 24, "test": 24}


def write_samples(folder: Path) -> Path:
    """Write all samples to `folder`, and return it."""
    write_inputs(folder)
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        _write_outputs(folder)
    return folder


def _write_outputs(folder: Path) -> None:
    """Write the samples that omnidistill makes."""
    data = od.prepare(od.planted({"a": 12, "b": 14}, ROWS))
    save_features(data, folder / "SET")
    _command("distill", folder / "SET", *SMALL, "-o", folder / "RUN")
    od.evaluate(folder / "RUN", num_seeds=2, baselines=(), device="cpu", progress=False)
    _command("experts", folder / "SET", *SMALL, "-o", folder / "EXPERTS")
    _stopped(folder / "SET", folder / "STOPPED")
    _kit(folder / "KIT")
    _exports(folder / "RUN", folder / "exports")


def write_inputs(folder: Path) -> Path:
    """Write the samples that come from users, not from omnidistill, to `folder`, and return it."""
    folder.mkdir(parents=True, exist_ok=True)
    _features(folder / "pack")
    _media(folder / "media")
    (folder / "settings").mkdir()
    (folder / "settings" / "settings.toml").write_text('extends = "hopa"\n[distill]\niterations = 50\nsize = 20\n')
    return folder


def _command(*arguments: object) -> None:
    if (code := main([str(argument) for argument in arguments])) != 0:
        raise RuntimeError(f"{arguments[0]} ended with {code}")


def _features(folder: Path) -> None:
    folder.mkdir()
    draw = np.random.default_rng(0)
    arrays: dict[str, Any] = {
        name: draw.normal(size=(30, width)).astype("float32") for name, width in (("a", 5), ("b", 4))
    }
    splits = ["train"] * 18 + ["validation"] * 6 + ["test"] * 6
    rows = [{"id": f"row {number}", "group": f"g{number}", "split": split} for number, split in enumerate(splits)]
    np.savez(folder / "features.npz", **arrays)
    write_tensors(folder / "features.safetensors", {name: torch.from_numpy(x) for name, x in arrays.items()})
    (folder / "parts").mkdir()
    for name, array in arrays.items():
        np.save(folder / "parts" / f"{name}.npy", array)
    with (folder / "table.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=["id", "group", "split"])
        writer.writeheader()
        writer.writerows(rows)
    (folder / "table.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    import pyarrow
    from pyarrow import parquet

    columns = {name: [row[name] for row in rows] for name in ("id", "group", "split")}
    parquet.write_table(pyarrow.table(columns), folder / "table.parquet")
    lists = {name: list(array) for name, array in arrays.items()}
    parquet.write_table(pyarrow.table({**columns, **lists}), folder / "features.parquet")


def _media(folder: Path) -> None:
    from PIL import Image

    folder.mkdir()
    for number in range(3):
        pixels = np.random.default_rng(number).integers(0, 255, (24, 32, 3), dtype=np.uint8)
        for suffix in ("png", "jpg", "webp", "gif"):
            Image.fromarray(pixels).save(folder / f"{number}.{suffix}")
        with wave.open(str(folder / f"{number}.wav"), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(16000)
            file.writeframes((2000 * np.sin(np.arange(8000) / (3 + number))).astype("<i2").tobytes())
        _video(folder / f"{number}.mp4", pixels)
    header = "id,split,image,second:image,third:image,audio,video\n"
    splits = ("train", "validation", "test")
    lines = [f"{n},{split},{n}.png,{n}.jpg,{n}.webp,{n}.wav,{n}.mp4\n" for n, split in enumerate(splits)]
    (folder / "items.csv").write_text(header + "".join(lines))


def _video(path: Path, pixels: np.ndarray) -> None:
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=12, width=32, height=24, pix_fmt="yuv420p")
        for number in range(12):
            frame = av.VideoFrame.from_ndarray(np.roll(pixels, number, 1), format="rgb24")
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


class _InterruptAfter(SilentProgress):
    """Sends Ctrl-C after this number of outer iterations."""

    def __init__(self, iterations: int) -> None:
        self.left, self.distilling = iterations, False

    def start(self, total: int, label: str, done: int = 0, seconds: float = 0.0) -> None:
        self.distilling = label.startswith("distill")

    def advance(self, n: int = 1, **fields: Any) -> None:
        self.left -= n if self.distilling else 0
        if self.distilling and self.left == 0:
            signal.raise_signal(signal.SIGINT)


def _stopped(data: Path, folder: Path) -> None:
    try:
        od.distill(
            data, preset="smoke", settings={"heads.width": 8}, folder=folder, progress=_InterruptAfter(3), device="cpu"
        )
    except KeyboardInterrupt:
        return
    raise RuntimeError("the run was not interrupted")


def _kit(folder: Path) -> None:
    draw = np.random.default_rng(0)
    old = draw.normal(size=(80, 6)).astype("float32")
    new = (old @ draw.normal(size=(6, 5))).astype("float32")
    settings = MigrationSettings(iterations=2, batch_size=16, validate_every=1)
    migration = od.migrate(old, new, size=4, settings=settings, baselines="none", device="cpu", progress=False)
    migration.kit.save(folder)
    np.save(folder.parent / "old.npy", old)


def _exports(run: Path, folder: Path) -> None:
    folder.mkdir()
    for suffix in ("npz", "parquet"):
        _command("export", run, "-o", folder / f"rows.{suffix}")
    write_tensors(folder / "heads.safetensors", {name: torch.ones(8, width) for name, width in (("a", 12), ("b", 14))})
