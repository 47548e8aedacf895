"""Fuzzing with hypothesis: mutated bytes of good files for every reader, a minute each.

A reader passes if it returns or raises InputError. Each reader runs in a fork, whose memory is measured.
"""

from __future__ import annotations

import shutil
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

import omnidistill as od
from omnidistill.core.errors import InputError
from omnidistill.data.embedding_rows import open_embeddings
from omnidistill.data.sources import read_sources
from omnidistill.data.store import load_features
from omnidistill.data.table import read_table
from omnidistill.encoding.manifests.manifest import read_manifest
from omnidistill.encoding.media.picture import read_picture
from omnidistill.encoding.media.probe import check_complete, probe
from omnidistill.encoding.media.sound import read_sound
from omnidistill.encoding.media.video import read_frames
from omnidistill.evaluation.run_scores import RunScores
from omnidistill.experiments.inspection import inspect
from omnidistill.experiments.run import open_run
from omnidistill.io.artifacts import read_tensors
from omnidistill.io.input_files import read_json
from omnidistill.io.tracking import read_records
from torture.measured_command import MOST_BYTES, in_fork, run_function
from torture.options import Options
from torture.sample_files import write_samples
from torture.trial import Trial

SECONDS = 60
"""Time per reader."""
_BATCH = 200  # examples between two looks at the clock


@dataclass(frozen=True)
class FuzzedReader:
    """A function that reads a file, and the good file to start from, below the folder of the samples."""

    name: str
    file: str
    read: Callable[[Path], object]


def _media(path: Path) -> None:
    probe(path)
    check_complete(path)


FUZZED = (
    FuzzedReader("table.csv", "pack/table.csv", read_table),
    FuzzedReader("table.jsonl", "pack/table.jsonl", read_table),
    FuzzedReader("table.parquet", "pack/table.parquet", read_table),
    FuzzedReader("features.npz", "pack/features.npz", read_sources),
    FuzzedReader("features.parquet", "pack/features.parquet", read_sources),
    FuzzedReader(".npy", "pack/parts/a.npy", lambda path: open_embeddings(path, "file")),
    FuzzedReader(".safetensors", "pack/features.safetensors", read_tensors),
    FuzzedReader("manifest", "media/items.csv", read_manifest),
    FuzzedReader("TOML", "settings/settings.toml", od.load_config),
    FuzzedReader("JSON", "RUN/run.json", read_json),
    FuzzedReader("run.json", "RUN/run.json", lambda path: open_run(path.parent)),
    FuzzedReader("metrics.jsonl", "RUN/metrics.jsonl", read_records),
    FuzzedReader("scores.json", "RUN/scores.json", lambda path: RunScores.from_file(path)),
    FuzzedReader("manifest.json", "SET/manifest.json", lambda path: load_features(path.parent)),
    FuzzedReader(".npz export", "exports/rows.npz", inspect),
    FuzzedReader(".parquet export", "exports/rows.parquet", inspect),
    FuzzedReader("picture, .png", "media/1.png", read_picture),
    FuzzedReader("picture, .jpg", "media/1.jpg", read_picture),
    FuzzedReader("picture, .webp", "media/1.webp", read_picture),
    FuzzedReader("picture, .gif", "media/1.gif", read_picture),
    FuzzedReader("sound, .wav", "media/1.wav", lambda path: read_sound(path, 16_000)),
    FuzzedReader("video, .mp4", "media/1.mp4", lambda path: read_frames(path, [0.0, 0.5])),
    FuzzedReader("probe, .mp4", "media/1.mp4", _media),
)


def trials(options: Options) -> Iterator[Trial]:
    """Fuzz every reader for a minute, or the share of it that the options state."""
    with tempfile.TemporaryDirectory(prefix="torture-") as place:
        samples = Path(place) / "samples"
        in_fork(lambda: write_samples(samples))
        for reader in FUZZED:
            yield fuzz(samples, reader, options.number(SECONDS))


def fuzz(samples: Path, reader: FuzzedReader, seconds: float, most_batches: int = 10**9) -> Trial:
    """Read mutated files in a fork for some seconds, or for a number of batches of 200 files."""
    with tempfile.TemporaryDirectory(prefix="torture-") as place:
        folder = Path(place) / "copy"
        shutil.copytree((samples / reader.file).parent, folder)
        path = folder / Path(reader.file).name
        good = path.read_bytes()

        def act() -> int:
            warnings.simplefilter("ignore")
            started_at, batch = time.monotonic(), 0
            while batch < most_batches and time.monotonic() - started_at < seconds:
                _run_batch(reader, path, good, batch)
                batch += 1
            print(batch * _BATCH)
            return 0

        outcome = run_function(act, limit=int(seconds) + 120)
    passed = outcome.code == 0 and outcome.growth <= MOST_BYTES
    detail = f"{outcome.out.strip()} files, {outcome.growth / 2**20:,.0f} MiB"
    return Trial(f"fuzz: {reader.name}", passed, detail if outcome.code == 0 else outcome.err.strip()[-400:])


def _run_batch(reader: FuzzedReader, path: Path, good: bytes, number: int) -> None:
    @seed(number)
    @settings(
        max_examples=_BATCH,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(mutations(good))
    def check(data: bytes) -> None:
        path.write_bytes(data)
        try:
            reader.read(path)
        except InputError as error:
            assert "\n" not in str(error)  # noqa: PT017

    check()


@st.composite
def mutations(draw: st.DrawFn, good: bytes) -> bytes:
    """Draw a copy of the bytes with some parts replaced, inserted, removed or repeated."""
    data = bytearray(good)
    for _ in range(draw(st.integers(1, 4))):
        at, length = draw(st.integers(0, len(data))), draw(st.integers(0, 16))
        match draw(st.sampled_from(("replace", "insert", "remove", "repeat", "truncate"))):
            case "replace":
                data[at : at + length] = draw(st.binary(min_size=length, max_size=length))
            case "insert":
                data[at:at] = draw(st.sampled_from(_WORDS) | st.binary(max_size=16))
            case "remove":
                del data[at : at + length * 8]
            case "repeat":
                data[at:at] = data[at : at + length * 8] * draw(st.integers(1, 20))
            case _:
                del data[at:]
    return bytes(data)


_WORDS = (
    *(b"\0", b"\xff" * 8, b"\x7f\xff\xff\xff", b"[" * 100, b"{" * 100, b'"', b"\n", b",", b"\\ud800", b"\x1b[2J"),
    *(b"NaN", b"1e999", b"-1", b"9" * 400, b"null", b"true", b"[]", b"{}", b'{"a":', b"../", b"'", b"#", b"=", b"."),
)
