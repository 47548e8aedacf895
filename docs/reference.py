"""The reference of the documentation, from the code: docstrings of the public names, settings, presets, commands.

As a hook of mkdocs (mkdocs.yml) it adds the pages while the site is built; they are not kept in the repository.
"""

from __future__ import annotations

import argparse
import inspect
import re
from collections.abc import Iterator
from functools import cached_property
from typing import Any

from omnidistill import api as public
from omnidistill import testing
from omnidistill.cli.command_list import make_parser
from omnidistill.core.registry import Registry
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
        "layouts",
        "Layout",
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

_WIDTH = 100
"""Columns of a signature; a longer one takes one line per argument."""


def pages() -> dict[str, str]:
    """{path below docs: Markdown}."""
    return {
        "reference/api.md": api(),
        "reference/commands.md": commands(),
        "reference/settings.md": settings(),
        "reference/presets.md": presets(),
    }


def api() -> str:
    """Return every public name by group: signature and docstring, with those of its own public methods."""
    usage = "`import omnidistill as od` offers these names and loads torch when one is used."
    parts = [f"# Python\n\n{usage} [The Python API](../guides/python.md) shows how they work together."]
    for title, names in GROUPS.items():
        parts += [f"## {title}", *(_documented(name, getattr(public, name), "###") for name in names)]
    checks = [_documented(name, getattr(testing, name), "###") for name in testing.__all__]
    return "\n\n".join([*parts, f"## omnidistill.testing\n\n{_doc(testing)}", *checks]) + "\n"


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
        parts += ["\n".join(["| setting | default | |", "|---|---|---|", *rows])] if rows else []
    return "\n\n".join(parts) + "\n"


def presets() -> str:
    """Return one row per preset and comparison that is included in the package."""
    parts = ["# Presets"]
    for title, known in {
        "Methods: `--preset` of `distill`, `--methods` of `compare`": describe_presets(),
        "Comparisons: `--preset` of `compare`": describe_comparisons(),
    }.items():
        parts += [f"## {title}", "| name | |\n|---|---|\n" + "\n".join(f"| `{n}` | {t} |" for n, t in known.items())]
    return "\n\n".join(parts) + "\n"


def commands() -> str:
    """Return the help of every command, as `--help` prints it at 100 columns."""
    parts = ["# Commands"]
    for command, parser in _commands(make_parser()):
        parser.formatter_class = _formatter(parser.formatter_class)
        parts += [f"## {command}", f"```text\n{parser.format_help().strip()}\n```"]
    return "\n\n".join(parts) + "\n"


def _commands(parser: argparse.ArgumentParser) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            yield from action.choices.items()


def _formatter(base: Any) -> Any:
    return lambda prog: base(prog, width=100)


def _documented(name: str, thing: Any, level: str) -> str:
    kind = "class " if inspect.isclass(thing) else ""
    if inspect.ismodule(thing):  # `omnidistill.methods`, which has the functions of its registry
        thing = getattr(thing, name)
    if isinstance(thing, Registry):
        entries = "\n".join(f"* `{entry}`: {text}" for entry, text in thing.list().items())
        group = f"; packages add theirs in the entry-point group `{thing.group}`" if thing.group else ""
        return f"{level} {name}\n\nRegistry of every {thing.role} by name{group}.\n\n{entries}"
    parts = [f"{level} {name}", f"```text\n{kind}{name}{_signature(thing)}\n```", _doc(thing)]
    if inspect.isclass(thing):
        for member, found in vars(thing).items():
            method = getattr(thing, member)
            if member.startswith("_") or not inspect.getdoc(found):
                continue
            if isinstance(found, property | cached_property):
                parts.append(f"**`{member}`**: {_doc(found)}")
            elif inspect.isroutine(method):
                signature = _signature(method)
                block = f"**`{member}`**\n\n```text\n{member}{signature}\n```"
                parts += [block if "\n" in signature else f"**`{member}`**`{signature}`", _doc(method)]
    return "\n\n".join(parts)


def _signature(thing: Any) -> str:
    """Return the arguments with their defaults, and with their types where the code has them as text."""
    try:
        signature = inspect.signature(thing)
    except (TypeError, ValueError):
        return ""
    own = [_argument(argument) for argument in signature.parameters.values() if argument.name != "self"]
    returned = signature.return_annotation
    arrow = f" -> {returned}" if isinstance(returned, str) and not inspect.isclass(thing) else ""
    line = str(inspect.Signature(own))
    if len(line) + len(arrow) <= _WIDTH:
        return _plain(line + arrow)
    names = inspect.Signature(own).parameters.values()
    stars = {argument.KEYWORD_ONLY for argument in names if argument.kind is argument.VAR_POSITIONAL}
    lines = []
    for argument in names:
        if argument.kind is argument.KEYWORD_ONLY and argument.KEYWORD_ONLY not in stars:
            lines, stars = [*lines, "    *,"], {argument.KEYWORD_ONLY}
        lines.append(f"    {argument},")
    return _plain("\n".join(["(", *lines, f"){arrow}"]))


def _argument(argument: inspect.Parameter) -> inspect.Parameter:
    """Return the argument without a type that is not text: those of settings are objects of the validating library."""
    typed = isinstance(argument.annotation, str)
    return argument if typed else argument.replace(annotation=argument.empty)


def _plain(text: str) -> str:
    """Return a signature without quotes around types, and without the addresses of default values."""
    unquoted = re.sub(r": (['\"])(.+?)\1(?=[,)]| = )", r": \2", text)
    return re.sub(r"<factory>|<[^>]* object at [^>]*>", "...", unquoted)


def _doc(thing: Any) -> str:
    """A docstring as Markdown: an indented block stays one, lists of arguments and errors become lists."""
    lines, listing = [], False
    for line in inspect.cleandoc(inspect.getdoc(thing) or "").splitlines():
        if line in ("Args:", "Attributes:", "Raises:", "Returns:"):
            lines, listing = [*lines, f"{line[:-1]}:", ""], True
        elif listing and re.match(r"    \*{0,2}\w[\w, *]*: ", line):
            name, _, text = line.strip().partition(": ")
            lines.append(f"* `{name}`: {text}")
        elif listing and line.startswith("    "):
            lines.append(f"  {line.strip()}")
        else:
            lines, listing = [*lines, line], False
    return "\n".join(lines)


def on_files(files: Any, config: Any) -> Any:
    """The hook of mkdocs: the site's files, with these pages."""
    from mkdocs.structure.files import File

    for path, text in pages().items():
        files.append(File.generated(config, path, content=text))
    return files
