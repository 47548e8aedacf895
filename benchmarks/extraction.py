"""Benchmark feature extraction: `python benchmarks/extraction.py [--quick]`. Writes results/extraction.json and .md.

The media are clips of two seconds (320 x 240, 24 frames per second, stereo sound at 44.1 kHz) and captions. The
encoders are those of the extra `small`, and fixed random projections of the decoded media; with the projections, almost
all of the time is spent on decoding and in the engine. A rate is measured from the time at which the first item is
ready to the end, so it includes neither the loading of weights nor the start of processes. Each peak is from a separate
process.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from torch import Tensor

from measuring import RESULTS, Cell, Table, machine, memory_status
from omnidistill.encoding.encoders.decode import frames_of, sound_of
from omnidistill.encoding.encoders.encoder import Encoder, Item, Kind
from omnidistill.encoding.encoders.encoder_registry import open_encoder
from omnidistill.encoding.encoders.whisper import log_mel
from omnidistill.encoding.extraction import EncodeSettings, encode
from omnidistill.encoding.manifests.manifest import Manifest, Row
from omnidistill.io.tracking import SilentProgress

SMALL = {"video": "frames-efficientnet-lite2", "audio": "whisper-base", "text": "minilm-l6"}
KINDS: dict[str, Kind] = {"video": "video", "audio": "video", "text": "text"}
FILES = 10  # number of files, which all rows share
COUNTS = (50, 200, 800)


@dataclass(frozen=True)
class Projection:
    """An encoder that multiplies decoded media (frames of 16 x 12, 80 log-mel bands, or letters) by a fixed matrix."""

    kind: Kind
    name: str = "random projection"
    width: int = 64
    views: int = 1

    def prepare(self, item: Item) -> Tensor:
        match self.kind:
            case "video":
                frames = frames_of(item, 4).float() / 255
                return torch.nn.functional.adaptive_avg_pool2d(frames, (12, 16)).flatten()
            case "audio":
                return log_mel(sound_of(item, 16_000)).mean(1)
            case _:
                return torch.bincount(torch.tensor(list(item.text.encode())), minlength=256).float()

    def encode(self, batch: Tensor) -> Tensor:
        drawn = torch.randn(batch.shape[1], self.width, generator=torch.Generator().manual_seed(0))
        return (batch @ drawn).unsqueeze(1)

    def head(self) -> None:
        return None

    def fingerprint(self) -> dict[str, str]:
        return {"name": self.name}


class Clock(SilentProgress):
    """Records the time at which the first item was ready."""

    first = 0.0

    def advance(self, n: int = 1, **fields: Any) -> None:
        self.first = self.first or time.perf_counter()


def write_clips(folder: Path) -> None:
    for number in range(FILES):
        draw = np.random.default_rng(number)
        with av.open(str(folder / f"{number}.mp4"), "w") as container:
            video = container.add_stream("libx264", rate=24, width=320, height=240, pix_fmt="yuv420p")
            audio = container.add_stream("aac", rate=44_100, layout="stereo")
            still = draw.integers(0, 256, (240, 320, 3), dtype=np.uint8) // 4
            for index in range(48):
                pixels = still.copy()
                pixels[80:160, 4 * index : 4 * index + 80] = (255, 40 * number % 256, 0)
                container.mux(video.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
            noise = (0.1 * draw.standard_normal((2, 88_200))).astype(np.float32)
            sound = av.AudioFrame.from_ndarray(noise, "fltp", "stereo")
            sound.sample_rate = 44_100
            for stream, last in ((video, None), (audio, sound), (audio, None)):
                container.mux(stream.encode(last))


def table_of(folder: Path, count: int) -> Manifest:
    rows = []
    for number in range(count):
        file = f"{number % FILES}.mp4"
        text = f"clip {number}: a coloured square moves over noise from the left to the right"
        rows.append(Row(str(number), str(number), "train", {"video": file, "audio": file, "text": text}))
    return Manifest(tuple(rows), KINDS, folder)


def rate(manifest: Manifest, encoders: Mapping[str, Encoder], num_workers: int) -> float:
    """Return the number of items per second, measured from the first finished item to the end."""
    settings = EncodeSettings(batch_size=4, shard_rows=64, num_workers=num_workers)
    with tempfile.TemporaryDirectory() as out:
        clock = Clock()
        encode(manifest, encoders, Path(out), settings=settings, progress=clock)
        return (len(manifest) * len(encoders) - 1) / (time.perf_counter() - clock.first)


def rates(folder: Path, quick: bool) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for title, encoders, counts in (
        ("random projection", {name: Projection(_read(name)) for name in KINDS}, (40, 40, 400)),
        ("small", {name: open_encoder(reference) for name, reference in SMALL.items()}, (8, 16, 100)),
    ):
        for (name, encoder), full in zip(encoders.items(), counts, strict=True):
            count = max(4, full // 4) if quick else full
            rate(table_of(folder, 2), {name: encoder}, 0)  # loads the weights
            found = [rate(table_of(folder, count), {name: encoder}, workers) for workers in (0, 1, 2)]
            rows.append((name, encoder.name if title == "small" else title, count, *found))
    note = (
        "Items per second, by the number of processes that prepare items (0: the process in which the model runs). "
        "Video: 8 frames per clip at 260 x 260 for EfficientNet, 4 frames for the projection; sounds have a length of "
        "2 s, texts of 15 words."
    )
    return Table("Rate", note, ("item", "encoder", "items", "0 workers", "1 worker", "2 workers"), tuple(rows))


def _read(name: str) -> Kind:
    return "audio" if name == "audio" else KINDS[name]


def memory(folder: Path) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for count in COUNTS:
        command = [sys.executable, __file__, "--peak", str(count), str(folder)]
        done = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        rows.append((count, *json.loads(done)))
    note = (
        "All three modalities with random projections, shards of 32 rows, no workers. Peak: peak memory of the process "
        "minus the memory that the imports take."
    )
    return Table("Memory", note, ("rows", "peak, MB", "features, MB"), tuple(rows))


def peak(count: int, folder: Path) -> None:
    encoders = {name: Projection(_read(name)) for name in KINDS}
    before = memory_status("VmRSS")
    settings = EncodeSettings(batch_size=4, shard_rows=32, num_workers=0)
    with tempfile.TemporaryDirectory() as out:
        encode(table_of(folder, count), encoders, Path(out), settings=settings)
    stored = count * sum(encoder.width for encoder in encoders.values()) * 2 / 1e6
    print(json.dumps([round((memory_status("VmHWM") - before) / 1024, 1), round(stored, 3)]))


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure items per second and memory of `encode`.")
    parser.add_argument("--quick", action="store_true", help="encode only a quarter of the items")
    parser.add_argument("--peak", nargs=2, metavar=("ROWS", "FOLDER"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peak:
        peak(int(options.peak[0]), Path(options.peak[1]))
        return
    computer = machine()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write_clips(folder)
        tables = [memory(folder), rates(folder, options.quick)]
    RESULTS.mkdir(exist_ok=True)
    record = {"machine": computer, "tables": [asdict(table) for table in tables]}
    (RESULTS / "extraction.json").write_text(json.dumps(record, indent=1) + "\n")
    text = "\n".join(["# Extraction", "", computer, "", *(table.markdown() for table in tables)])
    (RESULTS / "extraction.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
