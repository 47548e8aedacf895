from __future__ import annotations

from pathlib import Path

import pytest

from media_files import square, write_media
from omnidistill.core.errors import InputError
from omnidistill.encoding.encoders.decode import frames_of, picture_of, sound_of
from omnidistill.encoding.encoders.encoder import Item
from omnidistill.encoding.media.sound import read_sound


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_media(tmp_path_factory.mktemp("clip") / "clip.mp4")  # 48 frames at 24 a second


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        (None, None, [6, 18, 30, 42]),
        (0.5, 1.5, [15, 21, 27, 33]),
        (1.0, None, [27, 33, 39, 45]),
        (1.0, 30.0, [27, 33, 39, 45]),  # a clip that would end after the video
    ],
)
def test_frames_are_the_middles_of_equal_stretches(
    clip: Path, start: float | None, end: float | None, expected: list[int]
) -> None:
    frames = frames_of(Item(clip, start, end), 4)
    assert [square(frame.permute(1, 2, 0).numpy()) for frame in frames] == expected


def test_sound_is_the_clips_and_of_a_long_one_the_middle(clip: Path) -> None:
    whole = read_sound(clip, 8000).mean(0)
    assert sound_of(Item(clip), 8000).equal(whole)
    assert sound_of(Item(clip, 0.5, 1.5), 8000).shape == (8000,)
    middle = sound_of(Item(clip, 0.0, 2.0), 8000, max_seconds=0.5)
    assert middle.equal(whole[6000:10000])


@pytest.mark.parametrize("end", [6.0, None])
def test_a_sound_shorter_than_half_of_its_clip_is_refused(tmp_path: Path, end: float | None) -> None:
    path = write_media(tmp_path / "short.mp4", num_frames=96, sound_seconds=0.5)  # 4 s of pictures
    with pytest.raises(
        InputError, match=r"short\.mp4: only 0\.5\d s of the clip from 0\.00 to [46]\.\d\d s have sound"
    ):
        sound_of(Item(path, 0.0, end), 8000)
    assert sound_of(Item(path, 0.0, 0.9), 8000).numel() > 0.45 * 8000


def test_what_makes_no_sense_is_refused(clip: Path) -> None:
    with pytest.raises(InputError, match=r"starts at 2\.0 s, but the clip or the video ends at 1\.0 s"):
        frames_of(Item(clip, 2.0, 1.0), 4)
    with pytest.raises(InputError, match="images are read from files"):
        picture_of(Item("https://a.b/c.png"))
