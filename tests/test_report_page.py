from __future__ import annotations

import base64
import hashlib
import itertools
import math
import random
import re
import struct
import zlib
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import pytest

from omnidistill.errors import InputError
from omnidistill.report.page import Instance, Neighbour, RunView, render_page
from omnidistill.report.tables import direction_rows, score_rows
from test_report_tables import sample

VOID = {"meta", "link", "input", "img", "br"}
ATTACK = '<script>alert(1)</script>" onmouseover="x'


class Page(HTMLParser):
    """Elements with attributes and text, and whether every element that opens is closed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.contents: list[tuple[str, str]] = []
        self.stack: list[str] = []
        self.feed(html)
        self.close()
        assert self.stack == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.stack.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.stack.pop() == tag

    def handle_data(self, data: str) -> None:
        self.contents.append((self.stack[-1] if self.stack else "", data))

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]

    def inside(self, tag: str) -> list[str]:
        return [data for name, data in self.contents if name == tag and data.strip()]

    @property
    def text(self) -> str:
        return "".join(data for name, data in self.contents if name not in ("style", "script")).replace("\u00a0", " ")


def picture(number: int, num_bytes: int = 120) -> bytes:
    """A real one-pixel PNG, padded by a comment chunk."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)
    pixel = zlib.compress(bytes([0, number % 256, number // 256 % 256, 7]))
    comment = b"Comment\0" + random.Random(number).randbytes(num_bytes)
    parts = ((b"IHDR", header), (b"tEXt", comment), (b"IDAT", pixel), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


def metrics(num_iterations: int = 60) -> list[dict[str, Any]]:
    records: list[dict[str, Any]] = []
    for i in range(num_iterations):
        branch = 1 + math.exp(-i / 20)
        record: dict[str, Any] = {"iteration": i, "loss": 3 * branch, "note": "text", "seconds": None}
        record |= {f"loss/{m}": branch for m in ("image", "text", "audio")}
        record |= {f"step_size/{m}": 3.0 + i / 10 for m in ("image", "text", "audio")}
        records.append(record | ({"validation": 0.25 + i / 1000} if i % 10 == 9 else {}))
    return records


def instances(count: int, num_pictures: int, num_bytes: int = 120) -> list[Instance]:
    items = [
        Neighbour(f"item-{i}", f"thing number {i}", picture(i, num_bytes), 0.5 + i % 40 / 100)
        for i in range(num_pictures)
    ]
    modalities = ("image", "text", "audio")
    return [
        Instance(
            i,
            i / 100,
            {m: items[(i + (j * num_pictures // 3 if i % 3 else 0)) % num_pictures] for j, m in enumerate(modalities)},
        )
        for i in range(count)
    ]


def view(**changes: Any) -> RunView:
    return replace(RunView(sample(), metrics(), instances(6, 9)), **changes)


def test_every_line_number_and_direction_of_the_tables_is_on_the_page() -> None:
    page = Page(render_page([view()]))
    cells = page.inside("td") + page.inside("th")
    for row in (*score_rows(sample()).rows, *direction_rows(sample()).rows):
        assert set(row) <= set(cells)


def test_the_claim_states_gain_and_interval_at_every_level() -> None:
    text = Page(render_page([view()])).text
    assert (
        "Heads trained on 100 synthetic instances keep 17 [10, 24] % at R@1, 28 [21, 35] % at R@5 and 32 [25, 39] % at "
        "R@10 of the recall that all 2,250 training rows add to the zero-shot heads." in text
    )
    assert "Difference to “random rows, 100”, in points of recall: +3.7 [+3.1, +4.2] at R@1 and +3.7" in text
    assert "Matching loss, summed over modalities: 1.95; no set of this size can go below 0.06" in text


def test_an_undefined_gain_is_said_and_not_claimed() -> None:
    scores = sample()
    scores["distilled"]["gain_retained"]["R@1"] = None
    page = Page(render_page([view(scores=scores)]))
    assert "n/a" in page.inside("td")
    assert "keep 28 [21, 35] % at R@5" in page.text
    assert "at R@1 these add nothing beyond noise." in page.text
    for line in scores["lines"]:
        scores[line]["gain_retained"] = dict.fromkeys(("R@1", "R@5", "R@10"))
    page = Page(render_page([view(scores=scores)]))
    assert page.inside("td").count("n/a") == 3 * len(scores["lines"])
    assert "add nothing beyond noise to the zero-shot heads, so there is no gain to keep" in page.text
    assert "recall 13.8 % at R@1" in page.text
    assert " keep " not in page.text.replace("gain to keep", "")


def test_curves_show_loss_with_its_floor_branches_validation_and_step_sizes() -> None:
    page = Page(render_page([view()]))
    assert page.inside("figcaption") == [
        "Matching loss and its rank floor",
        "Matching loss by modality",
        "Mean recall on the validation split",
        "Learned step sizes",
    ]
    assert "floor 0.06" in page.inside("text")
    assert any("from 25.9 at 9 to 30.9 at 59" in description for description in page.inside("desc"))


def test_a_run_without_matching_has_no_floor_and_one_without_metrics_no_curves() -> None:
    scores = sample() | {"matching_loss": None}
    page = Page(render_page([view(scores=scores)]))
    assert page.inside("figcaption")[0] == "Outer loss"
    assert not any(text.startswith("floor") for text in page.inside("text"))
    bare = Page(render_page([view(scores=scores, metrics=[], instances=[])]))
    assert not bare.all("figure")
    assert not bare.all("ol")
    assert "n/a" not in bare.inside("td")


def test_a_loss_of_the_task_is_called_so_and_the_sum_with_what_is_matched_is_neither() -> None:
    """Told from a modality of the same name by the data; the floor stands where its loss alone does."""
    titles, task = {}, "Task loss: the trained student on real rows"
    for case, matched, widths in (
        ("alone", {}, {"image": 3}),
        ("beside", {"loss/image": 1.0}, {"image": 3}),
        ("a modality", {"loss/image": 1.0}, {"image": 3, "task": 3}),
    ):
        records = [{"iteration": i, "loss": 3.0, "loss/task": 2.0, **matched} for i in range(2)]
        scores = sample() | {"matching_loss": sum(matched.values()) or None}
        scores["data"] |= {"widths": widths}
        page = Page(render_page([view(scores=scores, metrics=records)]))
        titles[case] = page.inside("figcaption")
        assert any(text.startswith("floor") for text in page.inside("text")) == (case == "a modality")
    assert titles == {
        "alone": [task],
        "beside": ["Outer loss: matching and task loss", "Matching loss by modality", task],
        "a modality": ["Matching loss and its rank floor", "Matching loss by modality"],
    }


def test_instances_show_nearest_items_cosines_and_agreement() -> None:
    same = Neighbour("1f600", "grinning face", picture(1), 0.834)
    other = Neighbour("1f602", "face with tears of joy", None, -0.2)
    shown = [Instance(0, 0.25, {"image": same, "text": same}), Instance(1, None, {"image": same, "text": other})]
    page = Page(render_page([view(instances=shown)]))
    assert [instance.agrees for instance in shown] == [True, False]
    assert page.text.count("agree") == 2  # the explanation, and one mark
    assert "In 1 of 2 instances" in page.text
    assert {"0.83", "−0.20"} <= set(page.inside("dd"))
    assert "weight 0.25" in page.text
    labels = [attributes["aria-label"] for attributes in page.all("svg") if attributes.get("class") == "picture"]
    assert labels == ["picture of grinning face"] * 3
    assert not Instance(0, None, {"image": same}).agrees


def test_each_distinct_picture_is_stored_once_and_every_use_has_its_target() -> None:
    runs = [view(), view(scores=sample("lors", "LoRS", 0.02))]
    html = render_page(runs)
    page = Page(html)
    assert html.count("data:image/png;base64,") == len(page.all("image")) == 8
    assert html.count(base64.b64encode(picture(4)).decode()) == 1
    targets = {f"#{attributes['id']}" for attributes in page.all("symbol")}
    uses = [attributes["href"] for attributes in page.all("use")]
    assert len(uses) == 2 * 6 * 3
    assert set(uses) <= targets


def test_untrusted_text_stays_text() -> None:
    scores = sample(label=ATTACK)
    scores |= {"command": ATTACK, "versions": {ATTACK: ATTACK}, "method": ATTACK}
    scores["data"] |= {"name": ATTACK, "licence": [ATTACK, {ATTACK: ATTACK}], "widths": {ATTACK: 3}}
    scores["distilled"]["settings"] = {ATTACK: {ATTACK: [ATTACK, True, None, 0.5]}}
    shown = [Instance(0, None, {ATTACK: Neighbour(ATTACK, ATTACK, picture(0), 0.1)})]
    records = [{"iteration": 0, f"loss/{ATTACK}": 1.0, "loss": 1.0}, {"iteration": 1, "loss/b": 1.0}]
    html = render_page([RunView(scores, records, shown)])
    page = Page(html)
    assert "<script>alert" not in html
    assert len(page.all("script")) == 1
    assert not any(name.startswith("on") for _, attributes in page.elements for name in attributes)
    assert page.text.count("<script>alert(1)</script>") > 8


def test_the_page_needs_no_network_and_its_policy_forbids_it() -> None:
    page = Page(render_page([view()]))
    for tag, attributes in page.elements:
        assert "style" not in attributes, "the policy would block it"
        for name in ("src", "href", "action", "srcset", "xlink:href"):
            value = attributes.get(name, "#")
            assert value.startswith(("#", "data:")), (tag, name, value[:40])
    (style,), (script,) = page.inside("style"), page.inside("script")
    assert not re.search(r"url\(|@import|fetch|XMLHttp|innerHTML|import\b", style + script)
    policy = next(a["content"] for a in page.all("meta") if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'; img-src data:;")
    for name, content in (("style-src", style), ("script-src", script)):
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{name} 'sha256-{digest}'" in policy


def test_the_page_can_be_read_by_keyboard_and_screen_reader() -> None:
    html = render_page([view(), view(scores=sample("lors", "LoRS", 0.02), metrics=metrics(70))])
    page = Page(html)
    assert html.startswith("<!DOCTYPE html>")
    assert page.all("html") == [{"lang": "en"}]
    assert len(page.all("main")) == len(page.all("header")) == len(page.all("footer")) == len(page.all("h1")) == 1
    assert len(page.all("caption")) == len(page.all("table")) == 2
    assert all(attributes.get("scope") in ("row", "col", "rowgroup", "colgroup") for attributes in page.all("th"))
    assert all("alt" in attributes for attributes in page.all("img"))
    for attributes in page.all("svg"):
        named = "aria-label" in attributes or "aria-labelledby" in attributes
        assert attributes.get("aria-hidden") == "true" or (attributes["role"] == "img" and named)
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    for _, attributes in page.elements:
        for name in ("for", "aria-labelledby", "data-list"):
            assert set(attributes.get(name, "").split()) <= set(ids)
    assert {a["for"] for a in page.all("label")} == {a["id"] for a in page.all("input")}
    assert all(
        a.get("tabindex") == "0" and a.get("role") == "region" for a in page.all("div") if a.get("class") == "scroll"
    )
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch(r"h\d", tag)]
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    assert any(a.get("name") == "viewport" for a in page.all("meta"))
    assert "prefers-color-scheme: dark" in html


def test_provenance_is_on_the_page() -> None:
    text = Page(render_page([view()])).text
    for part in (
        "omnidistill evaluate runs/demo --seeds 10",
        "rollout.steps16",
        "torch2.8.0",
        "Noto Emoji: Apache-2.0",
        "name: Twemoji; licence: CC-BY-4.0",
        "experts12.1",
        "features19.6 MB",
        "1280 wide",
        "train rows2250",
    ):
        assert part in text


def test_several_runs_share_one_table_and_have_their_own_curves_and_instances() -> None:
    page = Page(render_page([view(), view(scores=sample("lors", "LoRS, 100 rows", 0.02), metrics=metrics(70))]))
    rows = [attributes for attributes in page.all("tr") if attributes.get("class") == "own"]
    assert len(rows) == 2
    assert page.inside("h2") == [
        "Scores",
        "Distillation: HoPA, 100 rows",
        "Synthetic instances: HoPA, 100 rows",
        "Distillation: LoRS, 100 rows",
        "Synthetic instances: LoRS, 100 rows",
    ]
    assert "LoRS, 100 rows: Heads trained on 100 synthetic instances keep 35" in page.text


def test_five_hundred_instances_over_all_emoji_pictures_stay_under_five_megabytes() -> None:
    run = view(instances=instances(500, 750, num_bytes=3220), metrics=metrics(5000))
    html = render_page([run, replace(run, scores=sample("lors", "LoRS", 0.02))])
    assert len(html.encode()) < 5_000_000
    assert html.count("data:image/png;base64,") == 750
    assert len(Page(html).all("li")) >= 1000


def test_equal_input_gives_equal_bytes_and_keys_of_later_versions_are_ignored() -> None:
    html = render_page([view()])
    assert render_page([view()]) == html
    scores = sample() | {"transfer": {"seed 1": 0.3}}
    scores["distilled"]["note"] = {"x": [1]}
    assert render_page([view(scores=scores, metrics=[{"event": "resume"}, *metrics()])]) == html


def test_scores_with_only_what_is_needed_still_give_a_page() -> None:
    scores = {key: value for key, value in sample().items() if key in ("schema", "lines", *sample()["lines"])}
    for line in scores["lines"]:
        scores[line] = {"recall": scores[line]["recall"]}
    page = Page(render_page([RunView(scores, [], [])]))
    assert "distilled" in page.inside("th")
    assert page.inside("td").count("n/a") == 3 * len(scores["lines"])


def test_no_run_and_no_distilled_line_are_refused() -> None:
    with pytest.raises(InputError, match="no run"):
        render_page([])
    scores = sample()
    scores["lines"].remove("distilled")
    with pytest.raises(InputError, match="no line 'distilled'"):
        render_page([view(scores=scores)])
