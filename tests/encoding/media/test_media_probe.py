import wave

import pytest
from PIL import Image

from media_files import cut, write_media, write_turned
from omnidistill.encoding.media.container import MediaError
from omnidistill.encoding.media.probe import Probe, check_complete, probe


def test_each_kind_is_known_by_its_content(tmp_path):
    video = write_media(tmp_path / "a.mp4").rename(tmp_path / "video.png")
    found = probe(video)
    assert (found.kind, found.has_audio, found.width, found.height) == ("video", True, 64, 48)
    assert found.duration == pytest.approx(2.0, abs=0.05)
    sound = probe(write_media(tmp_path / "a.flac", num_frames=0, codecs=("", "flac")))
    assert (sound.kind, sound.has_audio, sound.width) == ("audio", True, None)
    assert sound.duration == pytest.approx(2.0, abs=0.05)
    Image.new("RGB", (7, 5)).save(tmp_path / "p.jpg")
    assert probe(tmp_path / "p.jpg") == Probe("image", None, False, 7, 5)


def test_a_video_without_sound_and_one_taken_sideways(tmp_path):
    assert not probe(write_media(tmp_path / "silent.mp4", channels=0)).has_audio
    turned = probe(write_turned(tmp_path / "turned.mp4", 90))
    assert (turned.width, turned.height) == (48, 64)


def test_an_animation_is_a_video(tmp_path):
    frames = [Image.new("RGB", (6, 4), colour) for colour in ("red", "blue", "white")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:], duration=500)
    assert (probe(tmp_path / "a.gif").kind, probe(tmp_path / "a.gif").width) == ("video", 6)


def test_a_cover_is_no_video(tmp_path):
    import av
    from av.stream import Disposition

    sound = write_media(tmp_path / "plain.m4a", num_frames=0)
    path = tmp_path / "song.m4a"
    with av.open(str(sound)) as given, av.open(str(path), "w", format="mp4") as made:
        audio = made.add_stream_from_template(given.streams.audio[0])
        cover = made.add_stream("png", rate=1)
        cover.width, cover.height, cover.pix_fmt = 8, 8, "rgb24"
        cover.disposition = Disposition.attached_pic
        made.mux(cover.encode(av.VideoFrame(8, 8, "rgb24")))
        made.mux(cover.encode(None))
        for packet in given.demux(audio=0):
            if packet.dts is not None:
                packet.stream = audio
                made.mux(packet)
    assert probe(path).kind == "audio"


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts", "a.m4a", "a.wav", "a.mp3"])
def test_whole_files_pass(tmp_path, name):
    sound = {"a.wav": "pcm_s16le", "a.mp3": "mp3"}
    is_video = name in ("a.mp4", "a.mkv", "a.ts")
    path = write_media(tmp_path / name, num_frames=96 if is_video else 0, codecs=("libx264", sound.get(name, "aac")))
    check_complete(path)


def test_few_pictures_a_second_and_sound_that_is_longer_are_whole(tmp_path):
    check_complete(write_media(tmp_path / "slides.mkv", num_frames=4, channels=0, ticks=[0, 96, 192, 288]))
    check_complete(write_media(tmp_path / "longer.mkv", num_frames=3, ticks=[0, 1, 200]))


@pytest.mark.parametrize(
    ("name", "muxing"),
    [("a.mkv", {}), ("a.mp4", {"movflags": "faststart"}), ("silent.mkv", {}), ("sound.mka", {})],
)
def test_cut_files_are_found_out_with_what_is_left(tmp_path, name, muxing):
    is_sound = name == "sound.mka"
    path = write_media(
        tmp_path / name,
        num_frames=0 if is_sound else 240,
        channels=0 if name == "silent.mkv" else 2,
        muxing=muxing,
        codecs=("libx264", "flac" if is_sound else "aac"),
    )
    share = 0.3 if is_sound else 0.5  # the sound lasts two seconds only
    with pytest.raises(MediaError, match=rf"{name}: truncated: \d\.\d+ of (10|2)\.\d+ s can be decoded"):
        check_complete(cut(path, share))


@pytest.mark.parametrize(
    ("content", "names"),
    [
        (b"", "zero bytes"),
        (b"this is a text and no film" * 100, "cannot be decoded"),
        (
            b"#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\nvideo.ts\n#EXT-X-ENDLIST\n",
            "cannot be decoded",
        ),
        (b"ffconcat version 1.0\nfile video.ts\n", "unknown container format"),
    ],
)
def test_what_is_no_media_file(tmp_path, content, names):
    write_media(tmp_path / "video.ts")
    (tmp_path / "x.mp4").write_bytes(content)
    for action in (probe, check_complete):
        with pytest.raises(MediaError, match=rf"x\.mp4: .*{names}") as caught:
            action(tmp_path / "x.mp4")
        assert "\n" not in str(caught.value)


def test_a_damaged_picture_is_told_as_one(tmp_path):
    Image.effect_noise((200, 200), 50).save(tmp_path / "p.png")
    with pytest.raises(MediaError, match=r"p\.png: cannot be decoded \(.*\); it is damaged or truncated"):
        probe(cut(tmp_path / "p.png"))


def test_a_file_whose_index_was_cut_off(tmp_path):
    with pytest.raises(MediaError, match=r"a\.mp4: cannot be decoded"):
        probe(cut(write_media(tmp_path / "a.mp4")))


def test_a_sound_without_samples_is_not_complete(tmp_path):
    path = tmp_path / "none.wav"
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 16000, 0, "NONE", ""))
        file.writeframes(b"")
    with pytest.raises(MediaError, match=r"none\.wav: the audio track has no sample"):
        check_complete(path)


def test_names_that_ffmpeg_would_take_for_protocols(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_media(tmp_path / "a.mp4")
    name = "concat:a.mp4|a.mp4"
    (tmp_path / "a.mp4").rename(tmp_path / name)
    assert probe(name).duration == pytest.approx(2.0, abs=0.05)
    with pytest.raises(MediaError, match="no such file"):
        probe("subfile,,start,0,end,9,,:a.mp4")
