"""What the documentation says is what happens: its Python runs, its commands parse, its figures and site build."""

from __future__ import annotations

import argparse
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import ModuleType

import pytest

import snippets
from omnidistill import api as public
from omnidistill.cli.command_list import make_parser
from omnidistill.cli.main import main
from omnidistill.distillation.version_0_1 import RENAMED
from omnidistill.experiments.components import component_registries
from omnidistill.experiments.config import RunConfig, describe_comparisons, describe_fields, preset_names
from plugins import installed
from snippets import ROOT

PAGES = snippets.pages()
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
RUN = [str(page.relative_to(ROOT)) for page in PAGES if not snippets.shows_outputs(page)]
"""Pages whose Python and commands run here; test_outputs.py runs those that show what is printed."""
QUICK = (
    "pack",
    "manifest",
    "encode",
    "heads",
    "experts",
    "distill",
    "evaluate",
    "report",
    "plot",
    "export",
    "config",
    "presets",
)
"""Verbs that are run and not only parsed, where their files are among the planted ones."""
ONCE = ("experts", "distill", "compare")
"""Verbs that refuse a folder with another run in it."""
WITHOUT_OUTPUT = ("demo", "doctor", "recipe", "convert", "push", "pull", "presets", "completion")
"""Verbs whose output is long, is about this machine, or needs files that are not here: the reference describes it."""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("planted")
    with pytest.MonkeyPatch.context() as patch:
        snippets.make_presets_quick(patch)
        snippets.make_emoji_narrow(patch)
        snippets.plant(folder)
        yield folder


