import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from media_files import RATE, cut, picture, square, write_media, write_turned
from omnidistill.encoding.media.container import MediaError
from omnidistill.encoding.media.video import read_frames, video_duration


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("videos")


@pytest.fixture(scope="module")
def video(folder):
    return write_media(folder / "video.mp4", num_frames=56 * 3)


def images(path, times):
    return read_frames(path, times).permute(0, 2, 3, 1).numpy()


def all_frames(path):
    """The oracle: every frame from the first to the last with its time, no seeking."""
    with av.open(str(path)) as container:
        start = container.start_time / 1e6
        return [(frame.time - start, frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]


def shown(frames, time):
    """The last frame that begins at or before `time`; the first one before that."""
    return ([image for start, image in frames if start <= time + 1e-3] or [frames[0][1]])[-1]


def test_the_frame_at_a_time_is_the_one_that_was_drawn_for_it(video):
    times = [0.0, 0.5, 1.0, 1.5, 6.5]
    read = images(video, times)
    assert read.shape == (5, 48, 64, 3)
    assert read.dtype == np.uint8
    for time, image in zip(times, read, strict=True):
        drawn = picture(round(time * RATE))
        assert square(image) == square(drawn)
        assert abs(image.astype(int) - drawn).mean() < 6


@settings(max_examples=25, deadline=None)
@given(times=st.lists(st.floats(0, 9), min_size=1, max_size=6))
def test_any_times_in_any_order_give_what_decoding_everything_gives(video, times):
    frames = all_frames(video)
    np.testing.assert_array_equal(images(video, times), [shown(frames, time) for time in times])


@pytest.mark.parametrize(
    ("name", "codecs"),
    [
        ("v.mkv", ("libx264", "aac")),
        ("v.ts", ("libx264", "aac")),
        ("v.avi", ("mpeg4", "mp3")),
        ("v.webm", ("libvpx", "libopus")),
    ],
)
def test_other_containers_seek_to_the_same_frames(folder, name, codecs):
    path = write_media(folder / name, num_frames=168, codecs=codecs, sound_rate=48000)
    frames = all_frames(path)
    for times in ([6.2, 0.0, 3.3, 2.0], [5.0], [6.9, 1.1]):
        np.testing.assert_array_equal(images(path, times), [shown(frames, time) for time in times])


def test_a_variable_frame_rate_is_read_by_time(folder):
    ticks = [0, 1, 2, 30, 31, 90]
    path = write_media(folder / "variable.mkv", num_frames=6, channels=0, ticks=ticks)
    at = [(tick + 0.5) / RATE for tick in (0, 2, 29, 30, 60, 90)]
    assert [square(image) for image in images(path, at)] == [0, 2, 2, 3, 4, 5]


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_a_video_taken_sideways_is_turned_upright(folder, degrees):
    path = write_turned(folder / f"turned-{degrees}.mp4", degrees)
    upright = np.rot90(picture(24), -degrees // 90)
    image = images(path, [1.0])[0]
    assert image.shape == upright.shape
    assert abs(image.astype(int) - upright).mean() < 6


def test_odd_sizes_keep_every_row_and_column(folder):
    path = write_media(folder / "odd.mkv", size=(37, 27), codecs=("ffv1", "aac"), pixels="bgr0", channels=0)
    np.testing.assert_array_equal(images(path, [1.0])[0], picture(24, 37, 27))


def test_times_before_the_first_and_after_the_last_frame(video, folder):
    frames = all_frames(video)
    np.testing.assert_array_equal(images(video, [100.0])[0], frames[-1][1])
    late = write_media(folder / "late.mkv", num_frames=2, channels=2, ticks=[12, 13])
    assert square(images(late, [0.0])[0]) == 0


def test_a_file_that_is_cut_gives_only_frames_that_are_there(folder):
    path = cut(write_media(folder / "cut.mkv", num_frames=240))
    assert square(images(path, [1.0])[0]) == 24
    with pytest.raises(MediaError, match=r"cut\.mkv: truncated: the last frame is at \d\.\d\d of 10\.00 s"):
        images(path, [1.0, 9.0])


def test_sound_that_is_longer_than_the_pictures_is_no_damage(folder):
    assert square(images(write_media(folder / "longer.mp4", num_frames=2, sound_seconds=8.0), [6.0])[0]) == 1


def test_duration(video, folder):
    assert video_duration(video) == pytest.approx(7.0, abs=1e-3)
    assert video_duration(write_media(folder / "two.mkv")) == pytest.approx(2.0, abs=0.05)


def test_a_file_without_pictures(folder):
    path = write_media(folder / "sound.m4a", num_frames=0)
    with pytest.raises(MediaError, match=r"sound\.m4a: no video track"):
        read_frames(path, [0.0])


@pytest.mark.parametrize("times", [[], [-1.0], [float("nan")], [float("inf")]])
def test_times_that_are_none(video, times):
    with pytest.raises(MediaError, match=r"video\.mp4: invalid frame times"):
        read_frames(video, times)
