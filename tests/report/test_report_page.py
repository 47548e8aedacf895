from __future__ import annotations

import base64
import hashlib
import itertools
import json
import math
import random
import re
import struct
import zlib
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import pytest
from test_report_tables import DIRECTIONS, KS, read, sample, with_best

from omnidistill.core.errors import InputError
from omnidistill.io.tracking import MetricsRecord
from omnidistill.report.cases import COMPARED, Case, Cases, Retrieved
from omnidistill.report.instances import Instance, Move, Neighbour, Trace
from omnidistill.report.items import Medium, MediumFactory
from omnidistill.report.page import MAX_BYTES, RunView, render_page
from omnidistill.report.run_table import arrow, percent, score_rows
from omnidistill.report.similarity_view import SimilarityView

VOID = {"meta", "link", "input", "img", "br"}
ATTACK = '<script>alert(1)</script>" onmouseover="x'


class Page(HTMLParser):
    """Parser of a page: elements with attributes and text; checks that all elements are closed."""

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


def metrics(num_iterations: int = 60) -> list[MetricsRecord]:
    records = []
    for i in range(num_iterations):
        branch = 1 + math.exp(-i / 20)
        values = {"loss": 3 * branch, **{f"loss/{m}": branch for m in ("image", "text", "audio")}}
        values |= {f"step_size/{m}": 3.0 + i / 10 for m in ("image", "text", "audio")}
        values |= {"validation": 0.25 + i / 1000} if i % 10 == 9 else {}
        records.append(MetricsRecord(i, values, ("text",)))
    return records


MODALITIES = ("image", "text", "audio")


class Things:
    """Items named by number: a picture each, a sound for "audio"."""

    def __init__(self, prefix: str = "thing number ", picture_bytes: int = 120, sound_bytes: int | None = None) -> None:
        self.prefix, self.picture_bytes, self.sound_bytes = prefix, picture_bytes, sound_bytes
        self.made = 0

    def caption(self, name: str, modality: str) -> str:
        return self.prefix + name

    def picture(self, name: str) -> MediumFactory | None:
        return lambda: self.drawn(name)

    def sound(self, name: str, modality: str) -> MediumFactory | None:
        num_bytes = self.sound_bytes
        if modality != "audio" or num_bytes is None:
            return None
        return lambda: Medium("audio/mpeg", random.Random(name).randbytes(num_bytes))

    def drawn(self, name: str) -> Medium:
        self.made += 1
        return Medium("image/png", picture(int(name), self.picture_bytes))


