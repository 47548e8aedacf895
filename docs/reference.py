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

import omnidistill as od
from omnidistill import testing
from omnidistill.cli import make_parser
from omnidistill.core.registry import Registry
from omnidistill.experiments.config import RunConfig, describe_comparisons, describe_fields, describe_presets


def pages() -> dict[str, str]:
    """{path below docs: Markdown}."""
    return {
        "reference/api.md": api(),
        "reference/commands.md": commands(),
        "reference/settings.md": settings(),
        "reference/presets.md": presets(),
    }


def api() -> str:
    """Every public name: signature and docstring, with those of its own public methods."""
    parts = [
        (
            "# Python\n\n`import omnidistill as od` offers these and loads torch when one is used. "
            "Shapes are those of the docstrings."
        )
    ]
    parts += [_documented(name, getattr(od, name), "##") for name in od.api.__all__]
    checks = [_documented(name, getattr(testing, name), "###") for name in testing.__all__]
    return "\n\n".join([*parts, f"## omnidistill.testing\n\n{_doc(testing)}", *checks]) + "\n"


def settings() -> str:
    """Every setting with its default, alternatives by kind; a part's own settings stand before the parts of it."""
    sections: list[tuple[str, str, list[str]]] = [("", "", [])]
    for key, default, text in describe_fields(RunConfig):
        told = " ".join(text.split()).replace("|", "\\|")
        if default:
            part = key.rpartition(".")[0]
            rows = next(rows for heading, _, rows in reversed(sections) if heading.split(" ")[0] == part)
            rows.append(f"| `{key}` | `{default}` | {told} |")
        else:
            sections.append((key, told, []))
    told_by = "As `omnidistill config --explain` prints them: `--set KEY=VALUE`, or a TOML file."
    parts = ["# Settings", f"{told_by} What several kinds share is listed with the first of them."]
    for heading, told, rows in sections:
        parts += [f"## {heading}", told] if heading else []
        parts += ["\n".join(["| setting | default | |", "|---|---|---|", *rows])] if rows else []
    return "\n\n".join(parts) + "\n"


def presets() -> str:
    """Methods and comparisons that ship, a line each."""
    parts = ["# Presets"]
    for title, known in {
        "Methods: `--preset` of `distill`, `--methods` of `compare`": describe_presets(),
        "Comparisons: `--preset` of `compare`": describe_comparisons(),
    }.items():
        parts += [f"## {title}", "| name | |\n|---|---|\n" + "\n".join(f"| `{n}` | {t} |" for n, t in known.items())]
    return "\n\n".join(parts) + "\n"


def commands() -> str:
    """Help of every verb, as `--help` prints it at 100 columns."""
    parts = ["# Commands"]
    for verb, parser in _verbs(make_parser()):
        parser.formatter_class = _formatter(parser.formatter_class)
        parts += [f"## {verb}", f"```text\n{parser.format_help().strip()}\n```"]
    return "\n\n".join(parts) + "\n"


def _verbs(parser: argparse.ArgumentParser) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            yield from action.choices.items()


def _formatter(base: Any) -> Any:
    return lambda prog: base(prog, width=100)


def _documented(name: str, thing: Any, level: str) -> str:
    kind = "class " if inspect.isclass(thing) else ""
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
                parts.append(f"**`{member}`**`{_signature(method)}`\n\n{_doc(method)}")
    return "\n\n".join(parts)


def _signature(thing: Any) -> str:
    """Argument names with their defaults; shapes and types are told in the docstring."""
    try:
        found = inspect.signature(thing)
    except (TypeError, ValueError):
        return ""
    bare = [p.replace(annotation=p.empty) for p in found.parameters.values() if p.name != "self"]
    return re.sub(r"<factory>|<[^>]* object at [^>]*>", "...", str(inspect.Signature(bare)))


def _doc(thing: Any) -> str:
    """A docstring as Markdown: an indented block stays one, lists of arguments and errors become lists."""
    lines, listing = [], False
    for line in inspect.cleandoc(inspect.getdoc(thing) or "").splitlines():
        if line in ("Args:", "Raises:", "Returns:"):
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
