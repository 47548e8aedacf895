"""Media that cannot be used cost their row and nothing else, whatever is wrong with them; each says why in one line."""

from __future__ import annotations

import re
import wave
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from media_files import cut, write_media
from omnidistill.encoding.encoders.decode import frames_of, sound_of
from omnidistill.encoding.encoders.encoder import Item
from omnidistill.encoding.extraction import EncodeSettings, encode
from omnidistill.encoding.manifests.manifest import Manifest, Row

HERE = EncodeSettings(num_workers=0)


class Frames:
    """The mean colour of four frames."""

    name, kind, width, views = "frames", "video", 3, 4

    def prepare(self, item: Item) -> Tensor:
        return frames_of(item, 4).float().mean((2, 3))

    def encode(self, batch: Tensor) -> Tensor:
        return batch

    def head(self) -> None:
        return None

    def fingerprint(self) -> dict[str, str]:
        return {"name": self.name}


class Loudness(Frames):
    """Mean and deviation of the sound at 16 kHz, and how long it is."""

    name, kind, views = "loudness", "audio", 1

    def prepare(self, item: Item) -> Tensor:
        sound = sound_of(item, 16_000)
        return torch.stack([sound.mean(), sound.std(), torch.tensor(len(sound) / 16_000)])[None]


def empty(path: Path) -> None:
    path.write_bytes(b"")


def text(path: Path) -> None:
    path.write_text("no film at all")


def half(path: Path) -> None:
    cut(write_media(path, 96, muxing={"movflags": "faststart"}))


def silent(path: Path) -> None:
    write_media(path, channels=0)


def absent(path: Path) -> None:
    pass


def folder(path: Path) -> None:
    path.mkdir()


def no_samples(path: Path) -> None:
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))


def playlist(path: Path) -> None:
    path.write_text("ffconcat version 1.0\nfile good.mp4\n")


@pytest.mark.parametrize(
    ("spoil", "modalities", "why"),
    [
        (empty, "video audio", r"the file is empty \(zero bytes\)"),
        (text, "video audio", "cannot be decoded"),
        (half, "video audio", "truncated|cannot be decoded"),
        (silent, "audio", "no audio track"),
        (absent, "video audio", "no such file"),
        (folder, "video audio", "not a regular file"),
        (no_samples, "video audio", "no video track|no sound can be decoded"),
        (playlist, "video audio", "cannot be decoded"),
    ],
)
def test_a_file_that_cannot_be_used_is_a_bad_item(
    spoil: Callable[[Path], None], modalities: str, why: str, tmp_path: Path
) -> None:
    write_media(tmp_path / "good.mp4", 24)
    spoil(tmp_path / "bad.mp4")
    _one_bad_of_two(tmp_path, {"a": Row("a", "a", "train", _of("bad.mp4"))}, modalities, why)


@pytest.mark.parametrize(
    ("start", "end", "why"),
    [
        (1.0, None, "starts at 1.0 s, but the clip or|no sound can be decoded|ends at"),
        (7.0, 9.0, "no sound|ends"),
    ],
)
def test_a_stretch_of_no_seconds_is_a_bad_item(start: float, end: float | None, why: str, tmp_path: Path) -> None:
    write_media(tmp_path / "good.mkv", 24, codecs=("libx264", "pcm_s16le"))  # its sound ends with its pictures
    row = Row("a", "a", "train", _of("good.mkv"), start, end)
    _one_bad_of_two(tmp_path, {"a": row}, "video audio", why, "good.mkv")


def _of(name: str) -> dict[str, str]:
    return {"video": name, "audio": name}


def _one_bad_of_two(root: Path, rows: dict[str, Row], modalities: str, why: str, good: str = "good.mp4") -> None:
    rows = {"good": Row("good", "good", "train", _of(good)), **rows}
    manifest = Manifest(tuple(rows.values()), {"video": "video", "audio": "video"}, root)
    encoded = encode(manifest, {"video": Frames(), "audio": Loudness()}, root / "out", settings=HERE)
    assert encoded.rows == 1
    assert [(item.id, item.modality) for item in encoded.bad] == [("a", name) for name in sorted(modalities.split())]
    for item in encoded.bad:
        assert re.search(why, item.why), item.why
        assert "\n" not in item.why
