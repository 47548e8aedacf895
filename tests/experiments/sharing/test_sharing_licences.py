"""The strictest source decides; what is not known or forbids it is not shared."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omnidistill.core.errors import InputError
from omnidistill.data.emoji import load_emoji
from omnidistill.encoding.encoders.imagebind.load_imagebind import LICENCE as IMAGEBIND
from omnidistill.encoding.encoders.languagebind.load_languagebind import LICENCE as LANGUAGEBIND
from omnidistill.experiments.sharing.licences import FORBIDDING, licence_of

ORDERED = ["CC0-1.0", "MIT", "CC-BY-SA-4.0", "CC-BY-NC-4.0"]


@given(st.lists(st.sampled_from(ORDERED), min_size=1))
def test_the_strictest_source_decides(names: list[str]) -> None:
    found = licence_of({"licences": names})
    assert found.name == max(names, key=ORDERED.index)
    assert found.non_commercial == ("CC-BY-NC-4.0" in names)
    assert list(found.sources.values()) == names


@pytest.mark.parametrize(
    ("provenance", "said", "name", "fields"),
    [
        ({"licences": {"a": "Apache-2.0"}}, None, "Apache-2.0", {"license": "apache-2.0"}),
        ({"licence": "CC BY-SA 4.0 and more"}, "CC-BY-SA-4.0", "CC-BY-SA-4.0", {"license": "cc-by-sa-4.0"}),
        ({"licences": ["ODbL-1.0"]}, None, "ODbL-1.0", {"license": "odbl"}),
        (
            {"licences": {"a": "MIT", "b": "CC-BY-4.0"}},
            None,
            "CC-BY-4.0 AND MIT",
            {"license": "other", "license_name": "cc-by-4.0-and-mit"},
        ),
        ({"licences": {"a": "Unicode-3.0"}}, None, "Unicode-3.0", {"license": "other", "license_name": "unicode-3.0"}),
        (
            {"licences": {"video": IMAGEBIND}, "encoders": {"video": {"name": "imagebind-video"}}},
            "MIT",
            "CC-BY-NC-4.0",
            {"license": "cc-by-nc-4.0"},
        ),
        (
            {"encoders": {"text": {"name": "languagebind-text", "licence": LANGUAGEBIND}}},
            "CC0-1.0",
            "MIT",
            {"license": "mit"},
        ),
        ({}, "LicenseRef-Own", "LicenseRef-Own", {"license": "other", "license_name": "licenseref-own"}),
        ({"licences": {"a": "MIT"}, "encoders": {"x": "a model"}}, None, "MIT", {"license": "mit"}),
    ],
)
def test_what_a_set_is_under(provenance: Any, said: str | None, name: str, fields: dict[str, str]) -> None:
    found = licence_of(provenance, said)
    assert (found.name, found.card) == (name, fields)


def test_the_bundled_set_names_all_its_licences() -> None:
    found = licence_of(load_emoji().provenance)
    assert found.name == "Apache-2.0 AND CC-BY-4.0 AND MIT AND Unicode-3.0"
    assert found.sources["encoder of image"] is None


@pytest.mark.parametrize("words", FORBIDDING)
@pytest.mark.parametrize("said", [None, "MIT"])
def test_a_licence_that_forbids_it_is_refused_whatever_is_said(words: str, said: str | None) -> None:
    for provenance in (
        {"licences": {"clips": f"Own terms,  {words.upper()}", "texts": "MIT"}},
        {"licences": ["MIT"], "encoders": {"video": {"licence": f"weights: {words}"}}},
    ):
        with pytest.raises(InputError, match=r"(clips|encoder of video): .* does not allow redistribution"):
            licence_of(provenance, said)


@pytest.mark.parametrize(
    ("provenance", "who"),
    [
        ({}, "the data"),
        ({"licences": {}}, "the data"),
        ({"licences": {"clips": "see their page"}}, "clips"),
        ({"licences": {"video": "MIT"}, "encoders": {"video": {"name": "x"}}}, "the data"),
        ({"licences": ["MIT"], "encoders": {"video": {"licence": "by its card: llama"}}}, "encoder of video"),
    ],
)
def test_a_licence_that_is_not_known_must_be_said(provenance: Any, who: str) -> None:
    with pytest.raises(InputError, match=f"licence of {who}: unknown.*licence="):
        licence_of(provenance)
    assert licence_of(provenance, "CC-BY-NC-4.0").name == "CC-BY-NC-4.0"


def test_a_laxer_word_changes_nothing() -> None:
    assert licence_of({"licences": ["CC-BY-NC-4.0"]}, "CC0-1.0").name == "CC-BY-NC-4.0"
