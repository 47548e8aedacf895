"""The public interface: names of the package and options of every command, as texts in `snapshots/`.

A change of either affects every user: if it is intended, `python tests/static/test_surface.py` rewrites the texts, and
the review shows the difference.
"""

from __future__ import annotations

import argparse
import inspect
from collections.abc import Iterator
from pathlib import Path

import pytest

import omnidistill
from omnidistill import api
from omnidistill.cli.command_list import make_parser

SNAPSHOTS = Path(__file__).parent / "snapshots"


def public_names() -> str:
    """One name a line, with its kind and, for functions, its arguments."""
    lines = []
    for name in api.__all__:
        found = getattr(api, name)
        arguments = ""
        if inspect.isfunction(found):
            parameters = inspect.signature(found).parameters.values()
            arguments = f"({', '.join(argument(parameter) for parameter in parameters)})"
        lines.append(f"{'class ' if inspect.isclass(found) else ''}{name}{arguments}")
    return "\n".join(lines) + "\n"


def argument(parameter: inspect.Parameter) -> str:
    star = {parameter.KEYWORD_ONLY: "keyword ", parameter.VAR_POSITIONAL: "*", parameter.VAR_KEYWORD: "**"}
    optional = "" if parameter.default is parameter.empty else "?"
    return f"{star.get(parameter.kind, '')}{parameter.name}{optional}"


def commands(parser: argparse.ArgumentParser) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    yield "", parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            yield from action.choices.items()


def flags() -> str:
    """One block per command, one line per argument: names, metavar, whether it is required, default."""
    blocks = []
    for command, parser in commands(make_parser()):
        lines = [f"omnidistill {command}".rstrip()]
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                continue
            taken = "" if action.nargs == 0 else f" {action.metavar or action.dest}"
            repeated = " (repeatable)" if isinstance(action, argparse._AppendAction) else ""
            required = " (required)" if action.required and action.option_strings else ""
            default = "" if action.default in (None, False, argparse.SUPPRESS) else f" = {action.default}"
            names = f"{', '.join(action.option_strings)}{taken}".strip()
            lines.append(f"  {names}{repeated}{required}{default}")
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks) + "\n"


TEXTS = {"public_names.txt": public_names, "flags.txt": flags}


@pytest.mark.parametrize("name", TEXTS)
def test_the_surface_is_as_recorded(name: str) -> None:
    recorded = (SNAPSHOTS / name).read_text("utf-8")
    assert TEXTS[name]() == recorded, "if the change is meant: python tests/static/test_surface.py"


def test_the_package_offers_the_public_names_and_no_other() -> None:
    assert dir(omnidistill) == sorted(api.__all__)
    for name in api.__all__:  # asked twice: a module of that name hides it the second time
        assert getattr(omnidistill, name) is getattr(omnidistill, name) is getattr(api, name), name
    assert sorted(set(api.__all__)) == api.__all__
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        omnidistill.nothing  # noqa: B018


def test_every_public_name_is_documented() -> None:
    undocumented = [name for name in api.__all__ if not (inspect.getdoc(getattr(api, name)) or "").strip()]
    assert not undocumented


def test_every_flag_is_explained() -> None:
    for command, parser in commands(make_parser()):
        for action in parser._actions:
            if action.option_strings and action.dest != "output":
                assert action.help, (command, action.option_strings)


if __name__ == "__main__":
    SNAPSHOTS.mkdir(exist_ok=True)
    for name, text in TEXTS.items():
        (SNAPSHOTS / name).write_text(text(), "utf-8")
