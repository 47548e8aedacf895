"""The reference of the documentation, from the code: public names by task, settings, presets, commands.

As a hook of mkdocs (mkdocs.yml) it adds the pages while the site is built; they are not kept in the repository.
"""

from __future__ import annotations

import argparse
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import api_entry
import source_pages

from omnidistill import api as public
from omnidistill import testing
from omnidistill.cli.command_list import make_parser
from omnidistill.experiments.config import describe_comparisons, describe_fields, describe_presets, load_config

GROUPS: dict[str, tuple[str, ...]] = {
    "Data": (
        "load",
        "datasets",
        "FeatureSet",
        "Development",
        "pack",
        "PackReport",
        "create_manifest",
        "layouts",
        "Layout",
        "encode",
        "EncodedSet",
        "EncodeSettings",
        "load_emoji",
        "planted",
        "RawFeatures",
        "prepare",
        "load_features",
        "save_features",
    ),
    "Distillation": (
        "distill",
        "merge",
        "DistillResult",
        "DistilledSet",
        "pretrain_heads",
        "InitialHeads",
        "train_experts",
        "ExpertBuffer",
        "Start",
        "load_experts",
        "Distiller",
    ),
    "Evaluation": (
        "evaluate",
        "Evaluation",
        "compare",
        "Compared",
        "plot",
        "MethodEntry",
        "ComparisonConfig",
        "crossed",
        "CrossedTable",
        "CrossedSettings",
        "SetEntry",
        "diagnose",
        "Diagnosis",
        "render",
        "Rendered",
        "InversionSettings",
        "paper",
        "PaperTables",
        "recall",
        "embed",
        "rank_directions",
        "rank",
        "recalls",
    ),
    "Transfer to another encoder": ("transfer", "Transfer", "TransferSettings"),
    "Migration to another encoder": ("migrate", "Migration", "MigrationSettings", "Kit", "AppliedFile"),
    "Runs, settings and stored heads": (
        "open_run",
        "Run",
        "write_report",
        "load_config",
        "RunConfig",
        "load_heads",
        "save_heads",
    ),
    "Components": (
        "objectives",
        "Objective",
        "InfoNCE",
        "Hopa",
        "PairwiseWbce",
        "similarities",
        "Similarity",
        "LowRank",
        "Full",
        "FixedIdentity",
        "storages",
        "Storage",
        "outer_objectives",
        "OuterObjective",
        "TrajectoryMatching",
        "methods",
        "Method",
        "selectors",
        "Selector",
        "recipes",
        "Recipe",
        "baselines",
        "Baseline",
        "encoders",
        "trackers",
        "engines",
    ),
    "Rollouts": ("dual_rollout", "bptt_rollout", "tesla_rollout"),
    "Errors": ("OmnidistillError", "InputError", "NotFiniteError"),
}
"""The public names by what they are for, in the order of the page."""


def pages() -> dict[str, str]:
    """{path below docs: Markdown}."""
    return {
        **api(),
        "reference/commands.md": commands(),
        "reference/settings.md": settings(),
        "reference/presets.md": presets(),
    }


def api() -> dict[str, str]:
    """Return the pages of the public names: an overview, one page per task, and the source code."""
    groups = {title: {name: getattr(public, name) for name in names} for title, names in GROUPS.items()}
    groups["omnidistill.testing"] = {name: getattr(testing, name) for name in testing.__all__}
    shown, before = examples()
    overview = [
        "# Python",
        "`import omnidistill as od` offers these names and loads torch when one is used.",
        "[The Python API](../guides/python.md) shows how they work together.",
    ]
    result, things = {}, []
    for title, names in groups.items():
        page = page_of(title)
        entries = [api_entry.entry(name, thing, shown[name]) for name, thing in names.items()]
        start = before[title] if title == "omnidistill.testing" else before["Data"]
        intro = [testing.__doc__ or ""] if title == "omnidistill.testing" else []
        intro += [f"The examples begin with\n\n{start}"]
        result[f"reference/{page}.md"] = "\n\n".join([f"# {title}", *intro, *entries]) + "\n"
        rows = [
            f"| [`{name}`]({page}.md#{name.lower()}) | {api_entry.summary(thing)} |" for name, thing in names.items()
        ]
        overview += [f"## [{title}]({page}.md)", "\n".join(["| name | what it is |", "|---|---|", *rows])]
        things += [thing for thing in names.values() if inspect.isroutine(thing) or inspect.isclass(thing)]
    result["reference/api.md"] = "\n\n".join(overview) + "\n"
    return result | source_pages.pages(thing.__module__ for thing in things)


