"""The icons dataset is made from packages, every stage only once, and no group is in two splits."""

from __future__ import annotations

import csv
import importlib
import json
import shutil
from collections import defaultdict
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from icon_modules import NAMES, Digest, rasterise, seconds_of, write_modules, write_voice

import omnidistill as od
from encoding_problems import files
from snippets import ROOT


@pytest.fixture(autouse=True)
def _scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))


@pytest.fixture
def packs() -> ModuleType:
    return importlib.import_module("icon_packs")


@pytest.fixture
def items() -> ModuleType:
    return importlib.import_module("icon_items")


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script, with stand-ins for the rasteriser, the voice and the encoders."""
    script = importlib.import_module("icons_dataset")
    voice = write_voice(tmp_path / "voice")
    monkeypatch.setattr(script, "open_rasteriser", lambda: rasterise)
    monkeypatch.setattr(script, "find_voice", lambda: voice)
    monkeypatch.setattr(script, "ENCODERS", {kind: kind for kind in ("image", "text", "audio")})
    monkeypatch.setattr(script, "open_encoder", Digest)
    return script


@pytest.fixture
def modules(tmp_path: Path, packs: ModuleType) -> Path:
    return write_modules(tmp_path, packs.PACKS)


def made(script: ModuleType, modules: Path, out: Path, *more: str) -> int:
    code: int = script.main([str(modules), str(out), *more])
    return code


def test_a_set_is_made_that_can_be_loaded(script: ModuleType, modules: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert made(script, modules, out) == 0
    data = od.load(out / "features")
    assert data.widths == {"image": 8, "text": 8, "audio": 8}
    assert len(data) == 10 * len(NAMES)  # an item per pack and concept, although mdi has two styles
    splits: dict[str, set[str]] = defaultdict(set)
    for group, split in zip(data.groups, data.splits, strict=True):
        splits[group].add(split)
    assert all(len(found) == 1 for found in splits.values())
    assert data.provenance["name"] == "icons"
    licences: Any = data.provenance["licences"]
    assert licences["icons of @fortawesome/fontawesome-free 7.3.1"] == "CC-BY-4.0"
    assert licences["audio"] == "CC0-1.0"
    assert (out / "licences" / "tabler.txt").read_text().startswith("Copyright")
    assert f"| `iconoir` | 7.12.1 | {len(NAMES)} | MIT |" in (out / "licences.md").read_text()
    found = json.loads((out / "report.json").read_text())
    assert found["rows"] == data.split_sizes
    with (out / "items.csv").open() as file:
        rows = {row["id"]: row for row in csv.DictReader(file)}
    assert rows["tabler/red-cat"]["text"] == "red cat: tag of"
    assert rows["phosphor/red-cat"]["text"] == "red cat: nut"
    assert rows["carbon/red-cat"]["text"] == "red cat: alias"
    assert rows["fluent/red_cat"]["text"] == "red cat"
    assert seconds_of(out / rows["mdi/red-cat"]["audio"]) > 0.01


def test_what_exists_is_not_made_again(
    script: ModuleType, modules: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert made(script, modules, out, "--limit", "120") == 0
    few = {path.name: path.stat().st_mtime_ns for path in (out / "sounds").iterdir()}
    assert made(script, modules, out) == 0
    capsys.readouterr()
    before = files(out / "features"), json.loads((out / "report.json").read_text())
    assert made(script, modules, out) == 0
    printed = capsys.readouterr().out
    assert printed.count(", 0 of them new") == 2
    assert files(out / "features") == before[0]
    after = json.loads((out / "report.json").read_text())
    assert all(after["seconds"][stage] >= seconds for stage, seconds in before[1]["seconds"].items())
    assert {name: (out / "sounds" / name).stat().st_mtime_ns for name in few} == few


@pytest.mark.parametrize(
    ("name", "concept"),
    [
        ("star-filled", "star"),
        ("arrow-up-circle", "arrow circle up"),
        ("CircleFill--2", "circlefill"),
        ("circle_arrow_up_24", "arrow circle up"),
        ("line-2", ""),
    ],
)
def test_a_concept_is_a_set_of_words(items: ModuleType, name: str, concept: str) -> None:
    assert items.concept_of(name) == concept


def test_a_limit_takes_the_first_concepts_of_the_whole_list(
    items: ModuleType, packs: ModuleType, modules: Path
) -> None:
    icons = [icon for pack in packs.find_packs(modules, packs.PACKS) for icon in pack.icons()]
    every = items.choose(icons)
    assert items.choose(icons, 57) == every[:50]
    assert [item.icon.name for item in every if item.icon.pack == "mdi"].count("star") == 1
    assert items.choose(icon for icon in icons if icon.pack == "mdi") == []  # what a single pack draws is left out


def test_concepts_with_the_same_drawing_are_one_group(items: ModuleType, packs: ModuleType) -> None:
    pairs = [("a", "bin"), ("b", "bin"), ("a", "trash"), ("b", "trash"), ("a", "sun"), ("b", "sun")]
    listed = [items.Item(packs.Icon(pack, name, Path("x.svg")), name) for pack, name in pairs]
    pictures = {item.id: item.id for item in listed} | {"b/trash": "a/bin"}
    assert items.groups_of(listed, pictures) == ["bin", "bin", "bin", "bin", "sun", "sun"]


def test_splits_have_about_their_shares(items: ModuleType) -> None:
    found = [items.split_of(f"concept {number}") for number in range(2000)]
    for split, share in items.SHARES:
        assert abs(found.count(split) / 2000 - share) < 0.04
    assert sum(share for _, share in items.SHARES) == pytest.approx(1)


def refusal(script: ModuleType, modules: Path, capsys: pytest.CaptureFixture[str], *more: str) -> str:
    assert made(script, modules, modules.parent / "out", *more) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    return line


def test_missing_packages_are_named_with_the_command(
    script: ModuleType, modules: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(modules / "iconoir")
    shutil.rmtree(modules / "@mdi")
    line = refusal(script, modules, capsys)
    assert "no @mdi/svg, iconoir" in line
    assert line.endswith("npm install --ignore-scripts @mdi/svg@7.4.47 iconoir@7.12.1")


def test_a_package_with_another_licence_is_refused(
    script: ModuleType, modules: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (modules / "iconoir" / "LICENSE").write_text("Iconoir License v1.0")
    assert "iconoir 7.12.1: expected the licence MIT, but LICENSE has another text" in refusal(script, modules, capsys)


@pytest.mark.parametrize(
    ("file", "content", "why"),
    [
        ("@tabler/icons/icons.json", '{"star": {"category": "Things", "styles": {"outline": {}}}}', "no field 'tags'"),
        ("lucide-static/tags.json", "[]", "'list' object has no attribute 'items'"),
        ("@phosphor-icons/core/dist/index.mjs", "const n = [];", "no icons were found"),
        ("@carbon/icons/metadata.json", "{", "Expecting property name"),
    ],
)
def test_another_layout_is_one_line(
    script: ModuleType, modules: Path, capsys: pytest.CaptureFixture[str], file: str, content: str, why: str
) -> None:
    (modules / file).write_text(content)
    line = refusal(script, modules, capsys)
    assert why in line
    assert "run: npm install --ignore-scripts" in line


@pytest.mark.parametrize(
    ("svg", "why"), [("<svg", "cannot be read as SVG"), (None, "cannot be read as SVG (")], ids=["broken", "missing"]
)
def test_a_bad_drawing_is_named(
    script: ModuleType, modules: Path, capsys: pytest.CaptureFixture[str], svg: str | None, why: str
) -> None:
    drawing = modules / "bootstrap-icons" / "icons" / "star.svg"
    if svg is None:
        (modules / "@mdi/svg/svg/star.svg").unlink()
    else:
        drawing.write_text(svg)
    line = refusal(script, modules, capsys)
    assert "star.svg" in line
    assert why in line


def test_a_limit_without_items_is_refused(
    script: ModuleType, modules: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "take at least 100" in refusal(script, modules, capsys, "--limit", "5")


def test_missing_programs_name_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    media = importlib.import_module("icon_media")
    monkeypatch.setenv("PATH", "")
    with pytest.raises(od.InputError, match="apt-get install espeak-ng"):
        media.find_voice()
    monkeypatch.setitem(__import__("sys").modules, "resvg_py", None)
    with pytest.raises(od.InputError, match="pip install resvg_py"):
        media.open_rasteriser()


def test_a_voice_that_fails_is_one_line(tmp_path: Path) -> None:
    media = importlib.import_module("icon_media")
    program = tmp_path / "voice"
    program.write_text("#!/bin/sh\necho 'Error: no voice' >&2\nexit 1\n")
    program.chmod(0o755)
    with pytest.raises(od.InputError, match="Error: no voice"):
        media.speak("star", ("-v", "en-xx"), tmp_path, str(program))


def test_a_drawing_is_framed_in_black_on_a_square(tmp_path: Path) -> None:
    media = importlib.import_module("icon_media")
    start = '<svg xmlns="http://www.w3.org/2000/svg" width='
    (tmp_path / "wide.svg").write_text(f'{start}"32" height="16"><path d="M0 0"/></svg>')
    framed = media.framed(tmp_path / "wide.svg")
    assert framed.startswith(f'{start}"260" height="260" viewBox="0 0 260 260">')
    assert f'<g color="black">{start}"220" height="220" viewBox="0 0 32 16" x="20" y="20">' in framed


def test_the_page_lists_every_package_with_its_licence(packs: ModuleType) -> None:
    page = (ROOT / "docs" / "guides" / "icons.md").read_text("utf-8")
    for pack in packs.PACKS:
        assert pack.spec in page
        assert f"| `{pack.package}` | {pack.version} |" in page
        assert f"| {pack.licence} | {pack.author} |" in page


def test_different_drawings_of_the_same_pixels_are_one_group(
    script: ModuleType,
    modules: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    one, other = (modules / "iconoir" / "icons" / "regular" / f"{name}.svg" for name in ("red-cat", "star"))
    same = {path.read_text().partition('d="')[2][:10] for path in (one, other)}
    assert len(same) == 2
    keep, instead = sorted(same)
    monkeypatch.setattr(script, "open_rasteriser", lambda: lambda svg: rasterise(svg.replace(instead, keep)))
    assert made(script, modules, tmp_path / "out") == 0
    data = od.load(tmp_path / "out" / "features")
    groups = dict(zip(data.ids, data.groups, strict=True))
    assert groups["iconoir/red-cat"] == groups["iconoir/star"] == groups["tabler/star"] == "cat red"
    assert "leak" not in capsys.readouterr().out
