import struct
from collections import Counter

import pytest
import torch

from omnidistill.core.errors import InputError
from omnidistill.data.emoji import emoji_picture, load_emoji

CLOCK = "1f55a"


@pytest.fixture(scope="module")
def raw():
    return load_emoji()


def test_three_variants_of_every_emoji_are_stacked(raw):
    assert {name: tuple(x.shape) for name, x in raw.features.items()} == {
        "image": (4686, 1280),
        "text": (4686, 384),
        "audio": (4686, 512),
    }
    assert all(x.dtype == torch.float16 and x.isfinite().all() for x in raw.features.values())
    assert len(set(raw.ids)) == 4686
    assert set(Counter(raw.groups).values()) == {3}
    assert Counter(raw.splits) == {"heads": 1050, "train": 2250, "validation": 300, "test": 1086}


def test_an_emoji_is_in_one_split(raw):
    assert len(set(zip(raw.groups, raw.splits, strict=True))) == 1562


def test_each_variant_has_its_own_wording(raw):
    def caption(variant, modality):
        return raw.captions[modality][raw.ids.index(f"{variant}/{CLOCK}")]

    assert caption("noto", "text") == "eleven o’clock: 11, 11:00, clock, eleven, o’clock, time"
    assert caption("twemoji", "text") == "eleven o’clock"
    assert caption("fluent", "text") == "a picture of eleven o’clock"
    assert caption("noto", "audio") == caption("fluent", "audio") == "eleven o’clock"
    assert caption("twemoji", "image") == "🕚"
    assert not any(text.endswith(": ") for text in raw.captions["text"])


def test_rows_follow_the_variants_asked_for(raw):
    two = load_emoji(("fluent", "noto"))
    row = raw.ids.index(f"fluent/{CLOCK}")
    assert two.ids[row - 2 * 1562] == f"fluent/{CLOCK}"
    for name, x in two.features.items():
        assert torch.equal(x[:1562], raw.features[name][2 * 1562 :])
        assert torch.equal(x[1562:], raw.features[name][:1562])


def test_provenance_names_licences_and_encoders_of_what_was_loaded():
    provenance = load_emoji(("twemoji",)).provenance
    assert provenance["licences"] == {"twemoji": "CC-BY-4.0", "names and keywords": "Unicode-3.0"}
    assert provenance["encoders"].keys() == {"image", "text", "audio"}


@pytest.mark.parametrize(
    ("variants", "names"),
    [(("notto",), "did you mean 'noto'"), ((), "pass one or more of"), (("noto", "noto"), "each at most once")],
)
def test_variants_that_are_not_there(variants, names):
    with pytest.raises(InputError, match=names):
        load_emoji(variants)


def test_there_is_a_64_pixel_picture_of_every_emoji(raw):
    for codepoints in raw.groups[:1562]:
        picture = emoji_picture(codepoints)
        assert picture is not None
        assert picture[:8] == b"\x89PNG\r\n\x1a\n"
        assert struct.unpack(">II", picture[16:24]) == (64, 64)


@pytest.mark.parametrize("codepoints", ["", "0000", "../items", "../../emoji"])
def test_no_picture_of_anything_else(codepoints):
    assert emoji_picture(codepoints) is None
