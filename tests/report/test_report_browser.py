"""The page in a real browser: no errors; search, sorting, sound and theme; also at the width of a phone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest
import torch
from test_report_page import ATTACK, Things, cases, instances, metrics
from test_report_tables import read, sample

from browser import Browser
from omnidistill.report.heatmap import heat_png
from omnidistill.report.items import SOUND_RATE, MediumFactory, short_sound, thumbnail
from omnidistill.report.page import RunView, render_page
from omnidistill.report.similarity_view import SimilarityView

NUM_ROWS = 60
CAPTIONS = "[...document.querySelectorAll('.near .caption')].map((node) => node.textContent)"
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
    matrix = torch.eye(8) + 0.1 * torch.ones(8, 8)
    learned = SimilarityView("Learned.", heat_png(matrix, 1.0), 1.0, ((0, 3, 0.1),))
    path.write_text(
        render_page([RunView(read(sample()), metrics(), instances(NUM_ROWS, 97), items, [learned], cases())]), "utf-8"
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
    assert browser.run("document.querySelectorAll('.card').length") == 12
    assert browser.run(CAPTIONS)[0] == f"{ATTACK} thing 0"
    assert browser.run("document.querySelector('.cards script, .cases script, [onmouseover]')") is None
    drawn = "Promise.all([...document.images].map((image) => image.decode().then(() => image.naturalWidth)))"
    assert min(browser.run(drawn)) > 0
    assert browser.run("document.querySelectorAll('.case img').length") == 2 * (1 + 3 * 5)


def test_search_sorting_and_more_show_what_they_say(browser: Browser) -> None:
    most_changed = sorted(range(NUM_ROWS), key=lambda row: row % 5)
    assert browser.run(ROWS) == most_changed[:12]
    browser.run("document.querySelector('.more button').focus()")
    browser.press("Enter")
    assert browser.run(ROWS) == most_changed[:36]
    assert browser.run("document.activeElement.querySelector('h3').firstChild.data") == f"Row {most_changed[12]}"

    def choose(order: str) -> None:
        change = "order.dispatchEvent(new Event('change'))"
        browser.run(f"{{ const order = document.querySelector('select'); order.value = '{order}'; {change} }}")

    choose("moved")
    assert [row % 5 for row in browser.run(ROWS)] == [0] * 12
    choose("stayed")
    assert [row % 5 for row in browser.run(ROWS)] == [4] * 12
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


def test_a_card_has_one_button_that_plays_and_stops_its_sound_and_one_sound_plays_at_a_time(browser: Browser) -> None:
    assert browser.run(
        "[...document.querySelectorAll('.card')].every((card) => card.querySelectorAll('.play').length === 1)"
    )
    played = browser.run(
        "(async () => { document.querySelector('.play').click(); "
        "await new Promise((done) => { player.ontimeupdate = () => player.currentTime > 0.1 && done() }); "
        "return [player.currentTime, player.duration] })()"
    )
    assert played[0] > 0.1
    assert played[1] == pytest.approx(2.0, abs=0.2)
    pressed = (
        "[...document.querySelectorAll('.play')].flatMap((node, place) => node.ariaPressed === 'true' ? [place] : [])"
    )
    assert browser.run(pressed) == [0]
    browser.run("document.querySelectorAll('.play')[1].focus()")
    browser.press("Enter")
    assert (browser.run(pressed), browser.run("player.paused")) == ([1], False)
    browser.press("Enter")
    assert (browser.run(pressed), browser.run("player.paused")) == ([], True)


def test_equal_pictures_and_captions_of_a_row_are_shown_once(browser: Browser) -> None:
    """Rows whose number is a multiple of 3 have the same nearest item in all modalities."""
    shown = browser.run("[...document.querySelectorAll('.card')].map((card) => card.querySelectorAll('.near').length)")
    assert shown == [1 if row % 3 == 0 else 3 for row in browser.run(ROWS)]
    alone = (
        "[...document.querySelectorAll('.near:only-child')].every((near) => "
        "near.querySelectorAll('img').length === 1 && near.querySelectorAll('.caption').length === 1)"
    )
    assert browser.run(alone)


def test_details_open_by_mouse_and_keyboard_and_close_by_escape(browser: Browser) -> None:
    opened = "[...document.querySelectorAll('.card details')].flatMap((node, place) => node.open ? [place] : [])"
    x, y = browser.run(
        "(() => { const card = document.querySelector('.card .near'); card.scrollIntoView(); "
        "const box = card.getBoundingClientRect(); return [box.x + 9, box.y + 9] })()"
    )
    browser.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
    shown = f"new Promise((done) => {{ const look = () => {opened}.length ? done(1) : setTimeout(look, 20); look(); }})"
    browser.run(shown)
    assert browser.run(opened) == [0]
    browser.call("Input.dispatchMouseEvent", type="mouseMoved", x=1, y=1)
    assert browser.run(opened) == []
    browser.run("document.querySelectorAll('.card summary')[2].focus()")
    browser.press("Enter")
    assert browser.run(opened) == [2]
    facts = browser.run("document.querySelectorAll('.card details')[2].querySelector('.more-facts').innerText")
    assert "initial item: cosine 0.50, distance 1.25" in facts
    browser.press("Escape")
    assert browser.run(opened) == []
    assert browser.run("document.activeElement.tagName") == "SUMMARY"


SAVED = """(async () => {
  const files = [];
  URL.createObjectURL = (blob) => files.push({ blob }) && "blob:kept";
  HTMLAnchorElement.prototype.click = function () { files.at(-1).name = this.download };
  for (const button of document.querySelectorAll(".downloads button")) {
    const before = files.length;
    button.click();
    while (files.length === before) await new Promise((done) => setTimeout(done, 5));
  }
  return Promise.all(files.map(async ({ blob, name }) => {
    if (name.endsWith(".svg")) return [name, blob.type, await blob.text()];
    const picture = await createImageBitmap(blob);
    return [name, blob.type, [picture.width, picture.height]];
  }));
})()"""


def test_every_figure_is_downloaded_as_vectors_and_as_pixels(browser: Browser) -> None:
    """The files need nothing from the page; matrices are pictures, which an SVG file contains."""
    files = browser.run(SAVED)
    charts = browser.run("document.querySelectorAll('figure > .chart:first-of-type').length")
    assert len(files) == 2 * (charts + 1)
    assert [name.rpartition(".")[2] for name, *_ in files] == ["svg", "png"] * (charts + 1)
    assert files[0][0] == "gain-retained-at-r-1.svg"
    assert any(name == "similarity-matrix.png" for name, *_ in files)
    for (_, kind, text), (_, other, size) in zip(files[::2], files[1::2], strict=True):
        assert (kind, other) == ("image/svg+xml", "image/png")
        root = ElementTree.fromstring(text)
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        width, height = (float(number) for number in (root.get("viewBox") or "").split()[2:])
        assert size[0] / size[1] == pytest.approx(width / height, rel=0.01)
        assert size[0] >= 1000
        assert root.get("color") == "#1d1d1f"
        assert len(list(root.iter())) > 2


def test_a_table_says_that_it_scrolls_if_it_does(browser: Browser) -> None:
    hints = (
        "[...document.querySelectorAll('.scroll')].filter((node) => node.getClientRects().length)"
        ".map((node) => [node.scrollWidth > node.clientWidth, !node.previousElementSibling.hidden])"
    )
    assert all(scrolls == said for scrolls, said in browser.run(hints))
    browser.size(390, 800)
    browser.run("new Promise((done) => setTimeout(done, 50))")
    narrow = browser.run(hints)
    assert all(scrolls == said for scrolls, said in narrow)
    assert narrow[0] == [True, True]


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
    reach = (
        "(() => { const node = document.activeElement; node.dataset.reached = ''; return getComputedStyle(node) })()"
    )
    for _ in range(browser.run("document.querySelectorAll('a, button, input, select, summary, [tabindex]').length")):
        browser.press("Tab")
        if browser.run("document.activeElement === document.body"):
            break
        assert browser.run(f"{reach}.outlineStyle") == "solid"
    left = browser.run(
        "[...document.querySelectorAll('a, button, input, select, summary, [tabindex=\"0\"]')]"
        ".filter((node) => node.checkVisibility() && node.dataset.reached === undefined).map((node) => node.outerHTML)"
    )
    assert all('class="skip"' in node or 'type="radio"' in node for node in left)  # arrow keys choose radio buttons


def test_levels_of_recall_are_chosen_one_at_a_time(browser: Browser) -> None:
    seen = "[...document.querySelectorAll('.scroll.level')].map((node) => node.getClientRects().length > 0)"
    assert browser.run(seen) == [True, False, False]
    browser.run("document.querySelectorAll('input[name=level]')[2].click()")
    assert browser.run(seen) == [False, False, True]
    figures = "[...document.querySelectorAll('figure.level')].map((node) => node.getClientRects().length > 0)"
    assert browser.run(figures) == [True, False, False]
    browser.run("document.querySelectorAll('input[name=gain-level]')[1].click()")
    assert browser.run(figures) == [False, True, False]
