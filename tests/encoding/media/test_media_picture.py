import numpy as np
import pytest
from PIL import Image

from media_files import cut
from omnidistill.encoding.media.container import MediaError
from omnidistill.encoding.media.picture import picture_size, read_picture
from omnidistill.io import input_files

DRAWN = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)


def pixels(path):
    return read_picture(path).permute(1, 2, 0).numpy()


def saved(path, image, **settings):
    image.save(path, **settings)
    return path


@pytest.mark.parametrize("suffix", ["png", "bmp", "tiff", "ppm"])
def test_lossless_formats_give_the_pixels(tmp_path, suffix):
    path = saved(tmp_path / f"a.{suffix}", Image.fromarray(DRAWN))
    np.testing.assert_array_equal(pixels(path), DRAWN)
    assert picture_size(path) == (7, 5)


@pytest.mark.parametrize("suffix", ["jpg", "webp"])
def test_lossy_formats_give_nearly_the_pixels(tmp_path, suffix):
    smooth = np.kron(DRAWN, np.ones((16, 16, 1), np.uint8))
    path = saved(tmp_path / f"a.{suffix}", Image.fromarray(smooth), quality=100)
    assert abs(pixels(path).astype(int) - smooth).mean() < 8


@pytest.mark.parametrize(("orientation", "turned"), [(1, 0), (3, 2), (6, 3), (8, 1)])
def test_the_orientation_of_the_camera_is_undone(tmp_path, orientation, turned):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(tmp_path / "a.png", Image.fromarray(DRAWN), exif=exif)
    upright = np.rot90(DRAWN, turned)
    np.testing.assert_array_equal(pixels(path), upright)
    assert picture_size(path) == upright.shape[1::-1]


def test_what_is_transparent_is_white(tmp_path):
    alpha = np.full((5, 7), 255, np.uint8)
    alpha[0], alpha[1] = 0, 128
    path = saved(tmp_path / "a.png", Image.fromarray(np.dstack([DRAWN, alpha])))
    share = alpha[..., None] / 255
    np.testing.assert_allclose(pixels(path), DRAWN * share + 255 * (1 - share), atol=1)
    palette = Image.new("P", (2, 1))
    palette.putpalette([10, 20, 30, 40, 50, 60])
    palette.putpixel((1, 0), 1)
    path = saved(tmp_path / "p.png", palette, transparency=0)
    assert pixels(path).tolist() == [[[255, 255, 255], [40, 50, 60]]]


def test_grey_of_8_and_16_bits(tmp_path):
    grey = DRAWN[..., 0]
    rgb = np.repeat(grey[..., None], 3, axis=2)
    np.testing.assert_array_equal(pixels(saved(tmp_path / "8.png", Image.fromarray(grey))), rgb)
    deep = Image.fromarray(grey.astype(np.uint16) * 256 + 255)
    np.testing.assert_array_equal(pixels(saved(tmp_path / "16.png", deep)), rgb)


def test_of_an_animation_the_first_picture_is_taken_and_it_is_no_still(tmp_path):
    first, second = Image.new("RGB", (4, 4), "red"), Image.new("RGB", (4, 4), "blue")
    path = saved(tmp_path / "a.gif", first, save_all=True, append_images=[second])
    assert pixels(path)[0, 0].tolist() == [255, 0, 0]
    with pytest.raises(MediaError, match="animation"):
        picture_size(path)


def test_files_that_are_no_picture(tmp_path):
    whole = saved(tmp_path / "cut.png", Image.fromarray(np.kron(DRAWN, np.ones((64, 64, 1), np.uint8))))
    (tmp_path / "zero.png").touch()
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "folder.png").mkdir()
    for path, names in [
        (cut(whole), "cannot be decoded.*truncated"),
        (tmp_path / "zero.png", ".*zero bytes"),
        (tmp_path / "text.png", "not a picture of a known format"),
        (tmp_path / "folder.png", "not a regular file"),
        (tmp_path / "absent.png", "no such file"),
    ]:
        with pytest.raises(MediaError, match=f"{path.name}: {names}"):
            read_picture(path)


def test_a_small_file_of_many_pixels_is_not_decoded(tmp_path, monkeypatch):
    path = saved(tmp_path / "blank.png", Image.new("RGB", (400, 400)))
    monkeypatch.setattr(input_files, "FREE_BYTES", 2**20)
    with pytest.raises(MediaError, match=r"blank\.png: would take 1,920,000 bytes in memory, more than 100 times"):
        read_picture(path)


def test_a_decompression_bomb_is_not_decoded(tmp_path, monkeypatch):
    path = saved(tmp_path / "large.png", Image.new("L", (200, 200)))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(MediaError, match=r"large\.png: the picture has too many pixels"):
        read_picture(path)