def instances(count: int, num_items: int) -> list[Instance]:
    """Row i is initialised with item i; its nearest items differ between modalities unless i is a multiple of 3."""

    def near(i: int, shift: int) -> tuple[Neighbour, ...]:
        places = [(i + shift + step) % num_items for step in range(3)]
        return tuple(Neighbour(str(place), str(place), 0.5 - step / 8) for step, place in enumerate(places))

    return [
        Instance(
            i,
            str(i % num_items),
            {
                m: Trace(near(i, j * num_items // 3 if i % 3 else 0), Move(0.5 + i % 5 / 10, 1.25))
                for j, m in enumerate(MODALITIES)
            },
            str(i % num_items),
        )
        for i in range(count)
    ]


def view(scores: dict[str, Any] | None = None, **changes: Any) -> RunView:
    """A run with these scores, given as the content of scores.json."""
    return replace(RunView(read(scores or sample()), metrics(), instances(6, 9), Things()), **changes)


def cases(name: str = "7") -> Cases:
    found = {line: tuple(Retrieved(str(i), i == place) for i in range(5)) for place, line in enumerate(COMPARED)}
    ranks = {line: float(place + 1) for place, line in enumerate(COMPARED)}
    told = [Case(name, "text", "image", rose, ranks, found) for rose in (True, False)]
    return Cases(700, 200, 186, tuple(told))


def content(html: str) -> dict[str, Any]:
    """Return the data of the script of the page."""
    (data,) = re.findall(r'<script type="application/json" id="content">(.*?)</script>', html)
    parsed: dict[str, Any] = json.loads(data)
    return parsed


def test_every_line_number_and_direction_of_the_tables_is_on_the_page() -> None:
    page = Page(render_page([view()]))
    cells = [cell.strip() for cell in page.inside("td") + page.inside("th")]
    for row in score_rows(read(sample())).rows:
        assert {cell.removesuffix(" %") for cell in row} <= set(cells)
    scores = read(sample())
    for row in scores.rows.values():
        for direction in scores.directions:
            recalls = [row.recall[direction][k] for k in scores.levels]
            assert {arrow(direction), row.label, *(percent(recall.mean) for recall in recalls)} <= set(cells)
            assert {f"± {percent(recall.std)}" for recall in recalls if recall.std is not None} <= set(
                page.inside("small")
            )


def test_the_lowest_recall_by_direction_is_palest_and_the_highest_darkest() -> None:
    scores = sample()
    page = Page(render_page([view(scores=scores)]))
    shades = [int(a["class"][1:]) for a in page.all("td") if re.fullmatch(r"h\d+", a.get("class", ""))]
    per_level = len(shades) // len(KS)
    recalls = [scores[line]["recall"][d]["R@1"]["mean"] for line in scores["lines"] for d in DIRECTIONS]
    first = shades[:per_level]
    assert len(first) == len(recalls)
    assert (first[recalls.index(min(recalls))], first[recalls.index(max(recalls))]) == (0, 10)
    assert [shade for _, shade in sorted(zip(recalls, first, strict=True))] == sorted(first)


def test_the_claim_is_that_of_the_scores_with_its_interval_at_every_level() -> None:
    page = Page(render_page([view()]))
    gain = sample()["distilled"]["gain_retained"]
    told = {k: "{mean:.0f} % [{low:.0f}, {high:.0f}]".format(**{p: 100 * v for p, v in gain[k].items()}) for k in KS}
    assert f"100 synthetic rows retain {told['R@1']} of the gain from all 2,250 training rows at R@1." in page.text
    assert f"They retain {told['R@5']} at R@5 and {told['R@10']} at R@10." in page.text
    assert "100 synthetic rows with a total size of 870.4 kB, 4.44 % of the size of the training rows." in page.text
    assert "The set and all baselines were evaluated on 1,086 test rows, with 10 students each." in page.text
    assert (
        "Difference in recall to “random rows, 100”, in percentage points: +3.7 [+3.1, +4.2] at R@1 and +3.7"
        in page.text
    )
    assert "Matching loss, summed over modalities: 1.95; no set of this size can reach less than 0.06" in page.text


def test_the_gain_of_the_best_on_all_rows_is_on_the_page_if_it_was_measured() -> None:
    page = Page(render_page([view(scores=with_best())]))
    assert "gain of best, %" in [cell.strip() for cell in page.inside("th")]
    assert "Compared with “best on all rows (CCA + initial heads)”, they retain 8 % [5, 12] at R@1 and" in page.text
    assert [cell.strip() for cell in page.inside("th")].count("R@5") == 3
    without = Page(render_page([view()]))
    assert "gain of best" not in without.text.lower()
    assert "Compared with" not in without.text


def test_an_undefined_gain_is_said_and_not_claimed() -> None:
    scores = sample()
    scores["distilled"]["gain_retained"]["R@1"] = None
    page = Page(render_page([view(scores=scores)]))
    assert "n/a" in page.inside("td")
    assert "100 synthetic rows retain 28 % [21, 35] of the gain from all 2,250 training rows at R@5" in page.text
    assert "At R@1, training on all rows does not improve recall beyond noise." in page.text
    for line in scores["lines"]:
        scores[line]["gain_retained"] = dict.fromkeys(("R@1", "R@5", "R@10"))
    page = Page(render_page([view(scores=scores)]))
    assert page.inside("td").count("n/a") == 3 * len(scores["lines"])
    assert (
        "training on all 2,250 training rows does not improve recall beyond noise, so gain retained is undefined"
        in page.text
    )
    assert "Heads trained on 100 synthetic rows have a recall of 13.8 % at R@1" in page.text
    assert " retain " not in page.text


def curve_titles(page: Page) -> list[str]:
    return [title for title in page.inside("figcaption") if not title.startswith("Gain retained at")]


def circles_of_curves(page: Page) -> int:
    return sum(circle["r"] == "5" for circle in page.all("circle"))


def test_curves_show_loss_with_its_floor_branches_validation_and_step_sizes() -> None:
    page = Page(render_page([view()]))
    assert curve_titles(page) == [
        "Matching loss and its rank floor",
        "Matching loss by modality",
        "Mean recall on the validation split",
        "Learned step sizes",
    ]
    assert "floor 0.06" in page.inside("text")
    assert any("from 25.9 at 9 to 30.9 at 59" in description for description in page.inside("desc"))


def test_every_curve_marks_the_iteration_of_the_returned_set() -> None:
    """Eight curves in four charts; in charts of several runs, each curve marks that of its run."""
    page = Page(render_page([view(iteration=29)]))
    assert circles_of_curves(page) == 8
    assert page.inside("text").count("○ returned set, iteration 29") == 4
    assert circles_of_curves(Page(render_page([view()]))) == 0
    shared = Page(render_page([view(iteration=29, name="one"), view(iteration=49, name="two")]))
    assert shared.inside("text").count("○ returned sets") == 2
    assert circles_of_curves(shared) == 2 * 8 + 2 * 2


def test_a_run_without_matching_has_no_floor_and_one_without_metrics_no_curves() -> None:
    scores = sample() | {"matching_loss": None}
    page = Page(render_page([view(scores=scores)]))
    assert curve_titles(page)[0] == "Outer loss"
    assert not any(text.startswith("floor") for text in page.inside("text"))
    bare = Page(render_page([view(scores=scores, metrics=[], instances=[])]))
    assert not curve_titles(bare)
    assert not bare.all("ol")
    assert "n/a" not in bare.inside("td")


def test_a_loss_of_the_task_is_called_so_and_the_sum_with_what_is_matched_is_neither() -> None:
    """It is distinguished from a modality named task; the floor is drawn only in the chart of the matching loss."""
    titles, task = {}, "Task loss: the trained student on real rows"
    for case, terms in (
        ("alone", {"loss/task/infonce": 2.0}),
        ("beside", {"loss/image": 1.0, "loss/task/infonce": 2.0}),
        ("a modality", {"loss/image": 1.0, "loss/task": 2.0}),
    ):
        records = [MetricsRecord(i, {"loss": 3.0, **terms}) for i in range(2)]
        scores = sample() | {"matching_loss": None if case == "alone" else 1.0}
        page = Page(render_page([view(scores=scores, metrics=records)]))
        titles[case] = curve_titles(page)
        assert any(text.startswith("floor") for text in page.inside("text")) == (case != "alone")
    assert titles == {
        "alone": [task],
        "beside": [
            "Outer loss: matching and task loss",
            "Matching loss, summed over modalities, and its rank floor",
            "Matching loss by modality",
            task,
        ],
        "a modality": ["Matching loss and its rank floor", "Matching loss by modality"],
    }


def test_instances_are_told_by_nearest_items_and_their_move() -> None:
    run = view()
    html = render_page([run])
    told = content(html)
    assert len(told["runs"][0]) == 6
    for given, (index, start, agrees, traces) in zip(run.instances, told["runs"][0], strict=True):
        assert (index, bool(agrees)) == (given.index, given.agrees)
        assert told["texts"][start] == f"thing number {given.start}"
        for (modality, (cosine, distance), *nearest), (name, trace) in zip(traces, given.traces.items(), strict=True):
            assert modality == name
            assert (cosine, distance) == (trace.move.cosine, trace.move.distance)
            assert [told["texts"][item] for item in nearest[::2]] == [f"thing number {n.id}" for n in trace.nearest]
            assert nearest[1::2] == [n.cosine for n in trace.nearest]
    agreement = "In 2 of 6 rows, the nearest items in all modalities belong to the same group."
    assert f"{agreement} In 2 rows, the nearest item of every" in Page(html).text
    assert not Instance(0, None, {"image": run.instances[0].traces["image"]}).agrees


def test_a_set_that_began_as_no_real_rows_says_nothing_of_movement() -> None:
    still = [
        Instance(i.index, None, {m: replace(trace, move=None) for m, trace in i.traces.items()})
        for i in instances(4, 9)
    ]
    html = render_page([view(instances=still)])
    assert all(start == -1 and traces[0][1] is None for _, start, _, traces in content(html)["runs"][0])
    assert "change from the initial item" not in Page(html).text
    assert "was initialised with" not in Page(html).text


def test_each_distinct_picture_is_stored_once_for_all_runs() -> None:
    things = Things()
    html = render_page([view(items=things), view(items=things, scores=sample("lors", "LoRS", 0.02))])
    told = content(html)
    assert html.count("data:image/png;base64,") == len(told["pictures"]) == len(set(told["pictures"])) == 8
    assert things.made == 8
    assert html.count(base64.b64encode(picture(4)).decode()) == 1
    assert set(told["pictureOf"].values()) == set(range(8))


def test_an_identity_is_one_line_and_what_was_learned_a_picture_with_named_pairs() -> None:
    learned = SimilarityView("Learned.", Medium("image/png", picture(1)), 0.25, ((0, 3, 0.25), (2, 1, -0.125)))
    page = Page(render_page([view(similarities=[SimilarityView("The identity.")])]))
    assert "The identity." in page.text
    assert not page.all("img")
    page = Page(render_page([view(similarities=[learned])]))
    (image,) = page.all("img")
    assert image["src"] == f"data:image/png;base64,{base64.b64encode(picture(1)).decode()}"
    assert {"+0.25", "−0.12", "0: thing number 0", "3: thing number 3"} <= {*page.inside("th"), *page.inside("td")}
    assert "1: thing number 1 · thing number 4 · thing number 7" in page.inside("td")


def test_cases_show_ranks_and_mark_what_is_right_for_rises_and_falls() -> None:
    page = Page(render_page([view(cases=cases())]))
    counts = "the rank of the first positive improves after training on the set for 700, worsens for 200"
    assert f"Of 1,086 queries in all directions, {counts}" in page.text
    assert page.inside("h3")[-2:] == ["Largest improvements in rank", "Largest declines in rank"]
    assert len(page.all("article")) == 2
    assert page.text.count("rank 2") == 2
    assert len([a for a in page.all("li") if a.get("class") == "hit"]) == 2 * 3
    assert all(label in page.text for label in ("zero-shot heads", "HoPA, 100 rows", "all rows, InfoNCE"))
    assert not Page(render_page([view()])).all("article")


def test_a_run_that_was_not_scored_says_so_and_shows_the_rest() -> None:
    scores = read(sample()).evolve(rows={}).to_json()
    html = render_page([view(scores=scores)])
    page = Page(html)
    assert "This run has not been evaluated" in page.text
    assert " gain at " not in page.text
    assert not page.all("table")
    assert page.all("figure")
    assert len(content(html)["runs"][0]) == 6


def test_untrusted_text_stays_text() -> None:
    scores = sample(label=ATTACK)
    scores |= {"command": ATTACK, "versions": {ATTACK: ATTACK}, "method": ATTACK}
    scores["data"] |= {"name": ATTACK, "licence": [ATTACK, {ATTACK: ATTACK}], "widths": {ATTACK: 3}}
    scores["distilled"]["settings"] = {ATTACK: {ATTACK: [ATTACK, True, None, 0.5]}}
    near = (Neighbour("1", "1", 0.1), Neighbour("2", "2", 0.0))
    records = [MetricsRecord(0, {f"loss/{ATTACK}": 1.0, "loss": 1.0}), MetricsRecord(1, {"loss/b": 1.0})]
    html = render_page(
        [
            RunView(
                read(scores),
                records,
                [Instance(i, "1", {ATTACK: Trace(near, Move(0.1, 1.0))}) for i in range(2)],
                Things(prefix=f"{ATTACK}</script><!--\u2028\ud800\u202e"),
                [
                    SimilarityView(ATTACK, None),
                    SimilarityView(ATTACK, Medium("image/png", picture(1)), 1.0, ((0, 1, 1.0),)),
                ],
                cases(),
                ATTACK,
                [ATTACK],
                {ATTACK: {ATTACK: ATTACK}},
            )
        ]
    )
    html.encode("utf-8")
    page = Page(html)
    assert "<script>alert" not in html
    assert "\u202e" not in html
    assert len(page.all("script")) == 2
    assert not any(name.startswith("on") for _, attributes in page.elements for name in attributes)
    assert page.text.count("<script>alert(1)</script>") > 20
    assert content(html)["texts"][0].startswith(ATTACK)


def test_the_page_needs_no_network_and_its_policy_forbids_it() -> None:
    page = Page(render_page([view(items=Things(sound_bytes=90), cases=cases(), commands=["omnidistill distill SET"])]))
    for tag, attributes in page.elements:
        assert "style" not in attributes, "the policy would block it"
        for name in ("src", "href", "action", "srcset", "xlink:href"):
            value = attributes.get(name, "#")
            assert value.startswith(("#", "data:")), (tag, name, value[:40])
    (style,), (_, script) = page.inside("style"), page.inside("script")
    assert not re.search(r"url\(|@import|fetch|XMLHttp|innerHTML|import\b", style + script)
    policy = next(a["content"] for a in page.all("meta") if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'; img-src data:; media-src data:;")
    for name, content in (("style-src", style), ("script-src", script)):
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{name} 'sha256-{digest}'" in policy
    assert "unsafe" not in policy


def test_the_page_can_be_read_by_keyboard_and_screen_reader() -> None:
    runs = [view(cases=cases()), view(scores=sample("lors", "LoRS", 0.02), metrics=metrics(70))]
    html = render_page(runs)
    page = Page(html)
    assert html.startswith("<!DOCTYPE html>")
    assert page.all("html") == [{"lang": "en"}]
    assert len(page.all("main")) == len(page.all("header")) == len(page.all("footer")) == len(page.all("h1")) == 1
    assert len(page.all("caption")) == len(page.all("table")) == 2 + len(KS)
    assert all(attributes.get("scope") in ("row", "col", "rowgroup", "colgroup") for attributes in page.all("th"))
    assert all("alt" in attributes for attributes in page.all("img"))
    for attributes in page.all("svg"):
        named = "aria-label" in attributes or "aria-labelledby" in attributes
        assert attributes.get("aria-hidden") == "true" or (attributes["role"] == "img" and named)
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    for _, attributes in page.elements:
        for name in ("for", "aria-labelledby"):
            assert set(attributes.get(name, "").split()) <= set(ids)
    named = {a.get("for") for a in page.all("label")}
    assert named - {None} == {a["id"] for tag in ("input", "select") for a in page.all(tag) if "id" in a}
    targets = [a["href"][1:] for a in page.all("a")]
    assert set(targets) <= set(ids)
    assert targets[0] == "main"
    assert all(
        a.get("tabindex") == "0" and a.get("role") == "region"
        for a in page.all("div")
        if "scroll" in a.get("class", "").split()
    )
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch(r"h\d", tag)]
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    assert any(a.get("name") == "viewport" for a in page.all("meta"))
    assert {"name": "color-scheme", "content": "light dark"} in page.all("meta")


def test_provenance_is_on_the_page() -> None:
    commands = ["omnidistill distill emoji -o runs/demo", "", "omnidistill evaluate runs/demo --seeds 10"]
    text = Page(render_page([view(commands=commands, facts={"Chosen": {"views": "3, so that"}})])).text
    for part in (
        "omnidistill distill emoji -o runs/demo\nomnidistill evaluate runs/demo --seeds 10",
        "views3, so that",
        "rollout.steps16",
        "torch2.8.0",
        "Noto Emoji: Apache-2.0",
        "name: Twemoji; licence: CC-BY-4.0",
        "experts12.1",
        "features19.6 MB",
        "image (1280 wide)",
        "train 2,250",
    ):
        assert part in text


def test_several_runs_stand_side_by_side_and_have_their_own_sections() -> None:
    runs = [view(), view(scores=sample("lors", "LoRS, 100 rows", 0.02), metrics=metrics(70))]
    page = Page(render_page(runs))
    rows = [attributes for attributes in page.all("tr") if attributes.get("class") == "own"]
    assert len(rows) == 2 * (1 + len(KS))
    assert page.inside("h2") == [
        "Gain retained",
        "Comparison of runs",
        "Scores",
        "Distillation: HoPA, 100 rows",
        "Synthetic instances: HoPA, 100 rows",
        "Distillation: LoRS, 100 rows",
        "Synthetic instances: LoRS, 100 rows",
        "Provenance",
    ]
    assert "100 synthetic rows retain 35 % [28, 42]" in page.text
    assert {"17 % [10, 24]", "35 % [28, 42]", "1.95", "0.06"} <= {c.replace("\u00a0", " ") for c in page.inside("td")}
    both = [text for text in page.inside("desc") if "HoPA, 100 rows: from" in text and "LoRS, 100 rows: from" in text]
    assert len(both) == 2


def test_runs_of_one_name_are_told_apart_by_their_folders() -> None:
    runs = [view(name="a"), view(name="b", scores=sample(shift=0.02)), view(name="b", scores=sample(shift=0.03))]
    title = Page(render_page(runs)).inside("title")[0]
    assert title == "emoji: HoPA, 100 rows (a); HoPA, 100 rows (b) [2]; HoPA, 100 rows (b) [3]"


@pytest.mark.parametrize("sound_bytes", [None, 9_000])
def test_five_hundred_instances_stay_under_five_megabytes_and_what_is_left_out_is_counted(
    sound_bytes: int | None,
) -> None:
    things = Things("火" * 200, picture_bytes=3220, sound_bytes=sound_bytes)
    run = view(instances=instances(500, 2000), metrics=metrics(5000), items=things)
    html = render_page([run, replace(run, scores=read(sample("lors", "LoRS", 0.02)))])
    told = content(html)
    assert MAX_BYTES - 500_000 < len(html.encode()) < 5_000_000
    assert [len(rows) for rows in told["runs"]] == [500, 500]
    wanted = {t.nearest[0].id for i in run.instances for t in i.traces.values()} | {i.start for i in run.instances}
    assert f"{len(wanted) - len(told['pictures']):,} pictures did not fit into the page" in Page(html).text
    if sound_bytes is not None:
        heard = {i.traces["audio"].nearest[0].id for i in run.instances}
        assert f"{len(heard) - len(told['sounds']):,} sounds did not fit into the page" in Page(html).text
        assert len(told["sounds"]) > 50
    assert things.made < len(wanted)


def test_a_file_that_cannot_be_used_is_counted_with_its_reason() -> None:
    class Broken(Things):
        def drawn(self, name: str) -> Medium:
            raise InputError(f"{name}.png: an empty file")

    page = Page(render_page([view(items=Broken())]))
    assert "8 files could not be used, such as: 0.png: an empty file." in page.text


def test_equal_input_gives_equal_bytes_and_keys_of_later_versions_are_ignored() -> None:
    html = render_page([view()])
    assert render_page([view()]) == html
    scores = sample() | {"transfer": {"seed 1": 0.3}}
    scores["distilled"]["note"] = {"x": [1]}
    assert render_page([view(scores=scores, metrics=[MetricsRecord(None, {"judged": 5}), *metrics()])]) == html


def test_scores_with_only_the_required_fields_still_give_a_page() -> None:
    scores = sample()
    for field in ("num_seeds", "command", "units"):
        del scores[field]
    for line in scores["lines"]:
        scores[line] = {"label": scores[line]["label"], "recall": scores[line]["recall"]}
    page = Page(render_page([RunView(read(scores))]))
    assert "HoPA, 100 rows" in page.inside("th")
    assert page.inside("td").count("n/a") == 3 * len(scores["lines"])


def test_no_run_is_refused() -> None:
    with pytest.raises(InputError, match="no run"):
        render_page([])


def test_control_characters_and_half_characters_are_shown_on_the_page() -> None:
    hostile = "\x1b[2J\u202e\ud800"
    page = render_page([view(name=hostile, commands=[f"omnidistill {hostile}"])])
    assert hostile[0] not in page
    assert "\\u001b[2J\\u202e\\ud800" in page
    page.encode()
