"""Captions and media of real items: small media of real files, read back with PyAV and Pillow; no web addresses."""

from __future__ import annotations

import io
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from media_files import write_media
from omnidistill.core.errors import InputError
from omnidistill.data.emoji import load_emoji
from omnidistill.encoding.manifests.manifest import Manifest, Row
from omnidistill.report.heatmap import heat_png
from omnidistill.report.items import SOUND_RATE, SOUND_SECONDS, THUMBNAIL_PIXELS, EmojiItems, ManifestItems, Medium
from omnidistill.report.media_embedding import EmbeddedMedia
from omnidistill.report.page_items import MAX_CAPTION, as_script_data, tidy


def opened(medium: Medium) -> Image.Image:
    return Image.open(io.BytesIO(medium.data)).convert("RGB")


@pytest.fixture
def items(tmp_path: Path) -> ManifestItems:
    write_media(tmp_path / "clip.mp4", num_frames=48, size=(320, 160))
    write_media(tmp_path / "tone.wav", num_frames=0, codecs=("libx264", "pcm_s16le"), sound_seconds=6.0)
    Image.new("RGB", (60, 300), (10, 200, 30)).save(tmp_path / "picture.png")
    kinds = {"video": "video", "sound": "audio", "image": "image", "text": "text"}
    rows = (
        Row("film", "film", "train", {"video": "clip.mp4", "sound": "clip.mp4", "text": "a square"}, 0.5, 1.5),
        Row("tone", "tone", "train", {"sound": "tone.wav"}),
        Row("drawing", "drawing", "train", {"image": "picture.png", "text": "green"}),
        Row("lost", "lost", "train", {"image": "absent.png"}),
        Row("far", "far", "train", {"image": "https://example.org/a.png"}),
    )
    return ManifestItems(Manifest(rows, kinds, tmp_path, addresses=True))


def test_a_picture_and_a_video_become_thumbnails(items: ManifestItems) -> None:
    drawing, poster = items.picture("drawing"), items.picture("film")
    assert drawing is not None
    assert poster is not None
    assert opened(drawing()).size[1] == THUMBNAIL_PIXELS
    assert np.abs(np.array(opened(drawing()))[5, 5].astype(int) - (10, 200, 30)).max() < 16
    frame = np.array(opened(poster()))
    assert frame.shape[:2] == (THUMBNAIL_PIXELS // 2, THUMBNAIL_PIXELS)
    left = 24 * THUMBNAIL_PIXELS / 320  # of the square in the frame at one second, half way from 0.5 to 1.5 s
    assert abs(int(np.argmax(frame[0, :, 1] > 128)) - left) <= 1


def test_a_sound_is_cut_to_its_first_seconds(items: ManifestItems) -> None:
    for name, seconds in (("tone", SOUND_SECONDS), ("film", 1.0)):
        make = items.sound(name, "sound")
        assert make is not None
        with av.open(io.BytesIO(make().data)) as container:
            pieces = [frame.to_ndarray()[0] for frame in container.decode(audio=0)]
            assert container.streams.audio[0].rate == SOUND_RATE
            assert container.streams.audio[0].layout.nb_channels == 1
        assert sum(map(len, pieces)) / SOUND_RATE == pytest.approx(seconds, abs=0.15)
        assert np.abs(np.concatenate(pieces)).max() > 0.2
        assert len(make().data) < 16_000


def test_captions_are_texts_or_else_ids_and_what_is_missing_is_none(items: ManifestItems) -> None:
    assert [items.caption(name, "sound") for name in ("film", "tone", "unknown")] == ["a square", "tone", "unknown"]
    assert items.sound("film", "video") is None
    assert items.sound("drawing", "sound") is None
    assert items.picture("tone") is None
    assert items.picture("unknown") is None
    assert items.picture("far") is None, "an address is not followed"
    lost = items.picture("lost")
    assert lost is not None
    with pytest.raises(InputError, match="no such file"):
        lost()


def test_emoji_have_texts_and_drawings() -> None:
    raw, items = load_emoji(), EmojiItems()
    for row in (0, 2000, 4000):
        name = raw.ids[row]
        assert items.caption(name, "text") == raw.captions["text"][row]
        assert items.caption(name, "image") == f"{raw.captions['audio'][row]} ({name.split('/')[0]})"
        make = items.picture(name)
        assert make is not None
        assert Image.open(io.BytesIO(make().data)).size == (64, 64)
        assert items.sound(name, "audio") is None


def test_a_heat_map_is_blue_above_zero_orange_below_and_clear_at_it() -> None:
    import torch

    pixels = np.array(Image.open(io.BytesIO(heat_png(torch.tensor([[2.0, 0.0, -0.5]]), scale=1.0).data))).astype(int)
    assert pixels.shape == (1, 3, 4)
    assert pixels[0, :, 3].tolist() == [255, 0, 128]
    assert pixels[0, 0, 2] > pixels[0, 0, 0]
    assert pixels[0, 2, 0] > pixels[0, 2, 2]


def test_media_are_embedded_once_while_the_budget_lasts() -> None:
    made: list[str] = []

    def make(name: str, size: int) -> Medium:
        made.append(name)
        return Medium("image/png", name.encode() * size)

    media = EmbeddedMedia(400)
    numbers = [media.number(name, lambda name=name: make(name[0], 100)) for name in ("a", "a", "ab", "b", "c", "d")]
    assert numbers == [0, 0, 0, 1, None, None]
    assert media.number("nothing", None) is None
    assert (len(media.uris), media.left_out, made) == (2, 2, ["a", "a", "b", "c"])
    assert media.num_bytes <= 400


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("  a\n\tb ", "a b"),
        ("x" * 200, "x" * (MAX_CAPTION - 1) + "…"),
        ("a\u202eb\ud800\x00c", "abc"),
        ("👩\u200d🚒", "👩\u200d🚒"),
    ],
)
def test_captions_are_one_tidy_line(text: str, shown: str) -> None:
    assert tidy(text) == shown


def test_script_data_cannot_leave_its_element() -> None:
    text = str(as_script_data(["</script><!-- & \u2028"]))
    assert not set("<>&\u2028") & set(text)
