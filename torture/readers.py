"""Every reader of omnidistill: the sample that it reads, and the command that reads it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from omnidistill.core.errors import OmnidistillError
from torture.measured_command import Outcome, run_command, run_function
from torture.sample_files import SMALL

Command = Callable[[Path], Sequence[object]]
Function = Callable[[Path], object]


@dataclass(frozen=True)
class Reader:
    """A file that a command reads.

    Attributes:
        name: name of the reader.
        samples: names of the samples to copy, in the folder of `write_samples`.
        file: pattern of the file below the copy; exactly one file matches.
        command: the arguments of the command, given the folder with the copies.
        function: a function of the package that reads the file, instead of a command. `encode` reads frames and sounds
            completely, but needs the weights of an encoder.
    """

    name: str
    samples: tuple[str, ...]
    file: str
    command: Command = lambda place: ()
    function: Function | None = None

    def run(self, place: Path) -> Outcome:
        """Read the file in a fork of this process, given the folder with the copies."""
        if self.function is None:
            return run_command(self.command(place))
        return run_function(partial(_as_command, partial(self.function, place)))


def _as_command(read: Callable[[], object]) -> int:
    """Call the function, and report invalid input as a command does. Return the exit code."""
    try:
        read()
    except OmnidistillError as error:
        print(f"omnidistill: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def _pack(features: str, table: str | None) -> Command:
    def command(place: Path) -> Sequence[object]:
        given = [] if table is None else ["--table", place / "pack" / table]
        return ["pack", "--features", place / "pack" / features, *given, "-o", place / "OUT"]

    return command


def _report(place: Path) -> Sequence[object]:
    return ["report", place / "RUN", "--data", place / "SET", "-o", place / "page.html"]


def _resume(place: Path) -> Sequence[object]:
    return ["distill", place / "SET", *SMALL, "-o", place / "STOPPED", "--resume"]


def _verify(path: str) -> Command:
    return lambda place: ["inspect", place / path, "--verify"]


def _manifest(place: Path) -> Sequence[object]:
    return ["manifest", place / "media" / "items.csv"]


def _apply(place: Path) -> Sequence[object]:
    return ["apply", place / "KIT", place / "old.npy", "-o", place / "new.npy"]


def _frames(place: Path) -> object:
    from omnidistill.encoding.media.video import read_frames

    return read_frames(place / "media" / "1.mp4", [number / 24 for number in range(10)])


def _sound(place: Path) -> object:
    from omnidistill.encoding.media.sound import read_sound

    return read_sound(place / "media" / "1.wav", 16_000)


_TENSORS, _RUN = "tensors-*.safetensors", ("RUN", "SET")
READERS = (
    Reader("pack, table.csv", ("pack",), "pack/table.csv", _pack("features.npz", "table.csv")),
    Reader("pack, table.jsonl", ("pack",), "pack/table.jsonl", _pack("features.npz", "table.jsonl")),
    Reader("pack, table.parquet", ("pack",), "pack/table.parquet", _pack("features.npz", "table.parquet")),
    Reader("pack, features.npz", ("pack",), "pack/features.npz", _pack("features.npz", "table.csv")),
    Reader("pack, features.parquet", ("pack",), "pack/features.parquet", _pack("features.parquet", None)),
    Reader("pack, .safetensors", ("pack",), "pack/features.safetensors", _pack("features.safetensors", "table.csv")),
    Reader("pack, .npy", ("pack",), "pack/parts/a.npy", _pack("parts", "table.csv")),
    Reader("manifest, table", ("media",), "media/items.csv", _manifest),
    *(
        Reader(f"manifest, .{suffix}", ("media",), f"media/1.{suffix}", _manifest)
        for suffix in ("png", "jpg", "webp", "wav", "mp4")
    ),
    Reader("frames, .mp4", ("media",), "media/1.mp4", function=_frames),
    Reader("sound, .wav", ("media",), "media/1.wav", function=_sound),
    Reader("config, TOML", ("settings",), "settings/settings.toml",
           lambda place: ["config", "--config", place / "settings" / "settings.toml"]),
    *(
        Reader(f"report, {name}", _RUN, f"RUN/{name}", _report)
        for name in (
            *("run.json", "metrics.jsonl", "floor.json", "timings.json", "scores.json", "cases.json"),
            *("distilled/manifest.json", "distilled/provenance.json", f"distilled/{_TENSORS}"),
            *("heads/manifest.json", f"heads/{_TENSORS}"),
        )
    ),
    Reader("report, manifest of the set", _RUN, "SET/manifest.json", _report),
    Reader("report, tensors of the set", _RUN, f"SET/{_TENSORS}", _report),
    Reader("resume, checkpoint manifest", ("STOPPED", "SET"), "STOPPED/checkpoint/manifest.json", _resume),
    Reader("resume, checkpoint tensors", ("STOPPED", "SET"), f"STOPPED/checkpoint/{_TENSORS}", _resume),
    Reader("resume, metrics.jsonl", ("STOPPED", "SET"), "STOPPED/metrics.jsonl", _resume),
    Reader("resume, timings.json", ("STOPPED", "SET"), "STOPPED/timings.json", _resume),
    Reader("inspect, experts manifest", ("EXPERTS",), "EXPERTS/buffer/manifest.json", _verify("EXPERTS")),
    Reader("inspect, experts epoch", ("EXPERTS",), "EXPERTS/buffer/epoch-01.safetensors", _verify("EXPERTS")),
    Reader("inspect, .npz export", ("exports",), "exports/rows.npz", _verify("exports/rows.npz")),
    Reader("inspect, .parquet export", ("exports",), "exports/rows.parquet", _verify("exports/rows.parquet")),
    Reader("inspect, heads", ("exports",), "exports/heads.safetensors", _verify("exports/heads.safetensors")),
    Reader("apply, kit manifest", ("KIT", "old.npy"), "KIT/manifest.json", _apply),
    Reader("apply, kit tensors", ("KIT", "old.npy"), f"KIT/{_TENSORS}", _apply),
    Reader("apply, embeddings", ("KIT", "old.npy"), "old.npy", _apply),
)  # fmt: skip
