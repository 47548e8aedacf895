"""Small real media files: a white square that moves a pixel a frame over red, and tones, encoded by PyAV."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

import av
import numpy as np

RATE, SIDE = 24, 8
SOUND_RATE = 44100
TONES = (440, 880)  # Hz, of the left and the right channel


def picture(index: int, width: int = 64, height: int = 48) -> np.ndarray:
    """Frame `index` of the video, height x width x 3: the square's left edge is at x = index, its top at y = 0."""
    frame = np.zeros((height, width, 3), np.uint8)
    frame[..., 0] = 200
    left = index % (width - SIDE)
    frame[:SIDE, left : left + SIDE] = 255
    return frame


def square(frame: np.ndarray) -> int:
    """The left edge of the square in a decoded frame, height x width x 3: what says which frame it is."""
    return int(np.argmax(frame[: SIDE // 2, :, 1].mean(0) > 128))


def tone(seconds: float, rate: int = SOUND_RATE, channels: int = 2) -> np.ndarray:
    t = np.arange(round(seconds * rate)) / rate
    return np.stack([0.5 * np.sin(2 * np.pi * hertz * t) for hertz in TONES[:channels]]).astype(np.float32)


def write_media(
    path: Path,
    num_frames: int = 48,
    channels: int = 2,
    size: tuple[int, int] = (64, 48),
    sound_rate: int = SOUND_RATE,
    codecs: tuple[str, str] = ("libx264", "aac"),
    pixels: str = "yuv420p",
    ticks: Sequence[int] | None = None,
    muxing: dict[str, str] | None = None,
    sound_seconds: float | None = None,
) -> Path:
    """A file of `num_frames` pictures at 24 a second and as much sound. 0 channels: no sound; 0 frames: no pictures.

    ticks: when each frame begins, in 1/24 s (a variable rate). muxing: options of the container. sound_seconds: how
    long the sound lasts if not as long as the pictures.
    """
    seconds = sound_seconds or (ticks[-1] + 1 if ticks else num_frames or 48) / RATE
    with av.open(str(path), "w", options=muxing or {}) as container:
        video = container.add_stream(codecs[0], rate=RATE) if num_frames else None
        layout = "mono" if channels == 1 else "stereo"
        audio = container.add_stream(codecs[1], rate=sound_rate, layout=layout) if channels else None
        if video is not None:
            video.width, video.height = size
            video.pix_fmt = pixels
            if codecs[0] == "libx264":
                video.options = {"g": "12", "crf": "10"}
            for index in range(num_frames):
                frame = av.VideoFrame.from_ndarray(picture(index, *size), format="rgb24")
                frame.pts = ticks[index] if ticks else index
                container.mux(video.encode(frame))
            container.mux(video.encode(None))
        if audio is not None:
            samples = tone(seconds, sound_rate, channels)
            packed = codecs[1].startswith("pcm")
            given = (samples.T.reshape(1, -1) * 32767).astype(np.int16) if packed else samples
            sound = av.AudioFrame.from_ndarray(np.ascontiguousarray(given), "s16" if packed else "fltp", layout)
            sound.sample_rate, sound.pts = sound_rate, 0
            container.mux(audio.encode(sound))
            container.mux(audio.encode(None))
    return path


def write_scene(
    path: Path, colour: tuple[int, int, int], wide: bool, hertz: float, begin: int = 0, num_frames: int = 12
) -> Path:
    """A bar that is `wide` or high, in this colour, moves over black for half a second while a tone sounds.

    begin: where it is at first, and so what tells scenes of one kind apart.
    """
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=RATE, width=64, height=64, pix_fmt="yuv420p")
        audio = container.add_stream("aac", rate=16000, layout="mono")
        for index in range(num_frames):
            pixels = np.zeros((64, 64, 3), np.uint8)
            at = (begin + index) % 40
            pixels[slice(at, at + 16) if wide else slice(None), slice(None) if wide else slice(at, at + 16)] = colour
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts = index
            container.mux(video.encode(frame))
        t = np.arange(round(num_frames / RATE * 16000)) / 16000
        wave = 0.5 * np.sin(2 * np.pi * hertz * t + begin).astype(np.float32)[None]
        sound = av.AudioFrame.from_ndarray(wave, "fltp", "mono")
        sound.sample_rate, sound.pts = 16000, 0
        for stream, last in ((video, None), (audio, sound), (audio, None)):
            container.mux(stream.encode(last))
    return path


def write_turned(path: Path, degrees: int) -> Path:
    """The video, to be shown turned clockwise by 0, 90, 180 or 270 degrees, as telephones write it (ISO 14496-12)."""
    data = bytearray(write_media(path).read_bytes())
    a, b = {0: (1, 0), 90: (0, 1), 180: (-1, 0), 270: (0, -1)}[degrees]
    matrix = struct.pack(">9i", a << 16, b << 16, 0, -b << 16, a << 16, 0, 0, 0, 1 << 30)
    start = data.index(b"tkhd") + 4 + 40  # of a version-0 header; the first track is the video
    data[start : start + 36] = matrix
    path.write_bytes(bytes(data))
    return path


def cut(path: Path, share: float = 0.5) -> Path:
    """Only the first part of the file's bytes."""
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    return path