@pytest.fixture
def here(files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the planted files, and the working directory."""
    shutil.copytree(files, tmp_path, dirs_exist_ok=True)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def text_of(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


def verbs() -> list[str]:
    (choices,) = (a.choices for a in make_parser()._actions if isinstance(a, argparse._SubParsersAction))
    return list(choices)


@pytest.mark.filterwarnings("ignore:no validation split given")
@pytest.mark.parametrize("name", [name for name in RUN if snippets.python_blocks(text_of(name))])
def test_python_runs(name: str, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = ModuleType("page")  # a module, as what looks classes up expects
    monkeypatch.setitem(sys.modules, "page", page)
    with ExitStack() as stack:
        for registry in component_registries().values():  # what a page registers is gone after it
            stack.enter_context(installed(registry))
        for number, block in enumerate(snippets.python_blocks(text_of(name)), start=1):
            exec(compile(block, f"{name}, block {number}", "exec"), vars(page))


@pytest.mark.parametrize("name", [name for name in RUN if snippets.commands(text_of(name))])
def test_commands_are_accepted(name: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for file, content in snippets.toml_files(text_of(name)).items():
        (here / file).write_text(content, "utf-8")
    made: set[Path] = set()
    for words in map(snippets.quick, snippets.commands(text_of(name))):
        try:
            options = make_parser().parse_args(words)
        except SystemExit:
            pytest.fail(f"{name}: omnidistill {' '.join(words)}: {capsys.readouterr().err}", pytrace=False)
        output = getattr(options, "output", None)
        if words[0] in ONCE and not (getattr(options, "resume", False) or getattr(options, "dry_run", False)):
            assert output not in made, f"{name}: a reader who has followed so far has {output} already"
            made.add(output)
        if not runs(words, here):
            continue
        if output is not None and output.exists() and not getattr(options, "resume", False):
            shutil.rmtree(output) if output.is_dir() else output.unlink()
        code = main(words)
        assert code == 0, f"{name}: omnidistill {' '.join(words)}: {capsys.readouterr().err}"


def runs(words: list[str], here: Path) -> bool:
    """Whether a command is quick, and all that it reads is here (what it writes need not be)."""
    reads = [word for at, word in enumerate(words[1:], 1) if words[at - 1] not in ("-o", "--output")]
    places = [word for word in reads if re.fullmatch(r"[A-Z]+\d?(/\w+)*|[\w/]+\.(csv|toml|npz|safetensors)", word)]
    elsewhere = {"--tracker", "--engine"} & {*words} or any(word.startswith("hub:") for word in words)
    return words[0] in QUICK and not elsewhere and all((here / place).exists() for place in places)


@pytest.mark.parametrize("name", NAMES)
def test_presets_and_settings_exist(name: str) -> None:
    text, known = text_of(name), [*preset_names(), *describe_comparisons()]
    for listed in re.findall(r"--(?:preset|methods) ([\w/,-]+)", text):
        for preset in listed.split(","):
            assert preset in known, preset
    described = [key for key, _, _ in describe_fields(RunConfig)]
    settings = {key.split(" ")[0] for key in described}
    settings |= {f"{key.split(' ')[0]}.kind" for key in described if "(kind = " in key}
    settings |= set(RENAMED) if name == "docs/upgrading.md" else set()
    for setting in re.findall(r"`((?:heads|experts|distill|evaluate)\.[a-z_.]+)(?: = [^`]*|=[^`]*)?`", text):
        assert setting.removesuffix(".kind") in settings, setting


@pytest.mark.parametrize("name", NAMES)
def test_links_lead_somewhere(name: str) -> None:
    """Links between pages are checked by mkdocs; files that a text names, here."""
    for path in re.findall(r"\b((?:docs|benchmarks|examples|src|tests)/[\w/.-]+\w)", text_of(name)):
        assert (ROOT / path).exists() or list((ROOT / path).parent.glob(f"{Path(path).name}*")), path


def test_the_map_has_every_package() -> None:
    """Drawn in the figure of the page on architecture."""
    drawn = re.findall(r">([\w.]+)<", (ROOT / "docs/figures/packages.svg").read_text("utf-8"))
    for place in (ROOT / "src/omnidistill").iterdir():
        if (place.suffix == ".py" and place.stem != "__init__") or (place / "__init__.py").exists():
            assert place.stem in drawn


@pytest.mark.parametrize("drawn", ["pipeline.svg", "packages.svg", "gains.svg", "rank-floor.svg"])
def test_figures_are_what_the_code_draws(drawn: str) -> None:
    figures = snippets.module(ROOT / "docs/figures.py")
    assert (ROOT / "docs/figures" / drawn).read_text("utf-8") == figures.DRAWN[drawn]()


def test_the_reference_has_every_name_setting_preset_and_verb() -> None:
    reference = snippets.module(ROOT / "docs/reference.py")
    assert sorted(name for names in reference.GROUPS.values() for name in names) == sorted(public.__all__)
    pages = reference.pages()
    for title, names in reference.GROUPS.items():
        page = f"reference/{reference.page_of(title)}.md"
        assert page in (ROOT / "mkdocs.yml").read_text("utf-8")
        for name in names:
            entry = pages[page].partition(f"\n## {name}\n")[2].partition("\n## ")[0]
            assert "```python" in entry.partition("**Example**")[2].partition("\n### ")[0], name
            assert f"#{name.lower()})" in pages["reference/api.md"]
    for key, default, _ in describe_fields(RunConfig):
        assert key in pages["reference/settings.md"]
        part = key.rpartition(".")[0]
        if default and part:
            before = pages["reference/settings.md"].partition(f"| `{key}` |")[0]
            assert before.rpartition("\n## ")[2].split()[0] == part  # what no other part stands between
    for name in [*preset_names(), *describe_comparisons()]:
        assert f"| `{name}` |" in pages["reference/presets.md"]
    for verb in verbs():
        entry = pages["reference/commands.md"].partition(f"\n## {verb}\n")[2].partition("\n## ")[0]
        assert ("\n```output\n" in entry) == (verb not in WITHOUT_OUTPUT), verb
    assert "\n### FeatureSet.group_codes\n" in pages["reference/data.md"]  # a cached property is one too
    assert "object at 0x" not in "".join(pages.values())


def test_an_entry_has_types_parameters_and_source() -> None:
    entry = snippets.module(ROOT / "docs/api_entry.py").entry
    distill = entry("distill", public.distill, "print()")
    assert "    size: int | None = None,\n" in distill
    assert "| `size` | `int | None` | `None` | number of synthetic rows" in distill
    assert "* `NotFiniteError`: " in distill
    assert "(../source/omnidistill.experiments.run.distill_run.md#line-" in distill
    settings = entry("ComparisonConfig", public.ComparisonConfig, "print()")
    assert "    methods: tuple[MethodEntry, ...],\n" in settings  # without the checks of its values
    assert "| `num_students` | `int` | `5` | Number of students" in settings


def test_the_site_builds(site: Path) -> None:
    """Strictly: every page is in the navigation, every link and anchor leads somewhere, nothing is fetched."""
    pages = sorted(path.relative_to(site) for path in site.rglob("*.html"))
    assert Path("guides/features.html") in pages
    guide = (site / "guides/features.html").read_text("utf-8")
    assert 'href="../site.css"' in guide
    assert '<span class="kn">import</span>' in guide
    assert "2250 rows of 750 emoji" in (site / "notebooks/distil_emoji.html").read_text("utf-8")  # a stored output
    for page in pages:
        fetched = re.findall(r'<(?:script|link|img)[^>]*(?:src|href)="(https?:[^"]*)', (site / page).read_text("utf-8"))
        assert not fetched, (page, fetched)


def test_the_numbers_of_the_landing_page_are_those_of_the_table() -> None:
    rows, gain, of_best = re.findall(r"\*\*([\d.]+) %\*\*", text_of("docs/index.md"))
    (anchor,) = re.findall(r"^\| \*\*anchor, 100 rows\*\* (.*)$", text_of("README.md"), re.MULTILINE)
    assert f"/ {gain} [95, 110] | " in anchor
    assert anchor.endswith(f"/ {of_best} |")
    assert f"{float(rows):.1f}" == f"{100 * 100 / 2250:.1f}"
