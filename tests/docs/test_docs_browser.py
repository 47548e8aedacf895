"""The site in a real browser, at the widths of a phone, a tablet and a desk: nothing sticks out, figures are drawn."""

from __future__ import annotations

from pathlib import Path

import pytest

from browser import Browser

PAGES = (
    *("index", "encoders", "results", "limits", "guides/media", "tutorials/own-features", "notebooks/distil_emoji"),
    *("reference/settings", "reference/api"),
)


@pytest.mark.parametrize("width", [390, 768, 1200])
@pytest.mark.parametrize("page", PAGES)
def test_a_page_scrolls_in_one_direction_only(chromium: Browser, site: Path, page: str, width: int) -> None:
    chromium.size(width, 800)
    chromium.open(site / f"{page}.html")
    assert chromium.run("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("page", PAGES)
def test_every_figure_is_drawn(chromium: Browser, site: Path, page: str) -> None:
    chromium.open(site / f"{page}.html")
    drawn = "Promise.all([...document.images].map((image) => image.decode().then(() => image.naturalWidth)))"
    assert all(chromium.run(drawn))


def test_the_search_works_from_a_file(chromium: Browser, site: Path) -> None:
    chromium.size(1280, 800)
    chromium.open(site / "guides/features.html")
    chromium.run("document.querySelector('[data-md-component=search-query]').focus()")
    chromium.call("Input.insertText", text="gain retained")
    found = chromium.run(
        """new Promise((done, failed) => {
          const look = (tries) => {  // the theme reads the text when a key is released, once its scripts have started
            document.activeElement.dispatchEvent(new KeyboardEvent("keyup", { key: "d", bubbles: true }));
            const links = [...document.querySelectorAll(".md-search-result__link")].map((link) => link.href);
            if (links.length) done(links);
            else if (tries) setTimeout(look, 100, tries - 1);
            else failed("nothing was found");
          };
          look(600);
        })"""
    )
    assert any("concepts.html" in link and "#gain-retained" in link for link in found)
    assert not chromium.heard()  # nothing was looked for elsewhere, and the worker has started
