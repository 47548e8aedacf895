"""Files with random damage: whatever is read of them, it is read, or one MediaError says which file is damaged."""

import contextlib

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from media_files import write_media
from omnidistill.encoding.media.container import MediaError
from omnidistill.encoding.media.picture import read_picture
from omnidistill.encoding.media.probe import check_complete, probe
from omnidistill.encoding.media.sound import read_sound
from omnidistill.encoding.media.video import read_frames, video_duration

ACTIONS = (
    probe,
    check_complete,
    read_picture,
    video_duration,
    lambda path: read_frames(path, [0.0, 0.6]),
    lambda path: read_sound(path, 16000, 0.2, 0.6),
)
NAMES = ("a.mp4", "a.mkv", "a.avi", "a.wav", "a.mp3", "a.png", "a.jpg", "a.gif", "a.webp")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    codecs = {"a.avi": ("mpeg4", "mp3"), "a.wav": ("", "pcm_s16le"), "a.mp3": ("", "mp3")}
    for name in NAMES[:5]:
        is_sound = name in ("a.wav", "a.mp3")
        write_media(
            folder / name,
            0 if is_sound else 24,
            codecs=codecs.get(name, ("libx264", "aac")),
            sound_seconds=1.0,
        )
    for name in NAMES[5:]:
        Image.effect_noise((40, 30), 50).save(folder / name)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.sampled_from(NAMES),
    flips=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=12),
    header=st.booleans(),
    kept=st.floats(0.1, 1.0),
)
def test_damage_is_a_media_error_or_nothing(tmp_path, whole, name, flips, header, kept):
    data = bytearray(whole[name])
    for place, value in flips:
        data[int(place * (min(200, len(data)) if header else len(data)))] = value
    path = tmp_path / name
    path.write_bytes(data[: int(kept * len(data))])
    for action in ACTIONS:
        with contextlib.suppress(MediaError):
            found = action(path)
            if isinstance(found, torch.Tensor):
                assert found.numel() > 0
