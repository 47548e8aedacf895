import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from media_files import SOUND_RATE, TONES, cut, tone, write_media
from omnidistill.encoding.media.container import MediaError
from omnidistill.encoding.media.sound import read_sound, resample


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("sounds")


@pytest.fixture(scope="module")
def wave(folder):
    return write_media(folder / "wave.wav", num_frames=0, codecs=("", "pcm_s16le"))


@pytest.fixture(scope="module")
def video(folder):
    return write_media(folder / "video.mp4", num_frames=168)


def error(found, wanted):
    return float(np.sqrt(np.mean((np.asarray(found) - wanted) ** 2)))


def test_samples_at_the_files_own_rate_are_the_files(wave):
    sound = read_sound(wave, SOUND_RATE)
    assert sound.dtype == torch.float32
    np.testing.assert_allclose(sound.numpy(), tone(2.0), atol=2 / 32767)


@pytest.mark.parametrize("rate", [16000, 48000, 22050, 8000])
def test_a_wanted_rate_gives_the_same_tone_at_that_rate(wave, rate):
    sound = read_sound(wave, rate)
    assert sound.shape == (2, 2 * rate)
    inside = slice(rate // 50, -rate // 50)  # the ends ring
    assert error(sound[:, inside], tone(2.0, rate)[:, inside]) < 1e-4


def test_mono_stays_one_channel(folder):
    path = write_media(folder / "mono.flac", num_frames=0, channels=1, codecs=("", "flac"))
    sound = read_sound(path, 16000)
    assert sound.shape[0] == 1
    assert error(sound[0, 400:-400], tone(2.0, 16000, 1)[0, 400:-400]) < 1e-3


@pytest.mark.parametrize(("start", "end"), [(0.0, 1.0), (0.5, 0.75), (3.0, 5.0), (5.25, 6.5)])
@pytest.mark.parametrize("rate", [16000, SOUND_RATE])
def test_a_cut_is_that_stretch_of_the_whole(video, start, end, rate):
    whole = read_sound(video, rate)
    cut = read_sound(video, rate, start, end)
    assert cut.shape == (2, round((end - start) * rate))
    np.testing.assert_allclose(cut, whole[:, round(start * rate) : round(end * rate)], atol=2e-4)


def test_sound_of_a_video_is_in_time_with_its_pictures(video):
    cut = read_sound(video, 16000, 4.0, 5.0).numpy()
    assert error(cut, tone(5.0, 16000)[:, 64000:]) < 0.01  # AAC is lossy; a shift of one sample would be 0.06


@pytest.mark.parametrize(
    ("name", "codec"), [("s.mkv", "aac"), ("s.ts", "aac"), ("s.mp3", "mp3"), ("s.webm", "libopus"), ("s.ogg", "flac")]
)
def test_other_containers_hold_the_same_tone(folder, name, codec):
    path = write_media(folder / name, num_frames=0, sound_rate=48000, codecs=("", codec))
    sound = read_sound(path, 16000, 0.5, 1.5).numpy()
    assert sound.shape == (2, 16000)
    spectrum = abs(np.fft.rfft(sound))
    assert tuple(spectrum.argmax(1)) == TONES  # a second of sound: bins of 1 Hz
    assert error(sound, 0.0) == pytest.approx(0.5 / np.sqrt(2), rel=0.05)


def test_an_end_beyond_the_track_gives_what_there_is(wave):
    assert read_sound(wave, 16000, 1.5, 60.0).shape == (2, 8000)


def test_the_padding_of_a_codec_is_short_and_goes_with_an_end(video):
    assert 0 <= read_sound(video, 16000).shape[1] - 7 * 16000 < 1600
    assert read_sound(video, 16000, 0.0, 7.0).shape[1] == 7 * 16000


def test_resampling_there_and_back(wave):
    x = torch.from_numpy(tone(1.0))
    back = resample(resample(x, SOUND_RATE, 48000), 48000, SOUND_RATE)
    assert back.shape == x.shape
    assert error(back[:, 1000:-1000], x[:, 1000:-1000].numpy()) < 1e-4
    assert resample(x, 16000, 16000) is x


@settings(max_examples=30, deadline=None)
@given(n=st.integers(0, 3000), rates=st.tuples(*[st.sampled_from([8000, 16000, 22050, 44100, 48000])] * 2))
def test_resampling_gives_as_many_samples_as_the_time_holds(n, rates):
    rate, to = rates
    assert resample(torch.ones(3, n), rate, to).shape == (3, math.ceil(n * to / rate))


def test_very_short_sounds_are_sounds(folder):
    path = write_media(folder / "short.wav", num_frames=0, sound_seconds=0.001, codecs=("", "pcm_s16le"))
    assert read_sound(path, 16000).shape == (2, 16)


def test_a_file_that_is_cut_gives_only_sound_that_is_there(folder):
    path = cut(write_media(folder / "cut.mkv", num_frames=240))
    assert read_sound(path, 16000, 0.0, 2.0).shape == (2, 32000)
    for start, end in ((0.0, 9.0), (0.0, None), (4.0, 9.0)):
        with pytest.raises(MediaError, match=r"cut\.mkv: truncated: the sound ends at \d\.\d\d of 10\.\d\d s"):
            read_sound(path, 16000, start, end)


def test_a_video_without_sound(folder):
    path = write_media(folder / "silent.mp4", channels=0)
    with pytest.raises(MediaError, match=r"silent\.mp4: no audio track"):
        read_sound(path, 16000)


@pytest.mark.parametrize("start", [2.5, 30.0])
def test_a_start_beyond_the_track(wave, start):
    with pytest.raises(MediaError, match=r"wave\.wav: .*ends"):
        read_sound(wave, 16000, start, start + 1)


@pytest.mark.parametrize(
    ("rate", "start", "end"), [(0, 0.0, 1.0), (16000, -1.0, 1.0), (16000, 1.0, 1.0), (16000, float("nan"), None)]
)
def test_rates_and_times_that_make_no_sense(wave, rate, start, end):
    with pytest.raises(MediaError, match="pass a rate >= 1 and 0 <= start < end"):
        read_sound(wave, rate, start, end)
