"""The site in a real browser, at the widths of a phone, a tablet and a desk: nothing sticks out, figures are drawn."""

from __future__ import annotations

from pathlib import Path

import pytest

from browser import Browser

PAGES = ("index", "encoders", "results", "limits", "concepts", "guides/media", "reference/settings", "reference/api")


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
