"""The page in a real browser: no errors; search, sorting, sound and theme; also at the width of a phone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from test_report_page import ATTACK, Things, cases, instances, metrics
from test_report_tables import read, sample

from browser import Browser
from omnidistill.report.items import SOUND_RATE, MediumFactory, short_sound, thumbnail
from omnidistill.report.page import RunView, render_page

NUM_ROWS = 60
CAPTIONS = "[...document.querySelectorAll('.cards .item .caption')].map((node) => node.textContent)"
ROWS = "[...document.querySelectorAll('.card h3')].map((node) => parseInt(node.firstChild.data.slice(4)))"


class Heard(Things):
    """Items with a real picture and a tone each."""

    def picture(self, name: str) -> MediumFactory | None:
        shade = 3 * int(name) % 256
        return lambda: thumbnail(torch.full((3, 40, 60), shade, dtype=torch.uint8))

    def sound(self, name: str, modality: str) -> MediumFactory | None:
        t = torch.arange(2 * SOUND_RATE) / SOUND_RATE
        tone = 0.3 * torch.sin(2 * torch.pi * (300 + 10 * int(name)) * t)
        return (lambda: short_sound(tone[None])) if modality == "audio" else None


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "report.html"
    items = Heard(prefix=f"{ATTACK} thing ")
    path.write_text(
        render_page([RunView(read(sample()), metrics(), instances(NUM_ROWS, 97), items, (), cases())]), "utf-8"
    )
    return path


@pytest.fixture
def browser(chromium: Browser, page: Path) -> Iterator[Browser]:
    """The page, opened anew."""
    chromium.size(1200, 900)
    chromium.open(page)
    yield chromium
    assert chromium.heard() == []


def test_it_opens_with_its_pictures_and_takes_no_caption_for_markup(browser: Browser) -> None:
    assert browser.run("document.querySelectorAll('.card').length") == 24
    assert browser.run(CAPTIONS)[0] == f"{ATTACK} thing 0"
    assert browser.run("document.querySelector('.cards script, .cases script, [onmouseover]')") is None
    drawn = "Promise.all([...document.images].map((image) => image.decode().then(() => image.naturalWidth)))"
    assert min(browser.run(drawn)) > 0
    assert browser.run("document.querySelectorAll('.case img').length") == 2 * (1 + 3 * 5)


def test_search_sorting_and_more_show_what_they_say(browser: Browser) -> None:
    browser.run("document.querySelector('.more button').focus()")
    browser.press("Enter")
    assert browser.run(ROWS) == list(range(48))
    assert browser.run("document.activeElement.querySelector('h3').firstChild.data") == "Row 24"

    def choose(order: str) -> None:
        change = "order.dispatchEvent(new Event('change'))"
        browser.run(f"{{ const order = document.querySelector('select'); order.value = '{order}'; {change} }}")

    choose("moved")
    assert [row % 5 for row in browser.run(ROWS)][:13] == [0] * 12 + [1]
    choose("stayed")
    assert [row % 5 for row in browser.run(ROWS)][:13] == [4] * 12 + [3]
    choose("number")
    browser.run(
        "{ const box = document.querySelector('input[type=search]'); box.value = ' THING 96'; "
        "box.dispatchEvent(new Event('input')) }"
    )
    expected = [
        row.index
        for row in instances(NUM_ROWS, 97)
        if any("96" in {n.id for n in t.nearest} for t in row.traces.values())
    ]
    assert browser.run(ROWS) == expected
    assert browser.run("document.querySelector('output').value") == f"{len(expected)} of {NUM_ROWS}"
    assert browser.run("document.querySelector('.more').hidden")


def test_a_sound_plays(browser: Browser) -> None:
    played = browser.run(
        "(async () => { const sound = document.querySelector('.card audio'); await sound.play(); "
        "await new Promise((done) => { sound.ontimeupdate = () => sound.currentTime > 0.1 && done() }); "
        "return [sound.readyState, sound.currentTime, sound.duration] })()"
    )
    assert played[0] >= 2
    assert played[1] > 0.1
    assert played[2] == pytest.approx(2.0, abs=0.2)


@pytest.mark.parametrize("width", [320, 390, 768])
def test_a_narrow_window_scrolls_in_one_direction_only(browser: Browser, page: Path, width: int) -> None:
    browser.size(width, 800)
    browser.open(page)
    assert browser.run("document.documentElement.scrollWidth") <= width


def test_dark_and_light_follow_the_reader_and_the_button(browser: Browser, page: Path) -> None:
    ground = "getComputedStyle(document.body).backgroundColor"
    light = browser.run(ground)
    browser.size(1200, 900, dark=True)
    dark = browser.run(ground)
    assert dark != light
    browser.run("document.getElementById('theme').focus()")
    browser.press("Enter")
    assert browser.run(ground) == light
    browser.press("Enter")
    assert browser.run(ground) == dark


def test_the_keyboard_reaches_everything_first_what_skips_the_rest(browser: Browser) -> None:
    browser.press("Tab")
    assert browser.run("document.activeElement.className") == "skip"
    reached = set()
    for _ in range(30):
        browser.press("Tab")
        reached.add(browser.run("document.activeElement.tagName.toLowerCase()"))
    assert {"a", "button", "input", "select", "div"} <= reached


def test_levels_of_recall_are_chosen_one_at_a_time(browser: Browser) -> None:
    seen = "[...document.querySelectorAll('.level')].map((node) => node.getClientRects().length > 0)"
    assert browser.run(seen) == [True, False, False]
    browser.run("document.querySelectorAll('input[name=level]')[2].click()")
    assert browser.run(seen) == [False, False, True]