def page_of(title: str) -> str:
    """Return the name of the page of a group: the last word of a module's name, or the first of a title."""
    return re.sub(r"^omnidistill\.", "", title).split(" ")[0].strip(",").lower()


def examples() -> tuple[dict[str, str], dict[str, str]]:
    """Return {name: its example} and {group: code that precedes its examples}, from reference/examples.md."""
    text = (Path(__file__).parent / "reference" / "examples.md").read_text("utf-8")
    sections = re.findall(r"^(###?) (.*)\n((?:(?!##).*\n)*)", text, re.MULTILINE)
    names, groups = ({name: body.strip() for marks, name, body in sections if marks == mark} for mark in ("###", "##"))
    return names, groups


def settings() -> str:
    """Return every setting with its value in the default preset; a section's settings precede its subsections."""
    sections: list[tuple[str, str, list[str]]] = [("", "", [])]
    for key, default, text in describe_fields(load_config()):
        description = " ".join(text.split()).replace("|", "\\|")
        if default:
            part = key.rpartition(".")[0]
            rows = next(rows for heading, _, rows in reversed(sections) if heading.split(" ")[0] == part)
            rows.append(f"| `{key}` | `{default}` | {description} |")
        else:
            sections.append((key, description, []))
    usage = "Change a setting with `--set KEY=VALUE` or in a TOML file; `omnidistill config --explain` prints all."
    values = "The values are those of the default preset, and the selected kind of each component comes first."
    parts = ["# Settings", f"{usage} {values} Settings that several kinds share are listed with the first of them."]
    for heading, description, rows in sections:
        parts += [f"## {heading}", description] if heading else []
        parts += ["\n".join(["| setting | default | meaning |", "|---|---|---|", *rows])] if rows else []
    return "\n\n".join(parts) + "\n"


def presets() -> str:
    """Return one row per preset and comparison that is included in the package."""
    parts = ["# Presets"]
    for title, known in {
        "Methods: `--preset` of `distill`, `--methods` of `compare`": describe_presets(),
        "Comparisons: `--preset` of `compare`": describe_comparisons(),
    }.items():
        parts += [
            f"## {title}",
            "| name | meaning |\n|---|---|\n" + "\n".join(f"| `{n}` | {t} |" for n, t in known.items()),
        ]
    return "\n\n".join(parts) + "\n"


def commands() -> str:
    """Return the help of every command, as `--help` prints it at 100 columns, with an example and what it prints."""
    shown = command_examples()
    intro = (
        "The examples use the files that the code [at the end](#data-of-the-examples) writes, and each other's output."
    )
    parts = ["# Commands", intro]
    for command, parser in _commands(make_parser()):
        parser.formatter_class = _formatter(parser.formatter_class)
        parts += [f"## {command}", f"```text\n{parser.format_help().strip()}\n```", "**Example**", shown[command]]
    return "\n\n".join([*parts, "## Data of the examples", shown["Data"]]) + "\n"


def command_examples() -> dict[str, str]:
    """Return {command: its example with its output} and the code that writes the files, from command-examples.md."""
    text = (Path(__file__).parent / "reference" / "command-examples.md").read_text("utf-8")
    _, *parts = re.split(r"^## (.*)\n", text, flags=re.MULTILINE)
    return {name: body.strip("\n") for name, body in zip(parts[::2], parts[1::2], strict=True)}


def _commands(parser: argparse.ArgumentParser) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            yield from action.choices.items()


def _formatter(base: Any) -> Any:
    return lambda prog: base(prog, width=100)


def on_files(files: Any, config: Any) -> Any:
    """The hook of mkdocs: the site's files, with these pages."""
    from mkdocs.structure.files import File

    for path, text in pages().items():
        files.append(File.generated(config, path, content=text))
    return files
